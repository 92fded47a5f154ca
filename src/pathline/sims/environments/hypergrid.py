"""The hypergrid: walk from a corner of a cube of cells, one step along one axis at a time, and stop somewhere.

    R(x) = R0 + R1 prod_d 1[1/4 < |x_d / (H - 1) - 1/2|] + R2 prod_d 1[3/10 < |x_d / (H - 1) - 1/2| < 4/10]

so that 2^D modes lie near the corners, far apart. Bengio et al., 2021, "Flow Network based Generative Models for
Non-Iterative Diverse Candidate Generation", arXiv:2106.04399; with R0 = 1e-3 a sampler hardly finds its way between
them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.environment import ENUMERABLE, DiscreteEnvironment, Reward, one_hot
from pathline.data.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Hypergrid(DiscreteEnvironment):
    """Cells of a cube with `side` cells along each of `dims` axes.

    r0, r1, r2: reward of every cell, of the outer ones besides, of the modes besides
    reward:     a function of your own instead: cells (n, dims) int64 -> rewards (n,) above 0

    States (n, dims + 1) hold the cell and whether the walk has stopped; move d steps along axis d, the last one stops.
    """

    dims: int = 2
    side: int = 8
    r0: float = 0.1
    r1: float = 0.5
    r2: float = 2.0
    reward: Reward | None = None
    name: str = "hypergrid"

    def __post_init__(self) -> None:
        if self.dims < 1 or self.side < 2:
            raise DataError(
                f"{self.name}: {self.dims} axes of {self.side} cells; at least 1 axis and 2 cells are needed"
            )
        if self.r0 <= 0 or min(self.r1, self.r2) < 0:
            raise DataError(f"{self.name}: rewards {self.r0:g}, {self.r1:g}, {self.r2:g}; the first must be above 0")

    @property
    def radix(self) -> tuple[int, ...]:
        return (self.side,) * self.dims + (2,)

    @property
    def actions(self) -> int:
        return self.dims + 1

    @property
    def bound(self) -> int:
        return self.dims * (self.side - 1) + 1

    @property
    def features(self) -> int:
        return self.dims * self.side

    @property
    def count(self) -> int:
        return int(self.side**self.dims)

    @property
    def enumerable(self) -> bool:
        return 2 * self.count <= ENUMERABLE

    @property
    def mode_log_reward(self) -> float | None:
        """Of the cells that have all three rewards, if there are any."""
        off = (torch.arange(self.side) / (self.side - 1) - 0.5).abs()
        known = self.reward is None and bool(((off > 0.3) & (off < 0.4)).any())
        return math.log(self.r0 + self.r1 + self.r2) if known else None

    def encode(self, states: Tensor) -> Tensor:
        """Each coordinate one-hot."""
        return one_hot(states[:, :-1], self.side).flatten(1)

    def forward_mask(self, states: Tensor) -> Tensor:
        going = states[:, -1:] == 0
        return torch.cat([states[:, :-1] < self.side - 1, torch.ones_like(going)], 1) & going

    def backward_mask(self, states: Tensor) -> Tensor:
        stopped = states[:, -1:] == 1
        return torch.cat([(states[:, :-1] > 0) & ~stopped, stopped], 1)

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + one_hot(actions, self.actions, torch.int64)

    def back(self, states: Tensor, actions: Tensor) -> Tensor:
        return states - one_hot(actions, self.actions, torch.int64)

    def is_terminal(self, states: Tensor) -> Tensor:
        return states[:, -1] == 1

    def log_reward(self, objects: Tensor) -> Tensor:
        if self.reward is not None:
            return asked(self.reward, objects[:, :-1], self.name)
        off = (objects[:, :-1] / (self.side - 1) - 0.5).abs()
        outer, mode = (off > 0.25).all(-1), ((off > 0.3) & (off < 0.4)).all(-1)
        return (self.r0 + self.r1 * outer + self.r2 * mode).log()

    def text(self, objects: Tensor) -> list[str]:
        return [" ".join(map(str, row)) for row in objects[:, :-1].tolist()]


def asked(reward: Reward, objects: Tensor, name: str) -> Tensor:
    """log of a user's `reward` of `objects`: (n,) float32; a `DataError` if it is no number above 0 for each."""
    found = torch.as_tensor(reward(objects))
    if found.shape != objects.shape[:1]:
        raise DataError(
            f"{name}: the reward of {len(objects)} objects has shape {tuple(found.shape)}; return ({len(objects)},)"
        )
    if not bool((torch.isfinite(found) & (found > 0)).all()):
        bad = found[~(torch.isfinite(found) & (found > 0))][0]
        raise DataError(f"{name}: the reward is {float(bad):g} for some objects; it must be finite and above 0")
    return found.float().log()
