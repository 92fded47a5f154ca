"""The built-in data sets by key: `load("metr-la-week")`. Their facts are in datasets.toml."""

import difflib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.data.errors import DataError
from pathline.data.fetch import fetch
from pathline.data.perception_sets import PERCEPTION_SETS
from pathline.data.sample_sets import SAMPLE_SETS
from pathline.data.sensor_sets import SENSOR_SETS
from pathline.data.set_facts import facts as facts  # also known as sets.facts
from pathline.data.simulation_sets import SIMULATION_SETS

if TYPE_CHECKING:
    from pathline.data.container import Container
    from pathline.data.environment import Environment
    from pathline.data.graph_signal import GraphSignal
    from pathline.data.series import Series
    from pathline.data.snapshots import Snapshots
    from pathline.data.tracks import Tracks

GRAPHS = ("Graph", "Graphs", "Hypergraph", "Links")  # containers whose sets are made in `graph_benchmarks`
_1_MARCH_2012 = 1_330_560_000  # local midnight as seconds since 1970
_1_OCTOBER_2020 = 1_601_510_400
_22_JANUARY_2020 = 1_579_651_200
_JANUARY_1963 = -220_924_800


def load(key: str) -> Any:
    """The built-in data set `key` as a container.

    Raises:
        DataError: there is no such key, or its files cannot be had.
    """
    if key not in facts():
        near = difflib.get_close_matches(key, facts(), n=1)
        hint = f"did you mean '{near[0]}'" if near else "`pathline datasets` lists them"
        raise DataError(f"there is no built-in data set '{key}'; {hint}")
    if facts()[key]["container"] in GRAPHS:
        from pathline.data.graph_benchmarks import SETS

        return replace(SETS[key](key, facts()[key]), name=key)
    container: Container = _LOADERS[key]()
    return replace(container, name=key)


def _metr_la_week() -> "Series":
    """Speeds in mph; a reading of exactly 0 is a detector that reported nothing."""
    from pathline.data.readers.csv import read_csv
    from pathline.data.readers.graph import read_graph
    from pathline.data.tables import series_from_table

    speeds, graph = fetch("metr-la-week", facts()["metr-la-week"])
    series = series_from_table(read_csv(speeds), str(speeds), interval=300, start=_1_MARCH_2012, missing=0.0)
    adjacency = read_graph(graph, len(series.nodes))
    return replace(series, adjacency=adjacency, unit="mph", channels=("speed",))


def _montevideo_bus() -> "Series":
    """Passengers an hour; zeros are hours without passengers, not gaps."""
    import torch

    from pathline.data.series import Series

    (path,) = fetch("montevideo-bus", facts()["montevideo-bus"])
    graph = json.loads(path.read_text(encoding="utf-8"))
    stops = {node["id"]: place for place, node in enumerate(graph["nodes"])}
    metres = torch.tensor([link["weight"] for link in graph["links"]])
    source, target = (torch.tensor([stops[link[end]] for link in graph["links"]]) for end in ("source", "target"))
    adjacency = torch.zeros(len(stops), len(stops))
    adjacency[source, target] = torch.exp(-((metres / metres.std()) ** 2))
    values = torch.tensor([node["y"] for node in graph["nodes"]]).float().T[..., None]
    return Series(
        values=values,
        observed=torch.ones_like(values, dtype=torch.bool),
        start=_1_OCTOBER_2020,
        interval=3600,
        adjacency=adjacency,
        positions=torch.tensor([[node["lon"], node["lat"]] for node in graph["nodes"]]).float() / 1000,
        nodes=tuple(str(node["bus_stop"]) for node in graph["nodes"]),
        channels=("boardings",),
        unit="passengers/h",
    )


def _simulated_roads() -> "Series":
    from pathline.sims.roads import simulated_roads

    return simulated_roads()


def _simulated_link_loads() -> "Series":
    from pathline.sims.link_loads import simulated_link_loads

    return simulated_link_loads()


