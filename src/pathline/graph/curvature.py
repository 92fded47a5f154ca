"""Curvature of edges: how the neighbourhoods of two joined nodes lie to each other.

Ollivier and Ricci (Ollivier, 2009, Journal of Functional Analysis 256; Lin, Lu, Yau, 2011):
    k(u, v) = 1 - W1(m_u, m_v) / d(u, v),     m_u = a at u, (1 - a) / degree(u) at each neighbour of u
with W1 the transport distance for shortest paths; exact. What both measures share stays where it is, which a metric
allows, so only the rest is moved; the neighbours of an edge's ends are 0, 1, 2 or 3 steps apart.

Balanced Forman (Topping, Di Giovanni, Chamberlain, Dong, Bronstein, 2022, arXiv:2111.14522, definition 1):
    k(i, j) = 2/d_i + 2/d_j - 2 + 2 T / max(d_i, d_j) + T / min(d_i, d_j) + (Q_i + Q_j) / (g max(d_i, d_j))
with T triangles over i - j, Q_i the neighbours of i that lie on a 4-cycle over i - j without diagonals, and g the
largest number of such cycles through one of them; 0 if an end has no other neighbour.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pathline.graph.links import both_ways, links_of
from pathline.graph.ragged import places_of

_BLOCK = 1 << 22  # distances held at once


def ollivier_ricci(edge_index: Tensor, nodes: int, alpha: float = 0.5) -> Tensor:
    """(E,) float64 the curvature of every edge; both directions have the same. An edge from a node to itself has 0.

    alpha: mass that stays at a node, from 0 to below 1. The graph is taken as undirected and without weights.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is {alpha}, but the mass that stays must lie from 0 to below 1")
    links = links_of(edge_index)
    low, high = edge_index.sort(0).values
    if not links.shape[1]:
        return torch.zeros(edge_index.shape[1], dtype=torch.float64)
    place = torch.searchsorted(links[0] * nodes + links[1], low * nodes + high).clamp(max=links.shape[1] - 1)
    return torch.where(low == high, 0.0, 1 - torch.from_numpy(_transport(links, nodes, alpha))[place])


def _transport(links: Tensor, nodes: int, alpha: float) -> np.ndarray:
    """(L,) W1 between the measures at the ends of every link."""
    from ot.lp.emd_wrap import emd_c

    moved = np.zeros(links.shape[1])
    for link, give, take, cost in _problems(links, nodes, alpha):
        if len(give) == 1 or len(take) == 1:
            moved[link] = cost.ravel() @ (take if len(give) == 1 else give)
        else:
            moved[link] = emd_c(give, take, cost, 100_000, 1)[1]
    return moved


def _problems(links: Tensor, nodes: int, alpha: float) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """For every link whose measures differ: its number, the mass to move, where it is due, and the distances."""
    matrix = _adjacency(links, nodes)
    closeness, keys = _closeness(matrix)
    link, node, mass = _differences(links, matrix, alpha)
    give, take = mass > 0, mass < 0
    count = links.shape[1]
    givers, takers = np.bincount(link[give], minlength=count), np.bincount(link[take], minlength=count)
    first, second = np.cumsum(givers) - givers, np.cumsum(takers) - takers
    given, taken = mass[give], -mass[take]
    giver, taker = node[give], node[take]
    sizes = givers * takers
    parts = np.searchsorted(np.cumsum(sizes), np.arange(_BLOCK, sizes.sum(), _BLOCK), side="right") + 1
    for block in np.split(np.arange(count), np.unique(parts[parts < count])):
        many = torch.from_numpy(takers[block]).repeat_interleave(torch.from_numpy(givers[block]))
        row = torch.from_numpy(giver[first[block[0]] : first[block[-1]] + givers[block[-1]]]).repeat_interleave(many)
        begin = torch.from_numpy(second[block]).repeat_interleave(torch.from_numpy(givers[block]))
        column = taker[places_of(begin, many).numpy()]
        wanted = row.numpy() * nodes + column
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        distance = 3.0 - np.where(keys[place] == wanted, closeness[place], 0)
        borders = np.cumsum(sizes[block]) - sizes[block]
        for k, begins in zip(block, borders, strict=True):
            if sizes[k]:
                yield (
                    int(k),
                    given[first[k] : first[k] + givers[k]],
                    taken[second[k] : second[k] + takers[k]],
                    distance[begins : begins + sizes[k]].reshape(givers[k], takers[k]),
                )


