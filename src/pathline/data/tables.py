"""Tables into containers: which columns mean what, and exactly which cell is wrong when one is."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.errors import DataError
from pathline.data.rollouts import Rollouts
from pathline.data.samples import Samples
from pathline.data.series import Series

TIME_NAMES = ("time", "timestamp", "datetime", "date")
LABEL_NAMES = ("label", "class", "target")


def numbers(table: pd.DataFrame, file: str, gaps: bool = False, first_row: int = 2) -> np.ndarray:
    """All columns as float64 (rows, columns). Empty cells are NaN if `gaps` are allowed.

    first_row: the line of the file that holds row 0 of the table; 2 below a header.

    Raises:
        DataError: naming the first cell that is not a number, not finite, or empty without `gaps`.
    """
    columns = []
    for name in table.columns:
        column = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
        wrong = np.isnan(column) & table[name].notna().to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{file}, row {row + first_row}, column '{name}': '{table[name].iloc[row]}' is not a number"
            )
        if np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise DataError(f"{file}, row {row + first_row}, column '{name}': the value is infinite")
        if not gaps and np.isnan(column).any():
            row = int(np.isnan(column).argmax())
            raise DataError(
                f"{file}, row {row + first_row}, column '{name}': the cell is empty; fill it or remove the row"
            )
        columns.append(column)
    return np.stack(columns, axis=1)


def require_columns(table: pd.DataFrame, file: str, names: tuple[str, ...]) -> None:
    """Raise a `DataError` that names the missing columns and those that are there."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns[:8])) + (", ..." if table.shape[1] > 8 else "")
        raise DataError(f"{file}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; the file has {there}")


def series_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    time_column: str | None = None,
    interval: int | None = None,
    start: int = 0,
    missing: float | None = None,
    **fields: Any,
) -> Series:
    """One column per sensor, one row per time step, and a column of times unless `interval` says the spacing.

    Rows that are missing from an otherwise regular clock become gaps; empty cells and the value `missing` are gaps too.
    """
    if time_column is not None:
        require_columns(table, file, (time_column,))
    else:
        named = [name for name in table.columns if str(name).strip().lower() in TIME_NAMES]
        time_column = named[0] if named else None
    if time_column is None and interval is None:
        raise DataError(
            f"{file}: no column is named {' or '.join(TIME_NAMES)}; add one, name yours with --time-column, "
            "or give the seconds between rows with --interval"
        )
    sensors = table.drop(columns=[time_column] if time_column is not None else [])
    if not sensors.shape[1]:
        raise DataError(f"{file}: there is no sensor column beside '{time_column}'")
    values = numbers(sensors, file, gaps=True)
    if missing is not None:
        values[values == missing] = np.nan
    if time_column is not None:
        start, interval, places = _regular_clock(table[time_column], file, time_column, interval)
        grid = np.full((places[-1] + 1, values.shape[1]), np.nan)
        grid[places] = values
        values = grid
    assert interval is not None
    tensor = torch.tensor(values, dtype=torch.float32)[..., None]
    if not torch.isfinite(tensor).any():
        raise DataError(f"{file}: every cell is empty")
    return Series(
        values=tensor,
        observed=torch.isfinite(tensor),
        start=start,
        interval=interval,
        nodes=tuple(str(name) for name in sensors.columns),
        name=Path(file).stem,
        **fields,
    )


def _regular_clock(column: pd.Series, file: str, name: str, interval: int | None) -> tuple[int, int, np.ndarray]:
    """Start (seconds), interval (seconds) and the place of every row on that clock."""
    if pd.api.types.is_numeric_dtype(column):
        seconds = column.to_numpy(float)
    else:
        # a zone behind the time is dropped: what counts is the clock on the wall
        wall = column.astype(str).str.replace(r"([T ]\d\d?:[\d:.]+)\s*(Z|[+-]\d\d:?\d\d)$", r"\1", regex=True)
        stamps = pd.to_datetime(wall, errors="coerce", format="mixed")
        seconds = (stamps - pd.Timestamp(0)).dt.total_seconds().to_numpy()
    if np.isnan(seconds).any():
        row = int(np.isnan(seconds).argmax())
        raise DataError(f"{file}, row {row + 2}, column '{name}': '{column.iloc[row]}' is not a time")
    if len(seconds) < 2:
        raise DataError(f"{file}: a single row has no interval; bring at least two time steps")
    steps = np.diff(seconds)
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        raise DataError(
            f"{file}, row {row + 2}, column '{name}': {column.iloc[row]} does not come after the row above; "
            "sort the rows by time and keep one row per time"
        )
    sizes, counts = np.unique(steps, return_counts=True)
    spacing = round(float(sizes[counts.argmax()])) if interval is None else interval
    if spacing < 1:
        raise DataError(f"{file}, column '{name}': rows are less than a second apart, which Series does not hold")
    exact = (seconds - seconds[0]) / spacing
    places = np.rint(exact).astype(int)
    off = np.abs(exact - places) > 0.05
    off[1:] |= np.diff(places) == 0
    if off.any():
        row = int(off.argmax())
        raise DataError(
            f"{file}, row {row + 2}, column '{name}': {column.iloc[row]} is not a whole number of steps of {spacing} s "
            "after the first row; resample the file to equal steps"
        )
    if places[-1] > 20 * len(places):
        raise DataError(
            f"{file}, column '{name}': more than 95 percent of the steps of {spacing} s are missing; resample the file"
        )
    return round(float(seconds[0])), spacing, places


