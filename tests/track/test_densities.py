"""Grids, kernels and the earth mover's distance on cases that can be worked out."""

import math

import pytest
import torch

from pathline.spaces.gaussian_mixture import GaussianMixture
from pathline.track.densities import binned, earth_mover_distance, grid_centres, kernel_log_density, normalised
from pathline.track.figures import density


def test_the_earth_movers_distance_of_a_shifted_mass_is_the_shift() -> None:
    low, high = torch.zeros(1, 2).double(), torch.full((1, 2), 4.0).double()
    centres = grid_centres(low, high, 8)
    one, other = torch.zeros(2, 1, 64).double()
    one[0, 9], other[0, 9 + 3 * 8] = 1, 1  # three cells of half a metre along the first axis
    assert earth_mover_distance(one, other, centres).item() == pytest.approx(1.5)
    assert earth_mover_distance(one, one, centres).item() == 0
    half = 0.5 * one + 0.5 * other
    assert earth_mover_distance(one, half, centres).item() == pytest.approx(0.75)


def test_binned_samples_and_evaluated_densities_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    law = GaussianMixture.of(torch.randn(1, GaussianMixture.size(3, 2), generator=generator).double(), 3, 2)
    low, high = torch.full((1, 2), -6.0).double(), torch.full((1, 2), 6.0).double()
    samples = law.draw(200_000, generator)
    counted = binned(samples, low, high, 60)
    many = GaussianMixture(law.log_weight[:, None], law.mean[:, None], law.factor[:, None])
    formula = normalised(many.log_density(grid_centres(low, high, 60)))
    assert counted.sum().item() == pytest.approx(1)
    assert 0.5 * (counted - formula).abs().sum() < 0.05
    weighted = binned(samples[:, :2], low, high, 60, torch.tensor([[0.9, 0.1]]).double())
    assert weighted.max().item() in (pytest.approx(0.9), pytest.approx(1.0))


def test_the_kernel_estimate_is_a_gaussian_widened_by_its_bandwidth() -> None:
    generator = torch.Generator().manual_seed(0)
    n = 4000
    samples = 2 * torch.randn(1, n, 1, 2, generator=generator).double() + 3
    places = torch.tensor([[3.0, 3.0], [5.0, 2.0]]).double()[None, :, None]
    variance = 4 * (1 + n ** (-2 / 6))
    exact = -((places - 3).square().sum(-1)) / (2 * variance) - math.log(2 * math.pi * variance)
    assert torch.allclose(kernel_log_density(samples, places), exact, atol=0.12)
    double = kernel_log_density(samples.repeat(1, 2, 1, 1), places, torch.ones(1, 2 * n).double())
    assert (double - kernel_log_density(samples, places)).abs().max() < 0.1
    few = torch.full((1, n), 1e-9).double()
    few[0, :400] = 1
    left_out = kernel_log_density(samples, places, few)
    assert torch.allclose(left_out, kernel_log_density(samples[:, :400], places), atol=1e-3)


def test_a_mixture_integrates_to_one_and_its_draws_have_its_moments() -> None:
    generator = torch.Generator().manual_seed(1)
    law = GaussianMixture.of(torch.randn(4, GaussianMixture.size(2, 2), generator=generator), 2, 2)
    axis = torch.linspace(-12, 12, 200)
    places = torch.cartesian_prod(axis, axis)
    for row in range(4):
        alone = GaussianMixture(law.log_weight[row], law.mean[row], law.factor[row])
        mass = alone.log_density(places).exp().sum() * (axis[1] - axis[0]) ** 2
        assert mass.item() == pytest.approx(1, abs=5e-3)
    draws = law.draw(60_000, generator)
    expected = (law.log_weight.exp()[..., None] * law.mean).sum(1)
    assert torch.allclose(draws.mean(1), expected, atol=0.05)


def test_the_picture_of_a_density_puts_mass_where_samples_are() -> None:
    samples = torch.tensor([[0.5, 2.5]]).expand(10, 2)
    shade = density(samples, torch.zeros(2), torch.full((2,), 3.0), 30)
    assert divmod(int(shade.argmax()), 30) == (25, 5) and shade.sum().item() == pytest.approx(1)
