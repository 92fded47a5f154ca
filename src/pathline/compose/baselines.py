"""What every composer must beat: moves at random, and a Markov chain that rebuilds objects it has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pathline.compose.base import Composer
from pathline.compose.evaluate import exact_law, places, uniform_policy
from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.method import unwrap_split
from pathline.data.environment import DiscreteEnvironment

SWEEPS = 100  # of the chain, each of which asks for one reward


@dataclass(frozen=True)
class Walk:
    """Uniformly random moves: where they end (n, width), the log-probabilities of doing and of undoing them, each
    uniformly, and how many they were, (n,)."""

    ends: Tensor
    log_done: Tensor
    log_undone: Tensor
    moves: Tensor


def walk(environment: DiscreteEnvironment, states: Tensor, generator: torch.Generator) -> Walk:
    """Build on from `states` until nothing can be added."""
    return _walk(environment, states, generator, environment.forward_mask, environment.backward_mask, environment.step)


def walk_back(environment: DiscreteEnvironment, states: Tensor, limit: Tensor, generator: torch.Generator) -> Walk:
    """Undo `limit` (n,) moves of `states`, or as many as there are."""
    return _walk(
        environment, states, generator, environment.backward_mask, environment.forward_mask, environment.back, limit
    )


def _walk(
    environment: DiscreteEnvironment,
    states: Tensor,
    generator: torch.Generator,
    legal: Callable[[Tensor], Tensor],
    inverse: Callable[[Tensor], Tensor],
    move: Callable[[Tensor, Tensor], Tensor],
    limit: Tensor | None = None,
) -> Walk:
    log_done, log_undone = torch.zeros(2, len(states))
    moves = torch.zeros(len(states), dtype=torch.int64)
    for made in range(environment.bound):
        mask = legal(states)
        live = mask.any(-1) if limit is None else mask.any(-1) & (made < limit)
        if not bool(live.any()):
            break
        action = torch.multinomial(mask.float() + ~live[:, None], 1, generator=generator)[:, 0]
        states = torch.where(live[:, None], move(states, action), states)
        log_done = log_done - torch.where(live, mask.sum(-1).clamp(min=1).float().log(), 0.0)
        log_undone = log_undone - torch.where(live, inverse(states).sum(-1).clamp(min=1).float().log(), 0.0)
        moves = moves + live
    return Walk(states, log_done, log_undone, moves)


class ClosedComposer(Composer):
    """A composer that has nothing to train."""

    trains = False

    @classmethod
    def require(cls, data: Any) -> Any:
        environment = super().require(data)
        if not isinstance(environment, DiscreteEnvironment):
            raise DataError(f"{environment.name}: {cls.__name__} builds discrete objects only")
        return environment

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Nothing to do; budget, seed and options change nothing."""
        self.adopt(self.check(unwrap_split(data)))
        return self.eval()

    @property
    def discrete(self) -> DiscreteEnvironment:
        """The environment, which is discrete."""
        assert isinstance(self.environment, DiscreteEnvironment)
        return self.environment


class RandomMoves(ClosedComposer):
    """Every legal move is as likely as any other, whatever the reward."""

    def build(self, n: int, generator: torch.Generator) -> Tensor:
        return walk(self.discrete, self.discrete.source(n), generator).ends

    def law(self, environment: DiscreteEnvironment) -> Tensor:
        return exact_law(environment, uniform_policy(environment))

    def log_law(self, objects: Tensor, generator: torch.Generator) -> Tensor:
        if self.discrete.enumerable:
            return self.law(self.discrete)[places(self.discrete, objects)].log()
        return super().log_law(objects, generator)


class MCMC(ClosedComposer):
    """Metropolis-Hastings on objects: undo some uniformly random moves, rebuild at random, accept by the ratio.

        A = min(1, R(x') q(x', detour back) / (R(x) q(x, detour forth))),   q = P_undo P_rebuild along the detour

    which is in detailed balance on detours and so leaves R / Z alone. Each chain starts at random moves and asks for
    one reward a sweep. The number of moves to undo is uniform between 1 and all.

    sweeps: proposals per object
    """

    def __init__(self, environment: dict[str, Any], sweeps: int = SWEEPS) -> None:
        super().__init__(environment)
        if sweeps < 0:
            raise MethodError(f"MCMC: {sweeps} sweeps; give a number of at least 0")
        self.sweeps = sweeps

    def build(self, n: int, generator: torch.Generator) -> Tensor:
        state = walk(self.discrete, self.discrete.source(n), generator).ends
        value = self.discrete.log_reward(state)
        for _ in range(self.sweeps):
            proposal, log_ratio = self.propose(state, generator)
            other = self.discrete.log_reward(proposal)
            accepted = torch.rand(n, generator=generator).log() < other - value + log_ratio
            state = torch.where(accepted[:, None], proposal, state)
            value = torch.where(accepted, other, value)
        return state

    def propose(self, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An object beyond a partial one, and log q of the detour back minus log q of the detour forth: (n, width),
        (n,)."""
        limit = 1 + torch.randint(self.discrete.bound, (len(state),), generator=generator)
        undone = walk_back(self.discrete, state, limit, generator)
        rebuilt = walk(self.discrete, undone.ends, generator)
        forth = self._odds(undone.ends, undone.moves) + undone.log_done + rebuilt.log_done
        back = self._odds(undone.ends, rebuilt.moves) + rebuilt.log_undone + undone.log_undone
        return rebuilt.ends, back - forth

    def _odds(self, partial: Tensor, moves: Tensor) -> Tensor:
        """log-probability that a uniform limit leaves off at `partial` after `moves` moves: any larger limit does,
        too, if that is the source."""
        at_source = ~self.discrete.backward_mask(partial).any(-1)
        limits = torch.where(at_source, self.discrete.bound - moves + 1, 1)
        return (limits / self.discrete.bound).log()
