"""Sets: choose `size` of `items` items, each with an energy; the reward is exp of minus their sum.

    E(s) = sum_{u in s} t_u for any subset, R(x) = exp(-E(x)) for those of full size

With weights w = exp(-t) and e_k the elementary symmetric polynomials, Z = e_S(w) and an item is in a drawn set with
probability w_u e_{S-1}(w without u) / e_S(w): exact at any size. Pan et al., 2023, arXiv:2302.01687.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.environment import ENUMERABLE, DiscreteEnvironment, Reward
from pathline.data.errors import DataError
from pathline.sims.environments.hypergrid import asked


@dataclass(frozen=True, kw_only=True)
class Sets(DiscreteEnvironment):
    """Subsets of `items` items with exactly `size` of them.

    energies: (items,) float64; `random_sets` draws them
    reward:   a function of your own instead: (n, items) 0/1 -> rewards (n,) above 0; half-built sets then have no
    energy

    States (n, items) say which items are in; move u puts item u in.
    """

    items: int = 10
    size: int = 5
    energies: Tensor | None = None
    reward: Reward | None = None
    name: str = "sets"

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.items:
            raise DataError(
                f"{self.name}: sets of {self.size} out of {self.items} items; choose a size from 1 to {self.items}"
            )
        if (self.energies is None) == (self.reward is None):
            raise DataError(f"{self.name}: give either energies of the items or a reward")
        if self.energies is not None and self.energies.shape != (self.items,):
            raise DataError(f"{self.name}: energies have shape {tuple(self.energies.shape)}; expected ({self.items},)")

    @property
    def radix(self) -> tuple[int, ...]:
        return (2,) * self.items

    @property
    def actions(self) -> int:
        return self.items

    @property
    def bound(self) -> int:
        return self.size

    @property
    def features(self) -> int:
        return self.items

    @property
    def count(self) -> int:
        return math.comb(self.items, self.size)

    @property
    def enumerable(self) -> bool:
        return sum(math.comb(self.items, k) for k in range(self.size + 1)) <= ENUMERABLE

    def encode(self, states: Tensor) -> Tensor:
        return states.float()

    def forward_mask(self, states: Tensor) -> Tensor:
        return (states == 0) & ~self.is_terminal(states)[:, None]

    def backward_mask(self, states: Tensor) -> Tensor:
        return states == 1

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return states.scatter(1, actions[:, None], 1)

    def back(self, states: Tensor, actions: Tensor) -> Tensor:
        return states.scatter(1, actions[:, None], 0)

    def is_terminal(self, states: Tensor) -> Tensor:
        return states.sum(-1) == self.size

    def energy(self, states: Tensor) -> Tensor:
        if self.energies is None:
            return super().energy(states)
        return (states.to(self.energies.dtype) @ self.energies).float()

    @property
    def has_energy(self) -> bool:
        return self.energies is not None

    def log_reward(self, objects: Tensor) -> Tensor:
        return -self.energy(objects) if self.reward is None else asked(self.reward, objects, self.name)

    def text(self, objects: Tensor) -> list[str]:
        return [" ".join(str(u) for u, chosen in enumerate(row) if chosen) for row in objects.tolist()]

    # -- exact at any size --------------------------------------------------------------------------------------------

    @property
    def log_mass(self) -> float:
        """log Z, from the items' energies."""
        return float(_log_symmetric(-self._known(), self.size)[-1])

    def inclusion(self) -> Tensor:
        """Probability of each item to be in a set drawn in proportion to the reward: (items,) float64, sums to
        `size`."""
        log_weights = -self._known()
        others = torch.stack([_without(log_weights, u) for u in range(self.items)])
        return (log_weights + _log_symmetric(others, self.size - 1)[..., -1] - self.log_mass).exp()

    def _known(self) -> Tensor:
        if self.energies is None:
            raise DataError(f"{self.name}: exact inclusion needs the items' energies, not a reward of one's own")
        return self.energies.double()


def random_sets(items: int, size: int, seed: int, spread: float = 2.0) -> Sets:
    """Items with independent normal energies of standard deviation `spread`."""
    energies = spread * torch.randn(items, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Sets(items=items, size=size, energies=energies)


def _without(values: Tensor, place: int) -> Tensor:
    return torch.cat([values[:place], values[place + 1 :]])


def _log_symmetric(log_weights: Tensor, size: int) -> Tensor:
    """log e_0 .. e_size of the weights along the last axis: (..., items) -> (..., size + 1). One pass over the items,
    for each of which e_k += w e_{k-1}."""
    found = torch.full((*log_weights.shape[:-1], size + 1), -math.inf, dtype=log_weights.dtype)
    found[..., 0] = 0.0
    for weight in log_weights.unbind(-1):
        found[..., 1:] = torch.logaddexp(found[..., 1:], found[..., :-1] + weight[..., None])
    return found
