"""Which neighbours two nodes share, and which only one of them has: for many pairs at once, and never as a dense row.

    C[p] = A[i] o A[j],   A[i] - C[p],   A[j] - C[p]        for pairs p = (i, j), sparse matrices (pairs, nodes)

Neighbours are kept as sorted numbers node x nodes + neighbour. A row is gathered where it lies, and each of its entries
is looked up in the other row by bisection; for what is common alone, the shorter of both rows is gathered.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pathline.graph.ragged import places_of, position_in_segment
from pathline.graph.sparse import Edges


@dataclass(frozen=True)
class Rows:
    """A sparse matrix with a row for every pair and a column for every node.

    pair, node: (entries,) int64, where the entries are;  pairs, nodes: its shape
    weight:     (entries,) their values, or None: all are 1
    """

    pair: Tensor
    node: Tensor
    pairs: int
    nodes: int
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def count(self) -> Tensor:
        """(pairs,) int64 entries of each row."""
        return torch.bincount(self.pair, minlength=self.pairs)

    def times(self, h: Tensor) -> Tensor:
        """The product with h (nodes, width): (pairs, width), differentiable in h and in the weights."""
        edges = Edges(torch.stack([self.node, self.pair]), self.pairs, self.nodes)
        return edges.propagate(h, self.weight)

    def scaled(self, factor: Tensor) -> "Rows":
        """Every entry times its factor (entries,)."""
        return replace(self, weight=factor if self.weight is None else self.weight * factor)

    def sampled(self, most: int | None) -> "Rows":
        """At most `most` entries of each row, drawn without replacement from torch's global generator.

        Those of a row that was cut weigh (entries before) / most, so that products are right in the mean.
        """
        count = self.count
        if most is None or not len(self) or int(count.max()) <= most:
            return self
        draw = torch.rand(len(self), dtype=torch.float64, device=self.pair.device)
        order = (self.pair + draw).argsort()  # draws lie in [0, 1), so rows stay together
        kept = order[position_in_segment(count) < most]
        factor = (count / most).clamp(min=1)[self.pair[kept]]
        weight = None if self.weight is None else self.weight[kept]
        return Rows(self.pair[kept], self.node[kept], self.pairs, self.nodes, weight).scaled(factor)


def joined(rows: list[Rows]) -> Rows:
    """The sum of matrices of one shape, their entries side by side."""
    first = rows[0]
    weight = None
    if any(part.weight is not None for part in rows):
        dtype = next(part.weight.dtype for part in rows if part.weight is not None)
        parts = [part.pair.new_ones(len(part), dtype=dtype) if part.weight is None else part.weight for part in rows]
        weight = torch.cat([part.to(dtype) for part in parts])
    pair, node = torch.cat([part.pair for part in rows]), torch.cat([part.node for part in rows])
    return Rows(pair, node, first.pairs, first.nodes, weight)


class Overlap(NamedTuple):
    """common: N(i) and N(j);  first: N(i) without N(j);  second: N(j) without N(i)."""

    common: Rows
    first: Rows
    second: Rows


class Neighbourhoods:
    """N(i) of every node: those that an edge (i, u) names; repeated edges and edges from a node to itself do not count.

    edge_index: (2, E) int64, links in both directions
    """

    def __init__(self, edge_index: Tensor, nodes: int) -> None:
        node, other = edge_index[:, edge_index[0] != edge_index[1]]
        self.nodes = nodes
        self.keys = torch.unique(node * nodes + other)
        self.near = self.keys % max(1, nodes)
        self.degree = torch.bincount(self.keys // max(1, nodes), minlength=nodes)
        self.start = self.degree.cumsum(0) - self.degree

    def linked(self, node: Tensor, other: Tensor) -> Tensor:
        """Whether `other` (m,) is among the neighbours of `node` (m,)."""
        if not len(self.keys):
            return torch.zeros_like(node, dtype=torch.bool)
        wanted = node * self.nodes + other
        return self.keys[torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)] == wanted

    def of(self, node: Tensor) -> Rows:
        """The rows N(node) of nodes (m,)."""
        count = self.degree[node]
        pair = torch.arange(len(node), device=node.device).repeat_interleave(count)
        return Rows(pair, self.near[places_of(self.start[node], count)], len(node), self.nodes)

    def common(self, pairs: Tensor) -> Rows:
        """What the two of each pair (2, m) share."""
        swap = self.degree[pairs[0]] > self.degree[pairs[1]]
        short, long = torch.where(swap, pairs.flip(0), pairs)
        rows = self.of(short)
        return _chosen(rows, self.linked(long[rows.pair], rows.node))

    def overlap(self, pairs: Tensor) -> Overlap:
        """What they share, and what only one of them has."""
        first, second = self.of(pairs[0]), self.of(pairs[1])
        shared = self.linked(pairs[1][first.pair], first.node)
        also = self.linked(pairs[0][second.pair], second.node)
        return Overlap(_chosen(first, shared), _chosen(first, ~shared), _chosen(second, ~also))


def _chosen(rows: Rows, which: Tensor) -> Rows:
    return Rows(rows.pair[which], rows.node[which], rows.pairs, rows.nodes)
