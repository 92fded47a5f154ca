"""Graph networks from positions and velocities to positions and velocities: what a wrapper such as NCGNN calls.

    (x', v') = f(h, x, v, edges):        v' = the motion of the last layer,   x' = x + unit * (the mean of all motions)
Equivariant ones take invariant features h and a, and start near v' = v; the plain one sees coordinates and velocities
as features. The official layers add each motion whole, so that positions run ahead of the time that a call stands for.

    egnn          v_i <- phi_v(h_i) v_i + mean_j (x_i - x_j) phi_x(m_ij)     (`nn/equivariant.py`)
    radial-field  v_i <- phi_v(||v_i||) v_i + mean_j (x_i - x_j) phi_x([||x_i - x_j||^2, a_ij])
    gnn           v_i <- MLP(h_i) after message passing on [x_i, v_i]
Satorras, Hoogeboom, Welling, 2021, arXiv:2102.09844; the radial field after Koehler, Klein, Noe, 2019,
arXiv:1910.00753.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pathline.graph import segment_mean
from pathline.nn.equivariant import EquivariantNetwork
from pathline.nn.mlp import MLP

LIMIT = 100.0  # units of motion per step


class Backbone(Protocol):
    """h: (batch, nodes, node_features);  x, v: (batch, nodes, dims);  edge_features: (batch, edges, edge_features) or
    None;  unit: the length, measured in x, of one unit of v. Returns x' and v', like x."""

    def __call__(
        self, h: Tensor, x: Tensor, v: Tensor, edge_index: Tensor, edge_features: Tensor | None, unit: Tensor
    ) -> tuple[Tensor, Tensor]: ...


def _start_at(network: Any, value: float) -> nn.Linear:
    """Put the last bias of an MLP to `value`; returns that layer."""
    last: nn.Linear = network[-1]
    nn.init.constant_(last.bias, value)
    return last


def _bounded(v: Tensor) -> Tensor:
    """v, cut to a length of LIMIT: never reached in a sound run, it lets a training survive a bad step. Equivariant."""
    return v * (LIMIT / v.norm(dim=-1, keepdim=True).clamp(min=LIMIT))


class EquivariantBackbone(nn.Module):
    """A stack of `EGCL` with velocities; its options `normalize` and `tanh` keep stacks of calls from diverging."""

    def __init__(
        self,
        node_features: int,
        edge_features: int,
        width: int,
        layers: int,
        normalize: bool = False,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        self.network = EquivariantNetwork(
            node_features, width, layers, edge_features, True, carry_velocity=True, normalize=normalize, tanh=tanh
        )
        for layer in self.network.layers:
            _start_at(layer.phi_v, 1.0)

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, edge_index: Tensor, edge_features: Tensor | None, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        h = self.network.embedding(h)
        for layer in self.network.layers:
            h, v = layer(h, x, edge_index, edge_features, v)
            v = _bounded(v)
            x = x + unit / len(self.network.layers) * v
        return x, v


class RadialField(nn.Module):
    """No messages, no hidden features: forces along the lines between bodies, whose strength follows the distance."""

    def __init__(self, node_features: int, edge_features: int, width: int, layers: int) -> None:
        super().__init__()
        self.gains = nn.ModuleList(MLP([node_features, width, 1]) for _ in range(layers))
        self.strengths = nn.ModuleList(MLP([1 + edge_features, width, width, 1]) for _ in range(layers))
        for strength in self.strengths:
            nn.init.xavier_uniform_(_start_at(strength, 0.0).weight, gain=0.001)  # as in `EGCL`
        for gain in self.gains:
            _start_at(gain, 1.0)

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, edge_index: Tensor, edge_features: Tensor | None, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        sender, receiver = edge_index
        for gain, strength in zip(self.gains, self.strengths, strict=True):
            difference = x.index_select(-2, receiver) - x.index_select(-2, sender)
            square = difference.square().sum(-1, keepdim=True)
            force = strength(square if edge_features is None else torch.cat([square, edge_features], -1)).tanh()
            v = _bounded(gain(h) * v + segment_mean(force * difference, receiver, x.shape[-2], dim=-2))
            x = x + unit / len(self.gains) * v
        return x, v


class PlainBackbone(nn.Module):
    """Message passing on coordinates: it depends on where the axes are."""

    def __init__(self, node_features: int, edge_features: int, width: int, layers: int, dims: int) -> None:
        super().__init__()
        self.network = EquivariantNetwork(node_features + 2 * dims, width, layers, edge_features, moves=False)
        self.decoder = MLP([width, width, dims])

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, edge_index: Tensor, edge_features: Tensor | None, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        h = self.network.embedding(torch.cat([h, x, v], -1))
        h, _ = self.network(h, x, edge_index, edge_features)
        v = self.decoder(h)
        return x + unit * v, v
