"""The Kalman filter against the joint Gaussian that it computes in steps, and causal velocities."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pathline.signal.causal import FILTERS, velocity_matrix
from pathline.signal.kalman import (
    LinearGaussian,
    constant_acceleration,
    constant_velocity,
    forecast,
    gaussian_log_density,
    kalman_filter,
)

ONE = torch.ones((), dtype=torch.float64)


def joint(model: LinearGaussian, mean: Tensor, covariance: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of y_1..T stacked, by writing every state as a linear map of x_1 and the noises."""
    n = len(mean)
    blocks = [torch.cat([torch.eye(n, dtype=mean.dtype), torch.zeros(n, n * (steps - 1), dtype=mean.dtype)], 1)]
    for step in range(1, steps):
        block = model.transition @ blocks[-1]
        block[:, n * step : n * (step + 1)] += torch.eye(n, dtype=mean.dtype)
        blocks.append(block)
    source = torch.block_diag(covariance, *[model.process] * (steps - 1))
    maps = torch.cat([model.emission @ block for block in blocks])
    start = torch.cat([mean, mean.new_zeros(n * (steps - 1))])
    return maps @ start, maps @ source @ maps.T + torch.block_diag(*[model.noise] * steps)


@pytest.mark.parametrize("build", [constant_velocity, constant_acceleration])
def test_filter_and_forecast_are_the_conditional_of_the_joint_gaussian(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = build(0.4, 0.7 * ONE, 0.2 * ONE)
    n = len(model.transition)
    mean, covariance = torch.zeros(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    values = torch.randn(5, dtype=torch.float64)
    centre, spread = joint(model, mean, covariance, 8)
    found = kalman_filter(model, values[None, :, None], mean, covariance)
    exact = MultivariateNormal(centre[:5], spread[:5, :5]).log_prob(values)
    assert torch.allclose(found.log_likelihood[0], exact, atol=1e-9)
    gain = torch.linalg.solve(spread[:5, :5], spread[:5, 5:]).T
    ahead, around = forecast(model, found.mean[0], found.covariance, 3)
    assert torch.allclose(ahead[:, 0], centre[5:] + gain @ (values - centre[:5]), atol=1e-9)
    conditional = spread[5:, 5:] - gain @ spread[:5, 5:]
    assert torch.allclose(around[:, 0, 0], conditional.diagonal(), atol=1e-9)


def test_a_step_without_a_measurement_is_marginalised_out() -> None:
    model = constant_velocity(0.4, 0.7 * ONE, 0.2 * ONE)
    mean, covariance = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    values = torch.tensor([0.1, 99.0, 0.4], dtype=torch.float64)
    seen = torch.tensor([True, False, True])
    centre, spread = joint(model, mean, covariance, 3)
    exact = MultivariateNormal(centre[seen], spread[seen][:, seen]).log_prob(values[seen])
    found = kalman_filter(model, values[None, :, None], mean, covariance, seen[None])
    assert torch.allclose(found.log_likelihood[0], exact, atol=1e-9)


def test_a_grid_of_models_on_a_batch_of_signals_is_each_model_on_each_signal() -> None:
    torch.manual_seed(1)
    process, noise = torch.rand(2, 3, 1, dtype=torch.float64) + 0.1
    values = torch.randn(4, 6, 1, dtype=torch.float64)
    mean, covariance = torch.zeros(4, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    together = kalman_filter(constant_velocity(0.1, process, noise), values, mean, covariance)
    for g in range(3):
        alone = kalman_filter(constant_velocity(0.1, process[g, 0], noise[g, 0]), values, mean, covariance)
        assert torch.allclose(together.mean[g], alone.mean)
        assert torch.allclose(together.log_likelihood[g], alone.log_likelihood)


def test_gaussian_log_density() -> None:
    torch.manual_seed(2)
    root = torch.randn(3, 3, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(3, dtype=torch.float64), root @ root.T).log_prob(x)
    assert torch.allclose(gaussian_log_density(x, root @ root.T), exact)


@pytest.mark.parametrize("kind", FILTERS)
def test_velocities_are_causal_know_no_origin_and_are_exact_on_straight_lines(kind: str) -> None:
    matrix = velocity_matrix(kind, 12, 0.1)
    assert matrix.shape == (11, 12)
    assert not matrix.triu(2).any(), "a velocity looks ahead"
    assert matrix.sum(1).abs().max() < 1e-9
    line = 3 + 2.5 * 0.1 * torch.arange(12, dtype=torch.float64)
    assert (matrix @ line)[-1].item() == pytest.approx(2.5, abs=1e-9 if kind != "kalman" else 2e-3)


def test_savitzky_golay_is_exact_on_parabolas_and_quieter_than_differences() -> None:
    time = 0.1 * torch.arange(12, dtype=torch.float64)
    matrix = velocity_matrix("savitzky-golay", 12, 0.1)
    assert torch.allclose((matrix @ (1 + time - 2 * time**2))[1:], (1 - 4 * time)[2:])
    rough = velocity_matrix("difference", 12, 0.1)
    assert matrix[-1].norm() < 0.7 * rough[-1].norm()
