"""Snapshots of a graph as sparse matrices, one below the other.

Ahat = D^-1/2 (A + I) D^-1/2 is sparse, so that a snapshot costs as much as it has edges.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pathline.graph.adjacency import symmetric_edge_weights


def both_ways(source: Tensor, target: Tensor, nodes: int) -> Tensor:
    """The distinct pairs of an edge list in both directions, without loops: edge_index (2, E), sorted."""
    ends = torch.cat([source * nodes + target, target * nodes + source])
    pairs = torch.unique(ends)
    edge_index = torch.stack([pairs // nodes, pairs % nodes])
    return edge_index[:, edge_index[0] != edge_index[1]]


def normalised_adjacency(edge_index: Tensor, nodes: int) -> Tensor:
    """Ahat as a sparse (nodes, nodes) tensor; edge_index (2, E) without loops. A node without edges keeps its loop."""
    loops = torch.arange(nodes, device=edge_index.device).expand(2, -1)
    edges = torch.cat([edge_index, loops], 1)
    values = symmetric_edge_weights(edges, nodes)
    return torch.sparse_coo_tensor(edges, values, (nodes, nodes), check_invariants=False).coalesce()


def block_diagonal(matrices: Sequence[Tensor]) -> Tensor:
    """Sparse square matrices along the diagonal of one."""
    sizes = torch.tensor([0] + [len(matrix) for matrix in matrices]).cumsum(0)
    indices = torch.cat([matrix.indices() + int(shift) for matrix, shift in zip(matrices, sizes[:-1], strict=True)], 1)
    values = torch.cat([matrix.values() for matrix in matrices])
    size = int(sizes[-1])
    return torch.sparse_coo_tensor(indices, values, (size, size), is_coalesced=True, check_invariants=False)


def degree_one_hot(end: Tensor, nodes: int, largest: int) -> Tensor:
    """How many edges have each node at this end, at most `largest`, as (nodes, largest + 1) of zeros and one 1.

    end: (edges,) int64, such as one row of an edge_index
    """
    degree = torch.bincount(end, minlength=nodes).clamp(max=largest)
    return torch.nn.functional.one_hot(degree, largest + 1).float()
