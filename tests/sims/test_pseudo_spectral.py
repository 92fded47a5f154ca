"""Solutions by Fourier modes against closed forms, characteristics and their own conservation law."""

import math

import pytest
import torch

from pathline.data.equation import Equation
from pathline.sims.pseudo_spectral import interpolate, solution


def grid(points: int = 64, period: float = 2 * math.pi) -> torch.Tensor:
    return torch.arange(points, dtype=torch.float64) * (period / points)


def test_interpolation_is_exact_for_waves_below_the_grids_own() -> None:
    x, places = grid(17), torch.rand(50, dtype=torch.float64) * 20 - 5
    wave = (3 * x).sin() + 0.5 * (8 * x).cos() + 2
    assert torch.allclose(
        interpolate(wave, places, 2 * math.pi), (3 * places).sin() + 0.5 * (8 * places).cos() + 2, atol=1e-12
    )


def test_interpolation_returns_the_values_at_their_places_for_even_counts_too() -> None:
    values = torch.randn(2, 16, dtype=torch.float64)
    assert torch.allclose(interpolate(values, grid(16, 3.0), 3.0), values, atol=1e-12)


@pytest.mark.parametrize("speed", [0.0, 1.0, -30.0])
@pytest.mark.parametrize("viscosity", [0.0, 0.2])
def test_transport_with_viscosity_is_exact(speed: float, viscosity: float) -> None:
    equation = Equation(initial=(2 * grid()).sin(), speed=speed, viscosity=viscosity, frames=7, duration=1.5)
    t = equation.times[:, None]
    expected = (-4 * viscosity * t).exp() * (2 * (equation.x - speed * t)).sin()
    assert torch.allclose(solution(equation), expected, atol=1e-6)  # the initial state is float32


def test_a_period_of_another_length_scales_speed_and_viscosity() -> None:
    x = grid(64, 10.0)
    k = 2 * math.pi / 10
    equation = Equation(initial=(k * x).sin(), speed=2.0, viscosity=0.3, period=10.0, frames=5)
    t = equation.times[:, None]
    expected = (-0.3 * k**2 * t).exp() * (k * (x - 2 * t)).sin()
    assert torch.allclose(solution(equation), expected, atol=1e-6)


def test_before_the_shock_burgers_equation_carries_values_along_straight_characteristics() -> None:
    """u(X + t u0(X), t) = u0(X); with u0 = sin x + 10 the shock comes at t = 1."""
    equation = Equation(initial=grid(256).sin() + 10, self_advection=1.0, duration=0.5, frames=6)
    u = solution(equation)
    start = grid(256).sin() + 10
    for t, row in zip(equation.times, u, strict=True):
        assert torch.allclose(interpolate(row, grid(256) + t * start, 2 * math.pi), start, atol=5e-6)


def test_viscous_burgers_keeps_its_mean_loses_energy_and_moves_with_a_mean_speed() -> None:
    wave = (2 * grid(128)).sin()
    still = solution(Equation(initial=wave, self_advection=1.0, viscosity=0.05, frames=5))
    moved = solution(Equation(initial=wave + 3, self_advection=1.0, viscosity=0.05, frames=5))
    assert torch.allclose(still.mean(1), torch.zeros(5, dtype=torch.float64), atol=1e-7)
    assert (still.square().mean(1).diff() < 0).all()
    shifted = torch.stack(
        [
            interpolate(row, grid(128) + 3 * t, 2 * math.pi)
            for t, row in zip(torch.linspace(0, 1, 5), moved, strict=True)
        ]
    )
    assert torch.allclose(shifted - 3, still, atol=1e-5)


def test_twice_the_modes_change_nothing() -> None:
    equation = Equation(initial=grid(64).sin() + 10, self_advection=1.0, viscosity=0.05, frames=4)
    assert torch.allclose(solution(equation, 256), solution(equation, 512), atol=1e-7)
