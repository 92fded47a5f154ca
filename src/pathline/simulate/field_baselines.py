"""What a simulator of fields must beat: fields that stay as they are, their mean, and a line between their modes.

    persistence     u(t + T) = u(t)
    mean field      u = the mean over the training part, cell by cell
    linear modes    u = mean + V A P (s - mean s)
P are the leading principal components of all that is seen, s; V those of the target (or of its change, where time
passes); A is least squares between them.
"""

from typing import Any

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.data import Fields, Frame
from pathline.data.container import Split
from pathline.simulate.fields import FittedFields

MOST = 2000  # steps that principal components are computed from: evenly spread over the training part
FLOOR = 1e-6  # components of less variance than this part of the first are rounding


class Persistence(FittedFields):
    """The fields stay as they are."""

    @classmethod
    def require(cls, data: Any) -> Any:
        part = super().require(data)
        if part.steady:
            raise DataError(f"{cls.__name__} needs fields that change in time, but those of {part.name} are steady")
        return data.train if isinstance(data, Split) else data

    def step(self, frame: Frame) -> Tensor:
        return frame.state


class OnOneGrid(FittedFields):
    """A method that knows every cell by its place.

    inputs, channels: of what is seen and of the target;  height, width: of the grid
    """

    def __init__(self, inputs: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.inputs, self.shape = inputs, (channels, height, width)

    @classmethod
    def _sizes(cls, data: Fields) -> dict[str, Any]:
        seen = data.frames(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)).seen
        height, width = data.grid
        return {"inputs": seen.shape[1], "channels": data.values.shape[2], "height": height, "width": width}

    def checked(self, frame: Any) -> Frame:
        frame = super().checked(frame)
        known, given = (self.inputs, *self.shape[1:]), tuple(frame.seen.shape[1:])
        if given != known:
            raise DataError(
                f"{type(self).__name__} learned from {known[0]} channels on {known[1]} x {known[2]} cells; these are "
                f"{given[0]} on {given[1]} x {given[2]}"
            )
        return frame


class MeanField(OnOneGrid):
    """Every cell has its mean over the training part; cells that never were inside have 0."""

    mean: Tensor

    def __init__(self, inputs: int, channels: int, height: int, width: int) -> None:
        super().__init__(inputs, channels, height, width)
        self.register_buffer("mean", torch.zeros(self.shape))

    def solve_for(self, data: Fields) -> None:
        assert data.inside is not None
        total = data.values.double().mean(1).sum(0)
        self.mean.copy_(total / data.inside.sum(0).clamp(min=1))

    def step(self, frame: Frame) -> Tensor:
        return self.mean.expand(len(frame), *self.shape)


class LinearModes(OnOneGrid):
    """Least squares from the principal components of what is seen to those of the target, or of its change in time.

    modes: components kept of each, at most
    uses:  channels of what is seen that count, by their places; None: all
    """

    centre: Tensor
    unit: Tensor
    modes_in: Tensor
    modes_out: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(
        self, inputs: int, channels: int, height: int, width: int, modes: int = 16, uses: list[int] | None = None
    ) -> None:
        super().__init__(inputs, channels, height, width)
        self.modes, self.uses = modes, list(range(inputs)) if uses is None else uses
        cells = height * width
        self.register_buffer("centre", torch.zeros(len(self.uses) * cells))
        self.register_buffer("unit", torch.ones(len(self.uses), 1, 1))
        self.register_buffer("modes_in", torch.zeros(modes, len(self.uses) * cells))
        self.register_buffer("modes_out", torch.zeros(modes, channels * cells))
        self.register_buffer("gain", torch.zeros(modes, modes))
        self.register_buffer("offset", torch.zeros(channels * cells))

    def _seen(self, frame: Frame) -> Tensor:
        """(batch, used channels * cells), each channel in its own unit."""
        return (frame.seen[:, self.uses] / self.unit).flatten(1)

    def solve_for(self, data: Fields) -> None:
        frame = data.gather(torch.linspace(0, len(data) - 1, min(MOST, len(data))).round().long())
        self.unit.copy_(frame.seen[:, self.uses].std((0, 2, 3)).clamp(min=1e-12)[:, None, None])
        target = (frame.target - frame.state if frame.state.shape[1] else frame.target).flatten(1)
        # channels of the target count alike too
        unit = target.view(-1, *self.shape).std((0, 2, 3)).clamp(min=1e-12)[:, None, None].expand(self.shape).flatten()
        self.centre.copy_(self._seen(frame).mean(0))
        self.offset.copy_(target.mean(0))
        modes_in = principal_components(self._seen(frame) - self.centre, self.modes)
        modes_out = principal_components((target - self.offset) / unit, self.modes)
        here = (self._seen(frame) - self.centre) @ modes_in.T
        there = ((target - self.offset) / unit) @ modes_out.T
        gain = torch.linalg.lstsq(here.double(), there.double(), driver="gelsd").solution
        for kept in (self.modes_in, self.modes_out, self.gain):
            kept.zero_()
        self.modes_in[: len(modes_in)], self.modes_out[: len(modes_out)] = modes_in, modes_out * unit
        self.gain[: len(modes_in), : len(modes_out)] = gain

    def step(self, frame: Frame) -> Tensor:
        found = self.offset + (self._seen(frame) - self.centre) @ self.modes_in.T @ self.gain @ self.modes_out
        found = found.view(-1, *self.shape)
        return frame.state + found if frame.state.shape[1] else found


def principal_components(centred: Tensor, count: int) -> Tensor:
    """Up to `count` orthonormal rows, those of the largest variance of `centred` (samples, columns), largest first.

    From the matrix of inner products of the samples, of which there are fewer than columns.
    """
    values, vectors = torch.linalg.eigh((centred @ centred.T).double())
    keep = (values > FLOOR * values[-1].clamp(min=torch.finfo(torch.float64).tiny)).nonzero().flatten().flip(0)[:count]
    return ((vectors[:, keep] / values[keep].sqrt()).T @ centred.double()).float()
