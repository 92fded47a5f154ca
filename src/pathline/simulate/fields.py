"""Fields on a grid: given what is known of a channel, a sea, a slab, say how the fields are or how they will be.

Two verbs: `solve(inputs)` where steady fields follow from given ones, and `rollout(frame, n)` where fields change in
time. A method says how one step goes (`step`), from all that a `Frame` shows to its target; everything else (metrics,
tables, netCDF files, pictures) follows from that.

Errors are mean squares over the cells inside, in units of each channel's variance over the same cells of the data that
are looked at: 0 is perfect, 1 is as good as the channel's mean, and no channel counts more for its unit.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data import Fields, Frame

if TYPE_CHECKING:
    import pandas as pd

CELLS_AT_ONCE = 1 << 17  # per batch of an evaluation: bounds its memory
AHEAD = 10  # steps of the rollouts that an evaluation looks at


class FieldSimulator(Method):
    """What all methods for fields share. A subclass writes `step`."""

    room = "simulate"
    container = Fields

    def step(self, frame: Frame) -> Tensor:
        """The fields that follow from `frame.inputs` and `frame.state`: (batch, channels, height, width)."""
        raise NotImplementedError

    def predicted(self, frame: Frame) -> Tensor:
        """`step`, and 0 outside of where the fields live."""
        return self.step(frame) * frame.inside[:, None]

    @torch.no_grad()
    def solve(self, inputs: Tensor, inside: Tensor | None = None) -> Tensor:
        """The steady fields (batch, channels, height, width) that follow from `inputs` (batch, given, height, width).

        inside: (batch, height, width) bool, the cells where they live; everywhere by default.
        """
        if inputs.ndim != 4:
            raise DataError(f"inputs have shape {tuple(inputs.shape)}; expected (batch, given, height, width)")
        within = torch.ones_like(inputs[:, 0], dtype=torch.bool) if inside is None else inside
        return self.predicted(self.checked(Frame(inputs, inputs[:, :0], inputs[:, :0], within, 1.0)))

    @torch.no_grad()
    def rollout(self, frame: Frame, n: int) -> Tensor:
        """The fields at the start and after 1, 2, .. n steps of `frame.duration`, each predicted from the one before.

        Returns (batch, n + 1, channels, height, width).  Raises DataError for n < 1 and for steady fields.
        """
        if n < 1:
            raise DataError(f"a rollout of {n} steps was asked for; it has at least 1")
        if not frame.state.shape[1]:
            raise DataError(f"{type(self).__name__}: steady fields have no state to roll out; solve(inputs) gives them")
        frame = self.checked(frame)
        states = [frame.state]
        for _ in range(n):
            frame = replace(frame, state=self.predicted(frame))
            states.append(frame.state)
        return torch.stack(states, 1)

    def checked(self, frame: Any) -> Frame:
        """`frame` on the method's device, or a DataError that names what is wrong with it."""
        who = type(self).__name__
        if not isinstance(frame, Frame):
            raise DataError(f"{who} steps from a Frame, not from {type(frame).__name__}")
        batch, _, *grid = frame.inputs.shape
        if 0 in (batch, *grid) or (len(frame.state), *frame.state.shape[2:]) != (batch, *grid):
            raise DataError(
                f"{who}: inputs have shape {tuple(frame.inputs.shape)} and the state {tuple(frame.state.shape)}; both "
                "are (batch, channels, height, width) of one grid, with 0 channels where there are none"
            )
        if tuple(frame.inside.shape) != (batch, *grid):
            raise DataError(f"{who}: inside has shape {tuple(frame.inside.shape)}; expected {(batch, *grid)}")
        if not bool(torch.isfinite(frame.seen).all()):
            raise DataError(f"{who}: inputs or state hold values that are not finite numbers")
        return frame.to(self.device)

    # -- metrics ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def square_errors(self, data: Fields) -> tuple[Tensor, Tensor]:
        """(channels,) mean squared error of one step over the cells inside, and mean square of the truth there."""
        error, square = torch.zeros(2, data.values.shape[2], dtype=torch.float64)
        cells = 0
        for frame in self.require(data).batches(_batch_size(data), shuffle=False):
            predicted = self.predicted(self.checked(frame)).cpu()
            error += (predicted - frame.target).double().square().sum((0, 2, 3))
            square += frame.target.double().square().sum((0, 2, 3))
            cells += int(frame.inside.sum())
        return error / cells, square / cells

    def score(self, data: Fields, seed: int = 0) -> float:
        """The mean over channels of the squared error of one step, in units of the channel's variance."""
        return _finite(self.square_errors(data)[0] / variance(data))

    def rollout_error(self, data: Fields) -> float:
        """The same for rollouts of up to AHEAD steps, one after the other through all frames of `data`."""
        starts, steps = rollout_windows(data)
        error, cells = torch.zeros(data.values.shape[2], dtype=torch.float64), 0
        items = torch.arange(len(data.values))
        for chosen in torch.cartesian_prod(items, starts).view(-1, 2).split(_batch_size(data)):
            item, start = chosen.unbind(1)
            frame = data.frames(item, start)
            predicted = self.rollout(frame, steps)[:, 1:].cpu()
            truth = data.values[item[:, None], start[:, None] + data.span * torch.arange(1, steps + 1)]
            error += (predicted - truth).double().square().sum((0, 1, 3, 4))
            cells += int(frame.inside.sum()) * steps
        return _finite(error / cells / variance(data))

    def evaluate(self, data: Fields, seed: int = 0) -> dict[str, float]:
        """normalised_mse: of one step, see the module; rollout_mse: the same along rollouts, where time passes (inf
        where they diverged); then for each channel its mean squared error, and its relative L2 error."""
        error, square = self.square_errors(self.require(data))
        found = {"normalised_mse": _finite(error / variance(data))}
        if not data.steady:
            found["rollout_mse"] = self.rollout_error(data)
        relative = (error / square.clamp(min=torch.finfo(torch.float64).tiny)).sqrt()
        for name, mse, l2 in zip(data.channels, error, relative, strict=True):
            found |= {f"mse {name}": _finite(mse), f"relative_l2 {name}": _finite(l2)}
        return found

    # -- the verbs for files ------------------------------------------------------------------------------------------

    def filled(self, data: Fields) -> Fields:
        """`data` with its fields replaced by predicted ones: the steady fields, or a rollout from the first frame
        through all of its length, which is frame 0 here."""
        data = self.require(data)
        steps = 0 if data.steady else (data.values.shape[1] - 1) // data.span
        found = []
        for item in torch.arange(len(data.values)).split(_batch_size(data)):
            frame = data.frames(item, torch.zeros_like(item))
            with torch.no_grad():
                fields = self.rollout(frame, steps) if steps else self.predicted(self.checked(frame))[:, None]
            found.append(fields.cpu())
        return replace(data, values=torch.cat(found), interval=data.interval * data.span, span=1)

    def predict(self, data: Fields, seed: int = 0) -> "pd.DataFrame":
        """A row per item, step (0 is the given state where time passes), and cell inside, with the predicted fields."""
        import pandas as pd

        found = self.filled(data)
        assert found.inside is not None
        item, step, row, column = found.inside[:, None].expand(-1, found.values.shape[1], -1, -1).nonzero().unbind(1)
        values = found.values[item, step, :, row, column]
        table = {"item": item.numpy(), "step": step.numpy()}
        for name, place, axis in (("y", row, found.y), ("x", column, found.x)):
            table[name] = (place if axis is None else axis[place]).numpy()
        return pd.DataFrame(table | {name: values[:, k].numpy() for k, name in enumerate(found.channels)})

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """`predict --out fields.nc`."""

        def write(data: Any, path: Path, seed: int) -> None:
            from pathline.data.readers.netcdf import write_netcdf

            write_netcdf(self.filled(data), path)

        return {".nc": write}

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Fields) -> list[Figure]:
        """What is given, the truth, predictions and their errors; and where time passes, the error along a rollout."""
        from pathline.simulate.field_pictures import draw_fields, draw_rollouts

        simulators = {name: method for name, method in methods.items() if isinstance(method, FieldSimulator)}
        return [draw_fields(simulators, data)] if data.steady else draw_rollouts(simulators, data)


