"""A graph between sensors from a csv file: a square of weights, or a list of edges.

    0.0,0.6,0.0        ,bridge,station        source,target,weight       from,to,distance
    0.6,0.0,0.3        bridge,0,0.6           bridge,station,0.6         bridge,station,1.2
    0.0,0.3,0.0        station,0.6,0
A square without names is in the order of the sensors. Names may come in any order; sensors that are not named have no
neighbours. Distances become weights exp(-d^2 / mean d^2). Directed edges, loops and separate parts are all welcome:
what a method does with them is its own business.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.readers.csv import read_matrix
from pathline.data.tables import numbers

SOURCES, TARGETS = ("source", "from", "sender", "start"), ("target", "to", "receiver", "end")
WEIGHTS, DISTANCES = ("weight", "value"), ("distance", "cost", "length", "km", "m")


def read_graph(path: str | Path, nodes: Sequence[str] | int) -> Tensor:
    """(nodes, nodes) weights >= 0 from sensor i to sensor j; nodes: the sensors' names, or how many there are.

    Raises:
        DataError: a sensor that the data does not have, a weight that is negative or no number, or a square of another
            size, each with its row and column.
    """
    names = [str(place) for place in range(nodes)] if isinstance(nodes, int) else list(nodes)
    table = read_matrix(path, as_text=True)
    header = [str(cell).strip().lower() for cell in table.iloc[0]]
    if set(header) & set(SOURCES) and set(header) & set(TARGETS):
        return _from_edges(table.iloc[1:].set_axis(header, axis=1), str(path), names)
    labels = [str(cell).strip() for cell in table.iloc[0]]
    named = [label for label in labels if label in names]
    square = table.shape == (len(names),) * 2
    if not _numeric(table.iloc[0]) or (not square and len(named) == len(set(labels) - {"", "nan"})):
        return _from_named_square(table, labels, str(path), names)
    if not square:
        raise DataError(
            f"{path}: the graph is {table.shape[0]} x {table.shape[1]}, but the data has {len(names)} sensors; "
            "give one row and one column per sensor, in the order of the sensor columns, without header, or name the "
            "sensors: a header row, or a list of edges with the header source,target,weight"
        )
    return _weights(table.set_axis(range(1, len(names) + 1), axis=1), str(path), first_row=1)


def _numeric(cells: pd.Series) -> bool:
    return bool(pd.to_numeric(cells, errors="coerce").notna().all())


def _weights(table: pd.DataFrame, file: str, first_row: int) -> Tensor:
    weights = numbers(table, file, first_row=first_row)
    if (weights < 0).any():
        row, column = np.argwhere(weights < 0)[0]
        where = f"{file}, row {row + first_row}, column {table.columns[column]}"
        raise DataError(f"{where}: the weight {weights[row, column]:g} is negative")
    return torch.tensor(weights, dtype=torch.float32)


def _places(named: Sequence[str], rows: Sequence[int], file: str, names: list[str]) -> list[int]:
    """Where the sensors `named` stand in the data; a `DataError` for one that is not there."""
    place = {name: number for number, name in enumerate(names)}
    for label, row in zip(named, rows, strict=True):
        if label not in place:
            near = difflib.get_close_matches(label, names, n=1)
            hint = f"did you mean '{near[0]}'" if near else f"it has {', '.join(names[:6])}{', ...' * (len(names) > 6)}"
            raise DataError(f"{file}, row {row}: the data has no sensor '{label}'; {hint}")
    return [place[label] for label in named]


def _from_named_square(table: pd.DataFrame, labels: list[str], file: str, names: list[str]) -> Tensor:
    corner = table.shape[1] == table.shape[0]  # names of rows too
    columns = labels[1:] if corner else labels
    body = table.iloc[1:, 1:] if corner else table.iloc[1:]
    rows = [str(cell).strip() for cell in table.iloc[1:, 0]] if corner else columns
    if len(body) != len(columns):
        raise DataError(f"{file}: below {len(columns)} names there are {len(body)} rows; a graph's table is square")
    across = _places(columns, [1] * len(columns), file, names)
    down = _places(rows, range(2, len(rows) + 2), file, names)
    for found, what in ((columns, "column"), (rows, "row")):
        if len(set(found)) < len(found):
            twice = next(name for name in found if found.count(name) > 1)
            raise DataError(f"{file}: sensor '{twice}' has more than one {what}; keep one")
    weights = _weights(body.set_axis(columns, axis=1), file, first_row=2)
    graph = torch.zeros(len(names), len(names))
    graph[torch.tensor(down)[:, None], torch.tensor(across)] = weights
    return graph


def _from_edges(table: pd.DataFrame, file: str, names: list[str]) -> Tensor:
    if not len(table):
        raise DataError(f"{file}: there is a header but no edge")
    source, target = (next(name for name in known if name in table.columns) for known in (SOURCES, TARGETS))
    rest = [name for name in table.columns if name not in (source, target)]
    if len(rest) > 1 or (rest and rest[0] not in WEIGHTS + DISTANCES):
        raise DataError(
            f"{file}, row 1: beside {source} and {target} a list of edges has one column, weight or distance, not "
            f"{', '.join(rest)}"
        )
    lines = range(2, len(table) + 2)
    ends = [
        torch.tensor(_places([str(cell).strip() for cell in table[name]], lines, file, names))
        for name in (source, target)
    ]
    weights = _weights(table[rest], file, first_row=2)[:, 0] if rest else torch.ones(len(table))
    pair = ends[0] * len(names) + ends[1]
    order = pair.argsort(stable=True)
    same = (pair[order][1:] == pair[order][:-1]) & (weights[order][1:] != weights[order][:-1])
    if same.any():
        row = int(order[1:][same][0])
        first, second = (str(table[name].iloc[row]).strip() for name in (source, target))
        raise DataError(f"{file}, row {row + 2}: the edge {first} to {second} was given before with another {rest[0]}")
    if rest and rest[0] in DISTANCES:
        squares = weights.square()
        weights = torch.exp(-squares / squares.mean().clamp(min=torch.finfo(squares.dtype).tiny))
    graph = torch.zeros(len(names), len(names))
    graph[ends[0], ends[1]] = weights
    return graph
