"""The Kalman filter, for many signals at once.

    x_t = F x_{t-1} + w,  w ~ N(0, Q),        y_t = H x_t + v,  v ~ N(0, R)
    predict:  m = F m,  P = F P F^T + Q
    update:   S = H P H^T + R,  K = P H^T S^-1,  m <- m + K (y - H m),  P <- (I - K H) P (I - K H)^T + K R K^T
Kalman, 1960, "A New Approach to Linear Filtering and Prediction Problems"; the last form of the update is Joseph's,
which keeps P symmetric and positive. Leading dimensions broadcast: a grid of models on a batch of signals is one call.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearGaussian:
    """transition F: (..., n, n), process Q: (..., n, n), emission H: (m, n), noise R: (..., m, m)."""

    transition: Tensor
    process: Tensor
    emission: Tensor
    noise: Tensor

    def ahead(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """One step on: mean (..., n), covariance (..., n, n)."""
        mean = (self.transition @ mean[..., None])[..., 0]
        return mean, self.transition @ covariance @ self.transition.mT + self.process

    def emitted(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """The law of a measurement in a state: mean (..., m), covariance (..., m, m)."""
        seen = (self.emission @ mean[..., None])[..., 0]
        return seen, self.emission @ covariance @ self.emission.mT + self.noise


@dataclass(frozen=True)
class Filtered:
    """Law of the state after the last measurement, and log p(y_1..T): (...,)."""

    mean: Tensor
    covariance: Tensor
    log_likelihood: Tensor


def kalman_filter(
    model: LinearGaussian, values: Tensor, mean: Tensor, covariance: Tensor, observed: Tensor | None = None
) -> Filtered:
    """Take in values (..., time, m); mean (..., n) and covariance (..., n, n) are those of the first step before it.

    observed: (..., time) bool; a step without a measurement only lets the uncertainty grow
    """
    total = values.new_zeros(())
    eye = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    for step in range(values.shape[-2]):
        if step:
            mean, covariance = model.ahead(mean, covariance)
        expected, spread = model.emitted(mean, covariance)
        surprise = values[..., step, :] - expected
        gain = torch.linalg.solve(spread, model.emission @ covariance).mT
        log_p = gaussian_log_density(surprise, spread)
        keep = eye - gain @ model.emission
        new_mean = mean + (gain @ surprise[..., None])[..., 0]
        new_covariance = keep @ covariance @ keep.mT + gain @ model.noise @ gain.mT
        if observed is not None:
            seen = observed[..., step]
            new_mean = torch.where(seen[..., None], new_mean, mean)
            new_covariance = torch.where(seen[..., None, None], new_covariance, covariance)
            log_p = torch.where(seen, log_p, 0.0)
        mean, covariance, total = new_mean, new_covariance, total + log_p
    return Filtered(mean, covariance, total)


def forecast(model: LinearGaussian, mean: Tensor, covariance: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Law of the next `steps` measurements, each by itself: means (..., steps, m), covariances (..., steps, m, m)."""
    means, spreads = [], []
    for _ in range(steps):
        mean, covariance = model.ahead(mean, covariance)
        seen, spread = model.emitted(mean, covariance)
        means.append(seen)
        spreads.append(spread)
    return torch.stack(means, -2), torch.stack(spreads, -3)


def gaussian_log_density(difference: Tensor, covariance: Tensor) -> Tensor:
    """log N(difference; 0, covariance): (..., m) and (..., m, m) -> (...)."""
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, difference[..., None], upper=False)[..., 0]
    volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (white.square().sum(-1) + difference.shape[-1] * math.log(2 * math.pi)) - volume


def constant_velocity(interval: float, process: Tensor, noise: Tensor) -> LinearGaussian:
    """State (position, velocity) of one axis, moved by white acceleration.

    process: (...,) its power density, m^2/s^3; noise: (...,) variance of measured positions, m^2
    """
    t = interval
    transition = torch.tensor([[1, t], [0, 1]], dtype=process.dtype)
    shape = torch.tensor([[t**3 / 3, t**2 / 2], [t**2 / 2, t]], dtype=process.dtype)
    return _model(transition, shape, process, noise)


def constant_acceleration(interval: float, process: Tensor, noise: Tensor) -> LinearGaussian:
    """State (position, velocity, acceleration) of one axis, moved by white jerk of power density `process`, m^2/s^5."""
    t = interval
    transition = torch.tensor([[1, t, t**2 / 2], [0, 1, t], [0, 0, 1]], dtype=process.dtype)
    shape = torch.tensor(
        [[t**5 / 20, t**4 / 8, t**3 / 6], [t**4 / 8, t**3 / 3, t**2 / 2], [t**3 / 6, t**2 / 2, t]], dtype=process.dtype
    )
    return _model(transition, shape, process, noise)


def _model(transition: Tensor, shape: Tensor, process: Tensor, noise: Tensor) -> LinearGaussian:
    emission = torch.zeros(1, len(transition), dtype=transition.dtype)
    emission[0, 0] = 1
    return LinearGaussian(transition, process[..., None, None] * shape, emission, noise[..., None, None])