def _link_loads(key: str) -> "Callable[[], Series]":
    """Matrix Y of networkTomography: bytes per link."""

    def build() -> "Series":
        from pathline.data.readers.rdata import read_rda

        series = read_rda(fetch(key, facts()[key])[0], variables="Y", interval=300)
        return replace(series, channels=("load",), unit="bytes")

    return build


def _rough_signal() -> "GraphSignal":
    from pathline.sims.graph_signals import rough_signal

    return rough_signal()


def _signal(key: str, steps: int | None = None, **reading: Any) -> "Callable[[], GraphSignal]":
    """A matrix of GraphTRSS, its places turned to longitude and latitude, with the authors' graph."""

    def build() -> "GraphSignal":
        from pathline.data.readers.matlab import read_mat, read_signal, weights_of

        paths = fetch(key, facts()[key])
        unit, interval = reading["unit"], reading["interval"]
        signal = read_signal(paths[0], missing=reading.get("missing"), interval=interval, unit=unit)
        weights = weights_of(read_mat(paths[-1]))
        positions = None if signal.positions is None else signal.positions.flip(1)
        kept = slice(0, steps)
        parts: dict[str, Any] = {"values": signal.values[:, kept], "seen": signal.seen[:, kept], "asked": None}
        return replace(signal, **parts, adjacency=weights, positions=positions, start=reading.get("start", 0))

    return build


def _pacific_winters() -> "GraphSignal":
    """Every fourth cell of the sea; the package is not imported, for only its example file is used."""
    from importlib.util import find_spec

    import torch
    from scipy.io import netcdf_file

    from pathline.data.graph_signal import GraphSignal

    home = find_spec("eofs")
    if home is None or home.origin is None:
        raise DataError(
            "'pacific-winters' ships inside a Python package: pip install eofs, or use the built-in 'rough-signal'"
        )
    path = Path(home.origin).parent / "examples" / "example_data" / "sst_ndjfm_anom.nc"
    with netcdf_file(str(path), mmap=False) as file:
        field, north, east = (
            torch.tensor(file.variables[name][:].astype(float)) for name in ("sst", "latitude", "longitude")
        )
    sea = (field.abs() < 1e3).all(0)
    places = torch.stack([east.expand(sea.shape), north[:, None].expand(sea.shape)], -1)[sea][::4]
    values = field[:, sea].T[::4].float()
    seen = torch.ones_like(values, dtype=torch.bool)
    year = 31_556_952
    return GraphSignal(values=values, seen=seen, positions=places.float(), start=_JANUARY_1963, interval=year, unit="K")


def _cells(key: str) -> "Callable[[], Snapshots]":
    """Tables of VGFM's authors, whose column `samples` numbers the times."""

    def build() -> "Snapshots":
        from pathline.data.files import read

        table: Snapshots = read(fetch(key, facts()[key])[0], "Snapshots", time_column="samples")
        return table

    return build


def _string_table(key: str) -> "Callable[[], Environment]":
    def build() -> "Environment":
        from pathline.data import strings

        read = {"tfbind8": strings.tfbind8, "qm9-strings": strings.qm9_strings}[key]
        return read(fetch(key, facts()[key])[0])

    return build


def _simulated_cells() -> "Snapshots":
    from pathline.sims.cells import simulated_cells

    return simulated_cells()


def _hypergrid() -> "Environment":
    from pathline.sims.environments import Hypergrid

    return Hypergrid(dims=4, side=8, r0=1e-3)


def _bits() -> "Environment":
    from pathline.sims.environments import random_bits

    return random_bits(length=16, word=4, modes=8, seed=0)


def _sets() -> "Environment":
    from pathline.sims.environments import random_sets

    return random_sets(items=60, size=45, seed=0)


