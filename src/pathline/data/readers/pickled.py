"""Pickles of arrays, read without running what else they may hold.

A pickle is a program. The few files that are published as one hold arrays and numbers only, so nothing but what
rebuilds those is looked up; anything else is refused before it is called.
"""

import io
import pickle
from pathlib import Path
from typing import Any

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
