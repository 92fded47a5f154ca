"""GPS exchange files: tracks and their segments as metres around the middle of where they were.

Tracks that were recorded at the same time are in one scene; one that shares no moment with any other is a scene of its
own. GPX 1.0 and 1.1, https://www.topografix.com/gpx.asp, are read with the standard library's parser.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from pathline.data.errors import DataError
from pathline.data.readers.tracks import from_rows
from pathline.data.tracks import Tracks


def read_gpx(
    path: str | Path,
    interval: float | None = None,
    gap: float | None = None,
    method: str = "linear",
    dims: int = 2,
    **fields: Any,
) -> Tracks:
    """Tracks of a gpx file.

    interval: seconds from one step to the next; the median spacing by default
    gap: seconds up to which missing positions are interpolated; 4 spacings by default
    dims: 3 takes the elevation too, where every point has one

    Raises:
        DataError: it is no gpx file, it holds no track, or a point lacks its time, place or (for 3) elevation.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        tree = ElementTree.parse(path)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not a readable gpx file ({error})") from None
    labels: list[str] = []
    rows: list[tuple[str | None, str | None, str | None, str | None]] = []
    for number, track in enumerate(tree.getroot().findall(".//{*}trk"), start=1):
        name = track.findtext("{*}name") or f"track {number}"
        name = f"{name} ({number})" if name in labels else name
        points = track.findall(".//{*}trkpt")
        rows += [(p.get("lat"), p.get("lon"), p.findtext("{*}ele"), p.findtext("{*}time")) for p in points]
        labels += [name] * len(points)
    if not rows:
        raise DataError(f"{path}: there is no track in it (routes and waypoints have no times and are not read)")
    table = pd.DataFrame(rows, columns=["latitude", "longitude", "elevation", "time"])
    columns = ["latitude", "longitude", "elevation"][:dims]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    clock = pd.to_datetime(table["time"], errors="coerce", format="ISO8601", utc=True)
    for wrong, what in ((~np.isfinite(values).all(1), " or ".join(columns)), (clock.isna().to_numpy(), "time")):
        if wrong.any():
            point = int(wrong.argmax())
            raise DataError(f"{path}: point {point + 1}, of '{labels[point]}', has no readable {what}")
    seconds = (clock - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    who = np.array(labels)
    fresh = ~pd.DataFrame({"who": who, "seconds": seconds}).duplicated().to_numpy()  # a receiver may say it twice
    arrays = {"values": values[fresh], "clock": seconds[fresh], "line": np.flatnonzero(fresh) + 1}
    who = who[fresh]
    scenes = _meetings(who, arrays["clock"])
    return from_rows(arrays, who, scenes, str(path), True, interval, gap, method, True, fields)


def _meetings(who: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """For every point the name of its scene: the first of the tracks whose times hang together."""
    spans = pd.DataFrame({"who": who, "seconds": seconds}).groupby("who", sort=False).seconds.agg(["min", "max"])
    spans = spans.sort_values("min")
    before = spans["max"].cummax().shift(fill_value=-np.inf)
    group = (spans["min"] > before).cumsum()
    name = {label: spans.index[int((group == number).to_numpy().argmax())] for label, number in group.items()}
    return np.array([name[label] for label in who])
