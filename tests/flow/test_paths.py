import pytest
import torch
from scipy.stats import kstest
from torch.func import jacfwd

from pathline.flow import GaussianPath, OptimalTransport, VarianceExploding, VariancePreserving
from pathline.ode import integrate

from .laws import DOUBLE, Mixture, correlated_normal

PATHS = {
    "optimal transport": OptimalTransport(),
    "straight": OptimalTransport(s_min=0.0),
    "variance preserving": VariancePreserving(),
    "variance exploding": VarianceExploding(),
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@every_path
def test_derivatives_of_the_schedule_agree_with_autograd(path: GaussianPath) -> None:
    t = torch.linspace(0.0, 0.99, 50, dtype=DOUBLE)
    *_, alpha_rate, sigma_rate = path.schedule(t)
    torch.testing.assert_close(jacfwd(lambda t: path.schedule(t).alpha)(t).diagonal(), alpha_rate, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(jacfwd(lambda t: path.schedule(t).sigma)(t).diagonal(), sigma_rate, rtol=1e-9, atol=1e-9)


@every_path
def test_the_target_is_the_derivative_of_the_flow_and_the_conditional_velocity_along_it(
    path: GaussianPath,
) -> None:
    x0, x1 = torch.randn(2, 20, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.01, 0.99, 20, dtype=DOUBLE)
    target = path.target(x0, x1, t)
    step = 1e-6
    difference = (path.sample(x0, x1, t + step) - path.sample(x0, x1, t - step)) / (2 * step)
    torch.testing.assert_close(target, difference, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(path.conditional_velocity(path.sample(x0, x1, t), x1, t), target)


def test_the_paths_start_at_the_noise_and_end_at_the_data() -> None:
    x0, x1 = torch.randn(2, 50, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    start, end = torch.zeros((), dtype=DOUBLE), torch.ones((), dtype=DOUBLE)
    assert torch.equal(OptimalTransport().sample(x0, x1, start), x0)
    assert OptimalTransport().prior_scale == 1.0
    preserving, exploding = VariancePreserving(), VarianceExploding()
    # alpha(0) = exp(-(0.1 + 20) / 4) = 0.0066 is the paper's own residue of the data in the noise.
    assert preserving.schedule(start).alpha == pytest.approx(0.00657, abs=1e-5)
    assert preserving.prior_scale == pytest.approx(1.0, abs=1e-4)
    assert exploding.prior_scale == pytest.approx(50.0)
    for path, left in ((OptimalTransport(), 1e-4), (preserving, 0.0), (exploding, 0.01)):
        torch.testing.assert_close(path.sample(x0, x1, end), x1 + left * x0, rtol=0, atol=1e-12)
    assert torch.equal(OptimalTransport(0.0).target(x0, x1, end), x1 - x0)


def test_the_optimal_transport_field_is_the_paper_s() -> None:
    """u = (x1 - (1 - s) x) / (1 - (1 - s) t)."""
    x, x1 = torch.randn(2, 10, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    t, s = torch.linspace(0, 1, 10, dtype=DOUBLE), 0.1
    expected = (x1 - (1 - s) * x) / (1 - (1 - s) * t)
    torch.testing.assert_close(OptimalTransport(s).conditional_velocity(x, x1, t), expected)


def test_the_variance_preserving_field_is_the_paper_s() -> None:
    """u = -T'(s)/2 [exp(-T) x - exp(-T/2) x1] / (1 - exp(-T)) at s = 1 - t."""
    x, x1 = torch.randn(2, 10, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0, 0.99, 10, dtype=DOUBLE)
    s = 1 - t
    integral, rate = 0.1 * s + 19.9 * s**2 / 2, 0.1 + 19.9 * s
    decay = torch.exp(-integral)
    expected = -rate / 2 * (decay * x - decay.sqrt() * x1) / (1 - decay)
    torch.testing.assert_close(VariancePreserving().conditional_velocity(x, x1, t), expected)


@every_path
def test_the_marginal_velocity_of_a_mixture_carries_noise_to_the_mixture(path: GaussianPath) -> None:
    law = Mixture()
    noise = path.prior_scale * torch.randn(20_000, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    # Finer steps near the data, where the diffusion paths do their work.
    times = path.last * (1 - (1 - torch.linspace(0, 1, 61, dtype=DOUBLE)) ** 2)
    samples = integrate(lambda x, t: law.velocity(path, x, t), noise, times, "rk4", keep="last").final
    distance = kstest(samples.numpy(), lambda x: law.distribution().cdf(torch.as_tensor(x)).numpy()).statistic
    assert distance < 0.02


@every_path
def test_data_noise_and_velocity_are_three_views_of_one_point(path: GaussianPath) -> None:
    x0, x1 = torch.randn(2, 20, 2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.05, 0.95, 20, dtype=DOUBLE)
    x, velocity = path.sample(x0, x1, t), path.target(x0, x1, t)
    for found, expected in (
        (path.data_from_noise(x, x0, t), x1),
        (path.noise_from_data(x, x1, t), x0),
        (path.data_from_velocity(x, velocity, t), x1),
        (path.noise_from_velocity(x, velocity, t), x0),
        (path.velocity_from_noise(x, x0, t), velocity),
        (path.velocity_from_data(x, x1, t), velocity),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_noise_matching_and_flow_matching_share_their_optimum_on_the_diffusion_path() -> None:
    """The best noise network is E[x0 | x]; converted, it is the best velocity network."""
    law, path = correlated_normal(), VariancePreserving()
    x = torch.randn(100, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for moment in (0.0, 0.3, 0.9, 0.999):
        t = torch.tensor(moment, dtype=DOUBLE)
        _, noise = law.posterior(path, x, t)
        torch.testing.assert_close(path.velocity_from_noise(x, noise, t), law.velocity(path, x, t))
