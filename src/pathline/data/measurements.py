"""Measurements: what sensors read of a density and the velocity that carries it, at points of space and time."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Readings(Batch):
    """positions: (batch, dims); times: (batch,) float64; density: (batch,) and velocity: (batch, dims), NaN where they
    were not measured."""

    positions: Tensor
    times: Tensor
    density: Tensor
    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class Measurements(Container):
    """Readings of a density and its velocity.

    positions: (count, dims) float32
    times:     (count,) float64
    density:   (count,) float32, at least 0; NaN where it was not measured
    velocity:  (count, dims) float32; NaN where it was not measured
    columns:   names of the dimensions
    unit:      of time
    """

    positions: Tensor
    times: Tensor
    density: Tensor
    velocity: Tensor
    columns: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        shape = tuple(self.positions.shape)
        if len(shape) != 2 or 0 in shape:
            raise DataError(f"{self.name}: positions have shape {shape}; expected (count >= 1, dimensions >= 1)")
        for name in ("positions", "density", "velocity"):
            object.__setattr__(self, name, getattr(self, name).float())
        object.__setattr__(self, "times", self.times.double())
        require_finite(self.positions, "position", self.name)
        require_finite(self.times, "time", self.name)
        for name, expected in (("times", shape[:1]), ("density", shape[:1]), ("velocity", shape)):
            if tuple(getattr(self, name).shape) != expected:
                found = tuple(getattr(self, name).shape)
                raise DataError(f"{self.name}: {name} have shape {found}; expected {expected}, as the positions say")
        if (self.density < 0).any() or torch.isinf(self.density).any() or torch.isinf(self.velocity).any():
            raise DataError(f"{self.name}: a density below 0, or an infinite reading; remove such readings")
        if torch.isnan(self.density).all():
            raise DataError(f"{self.name}: no reading has a density; at least some are needed")

    def __len__(self) -> int:
        return self.positions.shape[0]

    @property
    def dims(self) -> int:
        return self.positions.shape[1]

    def gather(self, index: Tensor) -> Readings:
        return Readings(self.positions[index], self.times[index], self.density[index], self.velocity[index])

    def take(self, index: Tensor) -> "Measurements":
        """The readings `index` as a container."""
        fields = ("positions", "times", "density", "velocity")
        return replace(self, **{name: getattr(self, name)[index] for name in fields})

    def split(self, seed: int = 0) -> Split["Measurements"]:
        """80, 10 and 10 percent of the sensors, each with all its readings; of the readings where no place recurs."""
        places, sensor = torch.unique(self.positions, dim=0, return_inverse=True)
        noun = "sensors" if len(places) < len(self) else "readings"
        chosen = random_split_indices(len(places), seed, self.name, noun)
        return Split(*(self.take(torch.nonzero(torch.isin(sensor, part)).flatten()) for part in chosen))

    def describe(self) -> dict[str, Any]:
        return {
            "container": "Measurements",
            "readings": len(self),
            "places": len(torch.unique(self.positions, dim=0)),
            "dims": self.dims,
            "times": [float(self.times.min()), float(self.times.max())],
            "unit": self.unit,
            "with_velocity": int(torch.isfinite(self.velocity).all(1).sum()),
        }
