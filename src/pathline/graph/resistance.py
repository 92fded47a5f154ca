"""Effective resistance: the graph as a network of unit resistors.

    R_uv = (1_u - 1_v)^T L^+ (1_u - 1_v)                 L = D - A, in float64
    R_tot = sum_{u<v} R_uv = n tr L^+                    of a connected graph
    B_uv^2 = (1_u - 1_v)^T (L^+)^2 (1_u - 1_v)           squared biharmonic distance
An edge (u, v) added changes L^+ by a rank-one term (Sherman and Morrison), b = 1_u - 1_v:
    L^+ <- L^+ - L^+ b b^T L^+ / (1 + R_uv),             R_tot falls by n B_uv^2 / (1 + R_uv)
Within a component, L^+ = (L + J)^-1 - J with J = 1/n on it, so no eigenvectors are needed. Between components the
resistance is infinite.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from torch import Tensor

DENSE = 6000  # nodes up to which the inverse is made as a whole
_BLOCK = 1 << 24


def components(edge_index: Tensor, nodes: int) -> Tensor:
    """(nodes,) int64 the component of each node, numbered from 0."""
    sender, receiver = edge_index.cpu().numpy()
    matrix = sparse.csr_matrix((np.ones(len(sender), np.int8), (sender, receiver)), (nodes, nodes))
    return torch.from_numpy(connected_components(matrix, directed=False)[1]).long()


def _conductances(edge_index: Tensor, nodes: int, weight: Tensor | None) -> sparse.csr_matrix:
    """Symmetric conductances; both directions of a link are one resistor, parallel links are several."""
    sender, receiver = edge_index.cpu().numpy()
    values = np.ones(len(sender)) if weight is None else weight.detach().cpu().double().numpy()
    matrix = sparse.csr_matrix((values, (sender, receiver)), (nodes, nodes))
    matrix.setdiag(0)
    return matrix.maximum(matrix.T).tocsr()


def laplacian_pseudoinverse(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> Tensor:
    """L^+ as (nodes, nodes) float64. weight: (E,) conductances > 0, 1 by default."""
    return _inverse(edge_index, nodes, weight) - _constant(components(edge_index, nodes))


def _constant(component: Tensor) -> Tensor:
    """J: 1 / (size of the component) between its nodes, 0 elsewhere."""
    size = torch.bincount(component).double()
    return (component[:, None] == component) / size[component]


def _inverse(edge_index: Tensor, nodes: int, weight: Tensor | None) -> Tensor:
    """(L + J)^-1, which is L^+ + J."""
    conductance = torch.from_numpy(_conductances(edge_index, nodes, weight).toarray())
    laplacian = torch.diag(conductance.sum(1)) - conductance
    return torch.cholesky_inverse(torch.linalg.cholesky(laplacian + _constant(components(edge_index, nodes))))


def effective_resistance(
    edge_index: Tensor, nodes: int, weight: Tensor | None = None, pairs: Tensor | None = None
) -> Tensor:
    """(E,) float64 the resistance of every edge, or of `pairs` (2, P); infinite between components.

    Exact. Beyond `DENSE` nodes the Laplacian stays sparse: it is factored once and solved for blocks of nodes.
    """
    first, second = edge_index if pairs is None else pairs
    component = components(edge_index, nodes)
    if nodes <= DENSE:
        inverse = _inverse(edge_index, nodes, weight)
        diagonal = inverse.diagonal()
        found = diagonal[first] + diagonal[second] - 2 * inverse[first, second]
    else:
        found = _solved(_conductances(edge_index, nodes, weight), component, first, second)
    return torch.where(component[first] == component[second], found, torch.inf)


def _solved(conductance: sparse.csr_matrix, component: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Resistances by sparse solves; one node of each component is held at 0, which changes no difference."""
    nodes = len(component)
    _, ground = np.unique(component.numpy(), return_index=True)
    free = np.setdiff1d(np.arange(nodes), ground)
    place = np.full(nodes, -1)
    place[free] = np.arange(len(free))
    laplacian = sparse.diags(np.asarray(conductance.sum(1))[:, 0]) - conductance
    factor = splu(laplacian[free][:, free].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    one, other = place[first.numpy()], place[second.numpy()]
    diagonal, crossed = np.zeros(nodes), np.zeros(len(one))
    for columns in np.array_split(np.arange(len(free)), -(-len(free) * len(free) // _BLOCK)):
        unit = np.zeros((len(free), len(columns)))
        unit[columns, np.arange(len(columns))] = 1
        potential = factor.solve(unit)
        diagonal[columns] = potential[columns, np.arange(len(columns))]
        inside = (one >= columns[0]) & (one <= columns[-1]) & (other >= 0)
        crossed[inside] = potential[other[inside], one[inside] - columns[0]]
    diagonal[-1] = 0.0  # place -1 is a node that is held
    return torch.from_numpy(
        np.where(one >= 0, diagonal[one], 0) + np.where(other >= 0, diagonal[other], 0) - 2 * crossed
    )


def resistance_matrix(pseudoinverse: Tensor) -> Tensor:
    """R between all pairs of a connected graph, from its L^+."""
    diagonal = pseudoinverse.diagonal()
    return diagonal[:, None] + diagonal - 2 * pseudoinverse


def total_resistance(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> float:
    """R_tot; of a graph in several components, the sum of theirs."""
    component = components(edge_index, nodes)
    size = torch.bincount(component).double()
    diagonal = laplacian_pseudoinverse(edge_index, nodes, weight).diagonal()
    return float((diagonal * size[component]).sum())


class Resistances(NamedTuple):
    """L^+ and its square, which follow the graph as edges are added to it."""

    pseudoinverse: Tensor
    square: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, nodes: int) -> "Resistances":
        """From the edges."""
        pseudoinverse = laplacian_pseudoinverse(edge_index, nodes)
        return cls(pseudoinverse, pseudoinverse @ pseudoinverse)

    def gains(self, sizes: Tensor) -> Tensor:
        """(nodes, nodes) by how much R_tot falls when an edge is added; sizes: (nodes,) of each node's component."""
        return sizes[:, None] * resistance_matrix(self.square) / (1 + resistance_matrix(self.pseudoinverse))

    def added(self, u: int, v: int) -> "Resistances":
        """After an edge of unit resistance between u and v of one component."""
        across = self.pseudoinverse[:, u] - self.pseudoinverse[:, v]
        scale = 1 + across[u] - across[v]
        through = self.pseudoinverse @ across
        mixed = torch.outer(through, across)
        square = self.square - (mixed + mixed.T) / scale + torch.outer(across, across) * (across @ across) / scale**2
        return Resistances(self.pseudoinverse - torch.outer(across, across) / scale, square)
