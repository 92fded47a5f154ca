"""Noise schedules, preconditioning and the walk down the noise levels."""

import math

import pytest
import torch

from pathline.flow import NoiseSchedule, denoising_loss, denoising_slope, denoising_walk, oracle_denoiser
from pathline.ode import integrate

DOUBLE = torch.float64


def test_the_grid_is_even_in_the_power_one_over_rho_and_ends_at_zero():
    levels = NoiseSchedule().grid(18)
    assert levels.shape == (19,) and levels[-1] == 0
    assert levels[0].item() == pytest.approx(80) and levels[-2].item() == pytest.approx(0.002)
    assert torch.allclose((levels[:-1] ** (1 / 7)).diff(n=2), torch.zeros(16, dtype=DOUBLE), atol=1e-12)
    assert NoiseSchedule().grid(1).tolist() == pytest.approx([80, 0])


def test_training_levels_are_log_normal():
    logs = NoiseSchedule().draw(200_000, torch.Generator().manual_seed(0)).log()
    error = 1.2 / math.sqrt(200_000)
    assert abs(logs.mean().item() + 1.2) < 4 * error and abs(logs.std().item() - 1.2) < 4 * error


@pytest.mark.parametrize("sigma", [0.002, 0.3, 80.0])
def test_preconditioning_keeps_inputs_and_targets_at_variance_one_and_weighs_every_level_alike(sigma):
    """c_in, c_skip, c_out and lambda are what the paper derives from these properties, here in closed form."""
    schedule, level = NoiseSchedule(sigma_data=0.7), torch.tensor(sigma, dtype=DOUBLE)
    c = schedule.precondition(level)
    total = sigma**2 + 0.7**2
    assert float(c.input**2) * total == pytest.approx(1)
    # the target (y - c_skip (y + n)) / c_out has variance 1, and c_skip makes c_out the smallest
    spread = float((1 - c.skip) ** 2 * 0.7**2 + c.skip**2 * sigma**2)
    assert spread == pytest.approx(float(c.out**2))
    nearby = (float((1 - s) ** 2 * 0.7**2 + s**2 * sigma**2) for s in (c.skip * 0.99, c.skip * 1.01))
    assert all(other > spread for other in nearby)
    assert float(schedule.weight(level) * c.out**2) == pytest.approx(1)
    assert float(c.noise) == pytest.approx(math.log(sigma) / 4)


def test_a_network_of_zeros_has_the_loss_one():
    schedule = NoiseSchedule()
    generator = torch.Generator().manual_seed(0)
    y = 0.5 * torch.randn(20_000, 3, generator=generator, dtype=DOUBLE)
    sigma = schedule.draw(len(y), generator).double()
    x = y + sigma[:, None] * torch.randn(y.shape, generator=generator, dtype=DOUBLE)
    zeros = schedule.denoise(lambda x, t, r=None, label=None: torch.zeros_like(x), x, sigma)
    assert denoising_loss(schedule, zeros, y, sigma).item() == pytest.approx(1, abs=0.02)


def test_what_lies_too_far_out_is_seen_on_the_same_ray():
    seen = []

    def net(x, t, r=None, label=None):
        seen.append(x)
        return x

    x = torch.tensor([[3e4, 4e4], [0.3, 0.4]])
    NoiseSchedule().denoise(net, x, torch.ones(2), reach=10.0)
    NoiseSchedule().denoise(net, x, torch.ones(2))
    near, far = seen[0]
    assert near.square().mean().sqrt().item() == pytest.approx(10) and torch.allclose(
        near[0] / near[1], x[0, 0] / x[0, 1]
    )
    assert torch.equal(far, seen[1][1]) and seen[1][0].norm() > 1e4


def test_one_data_point_is_hit_exactly_by_any_grid_and_the_way_there_is_straight():
    point = torch.tensor([[1.0, -2.0, 0.5]], dtype=DOUBLE)
    start = torch.randn(5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) * 30
    for extra in (1, 64, None):
        for levels in ([80.0, 0.0], [80.0, 7.0, 0.01, 0.0], NoiseSchedule().grid(9)):
            levels = torch.as_tensor(levels, dtype=DOUBLE)
            walk = denoising_walk(oracle_denoiser(point, extra), start, levels, keep="all")
            assert torch.allclose(walk.final, point.expand(5, 3), atol=1e-12)
            line = point + (levels / levels[0])[:, None, None] * (start - point)
            assert torch.allclose(walk.states, line, atol=1e-10)


def test_the_walk_is_heun_until_the_last_step_which_is_euler():
    data = torch.randn(30, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    calls = []

    def denoise(x, sigma):
        calls.append(sigma.item())
        return oracle_denoiser(data)(x, sigma)

    levels = NoiseSchedule(sigma_max=10.0).grid(6)
    start = 10 * torch.randn(4, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    walk = denoising_walk(denoise, start, levels, keep="all")
    assert walk.states.shape == (7, 4, 2)
    assert walk.evaluations == len(calls) == 2 * 5 + 1 and min(calls) == pytest.approx(0.002)
    smooth = NoiseSchedule(sigma_min=0.5, sigma_max=10.0)
    fine = integrate(denoising_slope(oracle_denoiser(data)), start, smooth.grid(400)[:-1], "rk4").final
    walks = [denoising_walk(oracle_denoiser(data), start, smooth.grid(n), keep="all") for n in (20, 40)]
    error = [(walk.states[-2] - fine).abs().max() for walk in walks]
    assert error[1] < 0.4 * error[0]  # second order would be 0.25


def test_injected_errors_have_the_size_of_the_level_they_arrive_at():
    """For data at 0 and D(x) = x nothing moves, so that the walk sums the injected errors alone."""
    levels = torch.tensor([8.0, 4.0, 2.0, 0.0], dtype=DOUBLE)
    torch.manual_seed(0)
    walk = denoising_walk(lambda x, sigma: x, torch.zeros(40_000, 1, dtype=DOUBLE), levels, injected=0.5, keep="all")
    found = walk.states.var(dim=(1, 2))
    expected = [0.0, 4.0, 5.0, 5.0]
    assert found.tolist() == pytest.approx(expected, rel=0.04)


def test_schedules_that_cannot_be_walked_are_refused():
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        NoiseSchedule(sigma_min=2.0, sigma_max=1.0)
    with pytest.raises(ValueError, match="at least 1 step"):
        NoiseSchedule().grid(0)
