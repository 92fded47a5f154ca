"""Built-in sensor networks: the files of PyTorch Geometric Temporal, and stations that measure the air."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.data.fetch import fetch

if TYPE_CHECKING:
    import torch

    from pathline.data.series import Series

DAY, HOUR, WEEK = 86_400, 3600, 604_800
_3_JANUARY_2005 = 1_104_710_400  # a Monday; local midnights as seconds since 1970
_1_MARCH_2013 = 1_362_096_000
_1_JANUARY_2015 = 1_420_070_400
_6_JANUARY_2020 = 1_578_268_800
_3_MARCH_2020 = 1_583_193_600
_28_AUGUST_2017 = 1_503_878_400
KILOMETRES = 111.2  # per degree of latitude


def _files(key: str) -> list[Path]:
    from pathline.data.sets import facts

    return fetch(key, facts()[key])


def _record(key: str) -> Any:
    return json.loads(_files(key)[0].read_text(encoding="utf-8"))


def _graph(edges: Any, weights: Any, nodes: int) -> "torch.Tensor":
    import torch

    from pathline.graph.adjacency import dense_adjacency

    return dense_adjacency(torch.tensor(edges).T, nodes, None if weights is None else torch.tensor(weights).float())


def _series(values: Any, start: int, interval: int, **fields: Any) -> "Series":
    """values: (time, nodes), all observed."""
    import torch

    from pathline.data.series import Series

    tensor = torch.as_tensor(values).float()[..., None]
    return Series(
        values=tensor, observed=torch.ones_like(tensor, dtype=torch.bool), start=start, interval=interval, **fields
    )


def chickenpox() -> "Series":
    """Weekly cases in 20 counties, as published: each county standardised. Neighbours share a border."""
    data = _record("chickenpox")
    names = tuple(sorted(data["node_ids"], key=data["node_ids"].__getitem__))
    graph = _graph(data["edges"], None, len(names))
    return _series(
        data["FX"], _3_JANUARY_2005, WEEK, adjacency=graph, nodes=names, channels=("cases",),
        unit="standard deviations", history=8, horizon=4,
    )  # fmt: skip


def england_covid() -> "Series":
    """Daily cases in 129 regions, and how many people moved from one to the other on each day: a graph that changes.

    The file has no dates; its source says from 3 March 2020.
    """
    import torch

    data = _record("england-covid")
    edges, weights = (data["edge_mapping"][name] for name in ("edge_index", "edge_weight"))
    days = [str(day) for day in range(data["time_periods"])]
    graph = torch.stack([_graph(edges[day], weights[day], len(data["y"][0])) for day in days])
    return _series(
        data["y"], _3_MARCH_2020, DAY, adjacency=graph, channels=("cases",), unit="cases/day", history=4, horizon=2
    )


def pedalme_london() -> "Series":
    """Weekly parcels in 15 parts of London, standardised as published; the file has no dates."""
    data = _record("pedalme-london")
    graph = _graph(data["edges"], data["weights"], 15)
    return _series(
        data["X"], _6_JANUARY_2020, WEEK, adjacency=graph, channels=("deliveries",), unit="standard deviations",
        history=3, horizon=1,
    )  # fmt: skip


def twitter_tennis() -> "Series":
    """Hourly mentions of 1000 accounts, and who mentioned whom in the first 70 % of the hours, the training part.

    A matrix of every hour would be 1000 times larger than the readings, so one graph stands for all of them; the file
    has no dates.
    """
    data = _record("twitter-tennis")
    hours = sorted((data[key] for key in data if key.isdigit()), key=lambda hour: hour["index"])
    past = hours[: int(0.7 * len(hours))]
    edges, weights = ([entry for hour in past for entry in hour[name]] for name in ("edges", "weights"))
    return _series(
        [hour["y"] for hour in hours], _28_AUGUST_2017, HOUR, adjacency=_graph(edges, weights, 1000),
        channels=("mentions",), unit="mentions/h", history=6, horizon=3,
    )  # fmt: skip


def air_quality_beijing() -> "Series":
    """PM2.5 at 12 stations, one file each; no coordinates, so no graph. `NA` is a gap."""
    import pandas as pd
    import torch

    from pathline.data.series import Series

    tables = [pd.read_csv(path, usecols=["No", "PM2.5", "station"]) for path in _files("air-quality-beijing")]
    values = torch.stack([torch.tensor(table.sort_values("No")["PM2.5"].to_numpy(float)) for table in tables], 1)
    return Series(
        values=values.float()[..., None], observed=values.isfinite()[..., None], start=_1_MARCH_2013, interval=HOUR,
        nodes=tuple(str(table["station"].iloc[0]) for table in tables), channels=("PM2.5",), unit="ug/m3",
        history=24, horizon=24,
    )  # fmt: skip


def air_quality_california() -> "Series":
    """Daily PM2.5 at 93 stations; 0 is a gap. Each station is joined to its five nearest, by exp(-d^2 / mean d^2)."""
    import torch
    from scipy.io import loadmat

    from pathline.data.series import Series
    from pathline.graph import dense_adjacency, knn_graph

    table = loadmat(str(_files("air-quality-california")[0]))
    latitude, longitude = torch.tensor(table["Position"], dtype=torch.float64).T
    east = longitude * torch.cos(torch.deg2rad(latitude.mean()))
    place = KILOMETRES * torch.stack([east - east.mean(), latitude - latitude.mean()], 1)
    edges = knn_graph(place, 5)
    squares = (place[edges[0]] - place[edges[1]]).square().sum(1)
    near = dense_adjacency(edges, len(place), torch.exp(-squares / squares.mean()))
    values = torch.tensor(table["myDataPM"].T).float()[..., None]
    return Series(
        values=values, observed=values > 0, start=_1_JANUARY_2015, interval=DAY,
        adjacency=torch.maximum(near, near.T).float(), positions=place.float(), channels=("PM2.5",), unit="ug/m3",
        history=8, horizon=4,
    )  # fmt: skip


SENSOR_SETS: dict[str, Callable[[], "Series"]] = {
    "chickenpox": chickenpox,
    "england-covid": england_covid,
    "pedalme-london": pedalme_london,
    "twitter-tennis": twitter_tennis,
    "air-quality-beijing": air_quality_beijing,
    "air-quality-california": air_quality_california,
}
