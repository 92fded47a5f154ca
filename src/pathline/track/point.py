"""One path and how far it usually is off: what turns a forecaster of a single future into a density.

    x_1..T = path + R e,   e ~ N(0, S),   S = mean over windows of e e^T,   e = R^T (truth - path)

R turns the horizontal axes so that the target's last movement points along the first one; e, of all steps and axes
together, is what the method missed by on data it knows. The first future is the path itself, the others are drawn; the
density at a step is the Gaussian of that step's block of S. The point forecast is untouched by all this.
"""

import math
from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.data.container import Split
from pathline.data.tracks import Encounters
from pathline.track.base import EVALUATION_BATCH, SCORED, Futures, Tracker, equally_likely, evaluating

MOST_WINDOWS = 5000  # that errors are measured on


class PointTracker(Tracker):
    """A tracker that forecasts one path; a subclass writes `path`.

    error_factor: (horizon * dims, horizon * dims) lower triangular Cholesky factor of S, metres
    """

    error_factor: Tensor

    def __init__(self, dims: int, history: int, horizon: int, neighbours: int, interval: float) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        self.register_buffer("error_factor", torch.eye(horizon * dims))

    def path(self, window: Encounters) -> Tensor:
        """The forecast of the target, (batch, horizon, dims)."""
        raise NotImplementedError

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        path = self.path(past)
        noise = torch.randn(len(path), k, self.horizon * self.dims, generator=generator, device=path.device)
        noise[:, 0] = 0
        error = (noise @ self.error_factor.T).unflatten(2, (self.horizon, self.dims))
        positions = path[:, None] + into_frame(error, heading(past), back=True)
        log_density = self._log_density_of(error)
        return equally_likely(positions[:, :, None], log_density)

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor:
        error = into_frame((window.future[:, 0] - self.path(window))[:, None], heading(window))
        return self._log_density_of(error)[:, 0]

    def _log_density_of(self, error: Tensor) -> Tensor:
        """(..., horizon, dims) in the frame of the target -> (..., horizon)."""
        step = self.error_factor.unflatten(0, (self.horizon, self.dims))
        factor = torch.linalg.cholesky(step @ step.transpose(1, 2))
        white = torch.linalg.solve_triangular(factor, error[..., None], upper=False)[..., 0]
        volume = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return -0.5 * (white.square().sum(-1) + self.dims * math.log(2 * math.pi)) - volume

    def read_errors(self, data: Any) -> None:
        """Measure S on `data`, which the method may know."""
        part = self._windows_of(data)
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(self.horizon * self.dims, self.horizon * self.dims, dtype=torch.float64)
        count = 0
        with evaluating(self):
            for window in part.batches(EVALUATION_BATCH, generator):
                assert isinstance(window, Encounters)
                window = window.to(self.device)
                missed = (window.future[:, 0] - self.path(window))[:, None]
                error = into_frame(missed, heading(window)).flatten(1).double().cpu()
                total += error.T @ error
                count += len(error)
                if count >= MOST_WINDOWS:
                    break
        covariance = total / count
        # two more errors, independent and of the usual size of each step, keep S positive definite with few windows
        usual = torch.diag(covariance.diagonal().clamp(min=1e-8))
        covariance = (count * covariance + 2 * usual) / (count + 2)
        self.error_factor.copy_(torch.linalg.cholesky(covariance))

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train, if there is anything to train; then measure the errors on the validation part (else on `data`)."""
        part = data.train if isinstance(data, Split) else data
        if isinstance(data, Split) and validation is None:
            validation = data.validation
        if self.trains:
            super().fit(data, budget, seed=seed, validation=validation, **options)
        else:
            self.read(self.require(part))
        self.read_errors(validation if self.trains and validation is not None else part)
        return self.eval()

    def score(self, data: Any, seed: int = 0) -> float:
        """ADE of the path on at most 1024 windows: while training, its errors are not known yet."""
        part = self._windows_of(data)
        chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:SCORED]
        window = part.gather(chosen).to(self.device)
        assert isinstance(window, Encounters)
        with evaluating(self):
            return (self.path(window) - window.future[:, 0]).norm(dim=-1).mean().item()


def heading(window: Encounters) -> Tensor:
    """Unit vector (batch, 2) of the target's last horizontal movement over its past; the x axis if it stood still."""
    moved = window.past[:, 0, 1:, :2] - window.past[:, 0, :-1, :2]
    recent = torch.linspace(0, 1, moved.shape[1] + 1, device=moved.device)[1:].pow(4)
    moved = (moved * recent[:, None]).sum(1)
    length = moved.norm(dim=1, keepdim=True)
    east = torch.tensor([1.0, 0.0], device=moved.device, dtype=moved.dtype)
    return torch.where(length > 1e-6, moved / length.clamp(min=1e-6), east)


def into_frame(vectors: Tensor, direction: Tensor, back: bool = False) -> Tensor:
    """(batch, k, horizon, dims) into the frame whose first axis is `direction` (batch, 2), or back from it."""
    cos, sin = direction[:, 0, None, None], direction[:, 1, None, None]
    if back:
        sin = -sin
    x, y = vectors[..., 0], vectors[..., 1]
    turned = torch.stack([cos * x + sin * y, cos * y - sin * x], -1)
    return torch.cat([turned, vectors[..., 2:]], -1)
