"""What every container of data can do: split itself honestly, and give batches.

A container is a frozen dataclass of tensors. It knows its own honest `split` (by time, by trajectory, at random) and
yields batches by one indexed gather each: no loader processes and no Python per sample.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from pathline.data.errors import DataError

IF_USED = {"fingerprint": "if used"}


def _index(value: Any, index: Any) -> Any:
    return value[index] if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Batch:
    """Tensors that share their first dimension, the batch, except those named in `shared`."""

    shared: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return next(
            len(value)
            for field in fields(self)
            if field.name not in self.shared and isinstance(value := getattr(self, field.name), Tensor)
        )

    def map(self, function: Any) -> Self:
        """The same batch with `function` applied to every tensor."""
        changes = {f.name: function(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Self:
        return self.map(lambda tensor: tensor.to(device))

    def part(self, rank: int, world: int) -> Self:
        """The share of process `rank` out of `world`: every world-th item, so that shares differ by one at most."""
        names = [f.name for f in fields(self) if f.name not in self.shared]
        return replace(self, **{name: _index(getattr(self, name), slice(rank, None, world)) for name in names})


C = TypeVar("C", bound="Container")


@dataclass(frozen=True)
class Split(Generic[C]):
    """Three disjoint parts of one container."""

    train: C
    validation: C
    test: C


@dataclass(frozen=True, kw_only=True)
class Container(ABC):
    """Data as tensors, with a name for reports."""

    name: str = "data"

    @abstractmethod
    def __len__(self) -> int:
        """How many items a batch can be drawn from."""

    @property
    def has_truth(self) -> bool:
        """Whether the data say what a method should have answered; without it nothing can be learned or ranked."""
        return True

    @property
    def split_count(self) -> int:
        """How many different splits `split(0)`, `split(1)`, .. give that are meant to be averaged over."""
        return 1

    @abstractmethod
    def split(self, seed: int = 0) -> Split[Self]:
        """Train, validation and test parts. `seed` matters only where the split is drawn at random."""

    @abstractmethod
    def gather(self, index: Tensor) -> Batch:
        """The items `index` (batch,) as one batch."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Sizes and units in plain JSON values, for reports and `pathline datasets`."""

    def batches(self, size: int, generator: torch.Generator | None = None, shuffle: bool = True) -> Iterator[Batch]:
        """One epoch. The last batch may be smaller; the order comes from `generator` alone."""
        count = len(self)
        order = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
        for index in order.split(size):
            yield self.gather(index)

    def fingerprint(self) -> str:
        """sha256 over every tensor and plain field except the name: equal data, equal fingerprint.

        A field with the metadata `IF_USED` counts only where it is set: data that do not use it keep their fingerprint.
        """
        digest = hashlib.sha256()
        for field in fields(self):
            if field.name == "name":
                continue
            value = getattr(self, field.name)
            if field.metadata == IF_USED and value == field.default:
                continue
            entries = value.items() if isinstance(value, dict) else [("", value)]
            for key, entry in entries:
                digest.update(f"{field.name}/{key}".encode())
                if isinstance(entry, Tensor):
                    digest.update(f"{tuple(entry.shape)}{entry.dtype}".encode())
                    digest.update(entry.detach().cpu().contiguous().view(-1).numpy().tobytes())
                else:
                    digest.update(repr(entry).encode())
        return digest.hexdigest()


def require_finite(tensor: Tensor, what: str, name: str) -> None:
    """Raise a `DataError` that names the first entry of `tensor` which is not a finite number."""
    bad = ~torch.isfinite(tensor)
    if bad.any():
        place = tuple(int(i) for i in bad.nonzero()[0])
        raise DataError(
            f"{name}: {what}{list(place)} is {tensor[place].item()}; {int(bad.sum())} such values: "
            "remove or fill them before use"
        )


def random_split_indices(count: int, seed: int, name: str, noun: str) -> tuple[Tensor, Tensor, Tensor]:
    """80, 10 and 10 percent of `count` items at random; each part holds at least one."""
    if count < 3:
        raise DataError(f"{name}: {count} {noun} cannot be split into train, validation and test: bring at least 3")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = max(1, count // 10)
    return order[2 * held :], order[:held], order[held : 2 * held]
