"""Random walks: all walks advance together, one step of all of them per tensor operation.

A walk is a row of node indices. It ends early at a node that nothing leaves; the rest of its row is -1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = 1 << 22  # candidate moves held at once


class CSR(NamedTuple):
    """Edges grouped by sender: those of node i are `target[start[i]:start[i+1]]`, in increasing order.

    start: (nodes + 1,) int64;  target: (E,) int64;  weight: (E,) float64 > 0.
    """

    start: Tensor
    target: Tensor
    weight: Tensor

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.start) - 1

    @property
    def degree(self) -> Tensor:
        """(nodes,) int64, edges leaving each node."""
        return self.start.diff()


def to_csr(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> CSR:
    """Group an edge list (2, E) by sender. Edges of weight 0 vanish, parallel edges stay apart.

    Raises ValueError when an edge names a node outside 0..nodes-1 or a weight is negative or not finite.
    """
    weight = torch.ones(edge_index.shape[1]) if weight is None else weight
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < nodes:
        raise ValueError(f"edge_index names nodes outside 0..{nodes - 1}: raise nodes or drop those edges")
    if not bool(((weight >= 0) & weight.isfinite()).all()):
        raise ValueError("edge weights must be finite and not negative to walk on")
    kept = weight > 0
    key, order = (edge_index[0, kept] * nodes + edge_index[1, kept]).sort(stable=True)
    count = torch.bincount(key // nodes, minlength=nodes)
    start = torch.cat([count.new_zeros(1), count.cumsum(0)])
    return CSR(start, key % nodes, weight[kept][order].double())


def uniform_walks(graph: CSR, starts: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """First-order walks, each edge out of a node equally likely: P(x -> y) = 1 / degree(x), weights ignored.

    starts: (W,) int64.  Returns (W, length) int64, column 0 = starts.
    """
    walks = starts.new_full((len(starts), length), -1)
    walks[:, 0] = starts
    for step in range(1, length):
        here = walks[:, step - 1]
        degree = torch.where(here < 0, 0, graph.degree[here])
        draw = torch.rand(len(starts), generator=generator, dtype=torch.float64)
        edge = graph.start[here] + (draw * degree).long().clamp(max=degree - 1)
        moving = degree > 0
        walks[moving, step] = graph.target[edge[moving]]
    return walks


def node2vec_walks(
    graph: CSR, starts: Tensor, length: int, generator: torch.Generator, p: float = 1.0, q: float = 1.0
) -> Tensor:
    """Second-order walks: having come from t to v, the next node x is drawn with probability proportional to

        w(v, x) / p  if x = t;      w(v, x)  if the edge t -> x exists;      w(v, x) / q  otherwise

    and to w(v, x) on the first step. Grover and Leskovec 2016, "node2vec", arXiv:1607.00653, section 3.2.
    Exact (no rejection): every step weighs all edges out of v, padded to the largest degree, in blocks of walks.

    starts: (W,) int64.  Returns (W, length) int64, column 0 = starts.
    """
    if p <= 0 or q <= 0:
        raise ValueError(f"p and q must be positive, got p={p} and q={q}")
    widest = int(graph.degree.max()) if graph.nodes else 0
    if widest == 0:
        return torch.cat([starts[:, None], starts.new_full((len(starts), length - 1), -1)], dim=1)
    blocks = starts.split(max(1, _BLOCK // widest))
    return torch.cat([_second_order(graph, block, length, generator, p, q, widest) for block in blocks])


def _second_order(
    graph: CSR, starts: Tensor, length: int, generator: torch.Generator, p: float, q: float, widest: int
) -> Tensor:
    sender = torch.arange(graph.nodes).repeat_interleave(graph.degree)
    keys = sender * graph.nodes + graph.target  # sorted, so that "is t -> x an edge?" is one binary search
    slot = torch.arange(widest)
    walks = starts.new_full((len(starts), length), -1)
    walks[:, 0] = starts
    for step in range(1, length):
        here = walks[:, step - 1]
        degree = torch.where(here < 0, 0, graph.degree[here])
        edge = (graph.start[here][:, None] + slot).clamp(max=len(keys) - 1)  # (W, widest)
        option = graph.target[edge]
        weight = graph.weight[edge] * (slot < degree[:, None])
        if step > 1 and (p, q) != (1.0, 1.0):
            came = walks[:, step - 2, None]
            key = came * graph.nodes + option
            near = keys[torch.searchsorted(keys, key).clamp(max=len(keys) - 1)] == key
            weight = weight * torch.where(option == came, 1 / p, torch.where(near, 1.0, 1 / q))
        ladder = weight.cumsum(1)
        draw = torch.rand(len(starts), 1, generator=generator, dtype=torch.float64) * ladder[:, -1:]
        pick = torch.searchsorted(ladder, draw, right=True).clamp(max=widest - 1)
        pick = torch.minimum(pick, (degree[:, None] - 1).clamp(min=0))
        walks[:, step] = torch.where(degree > 0, option.gather(1, pick).squeeze(1), -1)
    return walks
