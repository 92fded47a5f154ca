"""Encode, process, decode: a graph network with several kinds of edges.

    encode    v_i = MLP(node features),   e_ij = MLP(edge features), one MLP for each kind of edge
    process   m_ij = MLP_k([e_ij, v_i, v_j]),   v_j' = v_j + MLP([v_j, sum_i m_ij of kind 1, .. of kind K]),
              e_ij' = e_ij + m_ij;    `layers` blocks, each with weights of its own
    decode    MLP(v_j)
Every MLP has two hidden ReLU layers, and ends with LayerNorm except the decoder's.
Pfaff et al., 2021, "Learning Mesh-Based Simulation with Graph Networks", arXiv:2010.03409, section 3.2; nodes sum the
messages before the residual is added to the edge, as in the official code.

Nothing is concatenated: W [e_ij, v_i, v_j] = W_e e_ij + (W_s v)_i + (W_r v)_j, where W_s and W_r act on nodes, of which
there are several times fewer than edges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.segment import Ends, Segments
from pathline.nn.mlp import MLP


@dataclass(frozen=True, eq=False)
class EdgeSet:
    """Edges of one kind: features (E, F), both ends, and receivers sorted for summing."""

    features: Tensor
    ends: Ends
    receiver: Segments


def edge_set(features: Tensor, edge_index: Tensor, nodes: int) -> EdgeSet:
    """features: (E, F); edge_index: (2, E), sender and receiver."""
    return EdgeSet(features, Ends(edge_index, nodes), Segments(edge_index[1], nodes))


class SplitLinear(nn.Module):
    """W [x_1, x_2, ..] + b = sum_k W_k x_k + b: a linear layer on parts that are never concatenated."""

    def __init__(self, sizes: Sequence[int], outputs: int) -> None:
        super().__init__()
        whole = nn.Linear(sum(sizes), outputs)
        self.weight, self.bias = whole.weight, whole.bias
        self.cuts = [0, *accumulate(sizes)]

    def part(self, first: int, last: int | None = None) -> Tensor:
        """The columns of W that act on the parts first .. last."""
        return self.weight[:, self.cuts[first] : self.cuts[first + 1 if last is None else last + 1]]


def after_first(width: int, outputs: int, norm: bool = True) -> nn.Sequential:
    """What follows the first linear layer of an MLP with two hidden layers."""
    layers = [nn.ReLU(inplace=True), nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, outputs)]
    return nn.Sequential(*layers, nn.LayerNorm(outputs)) if norm else nn.Sequential(*layers)


def normed_mlp(inputs: int, width: int) -> nn.Sequential:
    """Two hidden ReLU layers and LayerNorm at the output."""
    return nn.Sequential(MLP([inputs, width, width, width], nn.ReLU), nn.LayerNorm(width))


class Block(nn.Module):
    """One exchange of messages over every kind of edge."""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.width = width
        self.on_edge = nn.ModuleDict({kind: SplitLinear([width] * 3, width) for kind in kinds})
        self.message = nn.ModuleDict({kind: after_first(width, width) for kind in kinds})
        self.on_node = SplitLinear([width] * (1 + len(kinds)), width)
        self.update = after_first(width, width)

    def forward(
        self, nodes: Tensor, edges: dict[str, Tensor], sets: Mapping[str, EdgeSet]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """nodes: (N, width); edges: (E_k, width) by kind; both come back renewed."""
        renewed = {}
        h = F.linear(nodes, self.on_node.part(0), self.on_node.bias)
        for place, (kind, first) in enumerate(self.on_edge.items(), start=1):
            assert isinstance(first, SplitLinear)
            said = F.linear(nodes, torch.cat([first.part(1), first.part(2)]))
            seen = sets[kind].ends.add(F.linear(edges[kind], first.part(0), first.bias), said)
            message = self.message[kind](seen)
            h = h + F.linear(sets[kind].receiver.sum(message), self.on_node.part(place))
            renewed[kind] = edges[kind] + message
        return nodes + self.update(h), renewed


class GraphNetwork(nn.Module):
    """Node features (N, F) and edges of several kinds -> (N, outputs).

    edge_features: columns by kind of edge;  width, layers: 128 and 15 in the paper
    """

    def __init__(
        self, node_features: int, edge_features: Mapping[str, int], outputs: int, width: int = 128, layers: int = 15
    ) -> None:
        super().__init__()
        self.encode_nodes = normed_mlp(node_features, width)
        self.encode_edges = nn.ModuleDict({kind: normed_mlp(size, width) for kind, size in edge_features.items()})
        self.blocks = nn.ModuleList(Block(width, tuple(edge_features)) for _ in range(layers))
        self.decoder = MLP([width, width, width, outputs], nn.ReLU)

    def forward(self, nodes: Tensor, sets: Mapping[str, EdgeSet]) -> Tensor:
        """Raises KeyError when a kind of edge is missing; a kind without edges is an `EdgeSet` of none."""
        h = self.encode_nodes(nodes)
        edges = {kind: encode(sets[kind].features) for kind, encode in self.encode_edges.items()}
        for block in self.blocks:
            h, edges = block(h, edges, sets)
        output: Tensor = self.decoder(h)
        return output
