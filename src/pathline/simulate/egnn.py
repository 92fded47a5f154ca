"""EGNN: a cheap graph network whose predicted positions turn, flip and shift with the input, in any dimension.

    m_ij = phi_e([h_i, h_j, ||x_i - x_j||^2, a_ij])
    v_i' = phi_v(h_i) v_i + C sum_j (x_i - x_j) phi_x(m_ij),    x_i' = x_i + v_i'       (layers: `nn/equivariant.py`)
    h_i' = h_i + phi_h([h_i, sum_j m_ij])
Satorras, Hoogeboom, Welling, 2021, "E(n) Equivariant Graph Neural Networks", arXiv:2102.09844.

For bodies that move: h_i starts from ||v_i|| (and the data's node features), a_ij holds the data's edge features and
the squared distance at the input, and the last layer gives the position after one step. For energies: `Energy`. For
graphs without features: `GraphAutoencoder`.

Departs: lengths and motions are measured in the data's own units (`units.py`), so that the same settings learn planets
and molecules; with all units 1 this is the official network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pathline.core.method import Recipe
from pathline.data import Step
from pathline.nn.equivariant import Aggregation, EquivariantNetwork
from pathline.nn.mlp import MLP
from pathline.simulate.base import LearnedSimulator


class EGNN(LearnedSimulator):
    """A stack of different equivariant layers that maps the state before a step to the positions after it.

    width, layers:  64 and 4 in the paper
    carry_velocity: each layer turns the velocity of the layer before, not that of the input
    clamp:          never reached in a sound run, as in the official code; it lets a training survive a bad step
    gate, normalize, tanh, aggregation: see `pathline.nn.equivariant.EGCL`
    """

    recipe = Recipe(lr=2e-3, batch_size=100, steps=2000, clip=1.0)

    def __init__(
        self,
        node_features: int = 0,
        edge_features: int = 0,
        width: int = 64,
        layers: int = 4,
        carry_velocity: bool = False,
        gate: bool = False,
        normalize: bool = False,
        clamp: float | None = 100.0,
        tanh: bool = False,
        aggregation: Aggregation = "mean",
    ) -> None:
        super().__init__(node_features, edge_features)
        self.network = EquivariantNetwork(
            1 + node_features, width, layers, 1 + edge_features, True, carry_velocity, True,
            gate, normalize, clamp, tanh, aggregation,
        )  # fmt: skip

    def motions(self, state: Step) -> list[Tensor]:
        """Displacement from the input position after each layer, in units of motion; (batch, nodes, dims) each."""
        units, (sender, receiver) = self.units, state.edge_index
        speed = state.velocity.norm(dim=-1, keepdim=True) / units.speed
        x = state.position / units.length
        distance = (x[:, receiver] - x[:, sender]).square().sum(-1, keepdim=True)
        _, motions = self.network(
            self.network.embedding(torch.cat([speed, *self.node_columns(state)], -1)),
            x,
            state.edge_index,
            torch.cat([*self.edge_columns(state), distance], -1),
            state.velocity * state.duration / units.motion,
            unit=units.motion / units.length,
        )
        return motions

    def step(self, state: Step) -> tuple[Tensor, None]:
        """The position after the last layer; a velocity is not predicted."""
        return state.position + self.units.motion * self.motions(state)[-1], None

    def states_within(self, state: Step) -> Tensor:
        """(layers + 1, batch, nodes, dims): positions at the input and after each layer. Only the last is supervised;
        the others are the nearest thing to states within the step that a stack of layers has."""
        moved = [self.units.motion * motion for motion in self.motions(state)]
        return torch.stack([state.position, *(state.position + motion for motion in moved)])


class Energy(nn.Module):
    """An invariant readout: y = MLP(sum_i MLP(h_i)) after layers that leave the positions alone (QM9 in the paper).

    node_features: columns of per-node invariants (one-hot species);  outputs: values per graph
    """

    def __init__(
        self,
        node_features: int,
        width: int = 64,
        layers: int = 4,
        outputs: int = 1,
        edge_features: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.network = EquivariantNetwork(node_features, width, layers, edge_features, moves=False, **options)
        self.of_node = MLP([width, width, width])
        self.of_graph = MLP([width, width, outputs])

    def forward(
        self, features: Tensor, x: Tensor, edge_index: Tensor | None = None, edge_features: Tensor | None = None
    ) -> Tensor:
        """features: (..., nodes, F), x: (..., nodes, dims); returns (..., outputs)."""
        h, _ = self.network(self.network.embedding(features), x, edge_index, edge_features)
        return self.of_graph(self.of_node(h).sum(-2))


def forces(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """-d energy / d x, same shape as x: (..., nodes, dims). Differentiable, to be trained on as well.

    If the energy is invariant, these forces are equivariant, conserve it, and sum to zero in every graph.
    """
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    return -gradient


class GraphAutoencoder(nn.Module):
    """Embeds the nodes of a graph in space so that neighbours lie close: A_ij ~ sigmoid(w ||z_i - z_j||^2 + b).

    Nodes without features are all alike, and equal nodes get equal embeddings: so they start at random places, which
    the equivariant layers can move but not confuse. `shrink` pulls the places to the origin a little after each layer.
    """

    def __init__(self, width: int = 32, layers: int = 4, dims: int = 8, shrink: float = 1e-3) -> None:
        super().__init__()
        self.dims, self.shrink = dims, shrink
        self.network = EquivariantNetwork(1, width, layers)
        self.w, self.b = nn.Parameter(torch.tensor(-0.1)), nn.Parameter(torch.tensor(1.0))

    def encode(self, nodes: int, edge_index: Tensor) -> Tensor:
        """Places z (nodes, dims); the starting places come from torch's global generator."""
        h = self.network.embedding(self.w.new_ones(nodes, 1))
        z = torch.randn(nodes, self.dims, device=self.w.device, dtype=self.w.dtype)
        for layer in self.network.layers:
            h, move = layer(h, z, edge_index)
            z = (1 - self.shrink) * (z + move)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Probabilities of edges (nodes, nodes), symmetric, 0 on the diagonal."""
        square = (z[:, None] - z[None, :]).square().sum(-1)
        return torch.sigmoid(self.w * square + self.b) * (1 - torch.eye(len(z), device=z.device, dtype=z.dtype))
