"""Chebyshev filters against the eigenvectors that they do without."""

import pytest
import torch

from pathline.graph import dense_adjacency, lattice_graph, scaled_laplacian
from pathline.graph.adjacency import laplacian, largest_eigenvalue
from pathline.nn.chebyshev import ChebyshevFilter, chebyshev_terms, propagate, thin


def random_graph(nodes, seed, share=0.3):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(nodes, nodes, generator=generator, dtype=torch.float64)
    kept = torch.rand(nodes, nodes, generator=generator) < share
    upper = (weight * kept).triu(1)
    return upper + upper.T


@pytest.mark.parametrize("nodes", [7, 30])
@pytest.mark.parametrize("coefficients", [1, 2, 6])
def test_filter_equals_its_spectral_form(nodes, coefficients):
    """y = U diag(sum_k theta_k cos(k arccos lambda)) U^T x, for one input and one output at a time."""
    torch.manual_seed(0)
    matrix = scaled_laplacian(random_graph(nodes, 1))
    layer = ChebyshevFilter(2, 3, coefficients).double()
    x = torch.randn(4, nodes, 2, dtype=torch.float64)
    value, vector = torch.linalg.eigh(matrix)
    polynomial = torch.cos(torch.arange(coefficients)[:, None] * value.clamp(-1, 1).arccos())
    response = torch.einsum("kn,kio->nio", polynomial, layer.weight)
    expected = torch.einsum("mn,nio,pn,bpi->bmo", vector, response, vector, x)
    torch.testing.assert_close(layer(x, matrix), expected, rtol=0, atol=1e-10)


def test_sparse_dense_and_one_matrix_per_item_agree_with_their_gradients():
    torch.manual_seed(0)
    matrix = scaled_laplacian(random_graph(40, 2, 0.1)).float()
    layer, x = ChebyshevFilter(3, 2, 5, bias=True), torch.randn(6, 40, 3)
    results = []
    for form in (matrix, thin(matrix, 0, 1.0), matrix.expand(6, -1, -1)):
        given = x.clone().requires_grad_()
        y = layer(given, form)
        (gradient,) = torch.autograd.grad(y.square().sum(), given)
        results.append((y, gradient))
    for y, gradient in results[1:]:
        torch.testing.assert_close(y, results[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-4, atol=1e-4)


def test_an_asymmetric_matrix_is_used_as_it_is_sparse_too():
    torch.manual_seed(0)
    matrix, x = torch.randn(5, 5) * (torch.rand(5, 5) < 0.5), torch.randn(5, 3, requires_grad=True)
    for form in (matrix, thin(matrix, 0, 1.0)):
        torch.testing.assert_close(propagate(form, x), matrix @ x)
        (gradient,) = torch.autograd.grad(propagate(form, x).sum(), x)
        torch.testing.assert_close(gradient, matrix.T @ torch.ones(5, 3))


def test_terms_obey_the_recurrence_and_one_coefficient_does_not_look_at_the_graph():
    torch.manual_seed(0)
    matrix, x = scaled_laplacian(random_graph(9, 3)), torch.randn(9, 2, dtype=torch.float64)
    terms = chebyshev_terms(matrix, x, 4)
    torch.testing.assert_close(terms[3], (4 * matrix @ matrix @ matrix - 3 * matrix) @ x)
    assert torch.equal(chebyshev_terms(torch.full_like(matrix, torch.nan), x, 1)[0], x)
    with pytest.raises(ValueError, match="at least 1 coefficient"):
        ChebyshevFilter(1, 1, 0)


def test_only_thin_matrices_become_sparse():
    edges, _ = lattice_graph(16, 16)
    lattice = dense_adjacency(edges, 256)
    assert thin(lattice).layout == torch.sparse_csr
    assert thin(lattice[:100, :100]).layout == torch.strided  # small
    assert thin(torch.ones(200, 200)).layout == torch.strided


def test_power_iteration_finds_the_largest_eigenvalue_and_never_exceeds_the_bound():
    for seed in range(3):
        matrix = laplacian(random_graph(25, seed))
        exact = torch.linalg.eigvalsh(matrix)[-1].item()
        found = largest_eigenvalue(matrix)
        assert exact <= found <= min(2.0, 1.0101 * exact)
        sparse = thin(matrix, 0, 1.0)
        assert largest_eigenvalue(sparse) == pytest.approx(found)
    pair = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert largest_eigenvalue(laplacian(pair)) == 2.0


def test_lattice_counts_its_neighbours():
    edges, apart = lattice_graph(3, 4)
    degree = torch.bincount(edges[1], minlength=12).view(3, 4)
    assert degree.tolist() == [[3, 5, 5, 3], [5, 8, 8, 5], [3, 5, 5, 3]]
    matrix = dense_adjacency(edges, 12, apart)
    assert torch.equal(matrix, matrix.T) and matrix[0, 5] == pytest.approx(2**0.5)
    torus, _ = lattice_graph(3, 4, reach=1, periodic=True)
    assert torch.bincount(torus[1]).tolist() == [4] * 12
    assert sorted(torus[0, torus[1] == 0].tolist()) == [1, 3, 4, 8]
