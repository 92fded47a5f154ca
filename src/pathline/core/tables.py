"""Tables as files: one writer for each ending."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def _to_csv(table: "pd.DataFrame", path: Path) -> None:
    table.to_csv(path, index=False)


def _to_parquet(table: "pd.DataFrame", path: Path) -> None:
    table.to_parquet(path, index=False)


def _to_h5ad(table: "pd.DataFrame", path: Path) -> None:
    from pathline.data.readers.h5ad import write_h5ad

    write_h5ad(table, path)


def _to_npz(table: "pd.DataFrame", path: Path) -> None:
    """Numbers as numbers and everything else as text."""
    import numpy

    columns: dict[str, Any] = {
        str(c): table[c].to_numpy() if table[c].dtype.kind in "fiub" else table[c].to_numpy("U") for c in table
    }
    with open(path, "wb") as file:
        numpy.savez_compressed(file, **columns)


WRITERS: dict[str, Callable[["pd.DataFrame", Path], None]] = {
    ".csv": _to_csv,
    ".parquet": _to_parquet,
    ".npz": _to_npz,
    ".h5ad": _to_h5ad,
}
