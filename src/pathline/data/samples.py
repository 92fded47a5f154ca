"""Samples: independent draws from one distribution (images, points, table rows), perhaps with labels."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Draw(Batch):
    """values: (batch, *shape); labels: (batch,) int64 or None."""

    values: Tensor
    labels: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Samples(Container):
    """Draws from one distribution.

    values:  (count, *shape) float32; images are (count, channels, height, width), tables (count, columns)
    labels:  (count,) int64 classes 0 .. classes - 1, or None
    bounds:  the lowest and highest value that can occur (pixels), or None
    columns: names of the columns of a table
    levels:  how many equally spaced values there are from the lower to the upper bound (2 for black and white); None
             for a continuum
    symbols: names of categories without order, such as letters: values are then their places 0, 1, ...
    """

    values: Tensor
    labels: Tensor | None = None
    bounds: tuple[float, float] | None = None
    columns: tuple[str, ...] = ()
    levels: int | None = field(default=None, metadata=IF_USED)
    symbols: tuple[str, ...] = field(default=(), metadata=IF_USED)

    def __post_init__(self) -> None:
        if self.values.ndim < 2 or not self.values.shape[0]:
            raise DataError(f"{self.name}: values have shape {tuple(self.values.shape)}; expected (count >= 1, ...)")
        object.__setattr__(self, "values", self.values.float())
        require_finite(self.values, "value", self.name)
        if self.labels is not None and self.labels.shape != self.values.shape[:1]:
            raise DataError(f"{self.name}: {len(self.labels)} labels for {len(self.values)} samples")
        self._check_categories()

    def _check_categories(self) -> None:
        """Values lie on the grey levels, or are places of symbols, if there are any."""
        if self.symbols:
            if self.levels is not None or self.bounds is not None:
                raise DataError(f"{self.name}: symbols have no order, so they go without levels and bounds")
            places = self.values
        elif self.levels is not None:
            if self.bounds is None or self.levels < 2:
                raise DataError(f"{self.name}: {self.levels} levels need bounds to lie between, and at least 2 of them")
            low, high = self.bounds
            places = (self.values - low) * ((self.levels - 1) / (high - low))
        else:
            return
        bad = ((places - places.round()).abs() > 1e-3) | (places < -0.5) | (places > self.categories - 0.5)
        if bad.any():
            place = tuple(int(i) for i in bad.nonzero()[0])
            what = "the place of a symbol" if self.symbols else "on a level"
            raise DataError(
                f"{self.name}: value{list(place)} is {self.values[place].item():g}, which is not {what}; there are "
                f"{self.categories}"
            )

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.values.shape[1:])

    @property
    def classes(self) -> int:
        """How many classes the labels name; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    @property
    def categories(self) -> int:
        """How many different values there can be: levels or symbols; 0 for a continuum."""
        return len(self.symbols) or self.levels or 0

    def gather(self, index: Tensor) -> Draw:
        return Draw(self.values[index], None if self.labels is None else self.labels[index])

    def take(self, index: Tensor) -> "Samples":
        """The samples `index` as a container."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, values=self.values[index], labels=labels)

    def split(self, seed: int = 0) -> Split["Samples"]:
        """80, 10 and 10 percent at random."""
        return Split(*(self.take(index) for index in random_split_indices(len(self), seed, self.name, "samples")))

    def describe(self) -> dict[str, Any]:
        return {
            "container": "Samples",
            "count": len(self),
            "shape": list(self.shape),
            "classes": self.classes,
            "bounds": None if self.bounds is None else list(self.bounds),
            **({"categories": self.categories} if self.categories else {}),
        }


def concatenate(parts: list[Samples]) -> Samples:
    """Several containers of equal shape as one, in order."""
    labels = [part.labels for part in parts if part.labels is not None]
    return replace(
        parts[0],
        values=torch.cat([part.values for part in parts]),
        labels=torch.cat(labels) if len(labels) == len(parts) else None,
    )
