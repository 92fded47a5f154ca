"""Data: containers of tensors, the readers that fill them, and the built-in sets."""

from typing import TYPE_CHECKING

from pathline._lazy import attach

if TYPE_CHECKING:
    from pathline.data.clips import Clips, Frames
    from pathline.data.container import Batch, Container, Split
    from pathline.data.equation import Equation, Nodes
    from pathline.data.errors import DataError
    from pathline.data.fields import Fields, Frame
    from pathline.data.files import read
    from pathline.data.measurements import Measurements, Readings
    from pathline.data.meshes import Meshes, MeshStep, NodeType
    from pathline.data.pairs import Pairs, TwoFrames
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
    "Batch",
    "Cells",
    "Clips",
    "Container",
    "DataError",
    "Draw",
    "Encounters",
    "Equation",
    "Fields",
    "Frame",
    "Frames",
    "Measurements",
    "MeshStep",
    "Meshes",
    "NodeType",
    "Nodes",
    "Pairs",
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
    "load",
    "read",
    "rollouts_from_atoms",
    "snapshots_of",
    "waveforms_of",
]

_HOMES = {
    "clips": ("Clips", "Frames"),
    "container": ("Batch", "Container", "Split"),
    "equation": ("Equation", "Nodes"),
    "errors": ("DataError",),
    "fields": ("Fields", "Frame"),
    "files": ("read",),
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
