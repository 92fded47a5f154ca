"""Continuous generative flow networks: sample points, angles or mixed objects in proportion to a density.

Objects grow from s_0 by moves with densities p_F(s, s') and p_B(s', s) with respect to reference kernels kappa,
kappa_b of the environment, and a state flow u(s) with respect to nu. Flow balance is what it is for finitely many
states:

    detailed balance     log u(s) + log p_F(s, s') = log u(s') + log p_B(s', s), log u(x) + log p_F(x, stop) = log r(x)
    trajectory balance   log Z + sum log p_F = log r(x) + sum log p_B
    flow matching        integral u(s) p_F(s, s') kappa_b(s', ds) = u(s'), by a quadrature over the parents

Whatever minimises one of them at every trajectory samples x with density r(x) / Z. The explorer may be wider than
p_F: a share of uniform moves, or extra variance for diffusions, which falls linearly to 0 by the middle of training.
Lahlou, Deleu, Lemos, Zhang, Volokhova, Hernandez-Garcia, Ezzine, Bengio, Malkin, 2023, "A theory of continuous
generative flow networks", arXiv:2301.12594.
Departs: one s_0 mixture for the radius and one for the angle with weights of their own (the official code shares
them); on the box, networks see waves of the coordinates beside the coordinates.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.compose.base import BACKWARD, Composed, Composer
from pathline.compose.densities import DensityPolicy
from pathline.compose.objectives import OBJECTIVES, flow_matching, sub_trajectory_balance
from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.environment import Environment, Starts
from pathline.sims.environments.continuous import ContinuousEnvironment, divergence

NODES = 32  # of the quadrature over parents
ESTIMATED = 20_000  # walks behind an estimate of log Z


class DensityComposer(Composer):
    """What learns densities on a continuous environment: the policy, log Z, drawing and measuring.

    components, source_components: of the mixtures, elsewhere and at s_0
    width, depth: hidden layers of every network
    learn_backward: whether p_B is learned, where the environment has anything to learn
    flow: whether there is a network for u(s)
    """

    container = ContinuousEnvironment
    rates: ClassVar[dict[str, float]] = {"log_z": 10.0}
    recipe = Recipe(steps=2000, batch_size=64, lr=5e-3, betas=(0.9, 0.99), clip=100.0, ema=0.99)

    def __init__(
        self,
        environment: dict[str, Any],
        components: int = 5,
        source_components: int = 4,
        width: int = 64,
        depth: int = 3,
        learn_backward: bool = True,
        flow: bool = True,
    ) -> None:
        super().__init__(environment)
        if not isinstance(self.environment, ContinuousEnvironment):
            raise MethodError(f"{type(self).__name__} builds with densities; for discrete objects use subtb")
        self.policy = DensityPolicy(self.environment, components, source_components, width, depth, learn_backward, flow)
        self.log_z = torch.nn.Parameter(torch.zeros(()))

    def adopt(self, data: Environment) -> None:
        super().adopt(data)
        assert isinstance(self.environment, ContinuousEnvironment)
        self.policy.environment = self.environment

    # -- drawing: walks use the global generator, which is given a seed and put back -----------------------------------

    def build(self, n: int, generator: torch.Generator) -> Tensor:
        with _seeded(generator):
            return self.policy.walk(n).objects

    def log_law(self, objects: Tensor, generator: torch.Generator) -> Tensor:
        """Estimated log density with respect to nu, from 32 backward paths per object."""
        with _seeded(generator):
            return self.policy.log_density(objects, BACKWARD)

    # -- how good it is -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_weights(self, count: int, seed: int = 0) -> Tensor:
        """log r(x) + sum log p_B - sum log p_F of `count` walks: E exp = Z; the mean is a lower bound on log Z."""
        with _seeded(torch.Generator().manual_seed(seed)):
            paths = self.policy.walk(count)
        balance = self.policy.log_backward(paths).sum(1) - self.policy.log_forward(paths).sum(1)
        return (self.policy.environment.log_reward(paths.objects) + balance).double()

    def log_partition(self, count: int = ESTIMATED, seed: int = 0) -> float:
        """log Z by importance over `count` walks."""
        return float(self.log_weights(count, seed).logsumexp(0)) - math.log(count)

    def cell_counts(self, count: int, seed: int = 0) -> Tensor:
        """How many of `count` drawn objects fall into each cell of the environment: (cells,)."""
        environment = self.policy.environment
        with _seeded(torch.Generator().manual_seed(seed)):
            objects = self.policy.walk(count).objects
        return torch.bincount(environment.cells(objects), minlength=len(environment.masses()))

    def _distance(self, environment: Environment, drawn: Composed) -> dict[str, float]:
        """The Jensen-Shannon divergence over the cells whose masses are known, and the base's spread."""
        assert isinstance(environment, ContinuousEnvironment)
        counts = torch.bincount(environment.cells(drawn.objects), minlength=len(environment.masses()))
        return {"jensen_shannon": divergence(counts, environment.masses())} | super()._distance(environment, drawn)


class ContGFN(DensityComposer):
    """Balance the densities of walks with those of the reward.

    objective: "tb", "db", "subtb" or "fm" (flow matching by quadrature, where the environment has one)
    lamda:     of "subtb"
    explore:   how much wider than p_F training trajectories are drawn, in the environment's own way (a share of uniform
               moves, or extra deviation of a diffusion's steps), falling linearly to 0 at step `explore_until`;
               None for half of the budget that `fit` is given in steps
    """

    steps_done: Tensor

    def __init__(
        self,
        environment: dict[str, Any],
        objective: str = "tb",
        lamda: float = 0.9,
        explore: float = 0.0,
        explore_until: int | None = None,
        components: int = 5,
        source_components: int = 4,
        width: int = 64,
        depth: int = 3,
        learn_backward: bool = True,
    ) -> None:
        super().__init__(
            environment, components, source_components, width, depth, learn_backward, flow=objective != "tb"
        )
        if objective not in (*OBJECTIVES, "fm"):
            raise MethodError(f"objective is '{objective}'; choose one of {', '.join([*OBJECTIVES, 'fm'])}")
        if lamda <= 0 or explore < 0:
            raise MethodError(f"lamda {lamda:g} must be above 0 and explore {explore:g} not below it")
        if objective == "fm" and not self.policy.environment.has_quadrature:
            raise MethodError(
                f"{self.environment.name} has no quadrature over parents: choose objective tb, db or subtb"
            )
        self.objective, self.lamda, self.explore = objective, lamda, explore
        self.explore_until = self.recipe.steps // 2 if explore_until is None else explore_until
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        if budget is not None and budget.steps is not None and self.config["explore_until"] is None:
            self.explore_until = max(1, budget.steps // 2)
        return super().fit(data, budget, seed, validation, **options)

    def exploration(self) -> float:
        """How wide the explorer is now."""
        return self.explore * max(0.0, 1 - int(self.steps_done) / max(1, self.explore_until))

    def loss(self, batch: Starts) -> dict[str, Tensor]:
        paths = self.policy.walk(len(batch), self.exploration())
        self.reward_calls += len(batch)
        self.steps_done += 1
        if self.objective == "fm":
            return {"loss": flow_matching(*self.policy.flow_balance(paths, self.log_z, NODES))}
        scored = self.policy.score(paths, self.log_z)
        if self.objective == "subtb":
            return {"loss": sub_trajectory_balance(scored, self.lamda)}
        return {"loss": OBJECTIVES[self.objective](scored)}


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """The global generator, seeded from another one inside the block and as it was after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
