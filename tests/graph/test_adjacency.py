import pytest
import torch

from pathline.graph import (
    dense_adjacency,
    edges_of,
    gaussian_kernel,
    laplacian,
    random_walk,
    random_walk_pair,
    scaled_laplacian,
    symmetric,
    symmetric_edge_weights,
)


@pytest.fixture
def directed():
    """Random weights, about half of them 0; node 6 has no edges at all."""
    draw = torch.rand(7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = (draw - 0.5).clamp(min=0).fill_diagonal_(0)
    weights[6], weights[:, 6] = 0, 0
    return weights


@pytest.fixture
def undirected(directed):
    return directed + directed.T


def test_the_kernel_is_gaussian_and_drops_what_is_far():
    distance = torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, torch.inf], [2.0, 1.5, 0.0]])
    kernel = gaussian_kernel(distance, sigma=1.0)
    assert kernel[0, 0] == 1
    assert kernel[0, 1] == pytest.approx(torch.e**-1)
    assert kernel[2, 1] == pytest.approx(torch.e**-2.25)
    assert kernel[0, 2] == kernel[1, 2] == kernel[2, 0] == 0
    finite = distance[distance.isfinite()]
    assert torch.equal(gaussian_kernel(distance), gaussian_kernel(distance, float(finite.std(correction=0))))


def test_random_walks_are_stochastic_in_both_directions(directed):
    forward, backward = random_walk_pair(directed)
    connected = torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64)
    torch.testing.assert_close(forward.sum(1), connected)
    torch.testing.assert_close(backward.sum(1), connected)
    assert torch.equal(backward > 0, directed.T > 0)


def test_symmetric_normalisation_shares_its_spectrum_with_the_random_walk(undirected):
    """D^-1/2 A D^-1/2 = D^1/2 (D^-1 A) D^-1/2: similar matrices; the largest eigenvalue is 1."""
    normalised = torch.linalg.eigvalsh(symmetric(undirected))
    walk = torch.linalg.eigvals(random_walk(undirected)).real.sort().values
    torch.testing.assert_close(normalised, walk)
    assert normalised[-1] == pytest.approx(1.0, abs=1e-12)


def test_laplacians_are_positive_and_kill_the_right_vectors(undirected):
    combinatorial, normalised = laplacian(undirected, normalised=False), laplacian(undirected)
    ones = torch.ones(7, dtype=torch.float64)
    assert (combinatorial @ ones).abs().max() < 1e-12
    assert (normalised @ undirected.sum(1).sqrt()).abs().max() < 1e-12
    values = torch.linalg.eigvalsh(normalised)
    assert values.min() > -1e-12 and values.max() <= 2
    x = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    energy = 0.5 * (undirected * (x[:, None] - x) ** 2).sum()
    torch.testing.assert_close(x @ combinatorial @ x, energy)


def test_the_scaled_laplacian_fills_the_interval_from_minus_one_to_one(directed):
    exact = torch.linalg.eigvalsh(scaled_laplacian(directed, largest=None))
    assert exact[0] == pytest.approx(-1) and exact[-1] == pytest.approx(1)
    safe = torch.linalg.eigvalsh(scaled_laplacian(directed))
    assert safe[0] == pytest.approx(-1) and safe[-1] < 1


def test_edge_lists_and_dense_forms_are_the_same_graph(directed, undirected):
    edge_index, weight = edges_of(directed)
    assert torch.equal(dense_adjacency(edge_index, 7, weight), directed)
    edge_index, weight = edges_of(undirected)
    values = symmetric_edge_weights(edge_index, 7, weight)
    torch.testing.assert_close(dense_adjacency(edge_index, 7, values), symmetric(undirected))
