"""Futures as a table, in the words and coordinates of the file that the tracks came from."""

import numpy as np
import pandas as pd
from torch import Tensor

from pathline.data.geodesy import to_degrees
from pathline.data.tracks import Encounters, Tracks

DAY_OF_DATES = 86_400.0  # a start later than this is a date, not a duration


def future_table(data: Tracks, window: Encounters, positions: Tensor, probability: Tensor) -> pd.DataFrame:
    """positions: (batch, k, horizon, dims) of the targets of `window`, probability: (batch, k)."""
    batch, k, horizon, dims = positions.shape
    rows = batch * k * horizon
    frame = window.frame.numpy()[:, None, None] + np.arange(1, horizon + 1)
    seconds = (data.start + frame * data.interval).repeat(k, axis=1).reshape(rows)
    who = window.agent[:, 0].tolist()
    table: dict[str, object] = {
        "scene": np.repeat([data.scenes[i] for i in window.scene.tolist()], k * horizon),
        "agent": np.repeat([data.agents[i] for i in who], k * horizon),
        "future": np.tile(np.repeat(np.arange(k), horizon), batch),
        "probability": np.repeat(probability.cpu().double().numpy().reshape(-1), horizon),
        "time": pd.to_datetime(seconds, unit="s").round("ms") if data.start > DAY_OF_DATES else seconds,
    }
    places = positions.cpu().double().numpy().reshape(rows, dims)
    if data.origin:
        origin = np.repeat(np.array(data.origin)[window.scene.numpy()], k * horizon, axis=0)
        places = to_degrees(places, origin) if data.geographic else places + origin
    names = ("latitude", "longitude", "elevation") if data.geographic else ("x", "y", "z")
    table |= {name: places[:, i] for i, name in enumerate(names[:dims])}
    return pd.DataFrame(table)
