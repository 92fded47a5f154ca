"""Tables of interactions: columns user, item, and perhaps rating and time, in any order, known by their names."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.errors import DataError
from pathline.data.interactions import Interactions
from pathline.data.readers.csv import read_csv
from pathline.data.readers.parquet import read_parquet
from pathline.data.tables import TIME_NAMES, numbers

NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "user id", "uid", "customer", "customer_id", "reader", "visitor"),
    "item": ("item", "item_id", "itemid", "item id", "iid", "movie", "movie_id", "movieid", "product", "product_id"),
    "rating": ("rating", "score", "stars", "value"),
    "time": (*TIME_NAMES, "time_stamp", "unixtime"),
}
KEPT = ("first", "last")


def read_interactions(path: str | Path, **options: Any) -> Interactions:
    """A csv, txt, parquet, or tab-separated (tsv, inter) file with a header; options as in `interactions_from_table`.

    Raises:
        DataError: a column, cell or pair of rows is wrong, in one sentence that names it and the way out.
    """
    path = Path(path)
    if path.suffix.lower() in (".tsv", ".inter"):
        try:
            table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a table of tab-separated columns ({str(error).strip()})") from None
        table.columns = [str(name).partition(":")[0] for name in table.columns]  # recbole writes user_id:token
    elif path.suffix.lower() == ".parquet":
        table = read_parquet(path)
    else:
        table = read_csv(path, as_text=True)
    return interactions_from_table(table, str(path), **options)


def interactions_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    threshold: float | None = None,
    duplicates: str | None = None,
    time_column: str | None = None,
    hold_out: str = "auto",
) -> Interactions:
    """One row per interaction. Other columns than these four are left aside.

    Args:
        threshold: ratings from here on count as liking; without it every row does.
        duplicates: of several rows of one user and item keep the "first" or the "last" of the file; None refuses them.
        time_column: the column of times where it has another name; numbers, or dates.
    """
    columns = {kind: _column(table, kind, file) for kind in NAMES}
    if time_column is not None:
        if time_column not in table.columns:
            raise DataError(f"{file}: there is no column '{time_column}'; the file has {_listed(table)}")
        columns["time"] = time_column
    for kind in ("user", "item"):
        if columns[kind] is None:
            raise DataError(f"{file}: no column is named {kind} (or {NAMES[kind][1]}); the file has {_listed(table)}")
    if not len(table):
        raise DataError(f"{file}: there is no row below the header")
    if duplicates is not None and duplicates not in KEPT:
        raise DataError(f"{file}: duplicates is '{duplicates}'; choose first or last, or leave it out to refuse them")
    names, places = {}, {}
    for kind in ("user", "item"):
        cells = table[columns[kind]].astype("string").str.strip()
        empty = (cells.isna() | (cells == "")).to_numpy(bool)
        if empty.any():
            _refuse(file, int(empty.argmax()), columns[kind], f"the {kind} is missing; name it or remove the row")
        places[kind], found = pd.factorize(cells.to_numpy(object))
        names[kind] = [str(name) for name in found]
    rating = _ratings(table, columns["rating"], file)
    time = _times(table, columns["time"], file)
    pair = pd.Series(places["user"].astype(np.int64) * len(names["item"]) + places["item"])
    if duplicates is None and bool(pair.duplicated().any()):
        row = int(pair.duplicated().to_numpy().argmax())
        first = int((pair == pair[row]).to_numpy().argmax())
        raise DataError(
            f"{file}, row {row + 2}: user '{names['user'][places['user'][row]]}' has item "
            f"'{names['item'][places['item'][row]]}' a second time, after row {first + 2}; keep one row of each "
            "pair, or say --duplicates first or last"
        )
    kept = np.flatnonzero(~pair.duplicated(keep=duplicates or "first").to_numpy())
    if threshold is not None and rating is None:
        raise DataError(f"{file}: --threshold needs a column of ratings (rating, score or stars); there is none")
    if threshold is not None and rating is not None and not bool((rating[kept] >= threshold).any()):
        raise DataError(f"{file}: no rating reaches the threshold of {threshold:g}; the highest is {rating.max():g}")
    return Interactions(
        user=torch.from_numpy(places["user"][kept].astype(np.int64)),
        item=torch.from_numpy(places["item"][kept].astype(np.int64)),
        rating=None if rating is None else torch.from_numpy(rating[kept]).float(),
        time=None if time is None else torch.from_numpy(time[kept]),
        users=tuple(names["user"]),
        items=tuple(names["item"]),
        threshold=threshold,
        hold_out=hold_out,
        name=Path(file).stem,
    )


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns[:8])) + (", ..." if table.shape[1] > 8 else "")


def _column(table: pd.DataFrame, kind: str, file: str) -> str | None:
    """The column of this kind, by its name in small letters."""
    fitting = [str(name) for name in table.columns if str(name).strip().lower() in NAMES[kind]]
    if len(fitting) > 1:
        raise DataError(f"{file}: columns {' and '.join(fitting)} could both be the {kind}; rename or remove one")
    return fitting[0] if fitting else None


def _refuse(file: str, row: int, column: Any, what: str) -> None:
    raise DataError(f"{file}, row {row + 2}, column '{column}': {what}")


def _ratings(table: pd.DataFrame, column: str | None, file: str) -> np.ndarray | None:
    if column is None:
        return None
    cells = table[[column]].mask(table[[column]].astype("string").apply(lambda c: c.str.strip()) == "")
    return numbers(cells, file)[:, 0]


def _times(table: pd.DataFrame, column: str | None, file: str) -> np.ndarray | None:
    """Seconds: numbers as they are, dates since 1970."""
    if column is None:
        return None
    cells = table[column]
    seconds = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    if np.isnan(seconds).all():
        stamps = pd.to_datetime(cells, errors="coerce", format="mixed", utc=True)
        seconds = ((stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds()).to_numpy(float)
    wrong = ~np.isfinite(seconds)
    if wrong.any():
        row = int(wrong.argmax())
        _refuse(
            file, row, column, f"'{cells.iloc[row]}' is not a time; write seconds in every row, or dates in every row"
        )
    return seconds
