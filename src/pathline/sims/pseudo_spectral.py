"""Solutions of transport equations on a circle, by Fourier modes: exact in space, of fourth order in time.

    u_t + c u_x + a (u^2 / 2)_x = nu u_xx

The linear part is an exponential of each mode (exact); the quadratic part is dealiased by the rule of two thirds and
integrated by Runge-Kutta of order four under that integrating factor. Canuto, Hussaini, Quarteroni, Zang, 2006,
Spectral Methods: Fundamentals in Single Domains.
"""

import math

import torch
from torch import Tensor

from pathline.data.equation import Equation

MODES = 256  # points of the grid, at least
STABLE = 1.0  # of the largest speed times the step times the largest wave number


def interpolate(values: Tensor, x: Tensor, period: float) -> Tensor:
    """The trigonometric polynomial through `values` (..., points) on equally spaced places, at x (any shape, shared by
    the leading dimensions): (..., *x.shape)."""
    points = values.shape[-1]
    modes = torch.fft.rfft(values) / points
    weight = torch.full((modes.shape[-1],), 2.0, dtype=values.dtype, device=values.device)
    weight[0] = 1.0
    if points % 2 == 0:
        weight[-1] = 1.0  # the highest mode is its own mirror
    order = torch.arange(modes.shape[-1], dtype=values.dtype, device=values.device)
    angle = (2 * math.pi / period) * x.flatten()[:, None].to(values.dtype) * order
    weighted = modes * weight
    found = weighted.real @ angle.cos().T - weighted.imag @ angle.sin().T
    return found.reshape(*values.shape[:-1], *x.shape)


def solution(equation: Equation, modes: int = MODES) -> Tensor:
    """u at the equation's times and places: (frames, points) float64.

    Transport at a constant speed, with or without viscosity, is exact; with self-advection the error is that of the
    time steps and of `modes`.
    """
    points = len(equation.initial)
    # A multiple of the given places, and at least twice as many, so that nothing sits on the highest mode.
    grid = points * max(2, math.ceil(modes / points))
    places = torch.arange(grid, dtype=torch.float64) * (equation.period / grid)
    u = interpolate(equation.initial.double(), places, equation.period)
    wave = (2 * math.pi / equation.period) * torch.arange(grid // 2 + 1, dtype=torch.float64)
    linear = torch.complex(-equation.viscosity * wave**2, -equation.speed * wave)
    start = torch.fft.rfft(u)
    if not equation.self_advection:
        history = start * (equation.times[:, None] * linear).exp()
    else:
        history = _march(equation, start, wave, linear, grid)
    return torch.fft.irfft(history, n=grid)[:, :: grid // points]


def _march(equation: Equation, state: Tensor, wave: Tensor, linear: Tensor, grid: int) -> Tensor:
    """Modes at every time of the equation, (frames, modes)."""
    kept = wave < wave[-1] * 2 / 3
    gain = torch.where(kept, -0.5j * equation.self_advection * wave, 0)

    def slope(modes: Tensor) -> Tensor:
        return gain * torch.fft.rfft(torch.fft.irfft(modes, n=grid).square())

    largest = float(torch.fft.irfft(state, n=grid).abs().max()) * abs(equation.self_advection)
    interval = equation.duration / (equation.frames - 1)
    steps = max(1, math.ceil(interval * largest * float(wave[-1]) / STABLE))
    dt = interval / steps
    half = (0.5 * dt * linear).exp()
    history = [state]
    for _ in range(equation.frames - 1):
        for _ in range(steps):
            k1 = slope(state)
            k2 = slope(half * (state + 0.5 * dt * k1))
            k3 = slope(half * state + 0.5 * dt * k2)
            k4 = slope(half * (half * state + dt * k3))
            state = half * (half * (state + dt / 6 * k1) + dt / 3 * (k2 + k3)) + dt / 6 * k4
        history.append(state)
    return torch.stack(history)
