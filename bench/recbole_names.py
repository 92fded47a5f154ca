"""Make recbole 1.2.1 importable and its LightGCN buildable beside a newer numpy, scipy and no tensorboard.

It asks numpy for names that numpy 2 no longer has, scipy's dok_matrix for a method that is gone, and torch for a writer
of tensorboard files. None of these is on the measured path; importing this module first puts them back.
"""

import contextlib
import sys
import types
from typing import Any

import numpy
from scipy.sparse import dok_matrix


class SummaryWriter:
    """Takes what recbole would write for tensorboard, and drops it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


def _fill(matrix: Any, entries: dict[tuple[int, int], float]) -> None:
    matrix._dict.update(entries)


for old, new in (("float_", "float64"), ("complex_", "complex128"), ("unicode_", "str_")):
    if not hasattr(numpy, old):
        setattr(numpy, old, getattr(numpy, new))
if not hasattr(dok_matrix, "_update"):
    dok_matrix._update = _fill
with contextlib.suppress(ModuleNotFoundError):
    import tensorboard  # noqa: F401
if "tensorboard" not in sys.modules:
    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    sys.modules["torch.utils.tensorboard"] = stand_in
