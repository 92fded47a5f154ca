"""Trained methods on disk, so that several claims which start from the same model train it once.

A hit is what training again would give, bit for bit: the name of a file is a hash of everything that decides the
weights: the source of the method and of all modules it imports, its settings, the data, the seed, the budget, the
recipe, the version of torch, its threads and the processor's kind.
"""

import ast
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from pathline.core import store
from pathline.core.budget import Budget
from pathline.core.claim import source_fingerprint
from pathline.core.errors import MethodError, RunError
from pathline.core.method import Method
from pathline.core.training import Training
from pathline.data.cache import cache_folder
from pathline.data.container import Split

M = TypeVar("M", bound=Method)
PACKAGE = Path(__file__).resolve().parents[1]


def trained(
    cls: type[M], data: Any, seed: int, budget: Budget, config: dict[str, Any] | None = None, **recipe: Any
) -> M:
    """`cls.seeded(data, seed, **config).fit(data, budget, seed, **recipe)`, from disk if this was done before.

    recipe: fields of `Recipe`, and precision. torch's global generator is left as it was, hit or miss. The file
    appears whole or not at all; a cache that cannot be read or written costs time, never the result.
    Raises MethodError for a budget in minutes: what it trains depends on how fast the machine happens to be.
    """
    config = config or {}
    if budget.minutes is not None:
        raise MethodError("a cached training needs a budget in steps or epochs, since minutes are never the same twice")
    path = cache_folder() / "trained" / f"{cls.__name__}-{_hash(cls, data, seed, budget, config, recipe)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        method = cls.seeded(data, seed, **config)
        if not _restored(method, path):
            method.fit(data, budget, seed=seed, **recipe)
            record = method.training_record
            with contextlib.suppress(OSError):
                store.write_tensors(path, method.state_dict(), {"record": None if record is None else asdict(record)})
    return method.eval()


def _restored(method: Method, path: Path) -> bool:
    """Fill `method` from `path`; False if there is no file that fits."""
    if not path.exists():
        return False
    try:
        tensors, document = store.read_tensors(path)
        method.load_state_dict(tensors)
        record = document["record"]
    except (RunError, RuntimeError, KeyError):
        return False
    method.training_record = None if record is None else Training(**record)
    return True


def _hash(cls: type, data: Any, seed: int, budget: Budget, config: dict[str, Any], recipe: dict[str, Any]) -> str:
    parts = (data.train, data.validation) if isinstance(data, Split) else (data,)
    decides = {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "source": _source(cls.__module__),
        "config": config,
        "data": [part.fingerprint() for part in parts],
        "seed": seed,
        "budget": str(budget),
        "recipe": recipe,
        "versions": {key: value for key, value in store.versions().items() if key not in ("pathline", "python")},
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]


@cache
def _source(module: str) -> str:
    """Fingerprint of the code behind `module`: once per process, since loaded code does not change on disk."""
    return source_fingerprint(list(imported_files(module)))


def imported_files(module: str) -> Iterator[Path]:
    """The file of `module`, and those of all modules of the library that it imports, directly or not."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        yield file
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def _file_of(module: str) -> Path | None:
    """Where a module of the library, or the one that a method outside of it lives in, has its source."""
    name, _, rest = module.partition(".")
    if name != PACKAGE.name:
        found = str(getattr(sys.modules.get(module), "__file__", None) or "")
        foreign = "site-packages" in found or found.startswith(sys.base_prefix)
        return Path(found) if found.endswith(".py") and not foreign else None
    base = PACKAGE.joinpath(*rest.split(".")) if rest else PACKAGE
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()), None)
