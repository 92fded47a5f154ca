"""Walkers at a fork or a crossroads, whose density of where they will be is known exactly.

    x_t = x_{t-1} + s dt d_t + n_t,    n_t ~ N(0, sigma_along^2 d_t d_t^T + sigma_across^2 (I - d_t d_t^T))

The heading d_t is the walker's own until some steps after the last seen one, 1 to 4, equally likely, and then that of
the way taken, of which nothing shows before: left or right of a fork, or one of the four exits of a crossroads, with
fixed probabilities. The speed s ~ N(1.3, 0.15^2) m/s belongs to the walker and can be told from the past only as well
as the noise allows:

    s | past ~ N(m, v),  1/v = 1/0.15^2 + (P - 1) dt^2 / sigma_along^2,  m/v = 1.3/0.15^2 + dt sum along/sigma_along^2

Hence x_t given the past is a mixture of Gaussians, one for each way and turn, with mean x_0 + m dt D, where D is the
sum of d_1 .. d_t, and covariance v dt^2 D D^T plus that of the noise. "fork" and "crossroads" are the simfork and
simcross of Maeda, Ukita, 2023, arXiv:2308.09234, in spirit: theirs were not published as formulas.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.tracks import Tracks
from pathline.spaces.gaussian_mixture import GaussianMixture

INTERVAL = 0.4
SPEED, SPREAD = 1.3, 0.15  # metres per second
ALONG, ACROSS = 0.08, 0.06  # metres per step
TURNS = (1, 2, 3, 4)  # steps that are still walked straight on
WAYS = {  # radians to the left, and how likely
    "fork": ((math.radians(40), 0.6), (math.radians(-40), 0.4)),
    "crossroads": ((0.0, 0.4), (math.pi / 2, 0.25), (-math.pi / 2, 0.25), (math.radians(170), 0.1)),
}


@dataclass(frozen=True)
class Walks:
    """positions: (walks, history + horizon, 2) metres; heading: (walks,) radians before the turn; way: (walks,) the
    place in the list of ways x turns."""

    kind: str
    positions: Tensor
    heading: Tensor
    way: Tensor
    history: int
    interval: float = INTERVAL

    def tracks(self) -> Tracks:
        """Every walk in a scene of its own."""
        count, frames, _ = self.positions.shape
        return Tracks(
            positions=self.positions.float(),
            observed=torch.ones(count, frames, dtype=torch.bool),
            interval=self.interval,
            scene=torch.arange(count),
            scenes=tuple(f"{self.kind} {i}" for i in range(count)),
            history=self.history,
            horizon=frames - self.history,
            neighbours=0,
            name=f"simulated-{self.kind}",
        )

    def future_density(self, walks: Tensor) -> GaussianMixture:
        """Where these walks (indices) will be given what was seen of them: (batch, horizon) mixtures."""
        past = self.positions[walks, : self.history]
        horizon = self.positions.shape[1] - self.history
        steps = _directions(self.kind, self.heading[walks], horizon)  # (batch, ways, horizon, 2)
        ahead = torch.stack([self.heading[walks].cos(), self.heading[walks].sin()], -1)
        along = (past.diff(dim=1) * ahead[:, None]).sum((1, 2))
        precision = 1 / SPREAD**2 + (self.history - 1) * self.interval**2 / ALONG**2
        speed = (SPEED / SPREAD**2 + self.interval * along / ALONG**2) / precision
        way = steps.cumsum(2).transpose(1, 2)  # D: (batch, horizon, ways, 2)
        mean = past[:, -1, None, None] + self.interval * speed[:, None, None, None] * way
        noise = _noise(steps).cumsum(2).transpose(1, 2)
        covariance = self.interval**2 / precision * way[..., None] * way[..., None, :] + noise
        weight = _weights(self.kind).log().expand(mean.shape[:3])
        return GaussianMixture(weight, mean, torch.linalg.cholesky(covariance))


def _weights(kind: str) -> Tensor:
    """How likely each way with each turn is, (ways x turns,)."""
    return torch.tensor([weight / len(TURNS) for _, weight in WAYS[kind] for _ in TURNS], dtype=torch.float64)


def _directions(kind: str, heading: Tensor, horizon: int) -> Tensor:
    """d_1 .. d_T for every way and turn, (batch, ways x turns, horizon, 2)."""
    bend = torch.tensor([angle for angle, _ in WAYS[kind]], dtype=torch.float64)
    turned = (torch.arange(1, horizon + 1) > torch.tensor(TURNS)[:, None]).double()
    angle = heading[:, None, None] + (bend[:, None, None] * turned).flatten(0, 1)
    return torch.stack([angle.cos(), angle.sin()], -1)


def _noise(direction: Tensor) -> Tensor:
    """Covariance of n_t, (..., 2, 2), for directions (..., 2)."""
    outer = direction[..., None] * direction[..., None, :]
    return ALONG**2 * outer + ACROSS**2 * (torch.eye(2, dtype=direction.dtype) - outer)


def simulate_walks(kind: str, count: int = 2000, seed: int = 0, history: int = 8, horizon: int = 12) -> Walks:
    """`count` walks of the kind "fork" (all head east) or "crossroads" (from each of the four arms)."""
    if kind not in WAYS:
        raise ValueError(f"there is no walk '{kind}'; there are {', '.join(WAYS)}")
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    way = torch.multinomial(_weights(kind), count, True, generator=generator)
    arm = torch.randint(4, (count,), generator=generator) if kind == "crossroads" else torch.zeros(count).long()
    heading = math.pi / 2 * arm.double()
    speed = SPEED + SPREAD * normal(count)
    after = _directions(kind, heading, horizon)[torch.arange(count), way]
    before = torch.stack([heading.cos(), heading.sin()], -1)[:, None].expand(-1, history - 1, -1)
    direction = torch.cat([before, after], 1)
    factor = torch.linalg.cholesky(_noise(direction))
    moved = INTERVAL * speed[:, None, None] * direction + (factor @ normal(*direction.shape)[..., None])[..., 0]
    positions = torch.cat([torch.zeros(count, 1, 2, dtype=torch.float64), moved.cumsum(1)], 1)
    positions = positions - positions[:, history - 1 : history] + 0.3 * normal(count, 1, 2)
    return Walks(kind, positions, heading, way, history)
