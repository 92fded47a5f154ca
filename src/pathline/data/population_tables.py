"""Tables and annotated cells into populations at times, or into readings of sensors where there is a density column."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.errors import DataError
from pathline.data.measurements import Measurements
from pathline.data.snapshots import Snapshots
from pathline.data.tables import numbers, require_columns

TIME_NAMES = ("time", "day", "days", "t", "timepoint", "time_point", "age", "samples")
DENSITY, MASS = "density", "mass"
VELOCITIES = (("u", "v", "w"), ("vx", "vy", "vz"))


def populations_from_table(
    table: pd.DataFrame, file: str, *, time_column: str | None = None, **fields: Any
) -> Snapshots | Measurements:
    """A row per cell: a column of times, columns of coordinates and perhaps `mass`, the size of the whole population at
    that time, the same in all its rows. With a column `density` a row is a reading of a sensor instead."""
    for name in ("embedding", "components"):  # of annotated cells; a table has its coordinates
        fields.pop(name, None)
    time_column = the_time_column(list(map(str, table.columns)), file, time_column)
    if DENSITY in table.columns:
        return _measurements(table, file, time_column, **fields)
    mass = numbers(table[[MASS]], file)[:, 0] if MASS in table.columns else None
    coordinates = table.drop(columns=[time_column, MASS], errors="ignore")
    if not coordinates.shape[1]:
        raise DataError(f"{file}: there is no column of coordinates beside '{time_column}'")
    return snapshots_from_arrays(
        numbers(coordinates, file),
        numbers(table[[time_column]], file)[:, 0],
        file,
        mass=mass,
        columns=tuple(map(str, coordinates.columns)),
        **fields,
    )


def the_time_column(names: list[str], file: str, chosen: str | None) -> str:
    """The column of times: the one that was chosen, or the first with a usual name."""
    if chosen is not None:
        require_columns(pd.DataFrame(columns=names), file, (chosen,))
        return chosen
    named = [name for name in names if name.strip().lower() in TIME_NAMES]
    if not named:
        raise DataError(
            f"{file}: no column is named {', '.join(TIME_NAMES[:3])} or the like; name the column of times with "
            "--time-column"
        )
    return named[0]


def snapshots_from_arrays(
    positions: np.ndarray, times: np.ndarray, file: str, mass: np.ndarray | None = None, **fields: Any
) -> Snapshots:
    """positions: (cells, dims); times, mass: (cells,), mass being that of the whole population at the cell's time."""
    moments, which = np.unique(times, return_inverse=True)
    relative = None
    if mass is not None:
        first = np.array([mass[which == k][0] for k in range(len(moments))])
        if (differs := mass != first[which]).any():
            time = times[int(differs.argmax())]
            raise DataError(f"{file}, column '{MASS}': rows of time {time:g} disagree; give one mass for each time")
        if (first <= 0).any():
            raise DataError(f"{file}, column '{MASS}': time {moments[first <= 0][0]:g} has a mass that is not above 0")
        relative = torch.tensor(first / first[0])
    return Snapshots(
        positions=torch.tensor(positions, dtype=torch.float32),
        snapshot=torch.tensor(which).long(),
        times=torch.tensor(moments),
        mass=relative,
        **{"name": Path(file).stem} | fields,
    )


def _measurements(table: pd.DataFrame, file: str, time_column: str, **fields: Any) -> Measurements:
    """Columns density and, if velocities were measured, u, v[, w] or vx, vy[, vz]; all others are coordinates."""
    fields.pop("hold_out", None)
    speeds = next(([c for c in names if c in table.columns] for names in VELOCITIES if names[0] in table.columns), [])
    coordinates = table.drop(columns=[time_column, DENSITY, *speeds])
    if not coordinates.shape[1] or (speeds and len(speeds) != coordinates.shape[1]):
        raise DataError(
            f"{file}: {coordinates.shape[1]} columns of coordinates ({', '.join(map(str, coordinates.columns))}) and "
            f"{len(speeds)} of velocity; give as many of the one as of the other, or no velocity"
        )
    positions = torch.tensor(numbers(coordinates, file)).float()
    velocity = torch.full_like(positions, torch.nan)
    if speeds:
        velocity = torch.tensor(numbers(table[speeds], file, gaps=True)).float()
    return Measurements(
        positions=positions,
        times=torch.tensor(numbers(table[[time_column]], file)[:, 0]),
        density=torch.tensor(numbers(table[[DENSITY]], file, gaps=True)[:, 0]).float(),
        velocity=velocity,
        columns=tuple(map(str, coordinates.columns)),
        **{"name": Path(file).stem} | fields,
    )


def times_of_labels(labels: pd.Series, file: str, name: str) -> np.ndarray:
    """Numbers as they are; labels such as "day 3" or "D2.5" by the number in them."""
    values = pd.to_numeric(labels.astype(str), errors="coerce").to_numpy(float, copy=True)
    for row in np.flatnonzero(np.isnan(values)):
        found = re.findall(r"-?\d+(?:\.\d+)?", str(labels.iloc[row]))
        if len(found) != 1:
            raise DataError(f"{file}, cell {row + 1}, obs['{name}']: '{labels.iloc[row]}' is not a time")
        values[row] = float(found[0])
    return values
