"""Sobolev smoothness in time and the signal that is smoothest: sums, dense solves, condition numbers."""

import pytest
import torch

from pathline.graph.adjacency import laplacian
from pathline.graph.sobolev import (
    Sobolev,
    conjugate_gradients,
    difference_operator,
    knn_weights,
    second_difference,
    smoothest,
    smoothness,
)


@pytest.fixture(scope="module")
def weights() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return knn_weights(torch.rand(6, 2, generator=generator, dtype=torch.float64), 3)


def signal(nodes: int, steps: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(nodes, steps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_difference_operator_takes_differences(weights):
    x = signal(6, 8)
    D = difference_operator(8, torch.float64)
    assert D.shape == (8, 7) and D[2, 2] == -1 and D[3, 2] == 1
    torch.testing.assert_close(x @ D, x[:, 1:] - x[:, :-1])
    torch.testing.assert_close(second_difference(x), x @ D @ D.T)


@pytest.mark.parametrize("beta", [1.0, 2.0, 0.5, 1.5])
def test_the_trace_is_the_sum_of_quadratic_forms(weights, beta):
    x, eps = signal(6, 8), 0.3
    matrix = laplacian(weights, normalised=False) + eps * torch.eye(6, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(matrix)
    power = vectors @ torch.diag(values**beta) @ vectors.T
    expected = sum(0.5 * (x[:, t] - x[:, t - 1]) @ power @ (x[:, t] - x[:, t - 1]) for t in range(1, 8))
    sobolev = Sobolev(weights, eps, beta)
    assert abs(smoothness(x, sobolev) - expected) < 1e-6
    torch.testing.assert_close(sobolev.dense(), power)
    torch.testing.assert_close(sobolev(x), power @ x)


def test_smoothness_vanishes_for_what_is_constant_in_time_and_for_nothing_else(weights):
    sobolev = Sobolev(weights, 0.1)
    still = signal(6, 1).expand(6, 8)
    assert smoothness(still, sobolev) == 0
    moved = still.clone()
    moved[3, 5] += 1e-3
    assert smoothness(moved, sobolev) > 1e-8
    drift = still + torch.arange(8)  # all nodes alike: only eps sees it
    assert smoothness(drift, Sobolev(weights, 0.0)).abs() < 1e-12 < smoothness(drift, sobolev)


def hessian(weights: torch.Tensor, seen: torch.Tensor, strength: float, eps: float, beta: float) -> torch.Tensor:
    """diag(vec J) + strength (D D^T kron (L + eps I)^beta), columns stacked."""
    D = difference_operator(seen.shape[1], torch.float64)
    smooth = torch.kron(D @ D.T, Sobolev(weights, eps, beta).dense())
    return torch.diag(seen.T.flatten().double()) + strength * smooth


@pytest.mark.parametrize(("eps", "beta"), [(0.1, 1.0), (0.5, 2.0), (0.05, 0.5)])
def test_conjugate_gradients_find_the_dense_solution(weights, eps, beta):
    x = signal(6, 8)
    seen = torch.rand(6, 8, generator=torch.Generator().manual_seed(2)) < 0.6
    assert seen.any(1).all()
    dense = torch.linalg.solve(hessian(weights, seen, 0.7, eps, beta), (x * seen).T.flatten()).view(8, 6).T
    found = smoothest(x, seen, Sobolev(weights, eps, beta), 0.7, tolerance=1e-10)
    assert (found - dense).abs().max() < 1e-6
    unseen = torch.where(seen, x, 1e6)  # what is not seen is not looked at
    assert torch.equal(found, smoothest(unseen, seen, Sobolev(weights, eps, beta), 0.7, tolerance=1e-10))


def test_the_identity_in_the_place_of_differences_is_tikhonov(weights):
    x, seen = signal(6, 8), torch.ones(6, 8, dtype=torch.bool)
    found = smoothest(x, seen, Sobolev(weights, 0.2), 0.5, in_time=False, tolerance=1e-12)
    matrix = torch.eye(6, dtype=torch.float64) + 0.5 * Sobolev(weights, 0.2).dense()
    torch.testing.assert_close(found, torch.linalg.solve(matrix, x))


@pytest.mark.parametrize("seed", range(5))
def test_eps_makes_the_hessian_better_conditioned(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = knn_weights(torch.rand(10, 2, generator=generator, dtype=torch.float64), 3)
    seen = torch.rand(10, 7, generator=generator) < 0.5
    seen[:, 0] |= ~seen.any(1)
    with_eps, almost_none = (torch.linalg.cond(hessian(weights, seen, 1.0, eps, 1.0)) for eps in (0.5, 0.01))
    assert with_eps < almost_none


def test_it_recovers_what_is_smooth_and_nothing_is_repaired_that_is_seen():
    generator = torch.Generator().manual_seed(3)
    places = torch.rand(40, 2, generator=generator, dtype=torch.float64)
    weights = knn_weights(places, 5)
    x = torch.sin(3 * places[:, :1] + 0.3 * torch.arange(30)) + 5 * torch.rand(40, 1, generator=generator)
    seen = torch.rand(40, 30, generator=generator) < 0.5
    found = smoothest(x, seen, Sobolev(weights, 0.01), 1e-3)
    hidden = ~seen
    assert (found - x)[hidden].square().mean().sqrt() < 0.1 * (x - x.mean(1, keepdim=True))[hidden].std()


def test_conjugate_gradients_need_no_more_steps_than_unknowns():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, dtype=torch.float64, generator=generator)
    matrix = root @ root.T + torch.eye(12, dtype=torch.float64)
    right = torch.randn(12, dtype=torch.float64, generator=generator)
    found = conjugate_gradients(lambda x: matrix @ x, right, 1e-12, most=14)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))
    assert conjugate_gradients(lambda x: matrix @ x, torch.zeros(12)).eq(0).all()


def test_wrong_powers_are_refused(weights):
    with pytest.raises(ValueError, match="beta"):
        Sobolev(weights, 0.1, 0.0)
    with pytest.raises(ValueError, match="eps"):
        Sobolev(weights, -0.1)


def test_neighbours_weigh_as_a_gaussian_of_their_distance():
    points = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    weights = knn_weights(points, 1)  # the nearest are 1, 1 and 2 away
    near, far = (torch.exp(torch.tensor(-((d / (4 / 3)) ** 2), dtype=torch.float64)) for d in (1.0, 2.0))
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[0, 1] = expected[1, 0] = near
    expected[1, 2] = expected[2, 1] = far
    torch.testing.assert_close(weights, expected)
