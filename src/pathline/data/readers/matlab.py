"""Matlab files of signals over graphs, as GraphTRSS and GSPBox keep them: a matrix, positions, and a graph."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.graph_signal import GraphSignal

SIGNALS = ("Data", "data", "myDataPM", "Temp", "X", "signal")
POSITIONS = ("Position", "positions", "coords")
WEIGHTS = ("W", "weights", "adjacency")


def read_signal(
    path: str | Path,
    variables: str | None = None,
    missing: float | None = None,
    interval: int | None = None,
    **options: Any,
) -> GraphSignal:
    """The matrix (nodes, time) of a file as a signal to recover; nan entries are not seen, nor is the value `missing`.

    variables: name of the matrix; by default one of SIGNALS
    options: fields of `GraphSignal`, such as density and protocol

    Positions (nodes, 2) and weights (nodes, nodes) are taken from the file if it holds them under a usual name, the
    weights also from a GSPBox structure G.
    """
    found = read_mat(path)
    name = variables or next((key for key in SIGNALS if key in found), None)
    if name is None or name not in found:
        there = ", ".join(f"{key} {value.shape}" for key, value in found.items())
        raise DataError(f"{path}: which matrix is the signal? name it with --variables; the file holds {there}")
    values = torch.tensor(found[name].astype(np.float64))
    if values.ndim != 2:
        raise DataError(f"{path}: '{name}' has shape {tuple(values.shape)}; a signal is (nodes, time)")
    nodes = values.shape[0]
    seen = values.isfinite() if missing is None else values.isfinite() & (values != missing)
    fields: dict[str, Any] = {"name": Path(path).stem, "adjacency": weights_of(found)}
    places = next((found[key] for key in POSITIONS if key in found), None)
    if places is not None and places.shape == (nodes, 2):
        fields["positions"] = torch.tensor(places.astype(np.float32))
    if interval is not None:
        fields["interval"] = interval
    return GraphSignal(values=values.float(), seen=seen, **{**fields, **options})


def weights_of(found: dict[str, np.ndarray]) -> Tensor | None:
    """(nodes, nodes) symmetric weights of a file read by `read_mat`, without loops; None if it has none."""
    matrix = next((found[key] for key in WEIGHTS if key in found), None)
    if matrix is None:
        return None
    weights = torch.tensor(np.asarray(matrix, dtype=np.float32))
    return torch.maximum(weights, weights.T).fill_diagonal_(0.0)


def read_mat(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a Matlab file (up to version 7.2) by name; sparse ones made dense, those of a structure G beside them.

    Raises:
        DataError: not such a file.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise DataError(f"{path}: not a Matlab file up to version 7.2 ({error}); save it with -v7, or as csv") from None
    found: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if name.startswith("__"):
            continue
        if isinstance(value, np.ndarray) and value.dtype.names:
            fields = {key: value[key].item() for key in value.dtype.names} if value.size == 1 else {}
            found |= {key: _dense(field) for key, field in fields.items() if key not in content}
        else:
            found[name] = _dense(value)
    return {name: value for name, value in found.items() if value.dtype.kind in "fiub"}


def _dense(value: Any) -> np.ndarray:
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)
