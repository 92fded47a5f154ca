"""The torus: angles that turn a fixed number of times, by increments from von Mises mixtures.

    state     (angles, k), s_0 = (0, 0)          step k: angles <- wrap(angles + increments), k <- k + 1
    kappa     arc length of each increment       p_B: increments likewise; k = 1 has s_0 as parent with mass 1
    reward    exp(sharpness sum_i cos 2 a_i + coupling sum_i cos(a_i - a_{i+1}))

Turning keeps arc length, so nu kappa = nu kappa_b. log Z follows from the chain's transfer matrix: the trapezoidal
rule on a circle converges faster than any power of the number of nodes.
Lahlou et al., 2023, arXiv:2301.12594, where the angles are those of molecular conformations.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.sims.environments.continuous import ContinuousEnvironment
from pathline.spaces.mixtures import VonMisesMixture, wrapped

CELLS = 20  # on each of the first two circles
NODES = 400  # of the quadrature on a circle, a multiple of CELLS


@dataclass(frozen=True, kw_only=True)
class Torus(ContinuousEnvironment):
    """angles: how many, at least 2; turns: moves of every walk; sharpness, coupling: of the reward.

    States (n, angles + 1) end with the number of turns made; actions (n, angles) are increments.
    """

    angles: int = 2
    turns: int = 3
    sharpness: float = 1.5
    coupling: float = 1.0
    name: str = "torus"

    stops: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.angles < 2 or self.turns < 1:
            raise DataError(f"{self.name}: {self.angles} angles in {self.turns} turns; at least 2 and 1 are needed")

    @property
    def width(self) -> int:
        return self.angles + 1

    @property
    def bound(self) -> int:
        return self.turns

    @property
    def features(self) -> int:
        return 2 * self.angles + self.turns + 1

    def forward_size(self, components: int) -> int:
        return self.angles * VonMisesMixture.size(components)

    def backward_size(self, components: int) -> int:
        return self.angles * VonMisesMixture.size(components)

    def source(self, count: int) -> Tensor:
        return torch.zeros(count, self.width)

    def encode(self, states: Tensor) -> Tensor:
        angles, made = states[:, :-1], states[:, -1:].round()
        place = made == torch.arange(self.turns + 1, device=states.device)
        return torch.cat([angles.cos(), angles.sin(), place.to(states.dtype)], -1)

    def _mixtures(self, raw: Tensor) -> VonMisesMixture:
        return VonMisesMixture.of(raw.unflatten(-1, (self.angles, -1)))

    def draw(self, raw: Tensor, states: Tensor, first: bool, explore: float = 0.0) -> Tensor:
        """explore: probability of an increment that is uniform on the circles instead."""
        increments = self._mixtures(raw).sample()
        if explore:
            uniform = math.pi * (2 * torch.rand_like(increments) - 1)
            increments = torch.where(torch.rand(len(states), 1) < explore, uniform, increments)
        return increments

    def log_forward(self, raw: Tensor, states: Tensor, actions: Tensor, first: bool) -> Tensor:
        return self._mixtures(raw).log_density(actions).sum(-1)

    def draw_back(self, raw: Tensor, states: Tensor) -> Tensor:
        return self._mixtures(raw).sample()

    def log_backward(self, raw: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        return self._mixtures(raw).log_density(actions).sum(-1)

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([wrapped(states[:, :-1] + actions), states[:, -1:] + 1], -1)

    def undo(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([wrapped(states[:, :-1] - actions), states[:, -1:] - 1], -1)

    def from_source(self, states: Tensor) -> Tensor:
        return states[:, -1].round() == 1

    def first_action(self, states: Tensor) -> Tensor:
        return states[:, :-1]

    # -- the target ---------------------------------------------------------------------------------------------------

    def log_reward(self, objects: Tensor) -> Tensor:
        a = objects[:, : self.angles]
        return self.sharpness * (2 * a).cos().sum(-1) + self.coupling * (a[:, 1:] - a[:, :-1]).cos().sum(-1)

    def _pair(self) -> Tensor:
        """Unnormalised mass of the first two angles on the nodes, the others summed out: (nodes, nodes), float64."""
        a = (torch.arange(NODES, dtype=torch.float64) + 0.5) * (2 * math.pi / NODES) - math.pi
        single = (self.sharpness * (2 * a).cos()).exp()
        double = (self.coupling * (a[:, None] - a).cos()).exp()
        message = torch.ones_like(a)
        for _ in range(self.angles - 2):
            message = double @ (single * message) * (2 * math.pi / NODES)
        return single[:, None] * double * (single * message) * (2 * math.pi / NODES) ** 2

    @property
    def log_mass(self) -> float:
        return math.log(float(self._pair().sum()))

    def cells(self, objects: Tensor) -> Tensor:
        """A grid of 20 x 20 on the first two circles."""
        share = torch.remainder(objects[:, :2] + math.pi, 2 * math.pi) / (2 * math.pi)
        place = (share * CELLS).long().clamp(0, CELLS - 1)
        return place[:, 0] * CELLS + place[:, 1]

    def masses(self) -> Tensor:
        mass = self._pair().reshape(CELLS, NODES // CELLS, CELLS, NODES // CELLS).sum((1, 3)).flatten()
        return mass / mass.sum()
