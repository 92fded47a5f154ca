"""Who is how far from whom: the pairs of nodes at every shortest-path distance up to a reach.

Distances are found by breadth-first search from all nodes at once: the pairs at distance k are those that a step joins
to pairs at distance k - 1 and that are no nearer. Nodes of different components never form a pair, so a disjoint union
of graphs is searched as one.
"""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

OVERLAP = 8  # ways to one pair that are found at once, before a search is thought too large


def hop_sets(edge_index: Tensor, nodes: int, reach: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Every ordered pair (j, i) with 1 <= d(j, i) <= reach, d the length of the shortest path from j to i.

    edge_index: (2, E), row 0 the sender; edges from a node to itself do not count.
    Returns pairs (2, P), nearest first, and their distances (P,) int64. Raises ValueError before there are more pairs
    than `most`.
    """
    if reach < 1:
        raise ValueError(f"a reach of {reach} holds no pair; it must be at least 1")
    sender, receiver = edge_index[:, edge_index[0] != edge_index[1]].cpu().numpy()
    step = sparse.csr_matrix((np.ones(len(sender), np.int32), (sender, receiver)), (nodes, nodes))
    step.data[:] = 1
    near = sparse.identity(nodes, np.int32, "csr")
    frontier = near
    found: list[np.ndarray] = []
    distances: list[np.ndarray] = []
    degree = np.diff(step.indptr)
    for distance in range(1, reach + 1):
        known = sum(map(len, distances))
        if most is not None and max(known, int(degree[frontier.indices].sum()) // OVERLAP) > most:
            raise ValueError(f"more than {most} pairs of the {nodes} nodes lie within {reach} steps of each other")
        arrived = frontier @ step
        arrived.data[:] = 1
        frontier = (arrived - arrived.multiply(near)).tocsr()
        frontier.eliminate_zeros()
        if not frontier.nnz:
            break
        near = near + frontier
        pairs = frontier.tocoo()
        found.append(np.stack([pairs.row, pairs.col]))
        distances.append(np.full(frontier.nnz, distance))
    if not found:
        return edge_index.new_zeros(2, 0), edge_index.new_zeros(0)
    return torch.from_numpy(np.concatenate(found, 1)).long(), torch.from_numpy(np.concatenate(distances)).long()


def distance_matrix(edge_index: Tensor, nodes: int, reach: int | None = None) -> Tensor:
    """(nodes, nodes) float64 shortest-path lengths from row to column; infinite beyond `reach` (default: none)."""
    matrix = torch.full((nodes, nodes), torch.inf, dtype=torch.float64)
    matrix.fill_diagonal_(0)
    pairs, distances = hop_sets(edge_index, nodes, max(1, nodes - 1) if reach is None else reach)
    matrix[pairs[0], pairs[1]] = distances.double()
    return matrix
