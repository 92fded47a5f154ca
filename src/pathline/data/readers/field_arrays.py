"""Fields as plain arrays: npz archives, and the pair of pickles that DeepCFD was published with."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.fields import Fields, fields_of_arrays
from pathline.data.readers.npz import read_npz
from pathline.data.readers.pickled import read_arrays

ARRAYS = ("values", "inputs", "inside", "x", "y")
GIVEN, FLOW = ("distance to the obstacle", "region", "distance to the walls"), ("Ux", "Uy", "p")


def read_field_arrays(path: str | Path, interval: float | None = None, **options: Any) -> Fields:
    """An npz archive with the array `values`, and if there are any `inputs`, `inside`, `x`, `y` and `interval`.

    Shapes as in `fields_of_arrays`; values that are not finite mark cells outside.
    """
    arrays = read_npz(path)
    if "values" not in arrays:
        raise DataError(f"{path}: there is no array 'values'; the archive has {', '.join(arrays) or 'none'}")
    tensors: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if name in ARRAYS:
            if array.dtype.kind not in "fiub":
                raise DataError(f"{path}: array '{name}' holds {array.dtype}, not numbers")
            tensors[name] = torch.from_numpy(np.ascontiguousarray(array))
    if interval is None and "interval" in arrays:
        interval = float(arrays["interval"])
    values = tensors.pop("values").float()
    for axis in ("x", "y"):
        if axis in tensors:
            options[axis] = tensors.pop(axis).double()
    inputs, inside = tensors.pop("inputs", None), tensors.pop("inside", None)
    return fields_of_arrays(
        values,
        Path(path).stem,
        None if inputs is None else inputs.float(),
        inside,
        interval=1.0 if interval is None else interval,
        **options,
    )


def read_deepcfd(folder: str | Path, **options: Any) -> Fields:
    """A folder with dataX.pkl and dataY.pkl, (items, 3, length, height) each, as published with arXiv:2004.08826.

    What is given are the distance to the obstacle, the label of the region (0 in the obstacle) and the distance to the
    walls; the fields are velocity and pressure. Nothing else that a pickle may hold is run.
    """
    found = []
    for name in ("dataX.pkl", "dataY.pkl"):
        path = Path(folder) / name
        if not path.is_file():
            raise DataError(f"{folder}: there is no {name}; a folder of fields holds dataX.pkl and dataY.pkl")
        array = read_arrays(path)
        if not isinstance(array, np.ndarray) or array.ndim != 4 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
            raise DataError(f"{path}: expected numbers of shape (items, 3, length, height)")
        found.append(torch.from_numpy(array.astype(np.float32)).transpose(2, 3))
    inputs, values = found
    if inputs.shape != values.shape:
        raise DataError(f"{folder}: dataX.pkl has shape {tuple(inputs.shape)}, dataY.pkl {tuple(values.shape)}")
    inside = inputs[:, 1].round() != 0
    return fields_of_arrays(values, Path(folder).name, inputs, inside, channels=FLOW, given=GIVEN, **options)