def _continuous(key: str) -> "Callable[[], Environment]":
    def build() -> "Environment":
        from pathline.sims import environments as worlds

        made: dict[str, Callable[[], Environment]] = {
            "box": worlds.Box,
            "torus": worlds.Torus,
            "gaussian-grid": lambda: worlds.Diffusion(guided=True, sigma=2.2),
            "spike-and-slab": lambda: worlds.SpikeAndSlab(noise=2.0),
        }
        return made[key]()

    return build


def _simulated_crossing() -> "Tracks":
    from pathline.sims.crossing import crossing_tracks, simulate_crossing

    return crossing_tracks(simulate_crossing(2000))


def _tracks(key: str) -> "Callable[[], Tracks]":
    def build() -> "Tracks":
        from pathline.data import track_sets

        return track_sets.build(key)

    return build


def _stream(key: str) -> Callable[[], Any]:
    def build() -> Any:
        from pathline.data.event_sets import LOADERS

        return LOADERS[key](facts()[key])

    return build


def _ratings(key: str) -> Callable[[], Any]:
    def build() -> Any:
        from pathline.data.rating_sets import LOADERS

        return LOADERS[key](facts()[key])

    return build


_LOADERS: dict[str, Callable[[], Any]] = {
    "metr-la-week": _metr_la_week,
    "montevideo-bus": _montevideo_bus,
    "simulated-roads": _simulated_roads,
    "simulated-link-loads": _simulated_link_loads,
    "link-loads-bell-labs": _link_loads("link-loads-bell-labs"),
    "link-loads-cmu": _link_loads("link-loads-cmu"),
    "rough-signal": _rough_signal,
    "sea-surface-temperature": _signal("sea-surface-temperature", 600, unit="C", interval=2_629_746),
    "pacific-winters": _pacific_winters,
    "pm25-california": _signal("pm25-california", 220, missing=0.0, unit="ug/m3", interval=86_400),
    "covid-cases": _signal("covid-cases", unit="cases", interval=86_400, start=_22_JANUARY_2020),
    "graph-signal-synthetic": _signal("graph-signal-synthetic", unit="", interval=3600),
    **SENSOR_SETS,
    **SAMPLE_SETS,
    **SIMULATION_SETS,
    **PERCEPTION_SETS,
    "pedestrian-eth-ucy": _tracks("pedestrian-eth-ucy"),
    "flight-euroc": _tracks("flight-euroc"),
    "drive-kitti": _tracks("drive-kitti"),
    "handheld-tum": _tracks("handheld-tum"),
    "simulated-quadrotor": _tracks("simulated-quadrotor"),
    "simulated-fork": _tracks("simulated-fork"),
    "simulated-crossroads": _tracks("simulated-crossroads"),
    "single-cell-simulated": _cells("single-cell-simulated"),
    "single-cell-hematopoiesis": _cells("single-cell-hematopoiesis"),
    "simulated-cells": _simulated_cells,
    "hypergrid": _hypergrid,
    "bits": _bits,
    "sets": _sets,
    "tfbind8": _string_table("tfbind8"),
    "qm9-strings": _string_table("qm9-strings"),
    "box": _continuous("box"),
    "torus": _continuous("torus"),
    "gaussian-grid": _continuous("gaussian-grid"),
    "spike-and-slab": _continuous("spike-and-slab"),
    "movielens-100k": _ratings("movielens-100k"),
    "amazon-beauty": _ratings("amazon-beauty"),
    "jester": _ratings("jester"),
    "msweb": _ratings("msweb"),
    "signed-taste": _ratings("signed-taste"),
    "power-law-tastes": _ratings("power-law-tastes"),
    "events-collegemsg": _stream("events-collegemsg"),
    "events-bitcoin-otc": _stream("events-bitcoin-otc"),
    "events-primary-school": _stream("events-primary-school"),
    "events-hospital": _stream("events-hospital"),
    "hospital-hours": _stream("hospital-hours"),
    "drifting-preferences": _stream("drifting-preferences"),
    "triangle-closing": _stream("triangle-closing"),
    "simulated-crossing": _simulated_crossing,
}
