"""Lists of events: csv, tab- or space-separated text, gzipped or not, and parquet, one event a row.

With a header, columns are found by their names: source, target and time (or u, v, t; src, dst, timestamp; ...), then
weight (or rating), and whatever else is a number is a feature of the event. Without one, as in SNAP's and
SocioPatterns' files, the time is the column of numbers that never decreases, source and target are the first two
others, and a weight and features may follow. Two columns of text in the end are what the two nodes are (a role, a
school class).
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.affinities import Affinities
from pathline.data.errors import DataError
from pathline.data.events import Events, events_of

SOURCE = ("source", "src", "from", "sender", "user", "user_id", "u", "i", "id1", "node1", "a")
TARGET = ("target", "dst", "to", "receiver", "recipient", "item", "item_id", "v", "j", "id2", "node2", "b")
TIME = ("time", "timestamp", "t", "ts", "date", "datetime", "unix_time", "when")
WEIGHT = ("weight", "w", "rating", "value", "amount", "count")
RIGHT = 0.99  # share of cells that decide what a column holds


def read_events(
    path: Path,
    time_column: str | None = None,
    directed: int | None = None,
    name: str | None = None,
    order: Sequence[str] | None = None,
) -> Events:
    """A file of events.

    Args:
        time_column: name of the column of times, or its number from 1 in a file without header.
        directed: 1 if u to v is another thing than v to u, else 0; by default it is, unless the file says that it
            lists contacts, by telling what the two are or by naming the nodes i and j.
        order: names of the columns of a file without header.

    Raises:
        DataError: one sentence that names the file, row and column and the way out.
    """
    table = _table(path)
    headed = table.attrs["headed"]
    if order is not None:
        table.columns = [*order, *table.columns[len(order) :]]
        headed = True
    source, target, time = _ends(table, path, time_column) if headed else _places(table, path, time_column)
    weight = next((c for c in table.columns if str(c).lower() in WEIGHT and c not in (source, target, time)), None)
    rest = [column for column in table.columns if column not in (source, target, time, weight)]
    text = [column for column in rest if not _is_number(table[column])]
    numeric = [column for column in rest if column not in text]
    if not headed and weight is None and numeric:
        weight, *numeric = numeric
    groups = tuple(text) if len(text) == 2 else ()
    if directed is None:
        directed = not (groups or {str(source).lower(), str(target).lower()} == {"i", "j"})
    for column in (source, target):
        _require_filled(table, column, path)
    fields: dict[str, Any] = {"directed": bool(directed)}
    if weight is not None:
        fields["weight"] = torch.from_numpy(_numbers(table, weight, path)).float()
    if numeric:
        fields["features"] = torch.from_numpy(np.stack([_numbers(table, c, path) for c in numeric], 1)).float()
    when, unit = _times(table, time, path)
    events = events_of(
        _names(table[source]), _names(table[target]), when, name=name or _stem(path), unit=unit, **fields
    )
    if events.nodes < 3:
        raise DataError(f"{path}: there are only {events.nodes} nodes in it; events between at least 3 are needed")
    if groups:
        events = _with_groups(events, table, source, target, groups)
    return events


def read_affinities(path: Path, period: float | None = None, **options: Any) -> Affinities:
    """A file of events, at whose moments every `period` (in its unit of time) each node is asked for its next partners.

    By default a day or an hour, if 20 to 400 of them fit, else a fortieth of the stream.
    """
    events = read_events(path, **options)
    if period is None:
        period = _usual_period(events)
    return Affinities(events=events, period=float(period), name=events.name)


def _usual_period(events: Events) -> float:
    """An hour or a day if 20 to 400 of them fit, else a fortieth of the stream."""
    span = events.span
    if events.unit == "s":
        for period in (86_400.0, 3600.0):
            if 20 <= span / period <= 400:
                return period
    return max(span, 1e-9) / 40


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _table(path: Path) -> pd.DataFrame:
    """The rows as they stand; attrs["headed"] says whether the columns have names."""
    if path.suffix == ".parquet":
        from pathline.data.readers.parquet import read_parquet

        table = read_parquet(path)
        table.attrs["headed"] = True
        return table
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            head = ""
            skipped = 0
            for line in lines:
                if line.strip() and not line.startswith(("#", "%")):
                    head = line.strip()
                    break
                skipped += 1
    except (UnicodeDecodeError, gzip.BadGzipFile):
        raise DataError(f"{path}: this is not a text file; events are read from csv, txt, gz or parquet") from None
    if not head:
        raise DataError(f"{path}: the file is empty; it needs one event a row: source, target, time")
    separator = next((mark for mark in ("\t", ",", ";") if mark in head), r"\s+")
    first = [cell.strip().strip('"') for cell in (head.split() if separator == r"\s+" else head.split(separator))]
    headed = not any(_looks_like_number(cell) for cell in first) and len(set(first)) == len(first)
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            header=0 if headed else None,
            skiprows=skipped,
            skipinitialspace=True,
            engine="python" if separator == r"\s+" else "c",
            **({} if separator == r"\s+" else {"low_memory": False}),
        )
    except pd.errors.ParserError as error:
        reason = str(error).rpartition("C error: ")[2].strip()
        raise DataError(f"{path}: the rows do not have equally many columns ({reason})") from None
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    if not len(table):
        raise DataError(f"{path}: there is a header but no event")
    if not headed:
        table.columns = [str(number) for number in range(1, table.shape[1] + 1)]
    table.attrs.update(headed=headed, first_row=skipped + 1 + headed)
    return table


def _looks_like_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column)) and not bool(pd.api.types.is_bool_dtype(column))


def _ends(table: pd.DataFrame, path: Path, time_column: str | None) -> tuple[str, str, str]:
    """Columns of source, target and time by their names."""
    known = {str(column).strip().lower(): column for column in table.columns}
    if time_column is not None and time_column not in table.columns:
        raise DataError(f"{path}: there is no column '{time_column}'; there are {', '.join(map(str, table.columns))}")
    found = []
    for what, names in (("source", SOURCE), ("target", TARGET), ("time", TIME)):
        column = time_column if what == "time" and time_column else next((known[n] for n in names if n in known), None)
        if column is None:
            raise DataError(
                f"{path}: no column is named {what} ({', '.join(names[1:4])}); there are "
                f"{', '.join(map(str, table.columns))}: rename one"
                + (", or name it with --time-column" if what == "time" else "")
            )
        found.append(column)
    return found[0], found[1], found[2]


def _places(table: pd.DataFrame, path: Path, time_column: str | None) -> tuple[str, str, str]:
    """Columns of a file without header: the time never decreases; the first two others are source and target."""
    if table.shape[1] < 3:
        raise DataError(f"{path}: it has {table.shape[1]} columns; an event needs three: source, target, time")
    time = time_column
    if time is not None and time not in table.columns:
        raise DataError(f"{path}: there is no column {time}; they are numbered from 1 to {table.shape[1]}")
    if time is None:
        rising = [column for column in table.columns if _rises(table[column])]
        preferred = [column for column in ("3", "4", "1") if column in rising]
        if not rising and not _is_number(table["3"]):
            raise DataError(
                f"{path}, row 1, column 3: '{table['3'].iloc[0]}' is no time; expected source, target, time in every "
                "row, or say which column the time is with --time-column"
            )
        time = (preferred or rising or ["3"])[0]
    source, target = [column for column in table.columns if column != time][:2]
    return source, target, time


def _rises(column: pd.Series) -> bool:
    """Whether these look like the times of a list in the order of time; a few broken cells do not hide it."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    values = values[np.isfinite(values)]
    steps = np.diff(values)
    return len(values) >= RIGHT * len(column) and bool((steps > 0).any()) and (steps >= 0).mean() >= RIGHT


