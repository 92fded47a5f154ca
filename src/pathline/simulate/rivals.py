"""GNN: ordinary message passing that sees coordinates as features, the rival that equivariant networks set out to beat.

    h_i = Linear([x_i, v_i]),   messages and updates as in EGNN but positions stay,   x_i' = MLP(h_i)
The "GNN" of Satorras et al. 2021, arXiv:2102.09844; and the stronger form that a careful user would build: it predicts
what a straight flight misses, relative to the centroid, and trains on randomly turned and flipped copies.

TiedCalls: as many calls of one network as NCGNN makes, without its quadrature.

Plain, Augmented: the network of FrameAveraging on the world's axes, or on random ones: 8 copies in training, each with
a loss of its own, and the mean of 8 in use.

GlobalAxes: the network of LoCS with everybody's frame along the axes of the world, on turned copies if asked for.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pathline.core.method import Recipe
from pathline.data import Rollouts, Step
from pathline.nn.equivariant import EquivariantNetwork
from pathline.nn.mlp import MLP
from pathline.simulate.base import LearnedSimulator
from pathline.simulate.courses import Course
from pathline.simulate.frame_averaging import FrameAveraging
from pathline.simulate.locs import LoCS
from pathline.simulate.ncgnn import NCGNN
from pathline.spaces.frames import Turns


class GNN(LearnedSimulator):
    """Message passing on coordinates. Its edges see the same squared distances and edge features as EGNN's.

    residual: predict x + T v + delta around the centroid instead of the raw position
    augment:  train on copies turned (and flipped) at random
    """

    recipe = Recipe(lr=2e-3, batch_size=100, steps=2000, clip=1.0)

    def __init__(
        self,
        dims: int,
        node_features: int = 0,
        edge_features: int = 0,
        width: int = 64,
        layers: int = 4,
        residual: bool = False,
        augment: bool = False,
    ) -> None:
        super().__init__(node_features, edge_features)
        self.residual, self.augment = residual, augment
        self.network = EquivariantNetwork(2 * dims + node_features, width, layers, edge_features, moves=False)
        self.decoder = MLP([width, width, dims])

    @classmethod
    def _sizes(cls, data: Rollouts) -> dict[str, Any]:
        return super()._sizes(data) | {"dims": data.positions.shape[3]}

    def step(self, state: Step) -> tuple[Tensor, None]:
        units, edges = self.units, self.edge_columns(state)
        x = state.position / units.length
        if self.residual:
            x = x - x.mean(1, keepdim=True)
        columns = [x, state.velocity / units.speed, *self.node_columns(state)]
        h = self.network.embedding(torch.cat(columns, -1))
        h, _ = self.network(h, x, state.edge_index, edges[0] if edges else None)
        if self.residual:
            return state.position + state.duration * state.velocity + units.bend * self.decoder(h), None
        return units.length * self.decoder(h), None

    def loss(self, batch: Step) -> Tensor | dict[str, Tensor]:
        """The room's loss, on turned copies if asked for."""
        return super().loss(turned_at_random(batch) if self.augment and self.training else batch)


class TiedCalls(NCGNN):
    """The cost, the weights and the alignment of NCGNN, but the answer is where the last of the K + 1 calls ends."""

    def position_after(self, positions: Tensor, velocities: Tensor, state: Step) -> Tensor:
        return positions[-1]


class Plain(FrameAveraging):
    """One copy, centred but not turned."""

    def turns(self, size: int, like: Tensor) -> Tensor:
        """(copies, size, dims, dims)."""
        return torch.eye(self.dims).to(like).expand(1, size, -1, -1)

    def elements(self, x: Tensor, v: Tensor) -> Turns:
        centre = x.mean(-2, keepdim=True)
        return Turns(self.turns(len(x), x), centre, x.new_ones(len(x)), x.new_ones(()))


class Augmented(Plain):
    """Copies on axes drawn anew for each item and step; in use they are drawn with a fixed seed."""

    COPIES = 8

    def turns(self, size: int, like: Tensor) -> Tensor:
        generator = None if self.training else torch.Generator().manual_seed(0)
        return random_turns((self.COPIES, size), self.dims, generator).to(like)

    def loss(self, batch: Step) -> Tensor:
        return (self.copies(batch) - batch.target).square().mean() / self.units.motion.square()


class GlobalAxes(LoCS):
    """Differences of positions, and velocities, along the axes of the world.

    augment: train on copies turned at random
    """

    def __init__(self, dims: int = 2, augment: bool = False, **options: Any) -> None:
        super().__init__(dims, **options)
        self.augment = augment

    def frames(self, position: Tensor, velocity: Tensor, before: Tensor | None, state: Step) -> Tensor:
        return torch.eye(self.dims).to(position).expand(*position.shape, -1)

    def loss(self, batch: Step | Course) -> dict[str, Tensor]:
        if self.augment and self.training and isinstance(batch, Step):
            batch = turned_at_random(batch, flips=False)
        return super().loss(batch)


def turned_at_random(state: Step, flips: bool = True) -> Step:
    """Each item of the batch under its own uniformly random element of O(dims), or of SO(dims) without flips."""
    size, _, dims = state.position.shape
    turn = random_turns((size,), dims)
    if not flips:
        turn[..., 0] *= torch.linalg.det(turn).sign()[:, None]
    turn = turn.to(state.position)
    moved = {name: getattr(state, name) @ turn for name in ("position", "velocity", "target")}
    along = None if state.velocities is None else state.velocities @ turn[:, None]
    return replace(state, **moved, velocities=along)


def random_turns(shape: tuple[int, ...], dims: int, generator: torch.Generator | None = None) -> Tensor:
    """Uniformly random elements of O(dims), (*shape, dims, dims).

    That is Q of a Gaussian matrix; the signs of R undo the convention by which QR picks those of Q.
    """
    q, r = torch.linalg.qr(torch.randn(*shape, dims, dims, generator=generator))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
