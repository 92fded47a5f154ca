"""Data: containers of tensors, the readers that fill them, and the built-in sets."""

from typing import TYPE_CHECKING

from pathline._lazy import attach

if TYPE_CHECKING:
    from pathline.data.container import Batch, Container, Split
    from pathline.data.errors import DataError
    from pathline.data.files import read
    from pathline.data.measurements import Measurements, Readings
    from pathline.data.pairs import Pairs, TwoFrames
    from pathline.data.rollouts import Rollouts, Step
    from pathline.data.samples import Draw, Samples
    from pathline.data.series import Series, Windows
    from pathline.data.sets import load
    from pathline.data.snapshots import Cells, Snapshots, snapshots_of

__all__ = [
    "Batch",
    "Cells",
    "Container",
    "DataError",
    "Draw",
    "Measurements",
    "Pairs",
    "Readings",
    "Rollouts",
    "Samples",
    "Series",
    "Snapshots",
    "Split",
    "Step",
    "TwoFrames",
    "Windows",
    "load",
    "read",
    "snapshots_of",
]

_HOMES = {
    "container": ("Batch", "Container", "Split"),
    "errors": ("DataError",),
    "files": ("read",),
    "measurements": ("Measurements", "Readings"),
    "pairs": ("Pairs", "TwoFrames"),
    "rollouts": ("Rollouts", "Step"),
    "samples": ("Draw", "Samples"),
    "series": ("Series", "Windows"),
    "sets": ("load",),
    "snapshots": ("Cells", "Snapshots", "snapshots_of"),
}
__getattr__, __dir__ = attach(
    __name__, {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
)