class FittedFields(FieldSimulator):
    """A method of closed form: `fit` calls `solve_for`, which sums up what it needs over the training part."""

    trains = False

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        return cls(**(cls._sizes(cls.require(data)) | config))

    @classmethod
    def _sizes(cls, data: Fields) -> dict[str, Any]:
        return {}

    def solve_for(self, data: Fields) -> None:
        """Learn from the training part; by default nothing is learned."""

    def fit(self, data: Any, budget: Any = None, seed: int = 0, validation: Any = None, **options: Any) -> Self:
        self.solve_for(self.require(data))
        return self.eval()

    def loss(self, batch: Frame) -> Tensor:
        """Mean squared error over the cells inside."""
        error = (self.predicted(batch) - batch.target).square().sum()
        return error / (batch.inside.sum() * batch.target.shape[1])


def rollout_windows(data: Fields) -> tuple[Tensor, int]:
    """The frames at which an evaluation starts its rollouts, and how many steps each has."""
    span, frames = data.span, data.values.shape[1]
    steps = min(AHEAD, (frames - 1) // span)
    return torch.arange(0, frames - steps * span, steps * span), steps


def variance(data: Fields) -> Tensor:
    """(channels,) float64: variance over the cells inside, all items and frames."""
    assert data.inside is not None
    cells = data.inside.sum() * data.values.shape[1]
    values = data.values.double()
    mean = values.sum((0, 1, 3, 4)) / cells
    least = torch.finfo(torch.float64).tiny
    return (values.square().sum((0, 1, 3, 4)) / cells - mean.square()).clamp(min=least)


def _batch_size(data: Fields) -> int:
    return max(1, CELLS_AT_ONCE // (data.values.shape[3] * data.values.shape[4]))


def _finite(error: Tensor) -> float:
    """The mean as a number; a diverged rollout has an infinite error, not an undefined one."""
    value = float(error.mean())
    return value if value < float("inf") else float("inf")
