"""Pickles of arrays, read without running what else they may hold.

A pickle is a program. The few files that are published as one hold arrays and numbers only, so nothing but what
rebuilds those is looked up; anything else is refused before it is called.
"""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pathline.data.errors import DataError

_ALLOWED: dict[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float32(0).__reduce__()[0],
}
_HOMES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _Arrays(pickle.Unpickler):
    """Finds the four names that rebuild numpy arrays and scalars, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _HOMES and name in _ALLOWED:
            return _ALLOWED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_arrays(path: str | Path) -> Any:
    """What the pickle `path` holds: arrays, numbers, text, and dicts, lists and tuples of them.

    Raises:
        DataError: it is no pickle, or it asks for anything beyond that.
    """
    content = Path(path).read_bytes()
    try:
        found = _Arrays(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        raise DataError(f"{path}: not a pickle of arrays and numbers alone ({error}); nothing in it was run") from None
    for value in found.values() if isinstance(found, dict) else [found]:
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            raise DataError(f"{path}: an array of objects is not an array of numbers")
    return found


class _Csr:
    """What a pickled scipy.sparse.csr_matrix leaves of itself: its arrays and shape, as attributes."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    _shape: tuple[int, int]


def _rebuilt(kind: type, _base: type, _state: Any) -> Any:
    if kind is not _Csr:
        raise pickle.UnpicklingError(f"it rebuilds {kind.__name__}")
    return _Csr()


class _Python2(_Arrays):
    """Beside arrays: compressed sparse rows, and dictionaries of lists, as Python 2 wrote them."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("scipy.sparse.csr", "csr_matrix"): _Csr,
        ("copy_reg", "_reconstructor"): _rebuilt,
        ("copyreg", "_reconstructor"): _rebuilt,
        ("__builtin__", "object"): object,
        ("builtins", "object"): object,
        ("collections", "defaultdict"): lambda *_: {},
        ("__builtin__", "list"): list,
        ("builtins", "list"): list,
    }

    def find_class(self, module: str, name: str) -> Any:
        return self.allowed[module, name] if (module, name) in self.allowed else super().find_class(module, name)


def read_python2(path: str | Path) -> Any:
    """What a pickle of Python 2 holds: an array, a sparse matrix as (data, indices, indptr) made dense, or a dictionary
    of lists. Raises DataError if it asks for anything beyond that."""
    try:
        found = _Python2(io.BytesIO(Path(path).read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        raise DataError(f"{path}: not a pickle of arrays and numbers alone ({error}); nothing in it was run") from None
    if isinstance(found, _Csr):
        dense = np.zeros(found._shape, found.data.dtype)
        dense[np.repeat(np.arange(dense.shape[0]), np.diff(found.indptr)), found.indices] = found.data
        return dense
    return found
