"""R data files of traffic on networks, as networkTomography keeps them: link loads Y, flows X, routing A in a list."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathline.data.errors import DataError
from pathline.data.series import Series

HOUR = 3600


def read_rda(
    path: str | Path,
    variables: str | None = None,
    interval: int | None = None,
    missing: float | None = None,
    **options: Any,
) -> Series:
    """A matrix of an .rda file, one row per time, as a series.

    variables: which: "Y", link loads (the default), "X", flows, or the name of another matrix or table
    interval:  seconds between rows; by default from the list's times in hours, `tvec`
    options:   fields of `Series`, such as history and horizon

    Links that carry a common flow are neighbours.  Raises DataError if the package rdata is missing, for a file that it
    cannot read, and for names that are not there.
    """
    found = _content(path)
    name = variables or next((key for key in ("Y", "X") if key in found), None)
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is None or name not in found:
        raise DataError(f"{path}: which part is the series? name it with --variables; there are {', '.join(found)}")
    try:
        values = np.asarray(found[name], dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{path}: '{name}' is not a matrix of numbers; there are {', '.join(found)}") from None
    if values.ndim != 2:
        raise DataError(f"{path}: '{name}' has shape {values.shape}; a series is one row per time, one column per link")
    start = 0
    if "tvec" in found:
        hours = np.asarray(found["tvec"], dtype=np.float64)
        start, interval = round(hours[0] * HOUR), interval or round(float(np.median(np.diff(hours))) * HOUR)
    if interval is None:
        raise DataError(f"{path}: it does not say how far apart its rows are; give the seconds with --interval")
    tensor = torch.tensor(values).float()[..., None]
    observed = tensor.isfinite() if missing is None else tensor.isfinite() & (tensor != missing)
    routing = np.asarray(found["A"], dtype=np.float64) if "A" in found else None
    shared = None
    if name == "Y" and routing is not None and len(routing) == values.shape[1]:
        carried = torch.tensor(routing).float()
        shared = ((carried @ carried.T) > 0).float().fill_diagonal_(0.0)
    fields = {"start": start, "interval": interval, "adjacency": shared, "name": Path(path).stem}
    return Series(values=tensor, observed=observed, **{**fields, **options})


def _content(path: str | Path) -> dict[str, Any]:
    """What the file holds by name; a file of one list gives the list's entries."""
    try:
        import rdata
    except ModuleNotFoundError:
        raise DataError(f"{path}: files of R need the package rdata: pip install 'pathline[networks]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses about the format, which an error follows if they are wrong
            found = rdata.read_rda(str(path))
    except Exception as error:  # whatever the parser met in a file that is none
        raise DataError(f"{path}: not a readable R data file ({str(error).splitlines()[0]})") from None
    inside = next(iter(found.values())) if len(found) == 1 else None
    return inside if isinstance(inside, dict) else found
