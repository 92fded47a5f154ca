"""Hypergraphs as lists of incidences (node, hyperedge): their clique expansion, central nodes, ranks, and samples.

The clique expansion has A_uv = in how many hyperedges u and v meet. It is never formed: with the incidence matrix B
(nodes x hyperedges), A = B B^T - diag(B B^T).

    degree        hyperedges of a node
    pagerank      x <- 0.85 A D^-1 x + 0.15 / n, Brin and Page, 1998; who meets nobody jumps anywhere
    eigenvector   x <- (x + A x) / |x + A x|, Bonacich, 1972
    kcore         largest k such that the node stays when nodes in fewer than k hyperedges leave and take theirs along
"""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from pathline.graph.sampling import Incoming, incoming, sample_neighbours

CENTRALITIES = ("degree", "eigenvector", "pagerank", "kcore")
DENSE = 600  # nodes up to which all eigenvectors are found at once


def incidence_matrix(incidence: Tensor, nodes: int, sets: int) -> sparse.csr_matrix:
    """B (nodes, sets) float64 of incidence (2, m): how often each node is listed in each hyperedge."""
    node, hyperedge = incidence.cpu().numpy()
    return sparse.csr_matrix((np.ones(len(node)), (node, hyperedge)), (nodes, sets))


def centrality(kind: str, incidence: Tensor, nodes: int, sets: int) -> Tensor:
    """(nodes,) float64. Raises ValueError for a kind that does not exist."""
    if kind not in CENTRALITIES:
        raise ValueError(f"there is no centrality '{kind}'; choose one of {', '.join(CENTRALITIES)}")
    matrix = incidence_matrix(incidence, nodes, sets)
    made = {"degree": _degree, "eigenvector": _eigenvector, "pagerank": _pagerank, "kcore": _kcore}[kind](matrix)
    return torch.from_numpy(made)


def _degree(matrix: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.sum(1)).ravel()


def _with_itself(matrix: sparse.csr_matrix) -> np.ndarray:
    """The diagonal of B B^T."""
    return np.asarray(matrix.multiply(matrix).sum(1)).ravel()


def _pagerank(matrix: sparse.csr_matrix, damping: float = 0.85, rounds: int = 200, close: float = 1e-12) -> np.ndarray:
    own = _with_itself(matrix)
    met = matrix @ np.asarray(matrix.sum(0)).ravel() - own  # row sums of A
    nodes = len(own)
    x = np.full(nodes, 1 / nodes)
    for _ in range(rounds):
        sent = np.divide(x, met, out=np.zeros(nodes), where=met > 0)
        moved = matrix @ (matrix.T @ sent) - own * sent
        new = damping * (moved + x[met == 0].sum() / nodes) + (1 - damping) / nodes
        if np.abs(new - x).sum() < close:
            return new
        x = new
    return x


def _eigenvector(matrix: sparse.csr_matrix, rounds: int = 1000, close: float = 1e-9) -> np.ndarray:
    own = _with_itself(matrix)
    x = np.full(len(own), len(own) ** -0.5)
    for _ in range(rounds):
        new = x + matrix @ (matrix.T @ x) - own * x
        new /= np.linalg.norm(new)
        if np.abs(new - x).max() < close:
            return new
        x = new
    return x


def _kcore(matrix: sparse.csr_matrix) -> np.ndarray:
    """Waves: all nodes in at most k hyperedges leave at once, with those hyperedges; when none is left, k grows."""
    columns = matrix.tocsc()
    degree, core = _degree(matrix).astype(np.int64), np.zeros(matrix.shape[0], np.int64)
    here, stands = np.ones(matrix.shape[0], bool), np.ones(matrix.shape[1], bool)
    k = 0
    while here.any():
        leaving = here & (degree <= k)
        if not leaving.any():
            k = int(degree[here].min())
            continue
        core[leaving] = k
        here &= ~leaving
        gone = stands & (np.asarray(columns.T @ leaving.astype(np.float64)).ravel() > 0)
        stands &= ~gone
        degree = degree - np.asarray(matrix @ gone.astype(np.float64)).ravel().astype(np.int64)
    return core.astype(np.float64)


