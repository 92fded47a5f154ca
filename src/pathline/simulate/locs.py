"""LoCS: every body sees the scene in a frame of its own heading, so predictions do not depend on the axes of the world.

    s_i = [p_i, u_i];   R_i the frame of the velocity u_i;   v_i|i = [0, R_i^T u_i]
    v_j|i = [R_i^T (p_j - p_i), angles of R_i^T R_j, ||p_j - p_i||, angles of R_i^T (p_j - p_i), R_i^T u_j]
    s_i(t + 1) = s_i(t) + blockdiag(R_i, R_i) delta_i,       delta_i = decoder(v_i|i, {v_j|i})
    (`locs_decoders.py`)
Kofinas, Nagaraja, Gavves, 2021, "Roto-translated Local Coordinate Frames For Interacting Dynamical Systems",
arXiv:2110.14961.

Use it for things that head somewhere (people, cars, charged particles in the plane), at short steps; unlike EGNN it may
tell left from right. In the plane it is equivariant under turns and shifts. In space a velocity leaves the roll about
it open: the frame hangs on the z axis, so only turns about z are symmetries, which is what gravity leaves too;
orientation = "complete" adds the acceleration and with it all turns.

latent_edges = K: nobody says which bodies interact, so K kinds of edges are inferred at each step (dNRI): a prior sees
the past, a posterior the whole course in training; kinds are drawn by Gumbel-softmax, and the loss is a Gaussian
negative log-likelihood plus KL(posterior || prior). Otherwise the loss is the squared error of the next state, position
and velocity each in units of what forces do to it in a step. Training is one step from true states; in use predictions
are fed back.

Departs: positions, velocities and their changes are measured in one unit each for all axes. A body at rest has no
heading: below a thousandth of the typical speed it blends into the pull of its neighbours, the sum of the unit vectors
toward them, which turns with the scene (the official code takes the x axis). Frames come from sines and cosines without
the arc functions between, which lose digits; angles enter as sines and cosines unless asked for as in the paper. Where
no acceleration was seen yet, the pull stands in for it. Invariants
that the data have (charges) are read beside the local features.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Rollouts, Step
from pathline.graph import segment_sum
from pathline.simulate.base import LearnedSimulator
from pathline.simulate.courses import Course, courses
from pathline.simulate.locs_decoders import EdgeTypes, MarkovDecoder, Messages, RecurrentDecoder
from pathline.spaces.poses import (
    Angles,
    from_velocity,
    from_velocity_and_acceleration,
    into,
    out_of,
    pose_sizes,
    relative_pose,
)


class Memory(NamedTuple):
    """What goes along with a rollout beside the state; all None at its start."""

    hidden: Tensor | None = None  # of the recurrent decoder
    edges: Tensor | None = None  # of the prior over edge types
    velocity: Tensor | None = None  # one step ago, for the acceleration


FORGOTTEN = Memory()


class Local(NamedTuple):
    """A scene as its bodies see it; leading dimensions are free."""

    rotation: Tensor  # (..., nodes, dims, dims)
    own: Tensor  # (..., nodes, columns): v_i|i and the node's features
    edge: Tensor  # (..., edges, columns): v_j|i, the edge's features and the sender's
    place: Tensor  # (..., edges, columns): where the sender is


class LoCS(LearnedSimulator):
    """Local frames around an interaction network.

    width:        256 in the paper
    decoder:      "markov", or "recurrent" with a hidden state per body
    orientation:  "velocity", or "complete" with the acceleration (in space)
    anisotropic:  messages by filters that depend on the sender's place; rank: of these, None for full
    angles:       "sincos", or "wrapped" in (-1, 1] as in the paper, which jumps behind a body
    latent_edges: K inferred edge types; 0: all edges are alike
    dropout:      in training
    variance:     of the Gaussian likelihood with latent edges, in squared units of position and velocity
    temperature:  of the Gumbel-softmax
    window:       frames of a training course, for methods with a memory
    """

    recipe = Recipe(lr=5e-3, batch_size=100, steps=2000, clip=1.0)

    def __init__(
        self,
        dims: int = 2,
        node_features: int = 0,
        edge_features: int = 0,
        width: int = 64,
        decoder: Literal["markov", "recurrent"] = "markov",
        orientation: Literal["velocity", "complete"] = "velocity",
        anisotropic: bool = False,
        rank: int | None = None,
        angles: Angles = "sincos",
        latent_edges: int = 0,
        dropout: float = 0.0,
        variance: float = 5e-5,
        temperature: float = 0.5,
        window: int = 10,
    ) -> None:
        super().__init__(node_features, edge_features)
        for name, value, known in (
            ("decoder", decoder, ("markov", "recurrent")),
            ("orientation", orientation, ("velocity", "complete")),
            ("angles", angles, ("wrapped", "sincos")),
        ):
            if value not in known:
                raise MethodError(f"LoCS: {name} is '{value}'; choose {' or '.join(known)}")
        if dims not in (2, 3):
            raise MethodError(f"LoCS: bodies have a heading in 2 or 3 dimensions, not in {dims}; use egnn there")
        self.dims, self.orientation, self.angles = dims, orientation, angles
        self.latent_edges, self.variance, self.temperature = latent_edges, variance, temperature
        self.window = window
        self.remembers = decoder == "recurrent" or latent_edges > 0 or (orientation == "complete" and dims == 3)
        relative, place = pose_sizes(dims, angles)
        own, edge = 2 * dims + node_features, relative + edge_features + node_features
        messages = Messages(own, edge, place, width, max(1, latent_edges), anisotropic, rank)
        kind = MarkovDecoder if decoder == "markov" else RecurrentDecoder
        self.decoder = kind(messages, own, width, 2 * dims, dropout)
        self.edge_types = EdgeTypes(own, edge, place, width, latent_edges, rank) if latent_edges else None

    @classmethod
    def _sizes(cls, data: Rollouts) -> dict[str, Any]:
        return super()._sizes(data) | {"dims": data.positions.shape[3]}

    # -- the scene as its bodies see it -------------------------------------------------------------------------------

    def frames(self, position: Tensor, velocity: Tensor, before: Tensor | None, state: Step) -> Tensor:
        """R, (..., nodes, dims, dims): from the velocity and, if the orientation is to be complete, from its change
        since `before`."""
        pull = neighbours_pull(position, state.edge_index)
        speed = velocity / self.units.speed
        if self.orientation == "velocity" or self.dims == 2:
            return from_velocity(speed, pull)
        acceleration = pull if before is None else velocity - before
        return from_velocity_and_acceleration(speed, acceleration, pull, neighbours_reach(position, state.edge_index))

    def localized(self, position: Tensor, velocity: Tensor, rotation: Tensor, state: Step) -> Local:
        """position, velocity: (batch, [frames,] nodes, dims)."""
        x, u = position / self.units.length, velocity / self.units.speed
        own = [torch.zeros_like(x), into(rotation, u)]
        pose = relative_pose(x, u, rotation, state.edge_index, self.angles)
        edge = [pose.features]
        lead = position.shape[1:-2]
        for columns in self.node_columns(state):
            columns = columns.view(len(columns), *[1] * len(lead), *columns.shape[1:]).expand(-1, *lead, -1, -1)
            own.append(columns)
            edge.append(columns.index_select(-2, state.edge_index[0]))
        for columns in self.edge_columns(state):
            edge.append(columns.view(len(columns), *[1] * len(lead), *columns.shape[1:]).expand(-1, *lead, -1, -1))
        return Local(rotation, torch.cat(own, -1), torch.cat(edge, -1), pose.place)

    # -- one step -----------------------------------------------------------------------------------------------------

    def changed(
        self, position: Tensor, velocity: Tensor, local: Local, state: Step, hidden: Tensor | None, kinds: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Position and velocity after the step, and the decoder's next hidden state; graph and clock are `state`'s."""
        delta, hidden = self.decoder(local.own, local.edge, local.place, state.edge_index, hidden, kinds)
        moved, turned = (out_of(local.rotation, part) for part in delta.split(self.dims, -1))
        units = self.units
        return position + units.motion * moved, velocity + units.bend / state.duration * turned, hidden

    def transition(
        self, state: Step, memory: Memory = FORGOTTEN, rotation: Tensor | None = None
    ) -> tuple[Step, Memory]:
        """The next state and memory. `rotation` (batch, nodes, dims, dims): orientations, where the data have them."""
        if rotation is None:
            rotation = self.frames(state.position, state.velocity, memory.velocity, state)
        local = self.localized(state.position, state.velocity, rotation, state)
        kinds, edges = None, None
        if self.edge_types is not None:
            embedded = self.edge_types.embed(local.own, local.edge, local.place, state.edge_index)
            logits, edges = self.edge_types.next(embedded, memory.edges)
            kinds = torch.nn.functional.one_hot(logits.argmax(-1), self.latent_edges).to(logits)
        position, velocity, hidden = self.changed(state.position, state.velocity, local, state, memory.hidden, kinds)
        return replace(state, position=position, velocity=velocity), Memory(hidden, edges, state.velocity)

    def step(self, state: Step, rotation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Position and velocity after one step, without a past."""
        after, _ = self.transition(state, rotation=rotation)
        return after.position, after.velocity

    @torch.no_grad()
    def rollout(self, state: Step, n: int, past: Course | None = None) -> Tensor:
        """As `Simulator.rollout`; memory goes along. `past`: frames before the state, to begin from (burn-in)."""
        if n < 1:
            raise DataError(f"a rollout of {n} steps was asked for; it has at least 1")
        state, memory = self.checked(state), Memory()
        for frame in range(0 if past is None else past.positions.shape[1]):
            assert past is not None
            _, memory = self.transition(self.checked(past.state(frame)), memory)
        positions = [state.position]
        for _ in range(n):
            state, memory = self.transition(state, memory)
            positions.append(state.position)
        return torch.stack(positions, 1)

    def checked(self, state: Any) -> Step:
        """Also refuses states in another number of dimensions."""
        state = super().checked(state)
        if state.position.shape[2] != self.dims:
            raise DataError(f"LoCS learned in {self.dims} dimensions, the state has {state.position.shape[2]}")
        return state

    # -- learning -----------------------------------------------------------------------------------------------------

    def batches(self, data: Rollouts, size: int, generator: torch.Generator) -> Iterator[Any]:
        """Single steps, or courses for methods with a memory."""
        return courses(data, size, generator, self.window) if self.remembers else data.batches(size, generator)

    def epoch_length(self, data: Rollouts, size: int) -> int:
        return -(-data.positions.shape[0] // size) if self.remembers else super().epoch_length(data, size)

    def loss(self, batch: Step | Course) -> dict[str, Tensor]:
        """Errors of the next state from true states; with latent edges, negative log-likelihood and divergence."""
        if isinstance(batch, Step):
            if batch.velocities is None:
                raise DataError("LoCS learns from the velocity at the end of a step, which this step does not hold")
            after, _ = self.transition(batch)
            return self.errors(after.position - batch.target, after.velocity - batch.velocities[:, -1])
        positions, velocities, divergence = self.followed(batch)
        misses = positions - batch.positions[:, 1:], velocities - batch.velocities[:, 1:]
        if self.edge_types is None:
            return self.errors(*misses)
        squares = [(miss / unit).square().sum(-1) for miss, unit in zip(misses, self._scales(), strict=True)]
        likelihood = sum(squares).mean() / (2 * self.variance)  # type: ignore[union-attr]
        return {"loss": likelihood + divergence, "likelihood": likelihood, "divergence": divergence}

    def _scales(self) -> tuple[Tensor, Tensor]:
        return self.units.length, self.units.speed

    def errors(self, position: Tensor, velocity: Tensor) -> dict[str, Tensor]:
        """Mean squares of these differences, in units of what forces do to each in a step."""
        units = self.units
        terms = {
            "position": (position / units.bend).square().mean(),
            "velocity": (velocity * units.duration / units.bend).square().mean(),
        }
        return {"loss": terms["position"] + terms["velocity"]} | terms

    def followed(self, batch: Course) -> tuple[Tensor, Tensor, Tensor]:
        """Next positions and velocities predicted from each true state of a course but the last, (batch, frames - 1,
        nodes, dims) each, and the divergence of the posterior over edge types from the prior."""
        x, u = batch.positions[:, :-1], batch.velocities[:, :-1]
        start = batch.state(0)
        rotation = self.frames(x, u, None, start)
        if self.orientation == "complete" and self.dims == 3 and x.shape[1] > 1:
            later = self.frames(x[:, 1:], u[:, 1:], u[:, :-1], start)
            rotation = torch.cat([rotation[:, :1], later], 1)
        local = self.localized(x, u, rotation, start)
        kinds, divergence = None, x.new_zeros(())
        if self.edge_types is not None:
            embedded = self.edge_types.embed(local.own, local.edge, local.place, batch.edge_index)
            prior, posterior = (logits.log_softmax(-1) for logits in self.edge_types.whole(embedded))
            divergence = (posterior.exp() * (posterior - prior)).sum(-1).mean()
            kinds = torch.nn.functional.gumbel_softmax(posterior, self.temperature)
        if isinstance(self.decoder, MarkovDecoder):
            return *self.changed(x, u, local, start, None, kinds)[:2], divergence
        hidden, found = None, []
        for frame in range(x.shape[1]):
            here = Local(*(part[:, frame] for part in local))
            now = None if kinds is None else kinds[:, frame]
            position, velocity, hidden = self.changed(x[:, frame], u[:, frame], here, start, hidden, now)
            found.append((position, velocity))
        positions, velocities = (torch.stack(parts, 1) for parts in zip(*found, strict=True))
        return positions, velocities, divergence


def neighbours_pull(position: Tensor, edge_index: Tensor) -> Tensor:
    """The sum of unit vectors toward the senders, (..., nodes, dims); 0 for a body without any."""
    sender, receiver = edge_index
    apart = position.index_select(-2, sender) - position.index_select(-2, receiver)
    length = apart.norm(dim=-1, keepdim=True)
    return segment_sum(apart / torch.where(length > 0, length, 1.0), receiver, position.shape[-2], dim=-2)


def neighbours_reach(position: Tensor, edge_index: Tensor) -> Tensor:
    """The sum of differences to the senders: a second direction that turns with the scene; like `neighbours_pull`."""
    sender, receiver = edge_index
    apart = position.index_select(-2, sender) - position.index_select(-2, receiver)
    return segment_sum(apart, receiver, position.shape[-2], dim=-2)
