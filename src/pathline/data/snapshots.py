"""Snapshots: populations seen at a few times, each destroyed by looking at it, so that nobody is seen twice."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError

TRAIN, VALIDATION = (
    0.6,
    0.1,
)  # shares of every snapshot; the rest tests, for a distance of populations needs many points


@dataclass(frozen=True)
class Cells(Batch):
    """positions: (batch, dims); times: (batch,) float64; snapshot: (batch,) int64, the place of the time in `times`."""

    positions: Tensor
    times: Tensor
    snapshot: Tensor


@dataclass(frozen=True, kw_only=True)
class Snapshots(Container):
    """Populations of unequal size at increasing times.

    positions: (cells, dims) float32, all populations together
    snapshot:  (cells,) int64, which population each cell belongs to
    times:     (snapshots,) float64, increasing
    mass:      (snapshots,) float64 size of each population relative to the first one that was ever measured; by
               default the numbers of cells. Parts of a split keep the masses of the whole.
    columns:   names of the dimensions
    unit:      of time, such as "days"
    hold_out:  the time that `split` keeps out of training and validation altogether, so that the test part can ask for
               a moment that nobody has seen: "middle" (where there are at least three), "none", or a time
    """

    positions: Tensor
    snapshot: Tensor
    times: Tensor
    mass: Tensor | None = None
    columns: tuple[str, ...] = ()
    unit: str = ""
    hold_out: str | float = "middle"

    def __post_init__(self) -> None:
        if self.positions.ndim != 2 or 0 in self.positions.shape:
            shape = tuple(self.positions.shape)
            raise DataError(f"{self.name}: positions have shape {shape}; expected (cells >= 1, dimensions >= 1)")
        object.__setattr__(self, "positions", self.positions.float())
        object.__setattr__(self, "times", self.times.double())
        require_finite(self.positions, "position", self.name)
        require_finite(self.times, "time", self.name)
        if self.snapshot.shape != self.positions.shape[:1]:
            raise DataError(f"{self.name}: {len(self.snapshot)} cells have a time, but {len(self)} have a position")
        if (self.times.diff() <= 0).any():
            raise DataError(f"{self.name}: the times of the snapshots do not increase: {self.times.tolist()}")
        counts = self.counts
        if len(counts) != len(self.times) or not bool(counts.all()):
            raise DataError(f"{self.name}: {len(self.times)} times, but cells at {int((counts > 0).sum())} of them")
        mass = counts.double() / counts[0] if self.mass is None else self.mass.double()
        if mass.shape != self.times.shape or not bool((torch.isfinite(mass) & (mass > 0)).all()):
            raise DataError(
                f"{self.name}: relative masses are {mass.tolist()}; give one number above 0 for each of the "
                f"{len(self.times)} times"
            )
        object.__setattr__(self, "mass", mass)
        self.held_out()

    def __len__(self) -> int:
        return self.positions.shape[0]

    @property
    def counts(self) -> Tensor:
        """(snapshots,) cells in each."""
        return torch.bincount(self.snapshot, minlength=len(self.times))

    @property
    def dims(self) -> int:
        return self.positions.shape[1]

    @property
    def masses(self) -> Tensor:
        """(snapshots,) float64: `mass`, which always is there once the container is made."""
        assert self.mass is not None
        return self.mass

    def population(self, k: int) -> Tensor:
        """The cells of snapshot k: (cells, dims)."""
        return self.positions[self.snapshot == k]

    def gather(self, index: Tensor) -> Cells:
        which = self.snapshot[index]
        return Cells(self.positions[index], self.times[which], which)

    def take(self, index: Tensor) -> "Snapshots":
        """The cells `index` as a container; snapshots without a cell are gone, masses stay what they were."""
        kept, which = torch.unique(self.snapshot[index], return_inverse=True)
        return replace(
            self,
            positions=self.positions[index],
            snapshot=which,
            times=self.times[kept],
            mass=self.masses[kept],
            hold_out="none",
        )

    def held_out(self) -> int | None:
        """Which snapshot `split` keeps for the test part alone; a `DataError` if `hold_out` is no time between two."""
        count = len(self.times)
        if self.hold_out == "none" or (self.hold_out == "middle" and count < 3):
            return None
        if self.hold_out == "middle":
            return count // 2
        try:
            found = (self.times - float(self.hold_out)).abs().argmin()
        except ValueError:
            found = torch.tensor(-1)
        between = 0 < int(found) < count - 1
        if not between or abs(float(self.times[found]) - float(self.hold_out)) > 1e-6 * (1 + abs(float(self.hold_out))):
            raise DataError(
                f"{self.name}: hold_out is '{self.hold_out}'; choose 'middle', 'none' or one of the times "
                f"{', '.join(f'{t:g}' for t in self.times[1:-1].tolist())}, which have others before and after them"
            )
        return int(found)

    def split(self, seed: int = 0) -> Split["Snapshots"]:
        """60, 10 and 30 percent of every snapshot at random; all cells of the held-out time are in the test part.

        Train and validation parts know nothing of the held-out time, not even that there was one.
        """
        generator = torch.Generator().manual_seed(seed)
        held, parts = self.held_out(), ([], [], [])  # type: tuple[int | None, tuple[list[Tensor], ...]]
        for k, count in enumerate(self.counts.tolist()):
            cells = torch.nonzero(self.snapshot == k).flatten()
            cells = cells[torch.randperm(count, generator=generator)]
            if k == held:
                parts[2].append(cells)
                continue
            if count < 3:
                raise DataError(
                    f"{self.name}: {count} cell{'s' * (count > 1)} at time {float(self.times[k]):g} cannot be split "
                    "into train, validation and test: bring at least 3 at every time"
                )
            validation = max(1, round(VALIDATION * count))
            train = min(max(1, round(TRAIN * count)), count - validation - 1)
            for part, chosen in zip(parts, cells.split([train, validation, count - train - validation]), strict=True):
                part.append(chosen)
        return Split(*(self.take(torch.cat(part)) for part in parts))

    def describe(self) -> dict[str, Any]:
        held = self.held_out()
        return {
            "container": "Snapshots",
            "cells": self.counts.tolist(),
            "times": self.times.tolist(),
            "unit": self.unit,
            "dims": self.dims,
            "relative_mass": [round(value, 4) for value in self.masses.tolist()],
            "held_out_time": None if held is None else float(self.times[held]),
        }


def snapshots_of(populations: list[Tensor], times: Tensor | list[float] | None = None, **fields: Any) -> Snapshots:
    """A container of populations (cells, dims), one per time; the times are 0, 1, 2, ... unless given."""
    which = torch.cat([torch.full((len(cells),), k) for k, cells in enumerate(populations)])
    when = torch.arange(len(populations)) if times is None else torch.as_tensor(times, dtype=torch.float64)
    return Snapshots(positions=torch.cat(populations), snapshot=which, times=when, **fields)
