"""Spike and slab: which coefficients of a linear regression are not zero, and what they are. Half discrete, half
continuous.

    y = X beta + noise       each beta_j is 0 with probability 1 - inclusion, else N(0, slab^2)
    moves     fill an empty slot j (categorical) with a value (normal mixture), or stop (the discrete part)
    backward  empty one of the filled slots
    reward    p(y, beta, slots) / p(y | no slot)     Z is a sum over the 2^slots subsets of Gaussian evidences

kappa is counting of slots times Lebesgue on the value, kappa_b counts filled slots, nu is Lebesgue on the values of
each subset: nu kappa = nu kappa_b, as filling slot j multiplies nu by the line on which its value lies.
The posteriors over structures and parameters of Lahlou et al., 2023, arXiv:2301.12594, in their smallest form.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.sims.environments.continuous import ContinuousEnvironment
from pathline.spaces.mixtures import NormalMixture


@dataclass(frozen=True, kw_only=True)
class SpikeAndSlab(ContinuousEnvironment):
    """slots: coefficients; rows: observations; noise, slab: deviations; inclusion: prior probability of a slot;
    seed: of the data, whose first half of the coefficients is not zero.

    States (n, 2 slots): which slots are filled, and their values. Actions (n, 2): 0 to stop or 1 + slot, and a value.
    """

    slots: int = 4
    rows: int = 12
    noise: float = 1.0
    slab: float = 1.0
    inclusion: float = 0.4
    seed: int = 0
    name: str = "spike-and-slab"

    def __post_init__(self) -> None:
        if self.slots < 1 or self.rows < 1 or not 0 < self.inclusion < 1 or min(self.noise, self.slab) <= 0:
            raise DataError(f"{self.name}: slots, rows, noise and slab are positive, inclusion lies between 0 and 1")

    @property
    def width(self) -> int:
        return 2 * self.slots

    @property
    def bound(self) -> int:
        return self.slots + 1

    @property
    def features(self) -> int:
        return 2 * self.slots

    @cached_property
    def observed(self) -> tuple[Tensor, Tensor]:
        """X (rows, slots), whose neighbouring columns are correlated, and y (rows,), in float64."""
        generator = torch.Generator().manual_seed(self.seed)
        columns = torch.randn(self.rows, self.slots + 1, generator=generator, dtype=torch.float64)
        matrix = (columns[:, 1:] + columns[:, :-1]) / math.sqrt(2)
        truth = torch.where(torch.arange(self.slots) < self.slots // 2, self.slab, 0.0).double()
        return matrix, matrix @ truth + self.noise * torch.randn(self.rows, generator=generator, dtype=torch.float64)

    def forward_size(self, components: int) -> int:
        return 1 + self.slots + self.slots * NormalMixture.size(components)

    def backward_size(self, components: int) -> int:
        return self.slots

    def source(self, count: int) -> Tensor:
        return torch.zeros(count, self.width)

    def encode(self, states: Tensor) -> Tensor:
        return torch.cat([states[:, : self.slots], states[:, self.slots :] / self.slab], -1)

    # -- moves --------------------------------------------------------------------------------------------------------

    def _choices(self, raw: Tensor, states: Tensor) -> Tensor:
        """Log probabilities of stopping and of each slot: (n, 1 + slots)."""
        filled = torch.cat([torch.zeros_like(states[:, :1]), states[:, : self.slots]], -1) > 0.5
        return raw[:, : 1 + self.slots].masked_fill(filled, -torch.inf).log_softmax(-1)

    def _values(self, raw: Tensor) -> NormalMixture:
        return NormalMixture.of(raw[:, 1 + self.slots :].unflatten(-1, (self.slots, -1)))

    def draw(self, raw: Tensor, states: Tensor, first: bool, explore: float = 0.0) -> Tensor:
        """explore: probability of a choice among all that are open and a value from the slab instead."""
        choices, values = self._choices(raw, states), self._values(raw).sample()
        if explore:
            wild = torch.rand(len(states), 1) < explore
            open_ = torch.zeros_like(choices).masked_fill(choices.isinf(), -torch.inf).log_softmax(-1)
            choices = torch.where(wild, open_, choices)
            values = torch.where(wild, self.slab * torch.randn_like(values), values)
        choice = torch.multinomial(choices.exp(), 1)
        value = values.gather(1, (choice - 1).clamp(min=0))
        return torch.cat([choice.to(raw.dtype), torch.where(choice > 0, value, 0.0)], -1)

    def log_forward(self, raw: Tensor, states: Tensor, actions: Tensor, first: bool) -> Tensor:
        choice = actions[:, :1].long()
        density = self._values(raw).log_density(actions[:, 1:].expand(-1, self.slots))
        density = density.gather(1, (choice - 1).clamp(min=0))
        return (self._choices(raw, states).gather(1, choice) + torch.where(choice > 0, density, 0.0))[:, 0]

    def draw_back(self, raw: Tensor, states: Tensor) -> Tensor:
        filled = states[:, : self.slots] > 0.5
        odds = torch.where(filled.any(-1, keepdim=True), self._choices_back(raw, states).exp(), 1.0)
        return self._fill(states, torch.multinomial(odds, 1))

    def _choices_back(self, raw: Tensor, states: Tensor) -> Tensor:
        """Log probabilities of emptying each slot: (n, slots)."""
        filled = states[:, : self.slots] > 0.5
        return raw.masked_fill(~filled, -1e9).log_softmax(-1)

    def _fill(self, states: Tensor, slot: Tensor) -> Tensor:
        """The action that filled `slot` (n, 1) of `states`."""
        return torch.cat([1 + slot.to(states.dtype), states.gather(1, self.slots + slot)], -1)

    def log_backward(self, raw: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        return self._choices_back(raw, states).gather(1, (actions[:, :1].long() - 1).clamp(min=0))[:, 0]

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return self._put(states, actions, 1.0)

    def undo(self, states: Tensor, actions: Tensor) -> Tensor:
        return self._put(states, actions, 0.0)

    def _put(self, states: Tensor, actions: Tensor, filled: float) -> Tensor:
        slot = actions[:, :1].long() - 1
        here = torch.arange(self.slots, device=states.device) == slot
        mask = torch.where(here, filled, states[:, : self.slots])
        values = torch.where(here, filled * actions[:, 1:], states[:, self.slots :])
        return torch.cat([mask, values], -1)

    def is_stop(self, actions: Tensor) -> Tensor:
        return actions[:, 0] < 0.5

    def at_source(self, states: Tensor) -> Tensor:
        return states[:, : self.slots].sum(-1) < 0.5

    def from_source(self, states: Tensor) -> Tensor:
        return states[:, : self.slots].sum(-1) < 1.5

    def first_action(self, states: Tensor) -> Tensor:
        return self._fill(states, states[:, : self.slots].argmax(-1, keepdim=True))

    def stop_action(self, states: Tensor) -> Tensor:
        return torch.zeros(len(states), 2, dtype=states.dtype, device=states.device)

    # -- the target ---------------------------------------------------------------------------------------------------

    def log_reward(self, objects: Tensor) -> Tensor:
        matrix, y = (part.to(objects.dtype) for part in self.observed)
        mask, values = objects[:, : self.slots], objects[:, self.slots :]
        fit = ((y - values @ matrix.T).square() - y.square()).sum(-1) / (-2 * self.noise**2)
        slab = -0.5 * (values / self.slab).square() - math.log(self.slab) - 0.5 * math.log(2 * math.pi)
        prior = mask * (slab + math.log(self.inclusion)) + (1 - mask) * math.log(1 - self.inclusion)
        return fit + prior.sum(-1)

    @cached_property
    def log_evidence(self) -> Tensor:
        """log of the integral of the reward over the values, for each subset of slots: (2^slots,), float64."""
        matrix, y = self.observed
        subset = torch.arange(2**self.slots)[:, None] >> torch.arange(self.slots) & 1
        member = subset.double()
        scaled = matrix * member[:, None]  # (subsets, rows, slots)
        unit = torch.eye(self.rows, dtype=torch.float64)
        covariance = self.noise**2 * unit + self.slab**2 * scaled @ scaled.mT
        given = torch.distributions.MultivariateNormal(torch.zeros(self.rows, dtype=torch.float64), covariance)
        prior = member.sum(1) * math.log(self.inclusion) + (1 - member).sum(1) * math.log(1 - self.inclusion)
        found = given.log_prob(y)
        return found - found[0] + prior

    @property
    def log_mass(self) -> float:
        return float(self.log_evidence.logsumexp(0))

    def cells(self, objects: Tensor) -> Tensor:
        """The subset of filled slots as a binary number."""
        return ((objects[:, : self.slots] > 0.5).long() << torch.arange(self.slots)).sum(-1)

    def masses(self) -> Tensor:
        return self.log_evidence.softmax(0)
