"""Weights on edges: the distance kernel of sensor networks, and the normalisations that graph filters ask for.

Dense forms take and return (nodes, nodes) with `adjacency[i, j]` = weight from i to j >= 0, any leading batch dims.
A node without edges keeps a row of zeros: no normalisation divides by a zero degree.
"""

import torch
from torch import Tensor

from pathline.graph.segment import segment_sum


def _power(degree: Tensor, exponent: float) -> Tensor:
    """degree ** exponent, with 0 where the degree is 0."""
    return torch.where(degree > 0, degree, 1.0).pow(exponent) * (degree > 0)


def gaussian_kernel(distance: Tensor, sigma: float | None = None, threshold: float = 0.1) -> Tensor:
    """exp(-d^2 / sigma^2), set to 0 below `threshold` (Shuman et al. 2013, arXiv:1211.0053; DCRNN, arXiv:1707.01926).

    distance: (nodes, nodes), directed or not, inf where there is no way. sigma: in the distance's unit; default is
    the standard deviation of all finite distances.
    """
    finite = distance[distance.isfinite()]
    width = finite.std(correction=0) if sigma is None else torch.as_tensor(sigma, dtype=distance.dtype)
    if not width > 0:
        raise ValueError("the kernel needs a positive sigma: all distances are equal, pass sigma=")
    kernel = torch.exp(-((distance / width) ** 2))
    return kernel * (kernel >= threshold)


def symmetric(adjacency: Tensor, loops: bool = False) -> Tensor:
    """D^-1/2 A D^-1/2 with D = diag(row sums of A); `loops` adds the identity first (Kipf and Welling 2017)."""
    if loops:
        adjacency = adjacency + torch.eye(adjacency.shape[-1], dtype=adjacency.dtype, device=adjacency.device)
    scale = _power(adjacency.sum(-1), -0.5)
    return scale[..., :, None] * adjacency * scale[..., None, :]


def random_walk(adjacency: Tensor) -> Tensor:
    """D_out^-1 A: row i holds the probabilities of the next node of a walker at i; rows sum to 1 (or 0)."""
    return _power(adjacency.sum(-1), -1.0)[..., None] * adjacency


def random_walk_pair(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Both directions of diffusion on a directed graph: D_out^-1 A and D_in^-1 A^T (DCRNN, arXiv:1707.01926)."""
    return random_walk(adjacency), random_walk(adjacency.transpose(-1, -2))


def laplacian(adjacency: Tensor, normalised: bool = True) -> Tensor:
    """I - D^-1/2 A D^-1/2 (eigenvalues in [0, 2] for symmetric A), or D - A when not `normalised`.

    A node without edges has a row of zeros in both forms.
    """
    degree = adjacency.sum(-1)
    if not normalised:
        return torch.diag_embed(degree) - adjacency
    return torch.diag_embed((degree > 0).to(adjacency.dtype)) - symmetric(adjacency)


def scaled_laplacian(adjacency: Tensor, largest: float | None = 2.0) -> Tensor:
    """2 L / lambda_max - I with the normalised Laplacian L: eigenvalues in [-1, 1], as Chebyshev filters need.

    A directed graph is first made symmetric by the entrywise maximum of A and A^T. `largest` = lambda_max: the safe
    bound 2 by default, None computes it exactly in O(nodes^3).
    """
    matrix = laplacian(torch.maximum(adjacency, adjacency.transpose(-1, -2)))
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    if largest is not None:
        return 2.0 / largest * matrix - eye
    top = torch.linalg.eigvalsh(matrix)[..., -1:, None]
    return 2.0 * matrix / torch.where(top > 0, top, 2.0) - eye


def largest_eigenvalue(matrix: Tensor, iterations: int = 100, bound: float = 2.0) -> float:
    """lambda_max of a symmetric positive semidefinite (nodes, nodes) matrix, dense or CSR, by power iteration.

    x^T M x / x^T x approaches it from below, and a filter scaled by too small a value blows up; so 1 % is added, and
    `bound` caps it: 2 holds for every normalised Laplacian.
    """
    x = torch.linspace(-1.0, 1.0, matrix.shape[-1], dtype=matrix.dtype, device=matrix.device).cos_()
    x = x + torch.linspace(0.0, 37.0, len(x), dtype=x.dtype, device=x.device).sin()  # orthogonal to no eigenvector
    value = x.new_zeros(())
    for _ in range(iterations):
        x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
        y = (matrix @ x[:, None])[:, 0]
        value = x @ y
        x = y
    return min(bound, 1.01 * value.item())


def hop_distances(adjacency: Tensor, directed: bool = False) -> Tensor:
    """(nodes, nodes) float: fewest edges from i to j, inf where there is no way; unless `directed`, either way."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import shortest_path

    edges = csr_matrix((adjacency > 0).cpu().numpy())
    return torch.from_numpy(shortest_path(edges, directed=directed, unweighted=True)).float()


def edges_of(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """The non-zero entries as edge_index (2, E), sender i and receiver j for `adjacency[i, j]`, and weights (E,)."""
    edge_index = adjacency.nonzero().T.contiguous()
    return edge_index, adjacency[edge_index[0], edge_index[1]]


def dense_adjacency(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> Tensor:
    """(nodes, nodes) with `adjacency[sender, receiver]` = sum of the weights (default 1) of the parallel edges."""
    weight = torch.ones(edge_index.shape[1], device=edge_index.device) if weight is None else weight
    return segment_sum(weight, edge_index[0] * nodes + edge_index[1], nodes * nodes).view(nodes, nodes)


def symmetric_edge_weights(edge_index: Tensor, nodes: int, weight: Tensor | None = None) -> Tensor:
    """The (E,) entries of D^-1/2 A D^-1/2 for an edge list, D = weight leaving each node; no dense matrix is made."""
    weight = torch.ones(edge_index.shape[1], device=edge_index.device) if weight is None else weight
    scale = _power(segment_sum(weight, edge_index[0], nodes), -0.5)
    return scale[edge_index[0]] * weight * scale[edge_index[1]]
