"""Attention over edges: a transformer's update on whatever graph says who attends to whom.

    a_ij = softmax_j( s(q_i, k_j, e_ij) / sqrt(d) ),   y_i = sum_j a_ij v_j                       for every head
    s    = <q_i, k_j> + b . p_ij              plain, with what is known of a pair as a bias
    s    = <q_i * W_E e_ij, k_j>              scaled by the pair's state
On all pairs it is the transformer, on the edges of a graph a message passing network: which of the two a layer is, its
list of pairs decides. Three networks of layers of this kind:
    GPS         x <- FFN(BN(local(x)) + BN(x + attention(x)))   local: a gated graph convolution along the edges
                Rampášek et al., 2022, arXiv:2205.12454
    Exphormer   attention along edges, random cycles and a virtual node, scaled by what kind of pair it is
                Shirzad et al., 2023, arXiv:2303.06147
    SAN         full attention with queries and keys of their own for edges and for the other pairs, whose weights are
                1 / (1 + gamma) and gamma / (1 + gamma).  Kreuzer et al., 2021, arXiv:2106.03893
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.wiring import EDGE, Wired
from pathline.nn.gated_gcn import GatedGCNLayer

LIMIT = 5.0  # of scores that pairs scale


class EdgeAttention(nn.Module):
    """x (nodes, width) -> y (nodes, width), along the pairs of `wired`.

    pairs: numbers that are known of a pair, as a bias of every head; 0 for none
    scaled: whether the states e (M, width) of pairs scale the scores
    """

    def __init__(self, width: int, heads: int, pairs: int = 0, scaled: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(pairs, heads, bias=False) if pairs else None
        self.scale = nn.Linear(width, width, bias=False) if scaled else None

    def scores(self, query: Tensor, key: Tensor, e: Tensor | None, wired: Wired) -> Tensor:
        """(M, heads) before the softmax."""
        edges, root = wired.edges, math.sqrt(query.shape[1] // self.heads)
        if self.scale is not None:
            sender, receiver = edges.edge_index
            products = query[receiver] * key[sender] * self.scale(e)
            return (products.unflatten(1, (self.heads, -1)).sum(-1) / root).clamp(-LIMIT, LIMIT)
        both = zip(query.chunk(self.heads, 1), key.chunk(self.heads, 1), strict=True)
        found = torch.stack([edges.dots(one, other) for one, other in both], 1) / root
        return found if self.bias is None else found + self.bias(e)

    def forward(self, x: Tensor, e: Tensor | None, wired: Wired) -> Tensor:
        """e: (M, pairs) numbers, or (M, width) states where they scale."""
        query, key, value = self.project(x).chunk(3, 1)
        return wired.edges.propagate(value, wired.edges.softmax(self.scores(query, key, e, wired)))


class SanAttention(nn.Module):
    """Edges and other pairs are asked differently; gamma >= 0: weight of the others, 0: edges alone count."""

    def __init__(self, width: int, heads: int, gamma: float = 0.1) -> None:
        super().__init__()
        self.heads, self.gamma = heads, gamma
        self.project = nn.Linear(width, 5 * width)
        self.scale = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, e: Tensor, wired: Wired) -> Tensor:
        """e: (M, width) states of pairs."""
        value, *asked = self.project(x).chunk(5, 1)
        sender, receiver = wired.edges.edge_index
        real = (wired.kind == EDGE)[:, None]
        query, key = (torch.where(real, a[at], b[at]) for a, b, at in ((*asked[:2], receiver), (*asked[2:], sender)))
        root = math.sqrt(x.shape[1] // self.heads)
        scores = ((query * key * self.scale(e)).unflatten(1, (self.heads, -1)).sum(-1) / root).clamp(-LIMIT, LIMIT)
        weight = torch.where(real, 1 / (1 + self.gamma), self.gamma / (1 + self.gamma)).to(x.dtype)
        return wired.edges.propagate(value, wired.edges.softmax(scores + weight.log()))


class TransformerLayer(nn.Module):
    """x <- BN(x + W y), x <- BN(x + FFN(x)), y what `attention` makes of x."""

    def __init__(self, width: int, attention: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention, self.dropout = attention, dropout
        self.out = nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(2)])
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, e: Tensor, wired: Wired) -> Tensor:
        y = self.out(F.dropout(self.attention(x, e, wired), self.dropout, self.training))
        x = self.norms[0](x + y)
        fed: Tensor = self.norms[1](x + F.dropout(self.feed(x), self.dropout, self.training))
        return fed


class GpsLayer(nn.Module):
    """Local messages and attention side by side.

    pairs: numbers that are known of a pair
    """

    def __init__(self, width: int, heads: int, pairs: int = 0, dropout: float = 0.0, last: bool = False) -> None:
        super().__init__()
        self.local = GatedGCNLayer(width, dropout, last)
        self.attention = EdgeAttention(width, heads, pairs)
        self.out, self.dropout = nn.Linear(width, width), dropout
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(3)])
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, e: Tensor, numbers: Tensor, wired: Wired) -> tuple[Tensor, Tensor]:
        """e: (L, width) states of the local edges;  numbers: (M, pairs) of all pairs."""
        near, e = self.local(x, e, wired.local)
        far = self.out(self.attention(x, numbers, wired))
        far = x + F.dropout(far, self.dropout, self.training)
        both = self.norms[0](near) + self.norms[1](far)
        fed = both + F.dropout(self.feed(both), self.dropout, self.training)
        return self.norms[2](fed), e
