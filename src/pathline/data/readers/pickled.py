"""Pickles of arrays, read without running what else they may hold.

A pickle is a program. The few files that are published as one hold arrays, matrices and numbers only, so nothing but
what rebuilds those is looked up; anything else is refused before it is called.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pathline.data.errors import DataError


class _Sparse:
    """What a pickled matrix of scipy leaves of itself: its arrays and its shape, as attributes."""

    data: np.ndarray
    _shape: tuple[int, int]


def _rebuilt(kind: type, _base: type, _state: Any) -> Any:
    if kind is not _Sparse:
        raise pickle.UnpicklingError(f"it rebuilds {kind.__name__}")
    return _Sparse()


Names = Mapping[tuple[str, str], Any]
_ARRAYS: Names = {
    (home, name): found
    for home in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name, found in {
        "ndarray": np.ndarray,
        "dtype": np.dtype,
        "_reconstruct": np.empty(0).__reduce__()[0],
        "scalar": np.float32(0).__reduce__()[0],
    }.items()
}
_MATRICES: Names = {
    (f"scipy.sparse{part}", f"{kind}_matrix"): _Sparse
    for kind in ("coo", "csr")
    for part in ("", f".{kind}", f"._{kind}")
}
_PYTHON2: Names = {
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("collections", "defaultdict"): lambda *_: {},
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
}


class _Restricted(pickle.Unpickler):
    """Finds the names it is given, and no other."""

    def __init__(self, content: bytes, names: Names, **options: Any) -> None:
        super().__init__(io.BytesIO(content), **options)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.names[module, name]


def _read(path: str | Path, names: Names, what: str = "arrays and numbers alone", **options: Any) -> Any:
    """What the pickle `path` holds, if that can be made of `names`; a DataError else."""
    try:
        return _Restricted(Path(path).read_bytes(), names, **options).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        raise DataError(f"{path}: not a pickle of {what} ({error}); nothing in it was run") from None


def read_arrays(path: str | Path) -> Any:
    """What the pickle `path` holds: arrays, numbers, text, and dicts, lists and tuples of them.

    Raises:
        DataError: it is no pickle, or it asks for anything beyond that.
    """
    found = _read(path, _ARRAYS)
    for value in found.values() if isinstance(found, dict) else [found]:
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            raise DataError(f"{path}: an array of objects is not an array of numbers")
    return found


def read_python2(path: str | Path) -> Any:
    """What a pickle of Python 2 holds: an array, a sparse matrix as (data, indices, indptr) made dense, or a dictionary
    of lists. Raises DataError if it asks for anything beyond that."""
    found = _read(path, {**_ARRAYS, **_MATRICES, **_PYTHON2}, encoding="latin1")
    if isinstance(found, _Sparse):
        held = vars(found)
        dense = np.zeros(found._shape, found.data.dtype)
        dense[np.repeat(np.arange(dense.shape[0]), np.diff(held["indptr"])), held["indices"]] = found.data
        return dense
    return found


class Places(NamedTuple):
    """row, column: (n,) int64, where a sparse matrix has its entries;  shape: its own."""

    row: np.ndarray
    column: np.ndarray
    shape: tuple[int, int]


def read_places(path: str | Path) -> Places:
    """Where the matrix in a pickle of scipy's coo_matrix has entries.

    Raises:
        DataError: the file holds anything else than such a matrix, or is none.
    """
    found = _read(path, {**_ARRAYS, **_MATRICES}, "one sparse matrix of scipy by coordinates")
    held = vars(found) if isinstance(found, _Sparse) else {}
    try:
        places = held["coords"] if "coords" in held else (held["row"], held["col"])
        row, column = (np.asarray(part).astype(np.int64, casting="same_kind") for part in places)
        rows, columns = (int(size) for size in held["_shape"])
        if len(row) and not (0 <= row.min() <= row.max() < rows and 0 <= column.min() <= column.max() < columns):
            raise ValueError("its entries lie outside of it")
        return Places(row, column, (rows, columns))
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a pickle of one sparse matrix of scipy by coordinates ({error})") from None
