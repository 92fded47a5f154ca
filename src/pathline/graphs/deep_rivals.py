"""What deep attention is measured against: attention layers that are stacked, and propagation that is (nearly) fixed.

All read their features, end in a linear map for nodes and are trained as the room's other networks; where a paper
propagates the answers, here it is the encoding of `width` numbers, of which the answer is a linear map. P is
D^-1/2 (A + I) D^-1/2 throughout.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.graph_batch import GraphBatch
from pathline.graph.sparse import Edges
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.hop_propagation import Hop, Pairs, last, pagerank_weights, pair_scores, propagate_hops
from pathline.nn.sparse_input import SparseInput


class _Deep(LearnedGraphModel):
    """Rivals' common settings. hops: or layers, K;  alpha: share of what was there first;  dropout: of inputs"""

    precision = "fp32"

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 10,
        width: int = 64,
        alpha: float = 0.1,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, width, pooling, fanout)
        if hops < 1:
            raise MethodError(f"hops is {hops}; {type(self).__name__} has at least one")
        if not 0 <= alpha <= 1:
            raise MethodError(f"alpha is {alpha:g}; it is a share, from 0 to 1")
        self.hops, self.alpha, self.dropout = hops, alpha, dropout
        self.input = SparseInput()

    def dropped(self, x: Tensor) -> Tensor:
        """x in training with some of its numbers left out."""
        return F.dropout(x, self.dropout, self.training)

    def read_in(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """The first layer of described nodes, some of whose numbers are dropped."""
        return self.input(linear, x, self.dropout, self.training)

    def fixed(self, batch: GraphBatch) -> tuple[Edges, Tensor]:
        """The edges of A + I and the entries of P on them."""
        return batch.looped, batch.remembered("gcn, one list", lambda: torch.cat(batch.gcn))


class GATv2(_Deep):
    """h^(l) = (1 - r) sum_j a_ij W h_j + r W_1 x,  a_ij = softmax_j( v . LeakyReLU(W h_i + W h_j) ), ELU between.

    Brody, Alon, Yahav, 2022, "How Attentive are Graph Attention Networks?", arXiv:2105.14491. alpha: r, the initial
    residual; 0 for none;  heads: share the width equally.
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 2,
        width: int = 64,
        alpha: float = 0.0,
        heads: int = 1,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        if heads < 1 or width % heads:
            raise MethodError(f"width is {width}; {heads} heads cannot share it equally")
        self.heads = heads
        sizes = [self.described] + [width] * hops
        linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        self.vectors = nn.Parameter(torch.empty(hops, heads, width // heads))
        self.biases = nn.Parameter(torch.zeros(hops, width))
        for layer in linear:
            nn.init.xavier_uniform_(layer.weight)
        self.linear = nn.ModuleList(linear)
        bound = math.sqrt(6 / (heads + width // heads))
        nn.init.uniform_(self.vectors, -bound, bound)

    def layers(self, x: Tensor, batch: GraphBatch) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each layer the attention (E, heads) and what comes out (nodes, width), before ELU."""
        edges = batch.looped
        pairs = batch.remembered("pairs True", lambda: Pairs(edges))
        first: Tensor | None = None
        for place, layer in enumerate(self.linear):
            assert isinstance(layer, nn.Linear)
            said = layer(self.dropped(F.elu(x))) if place else self.read_in(layer, x)
            attention = edges.softmax(pair_scores(said, self.vectors[place], pairs, "leaky_relu"))
            x = edges.propagate(said, attention) + self.biases[place]
            if self.alpha:
                first = said if first is None else first
                x = (1 - self.alpha) * x + self.alpha * first
            yield attention, x

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        *_, (_, out) = self.layers(x, batch)
        return out


class FAGCN(_Deep):
    """h^(l) = eps h^(0) + sum_j tanh(s . h_i + t . h_j) P_ij h_j: attention with a sign.

    Bo, Wang, Shi, Shen, 2021, "Beyond Low-frequency Information in Graph Convolutional Networks", arXiv:2101.00797.
    alpha: eps.
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 4,
        width: int = 64,
        alpha: float = 0.3,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        self.first = nn.Linear(self.described, width)
        self.attention = nn.ModuleList([nn.Linear(width, 2, bias=False) for _ in range(hops)])

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        edges, fixed = self.fixed(batch)
        sender, receiver = edges.edge_index
        h = first = self.dropped(F.relu(self.read_in(self.first, x)))
        for layer in self.attention:
            receive, send = layer(h).unbind(1)
            signed = torch.tanh(receive.index_select(0, receiver) + send.index_select(0, sender))
            h = self.alpha * first + edges.propagate(h, self.dropped(signed) * fixed)
        return h


class _Decoupled(_Deep):
    """A hidden layer, then hops along P. A subclass says how much a hop counts."""

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 10,
        width: int = 64,
        alpha: float = 0.1,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        self.first = nn.Linear(self.described, width)

    def weigh(self, k: int, h: Tensor, z: Tensor | None) -> Tensor:
        """gamma^(k): (nodes or 1, 1)."""
        raise NotImplementedError

    def along(self, weight: Tensor) -> Tensor:
        """P's entries as one hop uses them."""
        return weight

    def propagate(self, h: Tensor, batch: GraphBatch) -> Iterator[Hop]:
        """Hops 0 to K of h (nodes, width)."""
        edges, weight = self.fixed(batch)
        return propagate_hops(h, edges, self.hops, lambda k, z: self.along(weight), self.weigh)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        h = self.dropped(F.relu(self.read_in(self.first, x)))
        return last(self.propagate(h, batch)).z


class APPNP(_Decoupled):
    """z <- (1 - a) P z + a h, K times from h: personalised PageRank. P's entries are dropped too.

    Gasteiger, Bojchevski, Günnemann, 2019, "Predict then Propagate", arXiv:1810.05997.
    """

    def weigh(self, k: int, h: Tensor, z: Tensor | None) -> Tensor:
        return pagerank_weights(self.alpha, self.hops)[k].to(h).view(1, 1)

    def along(self, weight: Tensor) -> Tensor:
        return self.dropped(weight)


class GPRGNN(_Decoupled):
    """z = sum_k theta_k P^k h, theta learned from personalised PageRank's on.

    Chien, Peng, Li, Milenkovic, 2021, "Adaptive Universal Generalized PageRank Graph Neural Network", arXiv:2006.07988.
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 10,
        width: int = 64,
        alpha: float = 0.1,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        self.theta = nn.Parameter(pagerank_weights(alpha, hops))

    @property
    def decays(self) -> dict[str, float]:
        """theta does not decay."""
        return {"theta": 0.0}

    def weigh(self, k: int, h: Tensor, z: Tensor | None) -> Tensor:
        return self.theta[k].view(1, 1)


class DAGNN(_Decoupled):
    """z = sum_k sigmoid(s . h^(k) + b) h^(k), h^(k) = P^k h: every node weighs its hops.

    Liu, Gao, Ji, 2020, "Towards Deeper Graph Neural Networks", arXiv:2007.09296. alpha is not used.
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 10,
        width: int = 64,
        alpha: float = 0.1,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        self.gate = nn.Linear(width, 1)

    def weigh(self, k: int, h: Tensor, z: Tensor | None) -> Tensor:
        return torch.sigmoid(self.gate(h))


class GCNII(_Deep):
    """h^(l) = ReLU( ((1 - b_l) I + b_l W_l) ((1 - a) P h^(l-1) + a h^(0)) ),  b_l = ln(lambda / l + 1).

    Chen, Wei, Huang, Ding, Li, 2020, "Simple and Deep Graph Convolutional Networks", arXiv:2007.02133.
    strength: lambda.
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 16,
        width: int = 64,
        alpha: float = 0.1,
        strength: float = 0.5,
        dropout: float = 0.5,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, hops, width, alpha, dropout, pooling, fanout)
        self.strength = strength
        self.first = nn.Linear(self.described, width)
        mix = [nn.Linear(width, width, bias=False) for _ in range(hops)]
        for layer in mix:
            nn.init.xavier_uniform_(layer.weight)
        self.mix = nn.ModuleList(mix)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        edges, fixed = self.fixed(batch)
        h = first = F.relu(self.read_in(self.first, x))
        for place, layer in enumerate(self.mix, start=1):
            share = math.log(self.strength / place + 1)
            heard = (1 - self.alpha) * edges.propagate(self.dropped(h), fixed) + self.alpha * first
            h = F.relu((1 - share) * heard + share * layer(heard))
        return self.dropped(h)


RIVALS: dict[str, type[_Deep]] = {
    "GATv2": GATv2,
    "FAGCN": FAGCN,
    "APPNP": APPNP,
    "GPR-GNN": GPRGNN,
    "GCNII": GCNII,
    "DAGNN": DAGNN,
}
