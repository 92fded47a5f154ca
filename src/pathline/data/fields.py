"""Fields: quantities on a grid of the plane, steady ones that follow from given fields, or ones that change in time."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError

TRAIN, VALIDATION = 0.7, 0.1  # shares of the frames, where a single item is split by time; the rest tests


@dataclass(frozen=True)
class Frame(Batch):
    """What is known, and what follows.

    inputs: (batch, given, height, width), given fields that do not change; perhaps 0 of them
    state:  (batch, channels, height, width) now; 0 channels where the fields are steady
    target: (batch, channels, height, width), the steady fields, or those `duration` time units later
    inside: (batch, height, width) bool, the cells where the fields live; elsewhere they are 0
    """

    inputs: Tensor
    state: Tensor
    target: Tensor
    inside: Tensor
    duration: float
    shared: ClassVar[tuple[str, ...]] = ("duration",)

    @property
    def seen(self) -> Tensor:
        """(batch, given + channels, height, width): inputs and state, all that a prediction may rest on."""
        return torch.cat([self.inputs, self.state], 1)


@dataclass(frozen=True, kw_only=True)
class Fields(Container):
    """Fields on one grid, of several items (simulations, basins, recordings).

    values:   (items, frames, channels, height, width) float32. One frame: the fields are steady and follow from the
              inputs. Several: each follows from the one `span` frames before it (and from the inputs, if there are any)
    inputs:   (items, given, height, width) given fields that do not change (the shape of an obstacle, the depth of the
              sea), or None
    inside:   (items, height, width) bool, the cells where the fields live (fluid, sea); None: everywhere. Outside,
              values are set to 0
    channels, given: names of the fields and of the inputs
    interval: time units from one frame to the next;  unit: of time
    span:     frames from the state to the target
    x, y:     (width,) and (height,) float64 coordinates of the cells, such as degrees east and north, or None
    origin:   date of the first frame (ISO), where the time is one
    """

    values: Tensor
    inputs: Tensor | None = None
    inside: Tensor | None = None
    channels: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    interval: float = 1.0
    unit: str = ""
    span: int = 1
    x: Tensor | None = None
    y: Tensor | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.values.shape)
        if self.values.ndim != 5 or 0 in shape:
            raise DataError(f"{name}: values have shape {shape}; expected (items, frames, channels, height, width)")
        items, frames, channels, *grid = shape
        inputs = torch.zeros(items, 0, *grid) if self.inputs is None else self.inputs.float()
        inside = torch.ones(items, *grid, dtype=torch.bool) if self.inside is None else self.inside.bool()
        if inputs.ndim != 4 or (len(inputs), *inputs.shape[2:]) != (items, *grid):
            raise DataError(
                f"{name}: inputs have shape {tuple(inputs.shape)}; expected ({items}, given, {grid[0]}, {grid[1]})"
            )
        if tuple(inside.shape) != (items, *grid):
            raise DataError(f"{name}: inside has shape {tuple(inside.shape)}; expected ({items}, {grid[0]}, {grid[1]})")
        if not bool(inside.flatten(1).any(1).all()):
            raise DataError(f"{name}: item {int(inside.flatten(1).any(1).int().argmin())} has no cell inside")
        values = torch.where(inside[:, None, None], self.values.float(), 0.0)
        require_finite(values, "value", name)
        require_finite(inputs, "input", name)
        for field, value in (("inputs", inputs), ("inside", inside), ("values", values)):
            object.__setattr__(self, field, value)
        for field, count, noun in (("channels", channels, "field"), ("given", inputs.shape[1], "input")):
            names = getattr(self, field)
            if not names:
                object.__setattr__(self, field, tuple(f"{noun} {k}" for k in range(count)))
            elif len(names) != count:
                raise DataError(f"{name}: {len(names)} names ({', '.join(names)}) for {count} {noun}s")
        for axis, count in ((self.x, grid[1]), (self.y, grid[0])):
            if axis is not None and tuple(axis.shape) != (count,):
                raise DataError(f"{name}: coordinates have shape {tuple(axis.shape)}; expected ({count},)")
        if frames == 1 and not inputs.shape[1]:
            raise DataError(f"{name}: one frame and no inputs: there is nothing that the fields could follow from")
        if self.span < 1 or (frames > 1 and self.span >= frames):
            raise DataError(f"{name}: {frames} frames do not hold a step of {self.span}; bring more or a shorter span")
        if not self.interval > 0:
            raise DataError(f"{name}: the interval between frames is {self.interval:g}; it must be above 0")

    @property
    def steady(self) -> bool:
        return self.values.shape[1] == 1

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width in cells."""
        return self.values.shape[3], self.values.shape[4]

    @property
    def _steps(self) -> int:
        """Supervised steps in each item."""
        return 1 if self.steady else self.values.shape[1] - self.span

    def __len__(self) -> int:
        """How many supervised steps there are."""
        return self.values.shape[0] * self._steps

    def gather(self, index: Tensor) -> Frame:
        return self.frames(index // self._steps, index % self._steps)

    def frames(self, item: Tensor, frame: Tensor) -> Frame:
        """The steps of the items `item` (batch,) from frames `frame` (batch,)."""
        assert self.inputs is not None and self.inside is not None
        state = self.values[item, frame]
        return Frame(
            inputs=self.inputs[item],
            state=state[:, :0] if self.steady else state,
            target=state if self.steady else self.values[item, frame + self.span],
            inside=self.inside[item],
            duration=self.interval * self.span,
        )

    def take(self, index: Tensor) -> "Fields":
        """The items `index` as a container."""
        assert self.inputs is not None and self.inside is not None
        return replace(self, values=self.values[index], inputs=self.inputs[index], inside=self.inside[index])

    def between(self, first: int, end: int) -> "Fields":
        """Frames `first` .. `end` - 1 of every item; their date is not carried along."""
        return replace(self, values=self.values[:, first:end], origin=self.origin if first == 0 else "")

    def split(self, seed: int = 0) -> Split["Fields"]:
        """80, 10 and 10 percent of the items at random, so that no item is in two parts; where there are fewer than
        three, the first 70 percent of the time, the next 10 and the last 20."""
        items, frames = self.values.shape[:2]
        if items >= 3:
            return Split(*(self.take(index) for index in random_split_indices(items, seed, self.name, "items")))
        least = self.span + 1
        if self.steady or frames < 3 * least:
            what = "steady items" if self.steady else f"frames of {items} item{'s' * (items > 1)}"
            raise DataError(
                f"{self.name}: {items if self.steady else frames} {what} cannot be split into train, validation and "
                f"test: bring at least 3 items{'' if self.steady else f', or {3 * least} frames'}"
            )
        held = max(least, round(VALIDATION * frames))
        end = min(max(least, round(TRAIN * frames)), frames - held - least)
        return Split(self.between(0, end), self.between(end, end + held), self.between(end + held, frames))

    def describe(self) -> dict[str, Any]:
        items, frames, _, height, width = self.values.shape
        assert self.inside is not None
        return {
            "container": "Fields",
            "items": items,
            "frames": frames,
            "channels": list(self.channels),
            "given": list(self.given),
            "grid": [height, width],
            "cells inside": round(float(self.inside.float().mean()), 4),
            "interval": self.interval,
            "unit": self.unit,
            "span": self.span,
        }


def fields_of_arrays(
    values: Tensor, name: str, inputs: Tensor | None = None, inside: Tensor | None = None, **options: Any
) -> Fields:
    """A container from arrays with gaps: cells where any value of an item is not finite are outside of it.

    values: (frames, height, width), (frames, channels, height, width) or as in `Fields`, and steady fields
            (items, channels, height, width) if there are inputs; inputs, inside: as in `Fields`.
    """
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim == 4:
        values = values[None] if inputs is None else values[:, None]
    if values.ndim != 5:
        raise DataError(
            f"{name}: values have shape {tuple(values.shape)}; expected (items, frames, channels, height, width)"
        )
    finite = torch.isfinite(values).flatten(1, 2).all(1)
    if inputs is not None and inputs.ndim == 4 and (len(inputs), *inputs.shape[2:]) == finite.shape:
        finite = finite & torch.isfinite(inputs).all(1)
        inputs = torch.where(torch.isfinite(inputs), inputs, 0.0)
    inside = finite if inside is None else inside.bool() & finite
    return Fields(values=values, inputs=inputs, inside=inside, name=name, **options)
