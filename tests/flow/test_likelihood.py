import math

import pytest
import torch
from torch.func import jacrev, vmap

from pathline.flow import (
    OptimalTransport,
    VariancePreserving,
    as_velocity,
    bits_per_dimension,
    divergence,
    hutchinson_divergence,
    log_likelihood,
    rademacher,
)
from pathline.nn import ResidualMLP
from pathline.ode import integrate

from .laws import DOUBLE, correlated_normal


def network(shape: tuple[int, ...]) -> ResidualMLP:
    torch.manual_seed(0)
    return ResidualMLP(shape, width=32, blocks=2).double()


@pytest.mark.parametrize("path", [OptimalTransport(0.0), VariancePreserving(b_max=60)], ids=["straight", "diffusion"])
def test_the_likelihood_of_gaussian_data_is_the_gaussian_density(
    path: OptimalTransport | VariancePreserving,
) -> None:
    law = correlated_normal()
    expected = torch.distributions.MultivariateNormal(law.mean, law.covariance)
    torch.manual_seed(0)
    x1 = expected.sample((50,))
    found = log_likelihood(
        lambda x, t: law.velocity(path, x, t),
        x1,
        (path.last, 0.0),
        atol=1e-7,
        rtol=1e-7,
        prior_scale=path.prior_scale,
    )
    # A wide diffusion leaves 3e-7 of the data in its prior; the 0.7 % of the default would show here.
    assert (found.log_density - expected.log_prob(x1)).abs().max() < 1e-4
    assert found.evaluations > 0 and found.x0.shape == x1.shape


def test_the_exact_divergence_is_the_trace_of_the_jacobian() -> None:
    net, x, t = network((2, 3)), torch.randn(7, 2, 3, dtype=DOUBLE), torch.tensor(0.4, dtype=DOUBLE)
    velocity = as_velocity(net)
    jacobian = vmap(jacrev(lambda x: velocity(x[None], t)[0]))(x).reshape(7, 6, 6)
    for chunk_size in (None, 4):
        value, found = divergence(velocity, x, t, chunk_size)
        torch.testing.assert_close(value, velocity(x, t))
        torch.testing.assert_close(found, torch.einsum("bii->b", jacobian))


def test_hutchinson_is_unbiased() -> None:
    net, t = network((4,)), torch.tensor(0.4, dtype=DOUBLE)
    x = torch.randn(1, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)).expand(2000, 4)
    probe = rademacher(x, torch.Generator().manual_seed(0))
    assert set(probe.unique().tolist()) == {-1.0, 1.0}
    _, estimates = hutchinson_divergence(as_velocity(net), x, t, probe)
    _, exact = divergence(as_velocity(net), x[:1], t)
    error = estimates.std() / math.sqrt(2000)
    assert error > 0
    assert abs(estimates.mean() - exact[0]) < 3 * error


def test_one_probe_is_kept_for_the_whole_solve() -> None:
    """A fresh probe at every call would make the field rough, and the adaptive solver would pay for it."""
    net, x1 = network((4,)), torch.randn(5, 4, dtype=DOUBLE)
    velocity = as_velocity(net)
    first, second = (
        log_likelihood(velocity, x1, exact=False, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0)
    )
    exact = log_likelihood(velocity, x1)
    assert torch.equal(first.log_density, second.log_density)
    assert not torch.allclose(first.log_density, exact.log_density, atol=1e-3)
    assert first.evaluations < 3 * exact.evaluations


def test_there_and_back_again() -> None:
    net = network((6,))
    x = torch.randn(20, 6, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    there = integrate(as_velocity(net), x, (0.0, 1.0), "dopri5", 1e-6, 1e-6).final
    back = integrate(as_velocity(net), there, (1.0, 0.0), "dopri5", 1e-6, 1e-6).final
    assert (there - x).abs().max() > 0.1
    assert (back - x).abs().max() < 1e-4


def test_the_density_of_a_network_integrates_to_one() -> None:
    net = network((1,))
    grid = torch.linspace(-12, 12, 2001, dtype=DOUBLE)[:, None]
    found = log_likelihood(as_velocity(net), grid, method="rk4", times=torch.linspace(1, 0, 21))
    assert float(torch.trapezoid(found.log_density.exp(), grid[:, 0])) == pytest.approx(1.0, abs=1e-4)


def test_uniform_grey_levels_cost_eight_bits() -> None:
    """A uniform density 1/2 per dimension on [-1, 1], with 256 levels: log2(256) bits."""
    log_density = torch.full((3,), 10 * math.log(0.5))
    torch.testing.assert_close(bits_per_dimension(log_density, 10, scale=128.0), torch.full((3,), 8.0))


def test_times_must_run_from_data_to_noise() -> None:
    with pytest.raises(ValueError, match="must decrease"):
        log_likelihood(as_velocity(network((2,))), torch.randn(2, 2, dtype=DOUBLE), times=(0.0, 1.0))
