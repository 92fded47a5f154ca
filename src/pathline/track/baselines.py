"""What a tracker has to beat: a body that keeps its velocity or acceleration, their Kalman filters, one linear map."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.data.tracks import Encounters, Tracks
from pathline.signal.kalman import (
    LinearGaussian,
    constant_acceleration,
    constant_velocity,
    forecast,
    gaussian_log_density,
    kalman_filter,
)
from pathline.track.base import EVALUATION_BATCH, Futures, Tracker, equally_likely, relative
from pathline.track.point import PointTracker

TUNING_WINDOWS = 400
REACH = 6  # decades of noise that are tried


class ConstantVelocity(PointTracker):
    """The last measured velocity goes on: p_{T+k} = p_T + k (p_T - p_{T-1}).

    Schöller, Aravantinos, Lay, Knoll, 2020, "What the Constant Velocity Model Can Teach Us About Pedestrian Motion
    Prediction", arXiv:1903.07933, is why nothing may be published without it.
    """

    trains: ClassVar[bool] = False

    def path(self, window: Encounters) -> Tensor:
        last, before = window.past[:, 0, -1, None], window.past[:, 0, -2, None]
        ahead = torch.arange(1, self.horizon + 1, device=last.device)[:, None]
        return last + ahead * (last - before)


class ConstantAcceleration(PointTracker):
    """The last second difference goes on, exact for parabolas: p_{T+k} = p_T + k d_1 + k (k + 1) / 2 d_2."""

    trains: ClassVar[bool] = False

    def path(self, window: Encounters) -> Tensor:
        past = window.past[:, 0]
        if self.history < 3:
            raise DataError(f"ConstantAcceleration needs a history of 3 steps, not {self.history}: give --history 3")
        first = past[:, -1] - past[:, -2]
        second = first - (past[:, -2] - past[:, -3])
        ahead = torch.arange(1, self.horizon + 1, device=past.device)[:, None]
        return past[:, -1, None] + ahead * first[:, None] + ahead * (ahead + 1) / 2 * second[:, None]


class Kalman(Tracker):
    """Filters the past and lets the last state go on, each axis by itself; `model` says how a body moves.

    The power of the process and the noise of measurements are those, out of a grid, under which the true futures of
    the training windows are likeliest, given their pasts. The first future is the mean, the others are drawn.
    """

    trains: ClassVar[bool] = False
    order: ClassVar[int]  # of the state
    process: Tensor
    noise: Tensor

    def __init__(self, dims: int, history: int, horizon: int, neighbours: int, interval: float) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        self.register_buffer("process", torch.ones((), dtype=torch.float64))
        self.register_buffer("noise", torch.ones((), dtype=torch.float64))

    def model(self, process: Tensor, noise: Tensor) -> LinearGaussian:
        """The law of motion of one axis, with power densities and noise variances of any shape (...,)."""
        raise NotImplementedError

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Choose process and noise on `data` (of a `Split` the training part)."""
        self.read(self.require(data))
        return self.eval()

    def read(self, data: Tracks) -> None:
        """Two rounds of a 9 x 9 grid of (process, noise) in powers of ten, the second around the best of the first."""
        super().read(data)
        part = self._windows_of(data)
        chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:TUNING_WINDOWS]
        window = part.gather(chosen)
        truth = relative(window.future[:, 0], window).double().mT[..., None]
        step = float(self.typical_step)
        centre = torch.tensor([2 * self.order - 1, 0.0], dtype=torch.float64) * -torch.tensor(self.interval).log10()
        centre = centre + 2 * torch.tensor([step, step / 30], dtype=torch.float64).log10()
        for reach in (REACH / 2, REACH / 8):
            ticks = torch.linspace(-reach, reach, 9, dtype=torch.float64)
            grid = torch.cartesian_prod(ticks, ticks) + centre
            process, noise = (10**grid).T
            means, spreads = self._law(window, process[:, None, None], noise[:, None, None])
            found = gaussian_log_density(truth - means, spreads).flatten(1).mean(1)
            centre = grid[found.argmax()]
        self.process.copy_(10 ** centre[0])
        self.noise.copy_(10 ** centre[1])

    def _state(self, window: Encounters, model: LinearGaussian) -> tuple[Tensor, Tensor]:
        """Mean (..., batch, dims, n) of the state at the last past step, positions relative to it, and its covariance
        (..., n, n), which is the same for all targets since all were seen at every step; float64."""
        values = relative(window.past[:, 0], window).double().mT[..., None]
        mean = torch.zeros(*values.shape[:2], self.order, dtype=values.dtype, device=values.device)
        mean[..., 0] = values[..., 0, 0]
        speed = 3 * float(self.typical_step) / self.interval
        prior = torch.tensor([speed * self.interval, speed, speed / self.interval], dtype=values.dtype)[: self.order]
        found = kalman_filter(model, values, mean, torch.diag(prior.square()).to(values))
        return found.mean, found.covariance

    def _law(self, window: Encounters, process: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Means (..., batch, dims, horizon, 1) and variances (..., horizon, 1, 1) of the next positions."""
        model = self.model(process, noise)
        return forecast(model, *self._state(window, model), self.horizon)

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        model = self.model(self.process, self.noise)
        mean, covariance = self._state(past, model)
        means, spreads = forecast(model, mean, covariance, self.horizon)

        def draw(covariance: Tensor, like: Tensor) -> Tensor:
            white = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
            white[:, 0] = 0
            return (torch.linalg.cholesky(covariance) @ white[..., None])[..., 0]

        state = mean[:, None].expand(-1, k, -1, -1)
        state = state + draw(covariance, state)
        seen = []
        for _ in range(self.horizon):
            state = (model.transition @ state[..., None])[..., 0]
            state = state + draw(model.process, state)
            seen.append(state[..., 0] + draw(model.noise, state[..., :1])[..., 0])
        positions = torch.stack(seen, 2)  # (batch, k, horizon, dims)
        difference = positions.mT[..., None] - means[:, None]
        log_density = gaussian_log_density(difference, spreads).sum(2)
        positions = positions.float() + past.past[:, 0, -1, None, None]
        return equally_likely(positions[:, :, None], log_density.float())

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor:
        means, spreads = self._law(window, self.process, self.noise)
        truth = relative(window.future[:, 0], window).double().mT[..., None]
        return gaussian_log_density(truth - means, spreads).sum(1).float()


class KalmanVelocity(Kalman):
    """A velocity that white acceleration changes."""

    order: ClassVar[int] = 2

    def model(self, process: Tensor, noise: Tensor) -> LinearGaussian:
        return constant_velocity(self.interval, process, noise)


class KalmanAcceleration(Kalman):
    """An acceleration that white jerk changes."""

    order: ClassVar[int] = 3

    def model(self, process: Tensor, noise: Tensor) -> LinearGaussian:
        return constant_acceleration(self.interval, process, noise)


class LinearMotion(PointTracker):
    """One linear map from the last velocities to the next displacements, by ridge regression:

    min_W  mean over windows of |W^T [v, 1] - (p_{T+1..T+Q} - p_T)|^2  +  ridge |W without intercept|^2
    """

    trains: ClassVar[bool] = False
    weight: Tensor

    def __init__(
        self, dims: int, history: int, horizon: int, neighbours: int, interval: float, ridge: float = 1e-4
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        self.ridge = ridge
        self.register_buffer("weight", torch.zeros((history - 1) * dims + 1, horizon * dims))

    def read(self, data: Tracks) -> None:
        super().read(data)
        width = len(self.weight)
        gram = torch.zeros(width, width, dtype=torch.float64)
        moment = torch.zeros(width, self.horizon * self.dims, dtype=torch.float64)
        part = self._windows_of(data)
        for window in part.batches(EVALUATION_BATCH, torch.Generator().manual_seed(0)):
            assert isinstance(window, Encounters)
            x, y = self._features(window), relative(window.future[:, 0], window).flatten(1)
            gram += (x.T @ x).double() / len(part)
            moment += (x.T @ y).double() / len(part)
        penalty = torch.full((width,), self.ridge, dtype=torch.float64)
        penalty[-1] = 0
        size = gram.diagonal()[:-1].mean().clamp(min=1e-12)
        self.weight.copy_(torch.linalg.solve(gram + torch.diag(penalty * size + 1e-12), moment))

    def path(self, window: Encounters) -> Tensor:
        moved = (self._features(window) @ self.weight).unflatten(1, (self.horizon, self.dims))
        return window.past[:, 0, -1:] + moved

    def _features(self, window: Encounters) -> Tensor:
        velocity = window.past[:, 0].diff(dim=1).flatten(1) / self.interval
        return torch.cat([velocity, torch.ones_like(velocity[:, :1])], 1)
