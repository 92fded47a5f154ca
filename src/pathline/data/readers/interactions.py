"""Tables of interactions: columns user, item, and perhaps rating and time, in any order, known by their names."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.errors import DataError
from pathline.data.interactions import Interactions
from pathline.data.readers.csv import read_csv
from pathline.data.readers.parquet import read_parquet
from pathline.data.tables import TIME_NAMES

# Names of columns in small letters, without what is no letter or digit ("User-ID" is userid), and without a final "id".
NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "u", "username", "customer", "reader", "visitor", "reviewer", "member", "client", "account"),
    "item": (
        *("item", "i", "movie", "film", "product", "article", "book", "isbn", "song", "track", "artist", "asin"),
        *("game", "title", "page", "url", "business", "restaurant", "recipe", "sku", "parentasin"),
    ),
    "rating": ("rating", "score", "stars", "star", "value", "overall", "bookrating", "userrating", "starrating"),
    "time": (*TIME_NAMES, "when", "unixtime", "unixreviewtime", "reviewtime", "ratedat", "createdat"),
}
KEPT = ("first", "last")


def read_interactions(
    path: str | Path,
    threshold: float | None = None,
    duplicates: str | None = None,
    time_column: str | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
    hold_out: str = "auto",
) -> Interactions:
    """A csv, txt, parquet, or tab-separated (tsv, inter) file with a header; options as in `interactions_from_table`.

    Raises:
        DataError: a column, cell or pair of rows is wrong, in one sentence that names it and the way out.
    """
    path = Path(path)
    if path.suffix.lower() in (".tsv", ".inter"):
        table = _read_tabs(path)
    elif path.suffix.lower() == ".parquet":
        table = read_parquet(path)
    else:
        table = read_csv(path, as_text=True)
    return interactions_from_table(
        table,
        str(path),
        threshold=threshold,
        duplicates=duplicates,
        time_column=time_column,
        user_column=user_column,
        item_column=item_column,
        rating_column=rating_column,
        hold_out=hold_out,
    )


def _read_tabs(path: Path) -> pd.DataFrame:
    """All cells as text; of column names what stands before a colon, for recbole writes user_id:token."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
        header = pd.read_csv(path, sep="\t", dtype=str, quoting=3, header=None, nrows=1).iloc[0]
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty; it needs a header row and data") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of tab-separated columns ({str(error).strip()})") from None
    table.columns = [str(name).partition(":")[0] for name in header]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}, row 1: two columns are named '{twice[0]}'; give each its own name")
    return table


def interactions_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    threshold: float | None = None,
    duplicates: str | None = None,
    time_column: str | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
    hold_out: str = "auto",
) -> Interactions:
    """One row per interaction. Other columns than these four are left aside.

    Args:
        user_column, item_column, rating_column: where they have names that are not known.
        threshold: ratings from here on count as liking; without it every row does.
        duplicates: of several rows of one user and item keep the "first" or the "last" of the file; None refuses them.
        time_column: the column of times where it has another name; numbers, or dates.
    """
    named = {"user": user_column, "item": item_column, "rating": rating_column, "time": time_column}
    for wanted in named.values():
        if wanted is not None and wanted not in table.columns:
            raise DataError(f"{file}: there is no column '{wanted}'; the file has {_listed(table)}")
    taken = [wanted for wanted in named.values() if wanted is not None]
    columns = {kind: _column(table, kind, file, taken) if own is None else own for kind, own in named.items()}
    for kind in ("user", "item"):
        if columns[kind] is None:
            lost = f"{file}: no {'other ' * bool(taken)}column is named {kind} (or {kind}_id)"
            if table.shape[1] == 1 and (mark := re.search(r"[;|\t]", str(table.columns[0]))):
                raise DataError(
                    f"{lost}; the header is separated by '{mark[0]}', but csv by commas: write it with commas"
                )
            raise DataError(f"{lost}; the file has {_listed(table)}; name yours with --{kind}-column")
    if len(set(taken)) < len(taken):
        twice = next(wanted for wanted in taken if taken.count(wanted) > 1)
        raise DataError(f"{file}: column '{twice}' cannot be two things; name another one for one of them")
    if not len(table):
        raise DataError(f"{file}: there is no row below the header")
    if duplicates is not None and duplicates not in KEPT:
        raise DataError(f"{file}: duplicates is '{duplicates}'; choose first or last, or leave it out to refuse them")
    names, places = {}, {}
    for kind in ("user", "item"):
        written, cells = pd.factorize(table[columns[kind]])  # -1 where there is none
        stripped = np.array([str(name).strip() for name in cells] + [""], dtype=object)
        empty = stripped[written] == ""
        if empty.any():
            _refuse(file, int(empty.argmax()), columns[kind], f"the {kind} is missing; name it or remove the row")
        same, found = pd.factorize(stripped[:-1])
        places[kind], names[kind] = same[written], list(found)
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


def _column(table: pd.DataFrame, kind: str, file: str, taken: list[str]) -> str | None:
    """The column of this kind, by its name; the plainest of several, such as user_id beside username."""
    known = {word: place for place, word in enumerate(NAMES[kind])}
    words = {name: _word(name) for name in table.columns if name not in taken}
    fitting = {name: known[word] for name, word in words.items() if word in known}
    best = [name for name, place in fitting.items() if place == min(fitting.values())]
    if len(best) > 1:
        raise DataError(
            f"{file}: columns {' and '.join(map(str, best))} could both be the {kind}; say which with --{kind}-column"
        )
    return best[0] if best else None


def _word(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower()).removesuffix("id")


def _refuse(file: str, row: int, column: Any, what: str) -> None:
    raise DataError(f"{file}, row {row + 2}, column '{column}': {what}")


def _ratings(table: pd.DataFrame, column: str | None, file: str) -> np.ndarray | None:
    if column is None:
        return None
    cells = table[column]
    ratings = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(ratings)
    if wrong.any():
        row = int(wrong.argmax())
        text = "" if pd.isna(cells.iloc[row]) else str(cells.iloc[row]).strip()
        said = f"'{text}' is no finite number" if text else "the cell is empty"
        _refuse(file, row, column, f"{said}; write the rating or remove the row")
    return ratings


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
