"""Encodings of pairs and nodes by walks that never end, and eigenvectors that depend on no choice of a basis.

    walks at      [I, P, P^2, .., P^(k-1)]_ij at chosen pairs only: RRWP on the edges of a graph
    page rank     Pi = a (I - (1 - a) P)^-1; a node is described by the k largest entries of its row, largest first
    eigenspaces   the lowest eigenvectors of the Laplacian without those of an eigenvalue whose space would be cut
Graphs are given as in `graph.encodings`, and all of these follow a relabelling of the nodes, eigenvectors up to a
rotation within their spaces. The page rank of the whole row is cut to its largest entries because singular vectors of
Pi, which the benchmark's code takes, have signs of their own.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pathline.graph.adjacency import random_walk
from pathline.graph.encodings import dense_graphs, laplacian_eigenvectors
from pathline.graph.ragged import starts_of
from pathline.graph.sparse import Edges

DENSE = 512  # nodes up to which walks are powers of a matrix
_BLOCK = 1 << 24


def _at_pairs(edge_index: Tensor, graph: Tensor, pairs: Tensor) -> Iterator[tuple[Tensor, tuple[Tensor, ...], Tensor]]:
    """Graphs of equal size together: which pairs are theirs, (graph, row, column) of each, and adjacency (b, n, n)."""
    start = starts_of(torch.bincount(graph))
    home = graph[pairs[0]]
    row = torch.full((len(start) - 1,), -1)
    for nodes, adjacency in dense_graphs(edge_index, graph):
        mine = graph[nodes[:, 0]]
        row[mine] = torch.arange(len(mine))
        place = (row[home] >= 0).nonzero()[:, 0]
        first = start[home[place]]
        yield place, (row[home[place]], pairs[0, place] - first, pairs[1, place] - first), adjacency
        row[mine] = -1


def random_walks_at(edge_index: Tensor, graph: Tensor, k: int, pairs: Tensor, dense: int = DENSE) -> Tensor:
    """(P, k) float64 the chance that a walk from pairs[0] is at pairs[1] after 0 .. k - 1 steps.

    pairs: (2, P), both of one graph. Graphs of up to `dense` nodes are powers of a matrix; larger ones are walked from
    blocks of nodes.
    """
    found = torch.zeros(pairs.shape[1], k, dtype=torch.float64)
    if int(torch.bincount(graph).max()) > dense:
        return _walks_by_blocks(edge_index, len(graph), k, pairs)
    for place, at, adjacency in _at_pairs(edge_index, graph, pairs):
        step = random_walk(adjacency)
        power = torch.eye(step.shape[-1], dtype=torch.float64).expand_as(step)
        for t in range(k):
            found[place, t] = power[at]
            power = power @ step
    return found


def _walks_by_blocks(edge_index: Tensor, nodes: int, k: int, pairs: Tensor) -> Tensor:
    simple = torch.unique(edge_index[:, edge_index[0] != edge_index[1]], dim=1)
    edges = Edges(simple, nodes)
    chance = 1 / torch.bincount(simple[0], minlength=nodes).double()[simple[0]]
    order = pairs[0].argsort(stable=True)
    border = torch.searchsorted(pairs[0][order].contiguous(), torch.arange(nodes + 1))
    found = torch.zeros(pairs.shape[1], k, dtype=torch.float64)
    for block in torch.arange(nodes).split(max(1, _BLOCK // nodes)):
        own = order[border[block[0]] : border[block[-1] + 1]]
        at = torch.zeros(nodes, len(block), dtype=torch.float64)
        at[block, torch.arange(len(block))] = 1.0
        for t in range(k):
            found[own, t] = at[pairs[1, own], pairs[0, own] - block[0]]
            at = edges.propagate(at, chance)
    return found


def pagerank_encoding(edge_index: Tensor, graph: Tensor, k: int, alpha: float = 0.15) -> Tensor:
    """(nodes, k) float64 the largest entries of each node's row of Pi, largest first; 0 where a graph has fewer nodes.

    alpha: chance to return to the node at every step. Dense: O(n^3) for a graph of n nodes.
    """
    found = torch.zeros(len(graph), k, dtype=torch.float64)
    for nodes, adjacency in dense_graphs(edge_index, graph):
        size = nodes.shape[1]
        matrix = torch.eye(size, dtype=torch.float64) - (1 - alpha) * random_walk(adjacency)
        rank = alpha * torch.linalg.inv(matrix)
        kept = min(k, size)
        found[nodes, :kept] = rank.topk(kept, -1).values
    return found


def whole_eigenspaces(
    edge_index: Tensor, graph: Tensor, k: int, tolerance: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors, eigenvalues and whether they are there: (nodes, k) float64, float64, bool.

    As `laplacian_eigenvectors`, but an eigenvalue that the (k + 1)-th eigenvector shares is left out, since which of
    its vectors come first is arbitrary.
    """
    vectors, values = laplacian_eigenvectors(edge_index, graph, k + 1)
    there = torch.arange(k + 1) < (torch.bincount(graph)[graph] - 1)[:, None]
    cut = there[:, k:] & ((values - values[:, k:]).abs() < tolerance)
    there = (there & ~cut)[:, :k]
    return vectors[:, :k] * there, values[:, :k] * there, there
