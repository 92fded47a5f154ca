"""Gated recurrent units over sensors whose matrix products are graph filters of two kinds.

    r, u = sigmoid(gates([x, h])),  c = tanh(candidate([x, r h])),  h <- u h + (1 - u) c
AdaptiveFilter:   Bai et al., 2020, AGCRN, arXiv:2007.02842: graph and weights from node embeddings.
DiffusionFilter:  Li et al., 2018, DCRNN, arXiv:1707.01926: diffusion along and against the edges of a given graph.
Chebyshev filters have cells of their own, `nn.graph_recurrent`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.adjacency import random_walk_pair
from pathline.nn.nodewise import NodewiseLinear, nodewise_linear

Filter = Callable[[Tensor], Tensor]
Unit = Callable[[Tensor, Tensor], Tensor]


def diffusion_supports(adjacency: Tensor, hops: int, reverse: bool = True) -> Tensor:
    """The identity and powers 1 .. hops of the random walks along and (if `reverse`) against the edges.

    adjacency: (nodes, nodes) weights >= 0 -> (1 + 2 hops, nodes, nodes), or (1 + hops, ...) without `reverse`;
    gradients flow through it.
    """
    powers = [torch.eye(adjacency.shape[-1], dtype=adjacency.dtype, device=adjacency.device)]
    for walk in random_walk_pair(adjacency)[: 2 if reverse else 1]:
        power = walk
        for hop in range(hops):
            power = power @ walk if hop else walk
            powers.append(power)
    return torch.stack(powers)


class AdaptiveFilter(nn.Module):
    """y_n = [x_n, (A x)_n] W_n + b_n with A = softmax(ReLU(E E^T)) and W_n, b_n mixed from pools by E_n."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.map = NodewiseLinear(embedding, 2 * inputs, outputs)

    def at(self, embedding: Tensor) -> Filter:
        """The filter for these embeddings; matrices are mixed once, not at every step in time."""
        graph = F.softmax(F.relu(embedding @ embedding.T), dim=1)
        weight, bias = self.map.weights(embedding)
        return lambda x: nodewise_linear(torch.cat([x, graph @ x], dim=-1), weight, bias)


class DiffusionFilter(nn.Module):
    """y = sum_s S_s x W_s + b over supports S, see `diffusion_supports`; Glorot's start, as in the paper's code."""

    def __init__(self, inputs: int, outputs: int, supports: int) -> None:
        super().__init__()
        self.map = nn.Linear(supports * inputs, outputs)
        nn.init.xavier_uniform_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def at(self, supports: Tensor) -> Filter:
        """supports: (supports, nodes, nodes) -> a filter of (batch, nodes, inputs)."""
        return lambda x: self.map(torch.einsum("snm,bmc->bnsc", supports, x).flatten(2))


class GraphGRU(nn.Module):
    """One step of the unit above, with `kind` of filters in the place of matrices.

    inputs, width: of x and of h;  size: what the filters are sized by (embedding length, or number of supports)
    """

    def __init__(self, kind: type[AdaptiveFilter] | type[DiffusionFilter], inputs: int, width: int, size: int) -> None:
        super().__init__()
        self.width = width
        self.gates = kind(inputs + width, 2 * width, size)
        self.candidate = kind(inputs + width, width, size)

    def at(self, graph: Tensor) -> Unit:
        """The step (x, h) -> new h, (batch, nodes, inputs or width), on one graph for many steps in time."""
        gates, candidate = self.gates.at(graph), self.candidate.at(graph)

        def step(x: Tensor, h: Tensor) -> Tensor:
            reset, update = torch.sigmoid(gates(torch.cat([x, h], dim=-1))).chunk(2, dim=-1)
            return update * h + (1 - update) * torch.tanh(candidate(torch.cat([x, reset * h], dim=-1)))

        return step
