"""Comma-separated text with a header row."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd

from pathline.data.errors import DataError


def read_csv(path: str | Path, as_text: bool = False) -> pd.DataFrame:
    """The table as it stands: one header row, then data. Row 1 of the file is the header.

    as_text: leave every cell as it is written: "007" is no number, and "NA" no gap

    Raises:
        DataError: no such file, an empty one, rows of unequal length, duplicate column names, or not text.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        plain: dict[str, Any] = {"dtype": str, "keep_default_na": False} if as_text else {"low_memory": False}
        table = pd.read_csv(path, skipinitialspace=True, **plain)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty; it needs a header row and data") from None
    except pd.errors.ParserError as error:
        reason = str(error).rpartition("C error: ")[2].strip()
        raise DataError(f"{path}: the rows do not have equally many columns ({reason})") from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: this is not a text file; csv is expected (parquet and npz are read by their endings)"
        ) from None
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True).iloc[0]
    twice = header[header.duplicated()]
    if len(twice):
        raise DataError(f"{path}, row 1: two columns are named '{twice.iloc[0]}'; give each its own name")
    if not len(table):
        raise DataError(f"{path}: there is a header but no data row")
    last = table.iloc[:, -1]
    if bool((last.isna() | (last == "")).any()):  # the mark that pandas leaves of a row that is too short
        _require_whole_rows(path, len(header))
    return table


def _require_whole_rows(path: Path, columns: int) -> None:
    """A row that ends early is a broken file, not a gap: a gap keeps its commas."""
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines, skipinitialspace=True)
        for cells in reader:
            if cells and len(cells) < columns:
                where = f"{path}, row {reader.line_num}"
                raise DataError(f"{where}: it has {len(cells)} of {columns} columns; write a gap as an empty cell")


def read_matrix(path: str | Path, as_text: bool = False) -> pd.DataFrame:
    """A table without a header row; as_text leaves every cell as it is written, empty ones as gaps."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        plain: dict[str, Any] = {"dtype": str} if as_text else {"low_memory": False}
        return pd.read_csv(path, header=None, skipinitialspace=True, **plain)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a matrix in csv ({str(error).strip()})") from None