def _require_filled(table: pd.DataFrame, column: str, path: Path) -> None:
    gaps = table[column].isna()
    if gaps.any():
        row = int(gaps.to_numpy().argmax()) + table.attrs.get("first_row", 1)
        raise DataError(f"{path}, row {row}, column {column}: there is no node; remove the row or name the node")


def _numbers(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """The column as float64; a `DataError` names the first cell that is no finite number."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float, copy=True)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{path}, row {row + table.attrs.get('first_row', 1)}, column {column}: '{table[column].iloc[row]}' is no "
            "number; repair or remove the row"
        )
    return values


def _times(table: pd.DataFrame, column: str, path: Path) -> tuple[torch.Tensor, str]:
    """int64 where all are whole, else float64; dates become seconds since 1970."""
    cells = table[column]
    if cells.dtype.kind in "iu":
        return torch.from_numpy(cells.to_numpy(np.int64, copy=True)), "s"
    if cells.dtype.kind == "f":
        return torch.from_numpy(_numbers(table, column, path)), "s"
    if pd.to_numeric(cells, errors="coerce").notna().mean() >= 0.5:
        return torch.from_numpy(_numbers(table, column, path)), "s"
    parsed = pd.to_datetime(cells, errors="coerce", utc=True)
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{path}, row {row + table.attrs.get('first_row', 1)}, column {column}: '{cells.iloc[row]}' is neither a "
            "number nor a date"
        )
    microseconds = parsed.astype("datetime64[us, UTC]").astype("int64").to_numpy(copy=True)
    if (microseconds % 1_000_000 == 0).all():
        return torch.from_numpy(microseconds // 1_000_000), "s"
    return torch.from_numpy(microseconds / 1e6), "s"


def _names(column: pd.Series) -> list[Any]:
    """Whole numbers as such (1.0 is 1), everything else as text."""
    if _is_number(column) and bool((column == column.round()).all()):
        return column.astype("int64").tolist()
    return [str(cell).strip() for cell in column]


def _with_groups(events: Events, table: pd.DataFrame, source: str, target: str, groups: tuple[str, ...]) -> Events:
    """What each node is, one-hot, as its features; the first word that is said of it counts."""
    from dataclasses import replace

    said = pd.concat(
        [
            pd.DataFrame({"node": [str(one) for one in _names(table[end])], "group": table[column].astype(str)})
            for end, column in ((source, groups[0]), (target, groups[1]))
        ]
    ).drop_duplicates("node")
    kinds = sorted(said["group"].unique())
    of = dict(zip(said["node"], said["group"], strict=True))
    index = torch.tensor([kinds.index(of[name]) for name in events.names])
    return replace(events, node_features=torch.nn.functional.one_hot(index, len(kinds)).float())
