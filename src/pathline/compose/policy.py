"""Policies on discrete environments: who moves where, from where, and how much flow passes.

log P_F(. | s)   masked log-softmax of a network       log P_B(. | s)   uniform over the parents, or a network's
log F(s)         a network                             log Z            one number, or the network's log F(s_0)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pathline.compose.explorers import mixed
from pathline.compose.objectives import Trajectories
from pathline.data.environment import DiscreteEnvironment
from pathline.data.moves import MoveTables
from pathline.nn.mlp import MLP

FAR = -1e4  # of a logit that is not allowed: its probability is 0 in float32, and no gradient is nan


@dataclass(frozen=True)
class Paths:
    """Trajectories, or pieces of them, padded with the last state.

    states:  (batch, T + 1, width)
    actions: (batch, T) int64
    length:  (batch,) int64 moves
    """

    states: Tensor
    actions: Tensor
    length: Tensor

    @property
    def moves(self) -> Tensor:
        """(batch, T) whether a column is a move."""
        return torch.arange(self.actions.shape[1], device=self.length.device) < self.length[:, None]

    @property
    def ends(self) -> Tensor:
        """The last state of each: (batch, width)."""
        return self.states[:, -1]

    def take(self, rows: Tensor) -> "Paths":
        """The trajectories `rows`."""
        return Paths(self.states[rows], self.actions[rows], self.length[rows])

    def cut(self, start: Tensor, length: int) -> "Paths":
        """The piece of at most `length` moves that begins at move `start` (batch,) of each."""
        last = self.states.shape[1] - 1
        place = start[:, None] + torch.arange(length + 1)
        kept = (self.length - start).clamp(max=length)
        place = torch.minimum(place, (start + kept)[:, None]).clamp(max=last)
        rows = torch.arange(len(start))[:, None]
        return Paths(self.states[rows, place], self.actions[rows, place[:, :-1].clamp(max=last - 1)], kept)


def joined(parts: list[Paths]) -> Paths:
    """Several batches as one, padded to the longest."""
    longest = max(part.actions.shape[1] for part in parts)
    states, actions = [], []
    for part in parts:
        more = longest - part.actions.shape[1]
        states.append(torch.cat([part.states, part.ends[:, None].expand(-1, more, -1)], 1))
        actions.append(torch.cat([part.actions, part.actions.new_zeros(len(part.actions), more)], 1))
    return Paths(torch.cat(states), torch.cat(actions), torch.cat([part.length for part in parts]))


class DiscretePolicy(nn.Module):
    """One trunk on `encode(states)` with a head for each of log P_F, log P_B (if it is learned) and log F (if it is
    needed).

    width, depth:   hidden layers of the trunk, with ReLU after each
    learn_backward: False takes P_B uniform over the parents
    flow:           whether there is a log F; without it every state's flow is nan
    shared:         whether log F is a head of the trunk; else it has a network of its own, of the same size
    """

    def __init__(
        self,
        environment: DiscreteEnvironment,
        width: int = 256,
        depth: int = 2,
        learn_backward: bool = False,
        flow: bool = True,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.environment, self.actions = environment, environment.actions
        self.learn_backward, self.flow = learn_backward, flow
        outputs = self.actions * (1 + learn_backward) + (flow and shared)
        self.net = MLP([environment.features, *[width] * depth, outputs], nn.ReLU)
        own = flow and not shared
        self.flow_net = MLP([environment.features, *[width] * depth, 1], nn.ReLU) if own else None

    def log_forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """log P_F (n, actions); `FAR` or less where a move is not legal."""
        mask = self.environment.forward_mask(states) if mask is None else mask
        return self._forward_logits(self.environment.encode(states), mask).log_softmax(-1)

    def log_backward(self, states: Tensor) -> Tensor:
        """log P_B (n, actions)."""
        mask = self.environment.backward_mask(states)
        encoded = self.environment.encode(states) if self.learn_backward else states
        return self._backward_logits(encoded, mask).log_softmax(-1)

    def _forward_logits(self, encoded: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.net(encoded)[:, : self.actions]
        return torch.where(mask, logits.float(), FAR)

    def _backward_logits(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """Of `encoded` states, which nobody looks at if P_B is uniform."""
        if not self.learn_backward:
            return torch.zeros(mask.shape).masked_fill(~mask, FAR)
        logits: Tensor = self.net(encoded)[:, self.actions : 2 * self.actions]
        return torch.where(mask, logits.float(), FAR)

    def log_flow(self, states: Tensor) -> Tensor:
        """log F (n,) of unfinished states."""
        outputs: Tensor = (self.flow_net or self.net)(self.environment.encode(states))
        return outputs[:, -1].float()

    # -- drawing ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, count: int, epsilon: float = 0.0, generator: torch.Generator | None = None) -> Paths:
        """`count` trajectories from the source by P_F, mixed with uniform moves."""
        return self.extend(self.environment.source(count), epsilon, generator)

    @torch.no_grad()
    def extend(
        self,
        states: Tensor,
        epsilon: float = 0.0,
        generator: torch.Generator | None = None,
        moves: int | None = None,
    ) -> Paths:
        """Trajectories that go on from `states` to objects, or for so many moves."""
        walk = self.environment.walk

        def choose(live: Tensor, mask: Tensor) -> Tensor:
            logits = self._forward_logits(walk.encode(live), mask)
            if epsilon:
                logits = mixed(logits.log_softmax(-1), mask, epsilon).log().masked_fill(~mask, FAR)
            return _choose(logits, generator)

        bound = self.environment.bound if moves is None else moves
        path, actions, length = _follow(walk.enter(states), bound, walk.forward_mask, choose, walk.step)
        return Paths(walk.leave(path), actions, length)

    @torch.no_grad()
    def draw_back(self, states: Tensor, generator: torch.Generator | None = None, moves: int | None = None) -> Paths:
        """Trajectories that end in `states`, undone by P_B to the source, or by so many moves."""
        walk = self.environment.walk

        def choose(live: Tensor, mask: Tensor) -> Tensor:
            encoded = walk.encode(live) if self.learn_backward else live
            return _choose(self._backward_logits(encoded, mask), generator)

        bound = self.environment.bound if moves is None else moves
        path, actions, length = _follow(walk.enter(states), bound, walk.backward_mask, choose, walk.back)
        rows = torch.arange(len(states))[:, None]
        back = (length[:, None] - torch.arange(path.shape[1])).clamp(min=0)
        if not actions.shape[1]:
            return Paths(walk.leave(path), actions, length)
        return Paths(walk.leave(path[rows, back]), actions[rows, (back[:, :-1] - 1).clamp(min=0)], length)

    # -- scoring ------------------------------------------------------------------------------------------------------

    def score(self, paths: Paths, log_z: Tensor | None = None, energy: bool = False) -> Trajectories:
        """Log-probabilities and flows along `paths`, by one pass of the network over the states that are visited, each
        once however many trajectories pass it.

        log_z:  the flow of the source, instead of the network's
        energy: the network's output is the forward-looking log F + E (0 at objects), so log F = output - E
        """
        environment, walk, moves = self.environment, self.environment.walk, paths.moves
        batch, columns = paths.states.shape[:2]
        edge = torch.ones(batch, 1, dtype=torch.bool)
        visited = torch.cat([edge, moves], 1)
        states = paths.states[visited]
        here = walk.enter(states)
        distinct, place = _distinct(walk, here)
        encoded = walk.encode(distinct)
        outputs: Tensor = self.net(encoded).float()
        flows = outputs[:, -1] if self.flow_net is None else self.flow_net(encoded)[:, 0].float()
        ahead = torch.cat([moves, ~edge], 1)[visited].nonzero()[:, 0]  # states with a move to come
        behind = torch.cat([~edge, moves], 1)[visited].nonzero()[:, 0]  # and those that one led to
        chosen = paths.actions[moves][:, None]
        logits = outputs[:, : self.actions].index_select(0, place[ahead])
        log_p = torch.where(walk.forward_mask(here[ahead]), logits, FAR).log_softmax(-1)
        log_pf = torch.zeros(batch, columns - 1).masked_scatter(moves, log_p.gather(1, chosen)[:, 0])
        mask = walk.backward_mask(here[behind])
        if self.learn_backward:
            logits = outputs[:, self.actions : 2 * self.actions].index_select(0, place[behind])
            values = torch.where(mask, logits, FAR).log_softmax(-1).gather(1, chosen)[:, 0]
        else:
            values = -mask.sum(-1).float().log()
        log_pb = torch.zeros(batch, columns - 1).masked_scatter(moves, values)
        done = environment.is_terminal(paths.ends)
        log_reward = torch.full((batch,), torch.nan)
        log_reward[done] = environment.log_reward(paths.ends[done])
        flow = flows.index_select(0, place) if self.flow else torch.full((len(states),), torch.nan)
        if energy:
            flow = flow - environment.energy(states)
        log_flow = torch.zeros(batch, columns).masked_scatter(visited, flow)
        finished = torch.arange(columns) >= paths.length[:, None]
        log_flow = torch.where(finished & done[:, None], log_reward.nan_to_num()[:, None], log_flow)
        if log_z is not None:
            log_flow = torch.cat([log_z.expand(batch, 1), log_flow[:, 1:]], 1)
        return Trajectories(log_pf, log_pb, log_flow, paths.length, log_reward)

    def flow_balance(self, paths: Paths) -> tuple[Tensor, Tensor]:
        """log inflow and log outflow of every state after the source that `paths` visit: each (states,)."""
        environment, moves = self.environment, paths.moves
        states = paths.states[:, 1:][moves]
        mask = environment.backward_mask(states)
        at, action = mask.nonzero(as_tuple=True)
        parents = environment.back(states[at], action)
        edge = self.log_flow(parents) + self.log_forward(parents).gather(1, action[:, None])[:, 0]
        inflow = torch.full(mask.shape, FAR).masked_scatter(mask, edge).logsumexp(-1)
        done = environment.is_terminal(states)
        outflow = torch.empty(len(states))
        outflow = outflow.masked_scatter(done, environment.log_reward(states[done]))
        return inflow, outflow.masked_scatter(~done, self.log_flow(states[~done]))


def _follow(
    states: Tensor,
    bound: int,
    legal: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor, Tensor], Tensor],
    move: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """All `states` (n, ...) moved in lock-step, at most `bound` times: states on the way (n, T + 1, ...), moves
    (n, T) and how many each made (n,). Those that can move no further stay where they are and cost nothing."""
    live, rows = states, torch.arange(len(states))
    who, reached, taken = [rows], [states], [rows.new_empty(0)]
    for _ in range(bound):
        mask = legal(live)
        going = mask.any(-1).nonzero()[:, 0]
        if len(going) < len(live):
            if not len(going):
                break
            live, rows, mask = (part.index_select(0, going) for part in (live, rows, mask))
        action = choose(live, mask)
        live = move(live, action)
        who.append(rows)
        reached.append(live)
        taken.append(action)
    row, column = torch.cat(who), torch.arange(len(who)).repeat_interleave(torch.tensor([len(rows) for rows in who]))
    length = torch.bincount(row, minlength=len(states)) - 1
    place = row.new_empty(len(states), len(who))
    place[row, column] = torch.arange(len(row))
    stays = torch.minimum(length[:, None], torch.arange(len(who)))
    actions = length.new_zeros(len(states), len(who) - 1)
    actions[row[len(states) :], column[len(states) :] - 1] = torch.cat(taken)
    return torch.cat(reached)[place.gather(1, stays)], actions, length


def _distinct(walk: DiscreteEnvironment | MoveTables, states: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones of `states` of a walk, and where each of `states` is among them; all, if they cannot be
    numbered."""
    if isinstance(walk, DiscreteEnvironment) and not walk.numbered:
        return states, torch.arange(len(states))
    code, place = torch.unique(walk.code(states), return_inverse=True)
    first = torch.empty_like(code).scatter_(0, place, torch.arange(len(states)))
    return states[first], place


def _choose(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """One action per row with probability softmax(logits): the first of exponential clocks to ring."""
    return (logits - torch.empty_like(logits).exponential_(generator=generator).log()).argmax(-1)
