"""Run folders: what a fit leaves behind, written so that a reader never sees half a file.

config.json          method, constructor arguments, data, seed, training record, metrics, versions
model.safetensors    weights and buffers
metrics.csv          one row per logged step
report.html          the report
checkpoint.safetensors   only while a run is unfinished
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.core.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from pathline.core.method import Method

CONFIG, WEIGHTS, METRICS, REPORT = "config.json", "model.safetensors", "metrics.csv", "report.html"
CHECKPOINT = "checkpoint.safetensors"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; the file takes its real name only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document, numbers in full precision."""
    write_text(path, json.dumps(document, indent=2, allow_nan=True) + "\n")


def write_tensors(path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, Any] | None = None) -> None:
    """Write tensors with a JSON document beside them, in one file."""
    from safetensors.torch import save_file

    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with replacing(path) as part:
        save_file(whole, part, metadata=None if metadata is None else {"json": json.dumps(metadata)})


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Tensors and the JSON document of a file made by `write_tensors`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = json.loads((file.metadata() or {}).get("json", "{}"))
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read ({error}); fit the method again") from None
    return tensors, metadata


def versions() -> dict[str, str]:
    """Versions that decide a number: pathline, Python, torch, and the processor's kind."""
    import numpy
    import torch

    import pathline

    return {
        "pathline": pathline.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def write(folder: str | Path, method: "Method", **record: Any) -> Path:
    """Write a method, and whatever `record` says of how it came about, into `folder`."""
    from pathline.core.method import key_of

    folder, cls = Path(folder), type(method)
    write_tensors(folder / WEIGHTS, method.state_dict())
    document = {
        "method": key_of(cls),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "room": cls.room,
        "config": method.config,
        **record,
        "versions": versions(),
    }
    write_json(folder / CONFIG, document)
    return folder


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a run folder."""
    path = Path(folder) / CONFIG
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise RunError(f"{folder} is not a run folder: it has no {CONFIG}") from None
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON ({error})") from None
    for field in ("method", "class", "config"):
        if field not in document:
            raise RunError(f"{path} lacks '{field}': it was not written by pathline")
    return document


def read_weights(folder: str | Path, method: "Method") -> None:
    """Fill `method` with model.safetensors of a run folder."""
    path = Path(folder) / WEIGHTS
    if not path.exists():
        unfinished = (Path(folder) / CHECKPOINT).exists()
        hint = "it was not finished: run fit again with --resume" if unfinished else "fit the method again"
        raise RunError(f"{folder} has no {WEIGHTS}; {hint}")
    tensors, _ = read_tensors(path)
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"{path} does not fit {type(method).__name__}: {error}") from None


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.csv whole; a term that some rows lack is empty there."""
    import csv
    import io

    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / METRICS, text.getvalue())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Rows of metrics.csv, numbers as floats; none if there is no such file."""
    import csv

    path = folder / METRICS
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
