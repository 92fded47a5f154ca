"""Local search: while a sampler of objects trains, undo the last moves of each object it built and rebuild them.

A round makes M = B / (I + 1) trajectories by P_F and improves each I times, so it asks for B rewards, as without
search:

    backtrack     x -> s_{n-K}      K moves by P_B            (half of them, rounded up, where objects vary in size)
    reconstruct   s_{n-K} -> x'     by P_F, without extra exploration
    filter        deterministic:   x' goes on if R(x') > R(x)
                  stochastic:      with probability min(1, a) (Metropolis) or a / (1 + a) (Barker),
                                   a = R(x') q(x | x') / (R(x) q(x' | x)),   q(x' | x) = P_B(x -> s) P_F(s -> x')

All proposals, accepted or not, are trained on (trajectory balance) and enter the replay. The filter decides which
data are seen, not what they teach, so the sampler's target is unchanged.
Kim, Yun, Bengio, Zhang, Ahn, Bengio, Park, 2023, "Local Search GFlowNets", arXiv:2310.02710.
Departs: a rebuilt object's trajectory starts at s_0, by going on with P_B from where the undoing stopped; the
official code trains on the K rebuilt moves alone and adds log Z to them. Moves that lead to one child are one move in
the environments of this room, so q needs no merging. The stochastic filter of the official code is Barker's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pathline.compose.policy import DiscretePolicy, Paths, joined
from pathline.compose.rivals import ReplayTB
from pathline.core.errors import MethodError

FILTERS = ("deterministic", "metropolis", "barker")


@dataclass(frozen=True)
class Detour:
    """paths: trajectories (n) from s_0 to the new objects; log_there: log q(x' | x); log_back: log q(x | x'), both (n,)
    along the sampled detour."""

    paths: Paths
    log_there: Tensor
    log_back: Tensor


@dataclass(frozen=True)
class Search:
    """proposals: trajectories (n) of each round, accepted or not; chain: where it stands, (rounds + 1, n, width)."""

    proposals: list[Paths]
    chain: Tensor


@torch.no_grad()
def detour(policy: DiscretePolicy, objects: Tensor, moves: int | None) -> Detour:
    """Undo `moves` moves of each of `objects` (n, width) by P_B (None: half of its moves, rounded up) and rebuild by
    P_F.

    P_B then goes on to s_0: the rest of that walk is the beginning of the new trajectory.
    """
    walk = policy.draw_back(objects)
    undone = (walk.length + 1) // 2 if moves is None else walk.length.clamp(max=moves)
    start = walk.length - undone
    rebuilt = policy.extend(walk.states[torch.arange(len(objects)), start])
    old_tail, head = walk.cut(start, int(undone.max())), _head(walk, start)
    old, new = policy.score(old_tail), policy.score(rebuilt)
    forward = [torch.where(part.moves, part.log_pf, 0.0).sum(1) for part in (old, new)]
    backward = [torch.where(part.moves, part.log_pb, 0.0).sum(1) for part in (old, new)]
    return Detour(_chained(head, rebuilt), backward[0] + forward[1], backward[1] + forward[0])


def _head(paths: Paths, length: Tensor) -> Paths:
    """The first `length` (batch,) moves of each."""
    place = torch.minimum(torch.arange(paths.states.shape[1]), length[:, None])
    return Paths(paths.states[torch.arange(len(length))[:, None], place], paths.actions, length)


def _chained(first: Paths, second: Paths) -> Paths:
    """`second` after `first`, row by row."""
    total = first.length + second.length
    place = torch.arange(int(total.max()) + 1)
    rows, late = torch.arange(len(total))[:, None], place > first.length[:, None]
    early = place.clamp(max=first.states.shape[1] - 1).expand(len(total), -1)
    after = (place - first.length[:, None]).clamp(0, second.states.shape[1] - 1)
    states = torch.where(late[..., None], second.states[rows, after], first.states[rows, early])
    move = place[:-1]
    if not second.actions.shape[1]:
        return Paths(states, first.actions[:, : len(move)], total)
    following = second.actions[rows, (move - first.length[:, None]).clamp(0, second.actions.shape[1] - 1)]
    ahead = move.clamp(max=max(first.actions.shape[1] - 1, 0)).expand(len(total), -1)
    before = first.actions[rows, ahead] if first.actions.shape[1] else following
    return Paths(states, torch.where(move >= first.length[:, None], following, before), total)


def log_acceptance(log_ratio: Tensor, kind: str) -> Tensor:
    """log probability that the chain goes on with x', from log a of the filter; for "deterministic" from the log of
    R(x') / R(x) alone."""
    if kind == "deterministic":
        return torch.where(log_ratio > 0, 0.0, -torch.inf)
    return log_ratio.clamp(max=0) if kind == "metropolis" else torch.nn.functional.logsigmoid(log_ratio)


class LSGFN(ReplayTB):
    """Trajectory balance with replay whose exploration searches around what it found.

    iterations: I, rebuilds of each object; batch_size must be a multiple of I + 1. 0 is plain ReplayTB
    backtrack:  K, moves undone; None takes half of an object's moves, rounded up
    filter:     "deterministic", "metropolis" or "barker"
    """

    def __init__(
        self,
        environment: dict[str, Any],
        iterations: int = 7,
        backtrack: int | None = 3,
        filter: str = "deterministic",
        width: int = 128,
        depth: int = 2,
        objective: str = "tb",
        epsilon: float = 0.01,
        learn_backward: bool = True,
        replay: str = "prioritised",
    ) -> None:
        super().__init__(environment, width, depth, objective, epsilon, learn_backward, replay)
        if iterations < 0 or (backtrack is not None and backtrack < 1):
            raise MethodError(
                f"iterations {iterations} must be at least 0, and backtrack {backtrack} at least 1 or None"
            )
        if filter not in FILTERS:
            raise MethodError(f"filter is '{filter}'; choose one of {', '.join(FILTERS)}")
        self.iterations, self.backtrack, self.filter = iterations, backtrack, filter

    def explored(self, count: int) -> Paths:
        """`count` trajectories: one in I + 1 by P_F, as is what the division leaves, and the rest rebuilt."""
        chains = max(1, count // (self.iterations + 1))
        rounds = min(self.iterations, count // chains - 1)
        paths = self.policy.draw(count - rounds * chains, self.epsilon)
        return joined([paths, *self.searched(paths.ends[:chains], rounds).proposals]) if rounds else paths

    def searched(self, objects: Tensor, rounds: int) -> Search:
        """A chain of so many rounds that starts at each of `objects`."""
        environment, proposals, chain = self.policy.environment, [], [objects]
        log_reward = environment.log_reward(objects)
        for _ in range(rounds):
            made = detour(self.policy, objects, self.backtrack)
            proposals.append(made.paths)
            reward = environment.log_reward(made.paths.ends)
            ratio = reward - log_reward
            if self.filter != "deterministic":
                ratio = ratio + made.log_back - made.log_there
            accepted = torch.rand(len(ratio)).clamp(min=1e-20).log() < log_acceptance(ratio, self.filter)
            objects = torch.where(accepted[:, None], made.paths.ends, objects)
            log_reward = torch.where(accepted, reward, log_reward)
            chain.append(objects)
        return Search(proposals, torch.stack(chain))
