"""Poisson noise and the field of charges: laws and identities that hold for every number of extra dimensions."""

import math

import pytest
import torch
from scipy import stats

from pathline.flow import oracle_denoiser, poisson_field, poisson_noise, posterior_mean, posterior_weights

DOUBLE = torch.float64
POINTS = torch.randn(7, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))


def noise(count: int, size: int, extra: int | None, seed: int = 0) -> torch.Tensor:
    return poisson_noise((count, size), extra, torch.Generator().manual_seed(seed), DOUBLE)


@pytest.mark.parametrize(("size", "extra"), [(2, 1), (8, 64), (64, 2)])
def test_the_radius_of_the_kernel_is_a_beta_variable(size, extra):
    """R^2 / (R^2 + r^2) ~ Beta(N/2, D/2) with r = sigma D^1/2."""
    squares = noise(20_000, size, extra).square().sum(1)
    share = squares / (squares + extra)
    assert stats.kstest(share.numpy(), stats.beta(size / 2, extra / 2).cdf).pvalue > 1e-3


def test_the_kernel_has_no_direction_and_its_second_moment_is_known():
    sample = noise(200_000, 3, 12)
    squares = sample.square().sum(1)
    expected = 12 * 3 / (12 - 2)  # r^2 N / (D - 2) at sigma = 1
    assert squares.mean().item() == pytest.approx(expected, abs=4 * squares.std().item() / math.sqrt(200_000))
    directions = sample / squares.sqrt()[:, None]
    assert torch.allclose(directions.mean(0), torch.zeros(3, dtype=DOUBLE), atol=4 / math.sqrt(3 * 200_000))
    assert torch.allclose(directions.T @ directions / 200_000, torch.eye(3, dtype=DOUBLE) / 3, atol=4e-3)


def test_with_very_many_dimensions_the_noise_is_normal():
    for sample in (noise(20_000, 3, 1_000_000), noise(20_000, 3, None)):
        for coordinate in sample.T:
            assert stats.kstest(coordinate.numpy(), stats.norm.cdf).pvalue > 1e-3
    assert torch.allclose(noise(500, 3, 1_000_000), noise(500, 3, None), rtol=5e-3)  # common random numbers
    assert stats.kstest(noise(20_000, 3, 4)[:, 0].numpy(), stats.norm.cdf).pvalue < 1e-3


def test_the_noise_is_finite_in_single_precision_where_a_beta_variable_saturates():
    for size, extra in ((4096, 1), (4096, 4096), (2, 1_000_000)):
        assert bool(torch.isfinite(poisson_noise((500, size), extra, torch.Generator().manual_seed(0))).all())
    with pytest.raises(ValueError, match="at least 1"):
        poisson_noise((3, 2), 0)


@pytest.mark.parametrize("extra", [1, 5, 100_000_000, None])
def test_the_perfect_denoiser_is_bayes_rule_with_the_kernel(extra):
    x = 2 * torch.randn(6, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.1, 0.3, 0.5, 1.0, 2.0, 9.0], dtype=DOUBLE)
    found = posterior_mean(x, POINTS, sigma, extra)
    squares = (x[:, None] - POINTS).square().sum(-1)
    if extra in (1, 5):
        density = (squares + extra * sigma[:, None] ** 2) ** (-(2 + extra) / 2)
    else:  # the limit
        density = torch.exp(
            -squares / (2 * sigma[:, None] ** 2) + squares.min(1, keepdim=True).values / (2 * sigma[:, None] ** 2)
        )
    exact = (density @ POINTS) / density.sum(1, keepdim=True)
    assert torch.allclose(found, exact, rtol=1e-4, atol=1e-6)
    assert torch.allclose(posterior_weights(x, POINTS, sigma, extra).sum(1), torch.ones(6, dtype=DOUBLE))


def test_samples_of_the_kernel_have_their_origin_as_posterior_mean_on_average():
    """E[D*(y + sigma n)] over y and n is the mean of the data; and D* is the best prediction of y."""
    count = 40_000
    generator = torch.Generator().manual_seed(3)
    origin = POINTS[torch.randint(7, (count,), generator=generator)]
    x = origin + 0.6 * poisson_noise((count, 2), 3, generator, DOUBLE)
    best = posterior_mean(x, POINTS, torch.tensor(0.6, dtype=DOUBLE), 3)
    assert torch.allclose(best.mean(0), POINTS.mean(0), atol=0.03)
    normal = posterior_mean(x, POINTS, torch.tensor(0.6, dtype=DOUBLE), None)
    assert (best - origin).square().mean() < (normal - origin).square().mean()
    residual = ((origin - best) * best).mean()  # orthogonal to every function of x
    assert abs(residual.item()) < 0.02


def test_at_one_dimension_the_slope_is_the_direction_of_the_field():
    x = 3 * torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    distance = torch.linspace(0.2, 5, 20, dtype=DOUBLE)
    along, across = poisson_field(x, distance, POINTS, 1)
    slope = (x - oracle_denoiser(POINTS, 1)(x, distance)) / distance[:, None]
    assert torch.allclose(slope, along / across[:, None], rtol=1e-10, atol=0)


def test_the_field_is_without_sources_away_from_the_data():
    """E = sum (x~ - y~) / |x~ - y~|^3 in three dimensions; central differences in float64."""

    def field(place: torch.Tensor) -> torch.Tensor:
        gap = place[:, None] - torch.cat([POINTS, torch.zeros(7, 1, dtype=DOUBLE)], 1)
        nearest = gap.norm(dim=-1).min(1).values  # undoes the positive factor
        along, across = poisson_field(place[:, :2], place[:, 2], POINTS, 1)
        return torch.cat([along, across[:, None]], 1) / nearest[:, None] ** 3

    place = torch.randn(10, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(4)) * 2
    place[:, 2] = place[:, 2].abs() + 0.5
    h, parts = 1e-4, []
    for axis in range(3):
        step = h * torch.eye(3, dtype=DOUBLE)[axis]
        parts.append(((field(place + step) - field(place - step)) / (2 * h))[:, axis])
    divergence = torch.stack(parts)
    assert bool((divergence.sum(0).abs() < 1e-5 * divergence.abs().sum(0)).all())
