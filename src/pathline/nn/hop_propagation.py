"""Propagation that is decoupled from transformation: hop after hop along edges without weights in between, summed.

    h^(k) = P^(k) h^(k-1)             z^(k) = z^(k-1) + gamma^(k) * h^(k)             z^(0) = gamma^(0) * h^(0)
P^(k) has a number on every edge, gamma^(k) one for every node; both may look at z. Who decides them is a method:
personalised PageRank fixes both, generalised PageRank learns gamma for all nodes alike, attention both for each.

    P_ij = d_i^-1/2 a_ij d_j^-1/2,  d_i = sum_j a_ij over edges into i              `symmetric_weights`
    a_ij = v . phi(z_i + z_j)                                                       `pair_scores`
The latter is the same in both directions, hence computed once for a pair; of all it passes through only z is kept.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pathline.graph.segment import Segments
from pathline.graph.sparse import Edges

LEAK = 0.2  # of LeakyReLU, as in graph attention


class Hop(NamedTuple):
    """What came of one hop.

    alpha: (E,) or (E, heads) weights of P^(k), None before the first hop;  gamma: (nodes or 1, heads)
    h, z:  (nodes, width), heads side by side
    """

    alpha: Tensor | None
    gamma: Tensor
    h: Tensor
    z: Tensor


def propagate_hops(
    h: Tensor,
    edges: Edges,
    count: int,
    attend: Callable[[int, Tensor], Tensor],
    weigh: Callable[[int, Tensor, Tensor | None], Tensor],
) -> Iterator[Hop]:
    """Hops 0 to `count` of h (nodes, width).

    attend: k from 1 and z^(k-1) -> weights of P^(k), (E,) or (E, heads)
    weigh:  k from 0, h^(k) and z^(k-1), None at first -> gamma^(k), (nodes or 1, heads)
    """
    gamma = weigh(0, h, None)
    z = _scaled(h, gamma)
    yield Hop(None, gamma, h, z)
    for k in range(1, count + 1):
        alpha = attend(k, z)
        h = edges.propagate(h, alpha[:, 0] if alpha.ndim == 2 and alpha.shape[1] == 1 else alpha)
        gamma = weigh(k, h, z)
        z = z + _scaled(h, gamma)
        yield Hop(alpha, gamma, h, z)


def last(hops: Iterator[Hop]) -> Hop:
    """The last hop; those before are not kept."""
    *_, final = hops
    return final


def _scaled(h: Tensor, gamma: Tensor) -> Tensor:
    return (h.unflatten(1, (gamma.shape[1], -1)) * gamma[:, :, None]).flatten(1)


def pagerank_weights(alpha: float, count: int) -> Tensor:
    """gamma^(k) = a (1 - a)^k and (1 - a)^K for the last: K steps of z <- (1 - a) P z + a h from z = h: (K + 1,)."""
    power = (1 - alpha) ** torch.arange(count + 1, dtype=torch.get_default_dtype())
    return torch.cat([alpha * power[:-1], power[-1:]])


def symmetric_weights(a: Tensor, edges: Edges) -> Tensor:
    """d_i^-1/2 a_ij d_j^-1/2 of a (E, ...) >= 0; 0 at nodes into which nothing leads, which neither hear nor speak."""
    arriving = edges.weight_sum(a)
    there = arriving > 0
    scale = torch.where(there, torch.where(there, arriving, 1.0).rsqrt(), 0.0)
    sender, receiver = edges.edge_index
    return scale.index_select(0, sender) * a * scale.index_select(0, receiver)


class Pairs:
    """The unordered pairs of nodes that edges join, in either direction.

    of_edge: (E,) int64 the pair of each edge;  first, second: the ends of each pair
    """

    def __init__(self, edges: Edges) -> None:
        low, high = edges.edge_index.sort(0).values
        key, self.of_edge = (low * edges.receivers + high).unique(return_inverse=True)
        self.first = Segments(key // max(1, edges.receivers), edges.receivers)
        self.second = Segments(key % max(1, edges.receivers), edges.receivers)


def pair_scores(z: Tensor, vectors: Tensor, pairs: Pairs, activation: Literal["elu", "leaky_relu"]) -> Tensor:
    """v . phi(z_i + z_j) for every edge: (E, heads) of z (nodes, heads * width) and vectors (heads, width)."""
    scores: Tensor = _PairScores.apply(z, vectors, pairs, activation == "elu")
    return scores.index_select(0, pairs.of_edge)


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, vectors: Tensor, pairs: Pairs, elu: bool) -> Tensor:
        ctx.pairs, ctx.elu = pairs, elu
        ctx.save_for_backward(z, vectors)
        said = _activated(z, pairs, elu)[0].unflatten(1, vectors.shape)
        return torch.einsum("pmd,md->pm", said, vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        z, vectors = ctx.saved_tensors
        said, slope = _activated(z, ctx.pairs, ctx.elu)
        for_vectors = torch.einsum("pmd,pm->md", said.unflatten(1, vectors.shape), gradient)
        sums = slope.unflatten(1, vectors.shape).mul_(vectors).mul_(gradient[:, :, None]).flatten(1)
        return ctx.pairs.first.sum(sums) + ctx.pairs.second.sum(sums), for_vectors, None, None


def _activated(z: Tensor, pairs: Pairs, elu: bool) -> tuple[Tensor, Tensor]:
    """phi(z_i + z_j) and its derivative: (P, heads * width)."""
    sums = z.index_select(0, pairs.first.index).add_(z.index_select(0, pairs.second.index))
    if elu:  # by exp, which is several times as fast as the function that is exact near 0
        slope = sums.clamp(max=0).exp_()
        return sums.clamp_(min=0).add_(slope).sub_(1), slope
    slope = (sums > 0).to(sums.dtype).mul_(1 - LEAK).add_(LEAK)
    return sums.mul_(slope), slope
