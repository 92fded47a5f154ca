"""Vector autoregression: every sensor is a linear function of the last readings of all sensors, step after step.

    z_{t+1} = sum_{l < p} A_l z_{t-l} + c,     A = argmin sum |error|^2 + ridge * rows * sum |A|^2
fitted one step ahead and iterated to the horizon. Sims, 1980, "Macroeconomics and Reality", Econometrica 48(1); with a
ridge, for p * sensors is often more than there are rows. z is standardised per sensor.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.data import Series, Windows
from pathline.forecast.baselines import Baseline
from pathline.forecast.scaling import carry_forward

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FEATURES, MOST = 1024, 2048  # lags stop where there would be more features; more sensors than MOST are refused
FILLS = 2  # rounds in which gaps are filled with the model's own one-step forecast


class VectorAutoregression(Baseline):
    """lags: p at most; fewer with many sensors (p * sensors * channels <= 1024).

    The ridge is the best of RIDGES on the last fifth of the training part. A gap is first the last value before it,
    then what the model itself says of it; in a window to forecast from it is the last value.
    """

    weight: Tensor
    average: Tensor
    spread: Tensor

    def __init__(
        self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int, lags: int = 12
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        size = nodes * channels
        self.lags = max(1, min(lags, history, FEATURES // size))
        self.register_buffer("average", torch.zeros(nodes, channels))
        self.register_buffer("spread", torch.ones(nodes, channels))
        self.register_buffer("weight", torch.zeros(self.lags * size + 1, size) if size <= MOST else torch.zeros(0, 0))

    def read(self, data: Series) -> None:
        super().read(data)
        if not self.weight.numel():
            raise DataError(
                f"{data.name}: {self.nodes} sensors x {self.channels} channels are more than the {MOST} that a vector "
                "autoregression takes; compare without it"
            )
        count = data.observed.sum(0)
        mean = torch.where(count > 0, data.values.double().sum(0) / count.clamp(min=1), self.scaling.mean)
        deviation = torch.where(data.observed, data.values.double() - mean, 0.0)
        spread = (deviation.square().sum(0) / count.clamp(min=1)).sqrt()
        self.average.copy_(mean)
        self.spread.copy_(torch.where(spread > 1e-6 * (1 + mean.abs()), spread, 1.0))
        observed = data.observed.flatten(1)
        filled = carry_forward(data.values[None], data.observed[None], self.average)[0]
        z = ((filled - self.average) / self.spread).double().flatten(1)
        gaps = not bool(observed.all())
        for fill in range(1 + FILLS * gaps):
            rows = _rows(z, self.lags)
            weight = _solve(rows, z[self.lags :], observed[self.lags :].double())
            if gaps and fill < FILLS:
                z[self.lags :] = torch.where(observed[self.lags :], z[self.lags :], (rows @ weight).clamp(-5, 5))
        self.weight.copy_(weight)

    def forward(self, window: Windows) -> Tensor:
        past = carry_forward(window.past, window.past_observed, self.average)
        z = ((past - self.average) / self.spread).double().flatten(2)[:, -self.lags :]
        weight, future = self.weight.double(), []
        for _ in range(self.horizon):
            row = torch.cat([z.flatten(1), z.new_ones(len(z), 1)], 1)
            future.append(row @ weight)
            z = torch.cat([z[:, 1:], future[-1][:, None]], 1)
        steps = torch.stack(future, 1).unflatten(2, (self.nodes, self.channels))
        return (steps * self.spread + self.average).to(self.average.dtype)


def _rows(z: Tensor, lags: int) -> Tensor:
    """(steps - lags, lags * size + 1): the lags before each step, oldest first, and 1."""
    rows = z.unfold(0, lags, 1)[:-1].transpose(1, 2).flatten(1)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _solve(rows: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    """Weights of the best ridge, on all rows; the intercept is penalised as the rest, which standardised z forgives.

    One eigendecomposition of the Gram matrix serves all ridges.
    """
    held = len(rows) // 5
    best = RIDGES[2]
    if held:
        fits = _ridge(rows[:-held], targets[:-held])
        errors = [((rows[-held:] @ fits(ridge) - targets[-held:]).square() * seen[-held:]).sum() for ridge in RIDGES]
        best = RIDGES[int(torch.stack(errors).argmin())]
    return _ridge(rows, targets)(best)


def _ridge(rows: Tensor, targets: Tensor) -> Callable[[float], Tensor]:
    """Solutions for any ridge of min |rows w - targets|^2 + ridge * len(rows) * |w|^2."""
    value, vector = torch.linalg.eigh(rows.T @ rows)
    moment = vector.T @ (rows.T @ targets)
    return lambda ridge: vector @ (moment / (value.clamp(min=0) + ridge * max(1, len(rows)))[:, None])
