"""Parquet tables."""

from pathlib import Path

import pandas as pd

from pathline.data.errors import DataError


def read_parquet(path: str | Path) -> pd.DataFrame:
    """The table of a parquet file; an index that carries times becomes a column."""
    import pyarrow

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        table = pd.read_parquet(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(names=table.index.name or "time")
    if not len(table):
        raise DataError(f"{path}: there is no data row")
    return table.rename(columns=str)
