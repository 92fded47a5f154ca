"""Diffusions as environments: Euler steps forward, a Brownian bridge pinned at 0 backward.

    x_0 = 0     forward   x_{k+1} = x_k + f(x_k, t_k) dt + sigma sqrt(dt) noise           dt = 1 / moves, t_k = k dt
                backward  x_k | x_{k+1} ~ N(x_{k+1} t_k / t_{k+1}, sigma^2 dt t_k / t_{k+1}); x_0 has mass 1
                reward    mass * mean_j N(x; centre_j, deviation^2 I)                     log Z = log mass

kappa and kappa_b are Lebesgue. Without drift the forward walk is Brownian motion, whose reversal is the bridge.
Lahlou et al., 2023, arXiv:2301.12594; path integral samplers: Zhang, Chen, 2022, arXiv:2111.15141.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.sims.environments.continuous import ContinuousEnvironment

GRID = tuple((float(a), float(b)) for a in range(-10, 11, 5) for b in range(-10, 11, 5))
REST = 3.0  # a raw output of 0 pulls by sigmoid(-3) = 5 % of the way a step
WITHIN = 3.0  # deviations from a centre that still count as its mode


@dataclass(frozen=True, kw_only=True)
class Diffusion(ContinuousEnvironment):
    """Points of R^d reached by a diffusion.

    centres, deviation, mass: the target, a mixture of equal normal clouds times a mass; by default the 25 Gaussians
                              on the grid {-10, -5, 0, 5, 10}^2 of variance 0.3
    moves: Euler steps; sigma: deviation of the walk without drift at the end
    spread: 0 keeps the variance of each step at sigma^2 dt; else a policy multiplies it by up to e^+-spread
    guided: whether a policy may also pull along the score of the target: each step by a share of deviation^2 grad log
            r, which near a centre is what is missing to it

    States (n, d + 1) end with the number of moves made; actions (n, d) are increments of x. A policy's raw outputs
    are the drift in units of sigma, then if guided the logits of the shares of the pull, then with a spread the
    arguments of a tanh that scales the log variances.
    """

    centres: tuple[tuple[float, ...], ...] = GRID
    deviation: float = math.sqrt(0.3)
    mass: float = 1.0
    moves: int = 20
    sigma: float = 5.0
    spread: float = 0.0
    guided: bool = False
    name: str = "gaussian-grid"

    stops: ClassVar[bool] = False
    starts_plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "centres", tuple(tuple(float(value) for value in centre) for centre in self.centres))
        if not self.centres or len({len(centre) for centre in self.centres}) != 1:
            raise DataError(f"{self.name}: centres must be points of one dimension, at least one")
        if min(self.deviation, self.mass, self.sigma) <= 0 or self.moves < 1:
            raise DataError(f"{self.name}: deviation, mass, sigma and moves must be positive")

    @property
    def dims(self) -> int:
        return len(self.centres[0])

    @property
    def width(self) -> int:
        return self.dims + 1

    @property
    def bound(self) -> int:
        return self.moves

    @property
    def features(self) -> int:
        return self.dims + 5

    def forward_size(self, components: int) -> int:
        return self.dims * (1 + self.guided + (self.spread > 0))

    def backward_size(self, components: int) -> int:
        return 0

    def source(self, count: int) -> Tensor:
        return torch.zeros(count, self.width)

    def encode(self, states: Tensor) -> Tensor:
        t = self.time(states)
        waves = [(2 * math.pi * t).sin(), (2 * math.pi * t).cos(), (math.pi * t).sin(), (math.pi * t).cos()]
        return torch.cat([states[:, :-1] / self.sigma, t, *waves], -1)

    def time(self, states: Tensor) -> Tensor:
        """t of a state: (n, 1)."""
        return states[:, -1:] / self.moves

    # -- moves --------------------------------------------------------------------------------------------------------

    @property
    def noise(self) -> float:
        """Deviation of one step's noise."""
        return self.sigma / math.sqrt(self.moves)

    def step_law(self, raw: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """f dt and the deviation of the noise: (n, d) both."""
        parts = raw.split(self.dims, -1)
        drift = parts[0] * (self.sigma / self.moves)
        if self.guided:
            drift = drift + (parts[1] - REST).sigmoid() * self.pull(states[:, :-1])
        if not self.spread:
            return drift, torch.full_like(drift, self.noise)
        return drift, self.noise * (0.5 * self.spread * parts[-1].tanh()).exp()

    def pull(self, x: Tensor) -> Tensor:
        """deviation^2 grad log r(x), the way to the nearest centre but where two are nearly as near: (n, d)."""
        away = self._centres(x) - x[:, None]
        near = (away.square().sum(-1) / (-2 * self.deviation**2)).softmax(-1)
        return (near[..., None] * away).sum(1)

    def draw(self, raw: Tensor, states: Tensor, first: bool, explore: float = 0.0) -> Tensor:
        """explore: a deviation, in units of sigma sqrt(dt), whose square adds to the variance of every step."""
        drift, deviation = self.step_law(raw, states)
        return drift + (deviation.square() + (explore * self.noise) ** 2).sqrt() * torch.randn_like(drift)

    def log_forward(self, raw: Tensor, states: Tensor, actions: Tensor, first: bool) -> Tensor:
        drift, deviation = self.step_law(raw, states)
        return _log_normal(actions - drift, deviation)

    def draw_back(self, raw: Tensor, states: Tensor) -> Tensor:
        made = states[:, -1:].clamp(min=1)
        noise = self.noise * ((made - 1) / made).sqrt() * torch.randn_like(states[:, :-1])
        return states[:, :-1] / made - noise

    def log_backward(self, raw: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        made = states[:, -1:].clamp(min=2)
        return _log_normal(actions - states[:, :-1] / made, self.noise * ((made - 1) / made).sqrt())

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([states[:, :-1] + actions, states[:, -1:] + 1], -1)

    def undo(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([states[:, :-1] - actions, states[:, -1:] - 1], -1)

    def from_source(self, states: Tensor) -> Tensor:
        return states[:, -1].round() == 1

    def first_action(self, states: Tensor) -> Tensor:
        return states[:, :-1]

    # -- the target ---------------------------------------------------------------------------------------------------

    def _centres(self, like: Tensor) -> Tensor:
        return torch.tensor(self.centres, dtype=like.dtype, device=like.device)

    def log_reward(self, objects: Tensor) -> Tensor:
        x = objects[:, : self.dims]
        clouds = _log_normal(x[:, None] - self._centres(x), torch.full_like(x[:, None, :1], self.deviation))
        return torch.logsumexp(clouds, -1) - math.log(len(self.centres)) + math.log(self.mass)

    @property
    def log_mass(self) -> float:
        return math.log(self.mass)

    def cells(self, objects: Tensor) -> Tensor:
        """The cloud within whose three deviations a point is; the last cell is for points far from all."""
        distance, nearest = torch.cdist(objects[:, : self.dims], self._centres(objects)).min(1)
        return torch.where(distance < WITHIN * self.deviation, nearest, len(self.centres))

    def masses(self) -> Tensor:
        """Exact where clouds lie further than six deviations apart."""
        inside = float(torch.special.gammainc(torch.tensor(self.dims / 2.0), torch.tensor(WITHIN**2 / 2)))
        each = torch.full((len(self.centres),), inside / len(self.centres), dtype=torch.float64)
        return torch.cat([each, torch.tensor([1 - inside], dtype=torch.float64)])


def _log_normal(difference: Tensor, deviation: Tensor) -> Tensor:
    """log N(difference; 0, deviation^2): (..., d), and deviations (..., d) or (..., 1) -> (...)."""
    return (-0.5 * (difference / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
