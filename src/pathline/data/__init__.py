"""Data: containers of tensors, the readers that fill them, and the built-in sets."""

from typing import TYPE_CHECKING

from pathline._lazy import attach

if TYPE_CHECKING:
    from pathline.data.affinities import Affinities, Question
    from pathline.data.clips import Clips, Frames
    from pathline.data.container import Batch, Container, Split
    from pathline.data.equation import Equation, Nodes
    from pathline.data.errors import DataError
    from pathline.data.events import Contacts, Events, events_from_temporal_data, events_of
    from pathline.data.evolving_graphs import EvolvingGraph, evolving_graph_of
    from pathline.data.fields import Fields, Frame
    from pathline.data.files import read
    from pathline.data.graph import Graph
    from pathline.data.graph_batch import GraphBatch, GraphData
    from pathline.data.graph_list import Graphs, graphs_of
    from pathline.data.graph_signal import Entries, GraphSignal, signal_of_series
    from pathline.data.hypergraph import Hypergraph
    from pathline.data.interactions import Choices, Interactions
    from pathline.data.links import Links
    from pathline.data.measurements import Measurements, Readings
    from pathline.data.meshes import Meshes, MeshStep, NodeType
    from pathline.data.pairs import Pairs, TwoFrames
    from pathline.data.pyg import from_pyg, to_pyg
    from pathline.data.readers.atoms import atoms_from_positions, rollouts_from_atoms
    from pathline.data.rollouts import Rollouts, Step
    from pathline.data.samples import Draw, Samples
    from pathline.data.sequences import Recordings, Sequences
    from pathline.data.series import Series, Windows
    from pathline.data.sets import load
    from pathline.data.snapshots import Cells, Snapshots, snapshots_of
    from pathline.data.tracks import Encounters, Tracks
    from pathline.data.waveforms import Waveforms, waveforms_of

__all__ = [
    "Affinities",
    "Batch",
    "Cells",
    "Choices",
    "Clips",
    "Contacts",
    "Container",
    "DataError",
    "Draw",
    "Encounters",
    "Entries",
    "Equation",
    "Events",
    "EvolvingGraph",
    "Fields",
    "Frame",
    "Frames",
    "Graph",
    "GraphBatch",
    "GraphData",
    "GraphSignal",
    "Graphs",
    "Hypergraph",
    "Interactions",
    "Links",
    "Measurements",
    "MeshStep",
    "Meshes",
    "NodeType",
    "Nodes",
    "Pairs",
    "Question",
    "Readings",
    "Recordings",
    "Rollouts",
    "Samples",
    "Sequences",
    "Series",
    "Snapshots",
    "Split",
    "Step",
    "Tracks",
    "TwoFrames",
    "Waveforms",
    "Windows",
    "atoms_from_positions",
    "events_from_temporal_data",
    "events_of",
    "evolving_graph_of",
    "from_pyg",
    "graphs_of",
    "load",
    "read",
    "rollouts_from_atoms",
    "signal_of_series",
    "snapshots_of",
    "to_pyg",
    "waveforms_of",
]

_HOMES = {
    "clips": ("Clips", "Frames"),
    "container": ("Batch", "Container", "Split"),
    "equation": ("Equation", "Nodes"),
    "affinities": ("Affinities", "Question"),
    "errors": ("DataError",),
    "events": ("Contacts", "Events", "events_from_temporal_data", "events_of"),
    "evolving_graphs": ("EvolvingGraph", "evolving_graph_of"),
    "fields": ("Fields", "Frame"),
    "graph_signal": ("Entries", "GraphSignal", "signal_of_series"),
    "files": ("read",),
    "interactions": ("Choices", "Interactions"),
    "graph": ("Graph",),
    "graph_batch": ("GraphBatch", "GraphData"),
    "graph_list": ("Graphs", "graphs_of"),
    "hypergraph": ("Hypergraph",),
    "links": ("Links",),
    "pyg": ("from_pyg", "to_pyg"),
    "measurements": ("Measurements", "Readings"),
    "meshes": ("MeshStep", "Meshes", "NodeType"),
    "readers.atoms": ("atoms_from_positions", "rollouts_from_atoms"),
    "pairs": ("Pairs", "TwoFrames"),
    "rollouts": ("Rollouts", "Step"),
    "samples": ("Draw", "Samples"),
    "sequences": ("Recordings", "Sequences"),
    "series": ("Series", "Windows"),
    "sets": ("load",),
    "snapshots": ("Cells", "Snapshots", "snapshots_of"),
    "tracks": ("Encounters", "Tracks"),
    "waveforms": ("Waveforms", "waveforms_of"),
}
__getattr__, __dir__ = attach(
    __name__, {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
)
