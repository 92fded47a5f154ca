"""Measurable pointed graphs: what a sampler of continuous or mixed objects walks on.

Objects are built from a source s_0 by moves. A move has a density, with respect to a reference kernel of the
environment:

    forward   p_F(s, s')  w.r.t. kappa(s, ds')          backward   p_B(s', s)  w.r.t. kappa_b(s', ds)
    state flow u(s)       w.r.t. nu(ds)                 reward     r(x)        w.r.t. nu(dx)

Four things must hold (Lahlou et al., 2023, "A theory of continuous generative flow networks", arXiv:2301.12594):
(a) finitely absorbing: a walk ends after at most `bound` moves; (b) reachable: moves from s_0 cover the support of nu;
(c) nu(ds) kappa(s, ds') = nu(ds') kappa_b(s', ds), which is where Jacobians live; (d) densities are bounded and r > 0.
`assumptions.check_assumptions` tests them by walking.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data.environment import Environment
from pathline.data.errors import DataError

Raw = Callable[[Tensor, bool], Tensor]  # states (n, width), whether they are s_0 -> raw outputs of a policy (n, size)


@dataclass(frozen=True)
class Paths:
    """Walks from s_0 (column 0) to objects, padded with the last state.

    states:  (batch, moves + 1, width)
    actions: (batch, moves, action width); what an action says is the environment's own
    length:  (batch,) moves of each walk, a stop included
    """

    states: Tensor
    actions: Tensor
    length: Tensor

    @property
    def objects(self) -> Tensor:
        """(batch, width)"""
        return self.states[:, -1]

    @property
    def live(self) -> Tensor:
        """Which columns of `actions` are moves: (batch, moves)."""
        columns = torch.arange(self.actions.shape[1], device=self.length.device)
        return columns < self.length[:, None]


@dataclass(frozen=True, kw_only=True)
class ContinuousEnvironment(Environment):
    """An environment whose moves have densities. Draws come from torch's global generator.

    stops: whether the last move is a stop, taken at some states only; else every walk has `bound` moves
    starts_plain: whether an untrained policy should give raw outputs near 0
    """

    stops: ClassVar[bool] = True
    starts_plain: ClassVar[bool] = False

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers in a state."""

    @property
    @abstractmethod
    def bound(self) -> int:
        """N, the most moves that a walk can have."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Numbers that `encode` gives a network."""

    def probe(self, count: int) -> Tensor:
        """Objects of the plain kernel, from a seed of their own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return walk(self, self.plain, count).objects

    # -- sizes of raw outputs -----------------------------------------------------------------------------------------

    @abstractmethod
    def forward_size(self, components: int) -> int:
        """Raw outputs of a forward policy per state, for mixtures of so many components."""

    def source_size(self, components: int) -> int:
        """Raw parameters of the move from s_0; 0 if it is like any other move."""
        return 0

    @abstractmethod
    def backward_size(self, components: int) -> int:
        """Raw outputs of a backward policy per state; 0 if there is nothing to learn."""

    def plain(self, states: Tensor, first: bool) -> Tensor:
        """Raw outputs, for mixtures of one component, of a kernel that gets everywhere: for checks of assumptions."""
        size = self.source_size(1) if first else 0
        return states.new_zeros(len(states), size or self.forward_size(1))

    # -- moves --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def source(self, count: int) -> Tensor:
        """s_0, `count` times: (count, width)."""

    @abstractmethod
    def encode(self, states: Tensor) -> Tensor:
        """What a network sees: (n, width) -> (n, features)."""

    @abstractmethod
    def draw(self, raw: Tensor, states: Tensor, first: bool, explore: float = 0.0) -> Tensor:
        """Actions drawn from p_F: (n, action width). explore: how much wider than the policy, in the environment's way;
        0 draws from the policy itself."""

    @abstractmethod
    def log_forward(self, raw: Tensor, states: Tensor, actions: Tensor, first: bool) -> Tensor:
        """log p_F(s, s') with respect to kappa(s, .): (n,)."""

    @abstractmethod
    def draw_back(self, raw: Tensor, states: Tensor) -> Tensor:
        """Actions that led to `states`, which are neither s_0 nor children of it alone, drawn from p_B."""

    @abstractmethod
    def log_backward(self, raw: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """log p_B(s', s) with respect to kappa_b(s', .), for the children `states` of moves other than the first."""

    @abstractmethod
    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        """Children; a stop changes nothing."""

    @abstractmethod
    def undo(self, states: Tensor, actions: Tensor) -> Tensor:
        """Parents."""

    def is_stop(self, actions: Tensor) -> Tensor:
        """(n,)"""
        return torch.zeros(len(actions), dtype=torch.bool, device=actions.device)

    def at_source(self, states: Tensor) -> Tensor:
        """Whether a state is s_0, where the environment lets walks stop at once: (n,)."""
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)

    @abstractmethod
    def from_source(self, states: Tensor) -> Tensor:
        """Whether the parent of a state can only be s_0: (n,)."""

    @abstractmethod
    def first_action(self, states: Tensor) -> Tensor:
        """The action by which s_0 became `states`."""

    def stop_action(self, states: Tensor) -> Tensor:
        """The action that stops at `states`."""
        raise NotImplementedError

    # -- the target ---------------------------------------------------------------------------------------------------

    def cells(self, objects: Tensor) -> Tensor:
        """A partition of the objects into cells whose exact masses are known: (n, width) -> (n,) int64."""
        raise DataError(f"{self.name} has no cells whose masses are known: compare samples by eye or by log Z")

    def masses(self) -> Tensor:
        """Exact probability of each cell: (cells,), float64."""
        raise DataError(f"{self.name} has no cells whose masses are known: compare samples by eye or by log Z")

    @property
    def log_mass(self) -> float | None:
        """log Z, if it is known."""
        return None

    # -- quadrature ---------------------------------------------------------------------------------------------------

    @property
    def has_quadrature(self) -> bool:
        """Whether `parents` is there, so that flow matching can be trained."""
        return type(self).parents is not ContinuousEnvironment.parents

    def parents(self, states: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes of a quadrature over kappa_b(s', .): actions (n, nodes, action width) and log weights (n, nodes)."""
        raise DataError(
            f"{self.name}: the integral over parents has no quadrature here; use the objective tb, db or subtb"
        )


@torch.no_grad()
def walk(environment: ContinuousEnvironment, forward: Raw, count: int, explore: float = 0.0) -> Paths:
    """`count` walks from s_0 by the policy whose raw outputs are `forward`."""
    state = environment.source(count)
    over = torch.zeros(count, dtype=torch.bool, device=state.device)
    length = torch.zeros(count, dtype=torch.int64, device=state.device)
    states, actions = [state], []
    for move in range(environment.bound):
        action = environment.draw(forward(state, move == 0), state, move == 0, explore)
        following = environment.step(state, action)
        state = torch.where(over[:, None], state, following)
        length += ~over
        over = over | environment.is_stop(action)
        states.append(state)
        actions.append(action)
        if bool(over.all()):
            break
    if environment.stops and not bool(over.all()):
        raise DataError(f"{environment.name}: a walk did not end within {environment.bound} moves")
    return Paths(torch.stack(states, 1), torch.stack(actions, 1), length)


@torch.no_grad()
def walk_back(environment: ContinuousEnvironment, backward: Callable[[Tensor], Tensor], objects: Tensor) -> Paths:
    """One walk to each of `objects` (count, width), drawn backwards by the policy whose raw outputs are `backward`."""
    count, state = len(objects), objects
    moves = torch.zeros(count, dtype=torch.int64, device=objects.device)
    over = environment.at_source(objects)
    states, actions = [state], []
    for _ in range(environment.bound):
        last = environment.from_source(state)
        action = environment.draw_back(backward(state), state)
        action = torch.where(last[:, None], environment.first_action(state), action)
        parent = torch.where(last[:, None], environment.source(count), environment.undo(state, action))
        state = torch.where(over[:, None], state, parent)
        moves += ~over
        over = over | last
        states.append(state)
        actions.append(action)
        if bool(over.all()):
            break
    if not bool(over.all()):
        raise DataError(f"{environment.name}: a backward walk did not reach the source in {environment.bound} moves")
    longest = len(actions)
    column = torch.arange(longest + 1, device=objects.device)
    forwards = (moves[:, None] - column).clamp(
        min=0
    )  # column j of the forward path is state moves - j back from the object
    rows = torch.arange(count, device=objects.device)[:, None]
    path = torch.stack(states, 1)[rows, forwards]
    taken = torch.stack(actions, 1)[rows, (forwards[:, :-1] - 1).clamp(min=0)]
    if environment.stops:
        path = torch.cat([path, objects[:, None]], 1)
        stop = environment.stop_action(objects)[:, None]
        taken = torch.cat([taken, stop], 1)
        at = moves[:, None, None].expand(-1, -1, taken.shape[2])
        taken = taken.scatter(1, at, stop)
        moves = moves + 1
    return Paths(path, taken, moves)


def divergence(counts: Tensor, masses: Tensor) -> float:
    """Jensen-Shannon divergence in nats between the frequencies of `counts` and `masses`, both (cells,)."""
    p = counts.double() / counts.sum()
    q = masses.double()
    middle = (p + q) / 2
    return float(0.5 * (torch.xlogy(p, p / middle).nansum() + torch.xlogy(q, q / middle).nansum()))
