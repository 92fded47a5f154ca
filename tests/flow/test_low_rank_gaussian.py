"""Woodbury and the determinant lemma against dense covariances."""

import torch

from pathline.flow.low_rank_gaussian import KroneckerGaussian, radial_kernel

N, B, K, D = 4, 3, 2, 2


def small():
    generator = torch.Generator().manual_seed(0)
    centres = (torch.arange(B, dtype=torch.float64) + 0.5) / B
    kernel = radial_kernel(centres, centres, torch.tensor(0.3, dtype=torch.float64))
    times = torch.block_diag(torch.full((1, 1), 1.7, dtype=torch.float64), kernel) + 1e-5 * torch.eye(
        B + 1, dtype=torch.float64
    )
    groups = torch.rand(N, K, generator=generator, dtype=torch.float64).softmax(1)
    noise = torch.tensor(0.4, dtype=torch.float64)
    z = torch.randn(B + 1, N, D, generator=generator, dtype=torch.float64)
    gaussian = KroneckerGaussian(torch.linalg.cholesky(times), groups, noise, scale=1.3)
    eye = torch.eye(D, dtype=torch.float64)
    low_rank = torch.kron(times, torch.kron(groups @ groups.T, eye))
    dense = 1.3**2 * (noise**2 * torch.eye(len(low_rank), dtype=torch.float64) + low_rank)
    return gaussian, dense, z, times, groups


def test_the_log_density_is_that_of_the_dense_covariance():
    gaussian, dense, z, _, _ = small()
    expected = torch.distributions.MultivariateNormal(torch.zeros(z.numel(), dtype=torch.float64), dense).log_prob(
        z.flatten()
    )
    assert abs(float(gaussian.log_density(z) - expected)) < 1e-6


def test_solutions_are_those_of_the_dense_covariance():
    gaussian, dense, z, _, _ = small()
    torch.testing.assert_close(gaussian.solve(z).flatten(), torch.linalg.solve(dense, z.flatten()))


def test_the_conditional_mean_is_that_of_the_dense_covariance():
    gaussian, dense, z, _, groups = small()
    cross = torch.rand(5, B + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spread = 1.3**2 * torch.kron(cross, torch.kron(groups @ groups.T, torch.eye(D, dtype=torch.float64)))
    expected = (spread @ torch.linalg.solve(dense, z.flatten())).view(5, N, D)
    torch.testing.assert_close(gaussian.conditional_mean(z, cross), expected)


def test_dimensions_are_independent_and_alike():
    gaussian, _, z, _, _ = small()
    alone = sum(gaussian.log_density(z[..., d : d + 1]) for d in range(D))
    torch.testing.assert_close(gaussian.log_density(z), alone)
