"""Density carried along a flow, against closed forms."""

import math

import torch

from pathline.flow import density_along, gaussian_log_density
from pathline.ode import time_grid


def test_a_growing_gaussian_under_a_linear_velocity_is_known():
    """dx/dt = a x with growth g: rho(t) = e^{gt} N(0, e^{2at}), along every path."""
    a, g, end = 0.7, 0.4, 1.5
    x = torch.linspace(-2, 2, 9).double()[:, None]
    positions, found = density_along(
        lambda x, t: a * x, x, gaussian_log_density(x), time_grid(60, 0, end), growth=lambda x, t: x.new_full((9,), g)
    )
    torch.testing.assert_close(positions[-1], x * math.exp(a * end), atol=1e-7, rtol=0)
    torch.testing.assert_close(
        found[-1], g * end + gaussian_log_density(positions[-1], math.exp(a * end)), atol=1e-7, rtol=0
    )


def test_one_probe_for_the_whole_way_is_unbiased_and_exact_for_a_diagonal_jacobian():
    rates = torch.tensor([0.5, -0.3, 0.1]).double()
    x = torch.randn(5, 3).double()
    start = torch.zeros(5).double()
    _, exact = density_along(lambda x, t: rates * x, x, start, (0.0, 1.0), exact=True)
    _, probed = density_along(
        lambda x, t: rates * x, x, start, (0.0, 1.0), exact=False, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(probed, exact)
    mixing = torch.tensor([[0.2, 0.9], [-0.4, 0.1]]).double()
    many = torch.randn(4000, 2).double()
    _, found = density_along(
        lambda x, t: x @ mixing.T,
        many,
        many.new_zeros(4000),
        (0.0, 0.5, 1.0),
        exact=False,
        generator=torch.Generator().manual_seed(0),
    )
    assert abs(float(found[-1].mean()) + 0.3) < 5 * float(found[-1].std()) / math.sqrt(4000)
    assert float(found[-1].std()) > 0.1


def test_backwards_undoes_forwards():
    def swirl(x, t):
        return torch.stack([-x[:, 1] * x[:, 0], t * x[:, 0] - 0.2 * x[:, 1]], 1)

    x, start = torch.randn(6, 2).double() * 0.5, torch.randn(6).double()
    there, density = density_along(swirl, x, start, time_grid(100, 0, 1))
    back, again = density_along(swirl, there[-1], density[-1], time_grid(100, 1, 0))
    torch.testing.assert_close(back[-1], x, atol=1e-7, rtol=0)
    torch.testing.assert_close(again[-1], start, atol=1e-7, rtol=0)
