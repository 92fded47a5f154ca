"""What a forecaster has to beat: the last value, the usual value of this time of day, and one linear map."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.scaling import carry_forward

CHUNK = 256  # windows whose products are summed at once


class Baseline(Forecaster):
    """A forecaster that is computed, not trained: `read` does all of its work."""

    trains: ClassVar[bool] = False

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Compute it anew from `data` (of a `Split` the training part); there is nothing to train."""
        self.read(self.require(data))
        return self.eval()


class LastValue(Baseline):
    """The last observed value of each sensor, repeated; the mean of its training values if the past shows none."""

    average: Tensor

    def __init__(self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.register_buffer("average", torch.zeros(nodes, channels))

    def read(self, data: Series) -> None:
        super().read(data)
        self.average.copy_(_mean(data.values[None], data.observed[None], self.scaling.mean)[0])

    def forward(self, window: Windows) -> Tensor:
        last = carry_forward(window.past, window.past_observed, self.average)[:, -1:]
        return last.expand(-1, self.horizon, -1, -1).clone()


class DailyProfile(Baseline):
    """The mean training value of each sensor at this time of day, apart for working days and weekends.

    A time of day at which a kind of day was never observed takes the mean over both kinds, then the sensor's mean, then
    the mean of all sensors.
    """

    profile: Tensor

    def __init__(self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.register_buffer("profile", torch.zeros(2, steps_per_day, nodes, channels))

    def read(self, data: Series) -> None:
        super().read(data)
        time_of_day, day_of_week = data.clock(torch.arange(data.steps))
        cell = (day_of_week >= 5) * self.steps_per_day + time_of_day
        shape = self.profile.shape
        total = torch.zeros(shape, dtype=torch.float64).flatten(0, 1).index_add_(0, cell, data.values.double())
        count = torch.zeros(shape, dtype=torch.float64).flatten(0, 1).index_add_(0, cell, data.observed.double())
        total, count = total.view(shape), count.view(shape)
        always = _mean(data.values[None], data.observed[None], self.scaling.mean)
        either = torch.where(count.sum(0) > 0, total.sum(0) / count.sum(0).clamp(min=1), always)
        self.profile.copy_(torch.where(count > 0, total / count.clamp(min=1), either))

    def forward(self, window: Windows) -> Tensor:
        weekend = (window.day_of_week[:, self.history :] >= 5).long()
        return self.profile[weekend, window.time_of_day[:, self.history :]]


class Linear(Baseline):
    """Ridge regression from the past to each future step, the same for all sensors:

        min_W  sum over observed targets of (W^T [past, 1] - target)^2  +  ridge * targets * |W without intercept|^2

    on standardised values, each horizon step and channel solved by itself in float64.
    """

    weight: Tensor

    def __init__(
        self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int, ridge: float = 1e-4
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.ridge = ridge
        self.register_buffer("weight", torch.zeros(horizon, channels, history * channels + 1))

    def read(self, data: Series) -> None:
        super().read(data)
        data = data.with_window(self.history, self.horizon)
        width = self.weight.shape[-1]
        gram = torch.zeros(self.horizon, self.channels, width, width, dtype=torch.float64)
        moment = torch.zeros(self.horizon, self.channels, width, dtype=torch.float64)
        for window in data.batches(CHUNK, shuffle=False):
            assert isinstance(window, Windows)
            x = self._features(window).flatten(0, 1)  # (windows * nodes, width)
            y = self.scaling(window.future).double().permute(1, 3, 0, 2).flatten(2)  # (horizon, channels, rows)
            seen = window.future_observed.permute(1, 3, 0, 2).flatten(2)
            moment += torch.where(seen, y, 0.0) @ x
            gram += x.T @ x
            for step, channel in (~seen).any(-1).nonzero().tolist():  # take rows without a target out again
                gone = x[~seen[step, channel]]
                gram[step, channel] -= gone.T @ gone
        penalty = self.ridge * gram[..., -1, -1, None].clamp(min=1.0) * torch.ones(width, dtype=torch.float64)
        penalty[..., -1] = 1e-12  # the intercept is free; the trace of a penalty keeps an empty system solvable
        self.weight.copy_(torch.linalg.solve(gram + torch.diag_embed(penalty), moment))

    def forward(self, window: Windows) -> Tensor:
        z = torch.einsum("bni,qci->bqnc", self._features(window), self.weight.double())
        return self.scaling.inverse(z)

    def _features(self, window: Windows) -> Tensor:
        """(batch, nodes, history * channels + 1), float64, the last column 1."""
        past = carry_forward(window.past, window.past_observed, self.scaling.mean)
        rows = self.scaling(past).double().transpose(1, 2).flatten(2)
        return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)


def _mean(values: Tensor, observed: Tensor, otherwise: Tensor) -> Tensor:
    """Mean over time of (batch, time, nodes, channels), observed values only; `otherwise` where there are none."""
    count = observed.sum(1)
    return torch.where(count > 0, values.double().sum(1) / count.clamp(min=1), otherwise).to(values.dtype)