def ranks_within(value: Tensor, incidence: Tensor, sets: int) -> Tensor:
    """(m,) the rank of a node's value (nodes,) among those in its hyperedge, from 1, over the hyperedge's size.

    Equal values share a rank, and the next one follows without a gap.
    """
    node, hyperedge = incidence
    own = value[node]
    order = own.argsort(stable=True)
    order = order[hyperedge[order].argsort(stable=True)]
    home, sorted_own = hyperedge[order], own[order]
    new = torch.ones(len(order), dtype=torch.int64)
    new[1:] = ((home[1:] != home[:-1]) | (sorted_own[1:] != sorted_own[:-1])).long()
    size = torch.bincount(hyperedge, minlength=sets)
    start = size.cumsum(0) - size
    run = new.cumsum(0)
    rank = run - run[start[home]] + 1
    found = torch.empty(len(order), dtype=torch.float64)
    found[order] = rank.double() / size[home]
    return found


def incidence_orders(kinds: list[str], incidence: Tensor, nodes: int, sets: int) -> Tensor:
    """(m, len(kinds)) float64 `ranks_within` by each centrality."""
    found = [ranks_within(centrality(kind, incidence, nodes, sets), incidence, sets) for kind in kinds]
    return torch.stack(found, 1) if found else torch.zeros(incidence.shape[1], 0, dtype=torch.float64)


def clique_embedding(incidence: Tensor, nodes: int, sets: int, width: int = 16) -> Tensor:
    """(nodes, width) float64 leading eigenvectors of D_t^-1/2 A D_t^-1/2, D_t = D + mean degree, each times sqrt(n).

    The first, trivial one is left out. The mean degree keeps small components from claiming the leading vectors
    (Amini, Chen, Bickel, Levina, 2013). The sign is such that the cubes sum to at least 0. A hypergraph with few nodes
    has zeros in the last columns.
    """
    matrix = incidence_matrix(incidence, nodes, sets)
    own = _with_itself(matrix)
    met = matrix @ np.asarray(matrix.sum(0)).ravel() - own
    scale = (met + max(met.mean(), 1e-12)) ** -0.5
    kept = min(width, nodes - 1)
    if kept < 1:
        return torch.zeros(nodes, width, dtype=torch.float64)
    scaled = sparse.diags(scale) @ matrix
    diagonal = scale**2 * own

    def product(x: np.ndarray) -> np.ndarray:
        moved: np.ndarray = scaled @ (scaled.T @ x) - diagonal * x
        return moved

    if nodes <= DENSE:
        _, vectors = np.linalg.eigh((scaled @ scaled.T).toarray() - np.diag(diagonal))
    else:
        operator = LinearOperator((nodes, nodes), matvec=lambda x: product(x.ravel()), dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(nodes)
        found, vectors = eigsh(operator, k=kept + 1, which="LA", v0=start, ncv=4 * kept + 20, tol=1e-9)
        vectors = vectors[:, found.argsort()]
    leading = vectors[:, ::-1][:, 1 : kept + 1] * nodes**0.5
    leading = leading * np.where((leading**3).sum(0) < 0, -1, 1)
    embedding = torch.zeros(nodes, width, dtype=torch.float64)
    embedding[:, :kept] = torch.from_numpy(leading.copy())
    return embedding


def grouped(star: Tensor, vertices: int) -> Incoming:
    """Incidences (2, m) of nodes and hyperedges, numbered together up to `vertices`, grouped both ways to draw from."""
    return incoming(torch.cat([star, star.flip(0)], 1), vertices)


def sample_incidences(both: Incoming, seeds: Tensor, turns: int, per_node: int, generator: torch.Generator) -> Tensor:
    """Places (k,) of incidences that hyperedges `seeds` hear from, increasing: all their members, at most `per_node`
    drawn hyperedges of each of these, all members of these, and so on for `turns` turns.

    both: of `grouped`;  per_node: -1 takes all
    """
    fanout = [-1 if turn % 2 == 0 else per_node for turn in range(turns)]
    drawn = sample_neighbours(both, seeds, fanout, generator)
    return (drawn.edge % (len(both.edge) // 2)).unique()
