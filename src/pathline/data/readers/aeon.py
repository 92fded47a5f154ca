"""Recordings that ship inside the package aeon."""

import torch

from pathline.data.errors import DataError
from pathline.data.sequences import Sequences, padded


def aeon_set(loader: str, channels: tuple[str, ...], rate: float | None) -> Sequences:
    """The set that `aeon.datasets` returns from its function `loader`.

    Raises:
        DataError: aeon is not installed.
    """
    try:
        from aeon import datasets
    except ModuleNotFoundError:
        raise DataError("this set ships inside the package aeon: pip install aeon") from None
    recordings, names = getattr(datasets, loader)()
    classes = tuple(sorted(set(map(str, names))))
    values, lengths = padded([torch.tensor(one).float().T for one in recordings])
    labels = torch.tensor([classes.index(str(name)) for name in names])
    return Sequences(values=values, lengths=lengths, labels=labels, classes=classes, channels=channels, rate=rate)
