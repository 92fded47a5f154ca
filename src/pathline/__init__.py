"""pathline: learn how things move. Published methods behind one interface, each with executable evidence.

The public names load on first use, so that `import pathline` stays fast:

    import pathline as pl

    data = pl.load("metr-la-week")
    board = pl.compare(["stlinear", "gman"], data, budget=pl.minutes(1))
    model = pl.method("gman").for_data(data).fit(data, pl.steps(500))
"""

from typing import TYPE_CHECKING

from pathline._lazy import attach

if TYPE_CHECKING:
    from pathline.core.budget import Budget, epochs, minutes, steps
    from pathline.core.catalog import method, methods
    from pathline.core.checks import check_method
    from pathline.core.claim import Claim, at_least, at_most
    from pathline.core.compare import Leaderboard, compare
    from pathline.core.errors import DataError, MethodError, PathlineError
    from pathline.core.method import Method, Recipe
    from pathline.core.source import read
    from pathline.data.affinities import Affinities
    from pathline.data.clips import Clips
    from pathline.data.equation import Equation
    from pathline.data.events import Events
    from pathline.data.fields import Fields
    from pathline.data.graph import Graph
    from pathline.data.graph_list import Graphs
    from pathline.data.graph_signal import GraphSignal
    from pathline.data.hypergraph import Hypergraph
    from pathline.data.interactions import Interactions
    from pathline.data.links import Links
    from pathline.data.meshes import Meshes
    from pathline.data.pairs import Pairs
    from pathline.data.rollouts import Rollouts
    from pathline.data.samples import Samples
    from pathline.data.sequences import Sequences
    from pathline.data.series import Series
    from pathline.data.sets import load
    from pathline.data.snapshots import Snapshots
    from pathline.data.tracks import Tracks
    from pathline.data.waveforms import Waveforms

__version__ = "0.1.0"
__all__ = [
    "Affinities",
    "Budget",
    "Claim",
    "Clips",
    "DataError",
    "Equation",
    "Events",
    "Fields",
    "Graph",
    "GraphSignal",
    "Graphs",
    "Hypergraph",
    "Interactions",
    "Leaderboard",
    "Links",
    "Meshes",
    "Method",
    "MethodError",
    "Pairs",
    "PathlineError",
    "Recipe",
    "Rollouts",
    "Samples",
    "Sequences",
    "Series",
    "Snapshots",
    "Tracks",
    "Waveforms",
    "at_least",
    "at_most",
    "check_method",
    "compare",
    "epochs",
    "load",
    "method",
    "methods",
    "minutes",
    "read",
    "steps",
]

_HOMES = {
    "core.budget": ("Budget", "epochs", "minutes", "steps"),
    "core.catalog": ("method", "methods"),
    "core.checks": ("check_method",),
    "core.claim": ("Claim", "at_least", "at_most"),
    "core.compare": ("Leaderboard", "compare"),
    "core.errors": ("DataError", "MethodError", "PathlineError"),
    "core.method": ("Method", "Recipe"),
    "core.source": ("read",),
    "data.equation": ("Equation",),
    "data.affinities": ("Affinities",),
    "data.events": ("Events",),
    "data.fields": ("Fields",),
    "data.interactions": ("Interactions",),
    "data.graph": ("Graph",),
    "data.graph_list": ("Graphs",),
    "data.hypergraph": ("Hypergraph",),
    "data.links": ("Links",),
    "data.graph_signal": ("GraphSignal",),
    "data.meshes": ("Meshes",),
    "data.clips": ("Clips",),
    "data.pairs": ("Pairs",),
    "data.rollouts": ("Rollouts",),
    "data.samples": ("Samples",),
    "data.sequences": ("Sequences",),
    "data.series": ("Series",),
    "data.sets": ("load",),
    "data.snapshots": ("Snapshots",),
    "data.tracks": ("Tracks",),
    "data.waveforms": ("Waveforms",),
}
__getattr__, __dir__ = attach(
    __name__, {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
)