def _adjacency(links: Tensor, nodes: int) -> sparse.csr_matrix:
    sender, receiver = both_ways(links).numpy()
    matrix = sparse.csr_matrix((np.ones(len(sender)), (sender, receiver)), (nodes, nodes))
    matrix.sort_indices()
    return matrix


def _closeness(matrix: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """3 - d of all pairs at most 2 apart, and their keys row * nodes + column in increasing order."""
    nodes = matrix.shape[0]
    two = matrix @ matrix
    two.data[:] = 1
    same = sparse.identity(nodes, format="csr")
    near = matrix + same  # at most 1 apart
    within = two + near
    within.data[:] = 1
    close = (within + near + same).tocsr()
    close.sort_indices()
    return close.data, np.repeat(np.arange(nodes), np.diff(close.indptr)) * nodes + close.indices


def _differences(links: Tensor, matrix: sparse.csr_matrix, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """m_u - m_v of every link (u, v) where it is not 0: link, node, mass, in the order of links."""
    degree = np.diff(matrix.indptr)
    measure = sparse.diags((1 - alpha) / np.maximum(degree, 1)) @ matrix + alpha * sparse.identity(len(degree))
    measure = measure.tocsr()
    u, v = links.numpy()
    difference = (measure[u] - measure[v]).tocsr()
    difference.data[np.abs(difference.data) < 1e-12] = 0
    difference.eliminate_zeros()
    difference.sort_indices()
    return (
        np.repeat(np.arange(difference.shape[0]), np.diff(difference.indptr)),
        difference.indices.astype(np.int64),
        difference.data,
    )


def balanced_forman(edge_index: Tensor, nodes: int) -> Tensor:
    """(E,) float64 the balanced Forman curvature of every edge of an undirected graph."""
    links = links_of(edge_index)
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[links[0], links[1]] = adjacency[links[1], links[0]] = 1.0
    parts = [
        forman_of(adjacency[i], adjacency[j], adjacency, i, j)
        for i, j in zip(*(row.split(max(1, _BLOCK // max(1, nodes))) for row in edge_index), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def forman_of(at_i: Tensor, at_j: Tensor, adjacency: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Curvature of edges (i, j): (e,), given their rows (e, nodes) of the adjacency, one
    for all (nodes, nodes) or one for each (e, nodes, nodes)."""
    degree_i, degree_j = at_i.sum(-1), at_j.sum(-1)
    larger, smaller = torch.maximum(degree_i, degree_j), torch.minimum(degree_i, degree_j)
    triangles = (at_i * at_j).sum(-1)
    squares, most = [], torch.ones_like(triangles)
    for own, other, end in ((at_i, at_j, j), (at_j, at_i, i)):
        beyond = other * (1 - own)  # neighbours of the other end alone, this end among them
        through = (beyond[:, None] @ adjacency)[:, 0] if adjacency.ndim == 3 else beyond @ adjacency
        alone = own * (1 - other)
        alone = alone.scatter(-1, end[:, None], 0.0)
        cycles = (through - 1) * alone  # one way leads back over the edge itself
        squares.append((cycles > 0).sum(-1))
        most = torch.maximum(most, cycles.amax(-1))
    curvature = 2 / degree_i + 2 / degree_j - 2 + 2 * triangles / larger + triangles / smaller
    curvature = curvature + (squares[0] + squares[1]) / (most * larger)
    return torch.where(smaller > 1, curvature, 0.0)
