"""Exact log-likelihood of a flow by the instantaneous change of variables.

    log p1(x1) = log p0(x0) - integral_0^1 div v(x_t, t) dt,         x_t carried backwards from x1

Chen et al., 2018, "Neural Ordinary Differential Equations", arXiv:1806.07366; Grathwohl et al., 2019,
"FFJORD", arXiv:1810.01367 (the estimator with one probe per solve).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap

from pathline.flow.velocity import Velocity
from pathline.ode import integrate

EXACT_UP_TO = 64


@dataclass(frozen=True)
class Likelihood:
    """log_density: (batch,) in nats; x0: (batch, ...) the noise the points come from; evaluations: NFE."""

    log_density: Tensor
    x0: Tensor
    evaluations: int


def divergence(velocity: Velocity, x: Tensor, t: Tensor, chunk_size: int | None = None) -> tuple[Tensor, Tensor]:
    """v and sum_i dv_i / dx_i, exactly: one forward pass and D backward passes, run side by side.

    x: (batch, ...) -> (batch, ...), (batch,). Samples must not see each other.
    chunk_size: how many of the D passes run at once, to bound the memory
    """
    linearised: Any = vjp(lambda y: velocity(y, t), x)
    output, pullback = linearised
    dims = x[0].numel()
    basis = torch.eye(dims, dtype=x.dtype, device=x.device).reshape(dims, 1, *x.shape[1:])
    (rows,) = vmap(pullback, chunk_size=chunk_size)(basis.expand(dims, *x.shape))
    return output, torch.einsum("dbd->b", rows.flatten(2))


def hutchinson_divergence(velocity: Velocity, x: Tensor, t: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """v and e^T (dv/dx) e, unbiased for the divergence when E[e e^T] = I; probe e: the shape of x."""
    linearised: Any = vjp(lambda y: velocity(y, t), x)
    output, pullback = linearised
    (product,) = pullback(probe.to(output.dtype))
    return output, (product * probe).flatten(1).sum(dim=1)


def rademacher(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Signs +-1 with equal probability, like x."""
    return torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1


@torch.no_grad()
def log_likelihood(
    velocity: Velocity,
    x1: Tensor,
    times: Tensor | Sequence[float] = (1.0, 0.0),
    method: str = "dopri5",
    atol: float = 1e-5,
    rtol: float = 1e-5,
    prior_scale: float = 1.0,
    exact: bool | None = None,
    generator: torch.Generator | None = None,
    chunk_size: int | None = None,
) -> Likelihood:
    """log p1(x1) under the flow of `velocity`, from noise N(0, prior_scale^2 I) at t = 0.

    x1:    (batch, ...); float64 where more than three digits are wanted
    times: decreasing nodes from data to noise; start at `path.last` where the velocity has no limit at 1
    exact: the true divergence, or one Rademacher probe per solve; by default exact up to 64 dimensions
    Raises ValueError when times increase, and what `integrate` raises.
    """
    if times[0] < times[-1]:
        raise ValueError("the likelihood runs from data to noise: times must decrease, e.g. (1.0, 0.0)")
    exact = x1[0].numel() <= EXACT_UP_TO if exact is None else exact
    probe = None if exact else rademacher(x1, generator)

    def augmented(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
        x = state[0]
        if probe is None:
            return divergence(velocity, x, t, chunk_size)
        return hutchinson_divergence(velocity, x, t, probe)

    start = (x1, x1.new_zeros(len(x1)))
    solution = integrate(augmented, start, times, method, atol, rtol, keep="last")
    # Time ran from 1 down to 0, which turned the sign: gained = -integral_0^1 div v dt.
    x0, gained = solution.final
    return Likelihood(gaussian_log_density(x0, prior_scale) + gained, x0, solution.evaluations)


@torch.no_grad()
def density_along(
    velocity: Velocity,
    x: Tensor,
    log_density: Tensor,
    times: Tensor | Sequence[float],
    method: str = "rk4",
    growth: Velocity | None = None,
    exact: bool | None = None,
    generator: torch.Generator | None = None,
    atol: float = 1e-5,
    rtol: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Carry points and the log-density at them along a flow: d log rho / dt = g(x, t) - div v(x, t) on dx/dt = v.

    x:           (batch, dims) at times[0]; log_density: (batch,) there, of any law or unnormalised mass
    growth:      (x, t) -> (batch,) rate at which mass is born; None for none
    exact:       the true divergence, or one Rademacher probe for the whole way (Hutchinson), for which no Jacobian is
                 ever built; by default exact up to 64 dimensions
    Returns positions (nodes, batch, dims) and log-densities (nodes, batch).
    """
    exact = x[0].numel() <= EXACT_UP_TO if exact is None else exact
    probe = None if exact else rademacher(x, generator)

    def augmented(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
        if probe is None:
            moved, spread = divergence(velocity, state[0], t)
        else:
            moved, spread = hutchinson_divergence(velocity, state[0], t, probe)
        return moved, -spread if growth is None else growth(state[0], t) - spread

    positions, gained = integrate(augmented, (x, log_density), times, method, atol, rtol).states
    return positions, gained


def gaussian_log_density(x: Tensor, scale: float = 1.0) -> Tensor:
    """log N(x; 0, scale^2 I), (batch, ...) -> (batch,)."""
    flat = x.flatten(1) / scale
    return -0.5 * flat.square().sum(dim=1) - flat.shape[1] * (0.5 * math.log(2 * math.pi) + math.log(scale))


def bits_per_dimension(log_density: Tensor, dims: int, scale: float = 1.0) -> Tensor:
    """-log2 p(x) / D + log2(scale), for data that was quantised and then dequantised with uniform noise.

    scale: how many quantisation steps fit in one unit of x: 127.5 for 256 grey levels mapped to [-1, 1]
    """
    return -log_density / (dims * math.log(2.0)) + math.log2(scale)
