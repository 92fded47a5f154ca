"""GNN: ordinary message passing that sees coordinates as features, the rival that equivariant networks set out to beat.

    h_i = Linear([x_i, v_i]),   messages and updates as in EGNN but positions stay,   x_i' = MLP(h_i)
The "GNN" of Satorras et al. 2021, arXiv:2102.09844; and the stronger form that a careful user would build: it predicts
what a straight flight misses, relative to the centroid, and trains on randomly turned and flipped copies.
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

    def loss(self, batch: Step) -> Tensor:
        """The room's loss, on turned copies if asked for."""
        return super().loss(turned_at_random(batch) if self.augment and self.training else batch)


def turned_at_random(state: Step) -> Step:
    """Each item of the batch under its own uniformly random element of O(dims).

    That is Q of a Gaussian matrix; the signs of R undo the convention by which QR picks those of Q.
    """
    size, _, dims = state.position.shape
    q, r = torch.linalg.qr(torch.randn(size, dims, dims, device=state.position.device))
    turn = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    moved = {name: getattr(state, name) @ turn for name in ("position", "velocity", "target")}
    return replace(state, **moved)
