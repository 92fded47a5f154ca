"""Equation: a transport equation on a periodic line with its initial state; there is nothing else to learn from."""

from dataclasses import dataclass
from math import isfinite, pi
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError

FEWEST = 8  # points that an initial state needs


@dataclass(frozen=True)
class Nodes(Batch):
    """Places and times: x, t, each (batch,)."""

    x: Tensor
    t: Tensor


@dataclass(frozen=True, kw_only=True)
class Equation(Container):
    """u_t + (speed + self_advection u) u_x = viscosity u_xx on a circle of length `period`, from time 0 to `duration`.

    initial:        (points,) float32, u at time 0 at x = 0, 1/points, 2/points, ... of the period
    speed:          constant part of the speed, length per time
    self_advection: 1 for Burgers' equation, whose u carries itself; 0 for plain transport
    viscosity:      length squared per time, >= 0
    frames:         equally spaced times from 0 to `duration`, both included, at which solutions are compared
    """

    initial: Tensor
    speed: float = 0.0
    self_advection: float = 0.0
    viscosity: float = 0.0
    duration: float = 1.0
    period: float = 2 * pi
    frames: int = 101

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.initial.float())
        if self.initial.ndim != 1 or len(self.initial) < FEWEST:
            shape = tuple(self.initial.shape)
            raise DataError(f"{self.name}: initial has shape {shape}; expected at least {FEWEST} points in a row")
        require_finite(self.initial, "initial", self.name)
        for field in ("speed", "self_advection", "viscosity", "duration", "period"):
            if not isfinite(getattr(self, field)):
                raise DataError(f"{self.name}: {field} is {getattr(self, field)}; give a finite number")
        if self.viscosity < 0 or self.duration <= 0 or self.period <= 0 or self.frames < 2:
            raise DataError(
                f"{self.name}: viscosity {self.viscosity:g} must not be negative, duration {self.duration:g} and "
                f"period {self.period:g} must be positive, and frames {self.frames} at least 2"
            )

    @property
    def x(self) -> Tensor:
        """Places of `initial`: (points,) float64."""
        return torch.arange(len(self.initial), dtype=torch.float64) * (self.period / len(self.initial))

    @property
    def times(self) -> Tensor:
        """(frames,) float64 from 0 to `duration`."""
        return torch.linspace(0, self.duration, self.frames, dtype=torch.float64)

    def __len__(self) -> int:
        """Nodes of the grid of `x` and `times`."""
        return len(self.initial) * self.frames

    def gather(self, index: Tensor) -> Nodes:
        points = len(self.initial)
        return Nodes(x=self.x[index % points].float(), t=self.times[index // points].float())

    def split(self, seed: int = 0) -> Split["Equation"]:
        """Three times the whole: no solution is learned from, so none needs to be held out."""
        return Split(self, self, self)

    def describe(self) -> dict[str, Any]:
        return {
            "container": "Equation",
            "equation": self.words,
            "points": len(self.initial),
            "period": self.period,
            "duration": self.duration,
            "frames": self.frames,
        }

    @property
    def words(self) -> str:
        """The equation as text."""
        carried = [f"{self.speed:g}"] if self.speed or not self.self_advection else []
        if self.self_advection:
            carried.append("u" if self.self_advection == 1 else f"{self.self_advection:g} u")
        return f"u_t + ({' + '.join(carried)}) u_x = {f'{self.viscosity:g} u_xx' if self.viscosity else '0'}"


def equation_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    speed: float = 0.0,
    self_advection: float = 0.0,
    viscosity: float = 0.0,
    duration: float = 1.0,
) -> Equation:
    """An initial state as columns x (equally spaced, ascending) and u; the period is one spacing more than their range.

    Raises:
        DataError: a column is missing, a cell is no number, x is not equally spaced, or nothing carries u.
    """
    from pathlib import Path

    from pathline.data.tables import numbers, require_columns

    require_columns(table, file, ("x", "u"))
    values = numbers(table[["x", "u"]], file)
    if len(values) < FEWEST:
        raise DataError(f"{file}: {len(values)} rows; an initial state needs at least {FEWEST}")
    spacing = np.diff(values[:, 0])
    wrong = np.flatnonzero((spacing <= 0) | (np.abs(spacing - spacing.mean()) > 1e-3 * abs(spacing.mean())))
    if len(wrong):
        raise DataError(
            f"{file}, row {wrong[0] + 3}, column 'x': the step from {values[wrong[0], 0]:g} to "
            f"{values[wrong[0] + 1, 0]:g} is not the mean step of {spacing.mean():g}; bring equally spaced places"
        )
    if not (speed or self_advection or viscosity):
        raise DataError(
            f"{file}: nothing moves: give --speed, --self-advection (1 for Burgers' equation) or --viscosity"
        )
    return Equation(
        initial=torch.tensor(values[:, 1]),
        speed=speed,
        self_advection=self_advection,
        viscosity=viscosity,
        duration=duration,
        period=float(spacing.mean() * len(values)),
        name=Path(file).stem,
    )
