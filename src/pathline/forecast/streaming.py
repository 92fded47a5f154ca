"""Forecasters of streams, one network per sensor: what arrives is forecast first and learned from later, if at all.

All read the same: the level as a share of the sensor's capacity, the last changes in units of the usual change, and the
clock if wanted; all say by how many usual changes the next values differ from the last one:

    forecast(t + q) = y_t + s r_q,      r = network(y_t / capacity, (y_t - y_{t-1}) / s, ..., clock)

with s a usual change, the root mean square of y_t - y_{t-1} over the training part, times `reach`.
Scaling by capacity, not by the largest value of the training part, leaves room for loads that were never seen. The
networks of all sensors train side by side, with weights of their own, along the leading axis of every parameter.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.scaling import carry_forward

HEADROOM = 2.0  # capacity over the largest training value, where nobody says the capacity


class StreamForecaster(Forecaster):
    """What forecasters of streams share. A subclass writes `respond`.

    lags:     values that are read at once, at most the history
    clock:    whether the time of day is read too, as sine and cosine
    reach:    usual changes that make a unit: the more, the larger the changes that a network takes before it saturates
    capacity: of every sensor, in the data's unit (1 for utilisations); None: HEADROOM times the largest training value
    """

    recipe: ClassVar[Recipe] = Recipe(lr=5e-3, batch_size=32, clip=1.0)
    full: Tensor
    usual: Tensor

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        lags: int = 12,
        clock: bool = False,
        capacity: float | None = None,
        reach: float = 1.0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        if lags < 1 or reach <= 0 or (capacity is not None and capacity <= 0):
            raise MethodError(f"lags ({lags}) must be at least 1, capacity ({capacity}) and reach ({reach}) positive")
        self.lags, self.clock, self.capacity, self.reach = min(lags, history), clock, capacity, reach
        self.features = channels * self.lags + 2 * clock
        self.register_buffer("full", torch.ones(nodes, channels))
        self.register_buffer("usual", torch.ones(nodes, channels))

    def read(self, data: Series) -> None:
        """Capacities and usual changes, from the training part."""
        super().read(data)
        largest = torch.where(data.observed, data.values.abs(), 0.0).amax(0)
        full = HEADROOM * largest if self.capacity is None else torch.full_like(largest, self.capacity)
        self.full.copy_(torch.where(full > 0, full, 1.0))
        both = data.observed[1:] & data.observed[:-1]
        change = torch.where(both, data.values[1:] - data.values[:-1], 0.0).double()
        usual = (change.square().sum(0) / both.sum(0).clamp(min=1)).sqrt()
        self.usual.copy_(self.reach * torch.where(usual > 1e-6 * self.full, usual, self.full))

    def respond(self, features: Tensor) -> Tensor:
        """What follows each moment, in usual changes, causally: (nodes, time, batch, features) -> (nodes, time, batch,
        horizon * channels). A network with a state starts from rest at the first moment."""
        raise NotImplementedError

    def look(self, values: Tensor, time_of_day: Tensor) -> Tensor:
        """values (batch, time, nodes, channels) without gaps and the clock (batch, time) -> (nodes, time - lags + 1,
        batch, features): level, last changes from new to old, clock."""
        level = (values / self.full)[:, self.lags - 1 :]
        changes = (values.diff(dim=1) / self.usual).unfold(1, self.lags - 1, 1) if self.lags > 1 else None
        parts = [level] if changes is None else [level, changes.flip(-1).flatten(3)]
        if self.clock:
            angle = (2 * math.pi / self.steps_per_day) * time_of_day[:, self.lags - 1 :, None, None]
            shape = (-1, -1, self.nodes, -1)
            parts += [angle.sin().expand(shape).to(values.dtype), angle.cos().expand(shape).to(values.dtype)]
        return torch.cat(parts, -1).permute(2, 1, 0, 3)

    def responses(self, values: Tensor, time_of_day: Tensor) -> Tensor:
        """(batch, time - lags + 1, horizon, nodes, channels) in usual changes, of the arguments of `look`."""
        said = self.respond(self.look(values, time_of_day)).unflatten(-1, (self.horizon, self.channels))
        return said.permute(2, 1, 3, 0, 4)

    def forward(self, window: Windows) -> Tensor:
        past = carry_forward(window.past, window.past_observed, self.scaling.mean)
        said = self.responses(past, window.time_of_day[:, : self.history])[:, -1]
        return past[:, -1:] + self.usual * said.to(self.usual.dtype)

    def loss(self, batch: Windows) -> Tensor | dict[str, Tensor]:
        """Mean squared error in usual changes, of the forecasts made at every moment of the window."""
        past = carry_forward(batch.past, batch.past_observed, self.scaling.mean)
        said = self.responses(past, batch.time_of_day[:, : self.history])
        values = torch.cat([past, batch.future], 1)
        seen = torch.cat([batch.past_observed, batch.future_observed], 1)
        target, known = (
            part[:, self.lags :].unfold(1, self.horizon, 1).permute(0, 1, 4, 2, 3) for part in (values, seen)
        )
        change = torch.where(known, (target - past[:, self.lags - 1 :, None]) / self.usual, 0.0)
        return ((said - change).square() * known).sum() / known.sum().clamp(min=1)

    @torch.no_grad()
    def stream(self, data: Series) -> Tensor:
        """One step ahead through `data`, each sample forecast before it is seen: (time, nodes, channels), nan for the
        first `lags`, which nothing comes before."""
        values, time_of_day = self._stream_of(data)
        said = self.responses(values[:-1][None], time_of_day[:-1][None])[0, :, 0]
        return self._after(values, said)

    def score(self, data: Any, seed: int = 0) -> float:
        """Mean absolute error one step ahead through the whole part, in usual changes: as in use, and fast."""
        part = self._windows_of(data)
        error = (self.stream(part) - part.values).abs() / self.usual.cpu()
        return float(error[self.lags :][part.observed[self.lags :]].mean())

    def _stream_of(self, data: Series) -> tuple[Tensor, Tensor]:
        """Values without gaps (time, nodes, channels) and the time of day (time,)."""
        part = self._cut(data)
        values = carry_forward(part.values[None], part.observed[None], self.scaling.mean)[0]
        return values.to(self.device), part.clock(torch.arange(part.steps))[0].to(self.device)

    def _after(self, values: Tensor, said: Tensor) -> Tensor:
        """Forecasts (time, nodes, channels) from responses (time - lags, nodes, channels) to all samples but the
        last."""
        told = values[self.lags - 1 : -1] + self.usual * said.to(self.usual.dtype)
        return torch.cat([values.new_full((self.lags, *values.shape[1:]), torch.nan), told]).cpu()


class HybridForecaster:
    """Two forecasters of a stream of which the one speaks that has erred less of late: after a failure a liquid network
    that needs no learning, later a network that was retrained.

    window: samples of which the mean absolute errors are compared, per sensor; only past ones
    An `Incremental` among them refits from the first sample on.
    """

    def __init__(self, first: Any, second: Any, window: int = 20) -> None:
        self.first, self.second, self.window = first, second, window

    def stream(self, data: Series) -> Tensor:
        """As that of its two forecasters."""
        return choose(self.first.stream(data), self.second.stream(data), data.values, self.window)


def choose(first: Tensor, second: Tensor, truth: Tensor, window: int) -> Tensor:
    """Of two streams of forecasts (time, ...), at each moment the one with the smaller mean absolute error over the
    `window` samples before it; the first where they tie or nothing is known yet."""
    recent = [
        torch.cat([torch.zeros_like(truth[:1]), rolling_mean((told - truth).abs().nan_to_num(0.0), window)[:-1]])
        for told in (first, second)
    ]
    return torch.where(recent[0] <= recent[1], first, second)


def rolling_mean(values: Tensor, window: int) -> Tensor:
    """Mean of the last `window` entries along time, the first axis; of as many as there are at the beginning."""
    total = values.double().cumsum(0)
    total = total - torch.cat([torch.zeros_like(total[:window]), total[:-window]])[: len(total)]
    count = torch.arange(1, len(values) + 1).clamp(max=window)
    return (total / count.view(-1, *[1] * (values.ndim - 1))).to(values.dtype)


def time_to_convergence(error: Tensor, begin: int, window: int = 20, kappa: float = 1.2) -> Tensor:
    """Samples after `begin` from which on the rolling error stays under `kappa` times its mean before `begin`.

    error: (time, ...) sizes of errors, nan where there is no forecast -> (...), the number of samples after `begin` if
    it never does. The window holds samples from `begin` on only, so `window` is the least where the error at
    `begin` itself is large.
    """
    before = error[:begin].nanmean(0)
    above = rolling_mean(error[begin:], window) >= kappa * before
    after = torch.arange(1, len(above) + 1).view(-1, *[1] * (above.ndim - 1))
    return (above * after).amax(0)
