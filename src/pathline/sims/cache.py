"""Results of simulators on disk: what took minutes once takes no time again.

    fields = cached("channel-flow", simulate, count=120, reynolds=20.0)      # simulate(count=120, reynolds=20.0)

A hit is what the simulator would give again: the name of the file is a hash of the parameters and of the code behind
`build`, its module and all modules of the library that it imports by name, so that a corrected simulator is run anew.
"""

import ast
import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pathline.data.cache import cached as cached_by_hash

PACKAGE = Path(__file__).resolve().parents[1]


def cached(name: str, build: Callable[..., dict[str, Tensor]], **parameters: Any) -> dict[str, Tensor]:
    """`build(**parameters)`, from disk if the same was built before.

    name:       of the file, for whoever tidies up the cache folder
    build:      a function of a module, which draws random numbers from seeds among its parameters only
    parameters: JSON values (numbers, text, lists, tuples, None)

    torch's global generator is left as it was, hit or miss. The file appears whole or not at all; a cache that cannot
    be read or written costs time, never the result.  Raises TypeError for parameters that are no JSON values.
    """
    decides = {
        "parameters": parameters,
        "builder": f"{build.__module__}:{build.__qualname__}",
        "code": _code_behind(build.__module__),
        "torch": torch.__version__,
    }

    def build_them() -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            return build(**parameters)

    return cached_by_hash(f"simulated/{name}", decides, build_them)


@cache
def _code_behind(module: str) -> str:
    """sha256 over the syntax trees of `module` and of what it imports from the library, without their docstrings:
    once per process, since loaded code does not change on disk."""
    digest, waiting, seen = hashlib.sha256(), [module], set()
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
                node.body.pop(0)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _file_of(module: str) -> Path | None:
    """Where a module of the library, or the script that the builder stands in, has its source."""
    name, _, rest = module.partition(".")
    if name != PACKAGE.name:
        found = getattr(sys.modules.get(module), "__file__", None) or ""
        foreign = "site-packages" in found or found.startswith(sys.base_prefix)
        return Path(found) if found.endswith(".py") and not foreign else None
    base = PACKAGE.joinpath(*rest.split(".")) if rest else PACKAGE
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()), None)