def samples_from_table(table: pd.DataFrame, file: str, label_column: str | None = None, **fields: Any) -> Samples:
    """Every row a sample, every column a dimension; an optional column of labels, which become 0, 1, ..."""
    if label_column is not None:
        require_columns(table, file, (label_column,))
    else:
        named = [name for name in table.columns if str(name).strip().lower() in LABEL_NAMES]
        label_column = named[0] if named else None
    labels = None
    if label_column is not None:
        if table[label_column].isna().any():
            row = int(table[label_column].isna().to_numpy().argmax())
            raise DataError(f"{file}, row {row + 2}, column '{label_column}': the label is empty")
        labels = torch.tensor(pd.factorize(table[label_column], sort=True)[0]).long()
        table = table.drop(columns=[label_column])
    if not table.shape[1]:
        raise DataError(f"{file}: there is no column of numbers")
    values = torch.tensor(numbers(table, file), dtype=torch.float32)
    columns = tuple(map(str, table.columns))
    return Samples(values=values, labels=labels, columns=columns, name=Path(file).stem, **fields)


def rollouts_from_table(table: pd.DataFrame, file: str, **fields: Any) -> Rollouts:
    """Columns rollout (optional), frame or time, node, x, y[, z], optionally vx, vy[, vz]; the rest are features.

    Every node must be there in every frame. Without velocities, they are the backward differences, and the first frame
    of each rollout is given up for them. The graph is the complete one.
    """
    table = table.copy()
    if "frame" not in table.columns and "time" in table.columns:
        times = numbers(table[["time"]], file)[:, 0]
        moments, table["frame"] = np.unique(times, return_inverse=True)
        spacings = np.diff(moments)
        if len(spacings) and np.ptp(spacings) > 1e-6 * np.abs(moments).max():
            raise DataError(f"{file}, column 'time': frames are not equally spaced; resample the file")
        if len(spacings):
            fields.setdefault("interval", float(spacings[0]))
        table = table.drop(columns="time")
    if "rollout" not in table.columns:
        table["rollout"] = 0
    require_columns(table, file, ("frame", "node", "x", "y"))
    axes = [axis for axis in ("x", "y", "z") if axis in table.columns]
    speeds = [f"v{axis}" for axis in axes if f"v{axis}" in table.columns]
    if speeds and len(speeds) < len(axes):
        require_columns(table, file, tuple(f"v{axis}" for axis in axes))
    table["node"] = pd.factorize(table["node"], sort=True)[0]
    table = table.drop(columns="time", errors="ignore")
    numbers(table, file)
    table = table.sort_values(["rollout", "frame", "node"], kind="stable")
    counts = [table[name].nunique() for name in ("rollout", "frame", "node")]
    doubled = table.duplicated(["rollout", "frame", "node"])
    if doubled.any():
        row = int(doubled.idxmax())
        raise DataError(f"{file}, row {row + 2}: this node appears twice in the same frame of the same rollout")
    if len(table) != np.prod(counts):
        raise DataError(
            f"{file}: {counts[0]} rollouts x {counts[1]} frames x {counts[2]} nodes make {np.prod(counts)} rows, "
            f"but there are {len(table)}: every node must be present in every frame"
        )
    others = [c for c in table.columns if c not in ("rollout", "frame", "node", *axes, *speeds)]

    def grid(names: list[str]) -> torch.Tensor:
        return torch.tensor(table[names].to_numpy(float).reshape(*counts, len(names))).float()

    positions, features = grid(axes), grid(others)[:, 0] if others else None
    interval = float(fields.pop("interval", None) or 1.0)
    if speeds:
        velocities = grid(speeds)
    else:
        velocities = positions.diff(dim=1) / interval
        positions = positions[:, 1:]
    edge_index = torch.nonzero(~torch.eye(counts[2], dtype=torch.bool)).T.contiguous()
    return Rollouts(
        positions=positions,
        velocities=velocities,
        features=features,
        edge_index=edge_index,
        interval=interval,
        name=Path(file).stem,
        **fields,
    )
