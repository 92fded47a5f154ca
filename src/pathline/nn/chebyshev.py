"""Chebyshev filters: polynomials of a graph's Laplacian, computed by sparse products instead of eigenvectors.

    y = sum_{k < K} T_k(L) x Theta_k,      T_0 x = x,  T_1 x = L x,  T_k x = 2 L T_{k-1} x - T_{k-2} x
with L = 2 Laplacian / lambda_max - I, whose eigenvalues lie in [-1, 1] (`graph.adjacency.scaled_laplacian`). K counts
coefficients: K = 1 is a linear layer per node, K coefficients reach K - 1 hops, and the cost is K products with L.
Defferrard, Bresson, Vandergheynst, 2016, "Convolutional Neural Networks on Graphs with Fast Localized Spectral
Filtering", arXiv:1606.09375. The spectral form is U diag(sum_k theta_k T_k(lambda)) U^T x.

Every L here is (nodes, nodes), dense or sparse CSR, or dense (batch, nodes, nodes) for one graph per item of the batch.
It need not be symmetric.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn


def propagate(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix @ x over the nodes, which come FIRST in x: (nodes, ...) -> (nodes, ...).

    matrix: (nodes, nodes), dense or CSR; or (batch, nodes, nodes) for x (nodes, batch, ...).
    Nodes first makes it one product of two matrices, whatever the batch; CSR is kept out of autocast, which it lacks.
    """
    if matrix.dim() == 3:
        rows = x.flatten(2).transpose(0, 1).to(matrix.dtype)
        return (matrix @ rows).transpose(0, 1).reshape(x.shape)
    rows = x.flatten(1)
    if matrix.layout == torch.strided:
        return (matrix @ rows).view(x.shape)
    return _SparseTerms.apply(matrix, rows, 2)[1].view(x.shape)


def chebyshev_terms(matrix: Tensor, x: Tensor, coefficients: int) -> list[Tensor]:
    """T_0(L) x ... T_{K-1}(L) x, each of the shape of x (nodes, ...); see `propagate` for the matrix."""
    if coefficients < 1:
        raise ValueError(f"a Chebyshev filter needs at least 1 coefficient, not {coefficients}")
    if coefficients == 1:
        return [x]
    if matrix.layout != torch.strided:
        return [term.view(x.shape) for term in _SparseTerms.apply(matrix, x.flatten(1), coefficients)]
    terms = [x, propagate(matrix, x)]
    while len(terms) < coefficients:
        terms.append(2 * propagate(matrix, terms[-1]) - terms[-2])
    return terms


class _SparseTerms(torch.autograd.Function):
    """The recurrence with a CSR matrix that learns nothing, in the matrix's precision, and the recurrence backwards.

    One function for all terms, for torch's own backward would sort the matrix anew at every product to transpose it,
    and keep a node per sum. The transposed matrix is made once and stays with the matrix.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor, coefficients: int) -> tuple[Tensor, ...]:
        ctx.matrix, ctx.dtype = matrix, x.dtype
        with torch.autocast(x.device.type, enabled=False):
            first = x.to(matrix.dtype)
            terms = [first, matrix @ first]
            while len(terms) < coefficients:
                terms.append(torch.addmm(terms[-2], matrix, terms[-1], beta=-1, alpha=2))
        return (x.view_as(x), *terms[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        matrix = ctx.matrix
        if not hasattr(matrix, "transposed"):
            matrix.transposed = matrix.t().to_sparse_csr()
        with torch.autocast(gradients[0].device.type, enabled=False):
            sums = [gradient.to(matrix.dtype) for gradient in gradients]
            for k in range(len(sums) - 1, 1, -1):  # T_k = 2 L T_{k-1} - T_{k-2}
                sums[k - 1] = torch.addmm(sums[k - 1], matrix.transposed, sums[k], alpha=2)
                sums[k - 2] = sums[k - 2] - sums[k]
            return None, torch.addmm(sums[0], matrix.transposed, sums[1]).to(ctx.dtype), None


class ChebyshevFilter(nn.Module):
    """The filter of the module: (..., nodes, inputs) and L -> (..., nodes, outputs), with a bias only if asked for.

    weight: (coefficients, inputs, outputs), one matrix Theta_k per polynomial, started as a linear layer of
    coefficients * inputs inputs is.
    """

    def __init__(self, inputs: int, outputs: int, coefficients: int, bias: bool = False) -> None:
        super().__init__()
        if coefficients < 1:
            raise ValueError(f"a Chebyshev filter needs at least 1 coefficient, not {coefficients}")
        bound = (coefficients * inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(coefficients, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor, matrix: Tensor) -> Tensor:
        """x: (..., nodes, inputs); a matrix per item (batch, nodes, nodes) needs x (batch, nodes, inputs)."""
        return self.nodes_first(x.movedim(-2, 0), matrix).movedim(0, -2)

    def nodes_first(self, x: Tensor, matrix: Tensor) -> Tensor:
        """The same for x (nodes, ..., inputs) -> (nodes, ..., outputs), without moving axes."""
        return self.combine(chebyshev_terms(matrix, x, len(self.weight)))

    def combine(self, terms: list[Tensor]) -> Tensor:
        """sum_k T_k Theta_k for terms that are known: one product for all k."""
        y = torch.cat(terms, dim=-1) @ self.weight.flatten(0, 1)
        return y if self.bias is None else y + self.bias


def thin(matrix: Tensor, least: int = 128, share: float = 0.1) -> Tensor:
    """The matrix as CSR if it has at least `least` rows and at most a `share` of its entries is not 0; else itself."""
    if len(matrix) < least or int(matrix.count_nonzero()) > share * matrix.numel():
        return matrix
    with warnings.catch_warnings():  # torch says once that its CSR is young
        warnings.simplefilter("ignore")
        return matrix.to_sparse_csr()
