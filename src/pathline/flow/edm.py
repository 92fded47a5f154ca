"""Noise schedules of diffusion models in terms of the noise level sigma, the network around which they scale, and the
sampler on their grid.

    x = y + sigma n                                   data y of deviation sigma_data, noise n of variance 1
    D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)
    c_skip = d^2 / (sigma^2 + d^2)      c_out = sigma d / (sigma^2 + d^2)^1/2      d = sigma_data
    c_in = 1 / (sigma^2 + d^2)^1/2      c_noise = ln(sigma) / 4
    loss  E_sigma lambda(sigma) |D(y + sigma n, sigma) - y|^2,  lambda = 1 / c_out^2,  ln sigma ~ N(P_mean, P_std^2)
    grid  sigma_i = (sigma_max^(1/rho) + i / (n - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, i < n;  sigma_n = 0
    dx/dsigma = (x - D(x, sigma)) / sigma,  Heun's rule, and Euler's for the last step, where the slope at 0 is unknown
    churn: before a step the noise is raised to sigma' = (1 + gamma) sigma by new noise of what is missing
    log p(x) = log N(x_max; 0, sigma_max^2 + d^2) + integral_sigma_min^sigma_max div (x - D) / sigma d sigma

Karras, Aittala, Aila, Laine, 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
arXiv:2206.00364. Nothing here asks for Gaussian noise: Poisson flow models use it as it stands.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pathline.flow.likelihood import density_along
from pathline.flow.paths import over
from pathline.flow.velocity import VelocityNetwork, squared_error
from pathline.ode import Solution, integrate

Denoiser = Callable[[Tensor, Tensor], Tensor]  # D(x, sigma): x (batch, ...), sigma without dimension or (batch,)


class Preconditioning(NamedTuple):
    """Coefficients at a noise level, each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """Which noise levels are trained and walked through; the paper's numbers for data of deviation 1/2.

    sigma_min, sigma_max, rho: of the grid
    log_mean, log_deviation:   of ln sigma in training
    sigma_data:                deviation of the data
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    log_mean: float = -1.2
    log_deviation: float = 1.2
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max or self.sigma_data <= 0 or self.rho <= 0:
            raise ValueError(
                f"0 < sigma_min < sigma_max, sigma_data > 0 and rho > 0 are needed, got {self.sigma_min}, "
                f"{self.sigma_max}, {self.sigma_data} and {self.rho}"
            )

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Log-normal noise levels for training: (count,) float32."""
        return (self.log_mean + self.log_deviation * torch.randn(count, generator=generator)).exp()

    def grid(self, steps: int) -> Tensor:
        """`steps` noise levels from sigma_max to sigma_min, then 0: float64 (steps + 1,)."""
        if steps < 1:
            raise ValueError(f"a grid of noise levels needs at least 1 step, got {steps}")
        ends = torch.tensor([self.sigma_max, self.sigma_min], dtype=torch.float64) ** (1 / self.rho)
        share = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
        levels = torch.lerp(ends[0], ends[1], share) ** self.rho
        return torch.cat([levels, levels.new_zeros(1)])

    def precondition(self, sigma: Tensor) -> Preconditioning:
        """c_skip, c_out, c_in and c_noise at sigma > 0."""
        total = sigma.square() + self.sigma_data**2
        return Preconditioning(
            self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() / 4
        )

    def weight(self, sigma: Tensor) -> Tensor:
        """lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2: of a fresh network all levels cost 1."""
        return (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data).square()

    def denoise(
        self, net: VelocityNetwork, x: Tensor, sigma: Tensor, label: Tensor | None = None, reach: float = float("inf")
    ) -> Tensor:
        """D(x, sigma) of a network F; x: (batch, ...), sigma: (batch,), label: (batch,) int64 or None.

        reach: the largest root mean square of what the network sees; a sample further out is seen on the same ray
        """
        c = self.precondition(sigma)
        seen = over(c.input, x) * x
        size = seen.flatten(1).square().mean(dim=1).sqrt()
        seen = seen * over((reach / size).clamp(max=1), x)
        return over(c.skip, x) * x + over(c.out, x) * net(seen, c.noise, label=label)


def denoising_loss(schedule: NoiseSchedule, denoised: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
    """E lambda(sigma) |D - y|^2, a scalar; denoised, y: (batch, ...), sigma: (batch,)."""
    return (schedule.weight(sigma) * squared_error(denoised, y)).mean()


def denoising_slope(denoise: Denoiser) -> Callable[[Tensor, Tensor], Tensor]:
    """dx/dsigma = (x - D(x, sigma)) / sigma, as a solver wants it."""

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        return (x - denoise(x, sigma)) / sigma

    return slope


def denoising_walk(
    denoise: Denoiser, x: Tensor, levels: Tensor, method: str = "heun", injected: float = 0.0, keep: str = "last"
) -> Solution[Tensor]:
    """From `x` at noise level levels[0] down to levels[-1] = 0: `method` on every interval but the last, then Euler.

    x:        (batch, ...)
    levels:   strictly decreasing, such as `NoiseSchedule.grid`; the slope is never taken at 0
    injected: a; after every step x is disturbed by a sigma eps, with the new sigma and eps from the global generator:
              a test of how much error a sampler forgives, not part of any sampler
    """
    arrived = iter(levels[1:].tolist())

    def disturb(_: Tensor, x: Tensor) -> Tensor:
        level = next(arrived)
        return x + injected * level * torch.randn_like(x) if level else x

    slope, hook = denoising_slope(denoise), disturb if injected else None
    if len(levels) == 2:
        return integrate(slope, x, levels, "euler", keep=keep)
    walk = integrate(slope, x, levels[:-1], method, post_step=hook, keep=keep)
    last = integrate(slope, walk.final, levels[-2:], "euler", keep="last")
    states = torch.cat([walk.states, last.states]) if keep == "all" else last.states
    return Solution(states, walk.evaluations + last.evaluations, len(levels) - 1, 0)


def churned_walk(
    denoise: Denoiser,
    x: Tensor,
    levels: Tensor,
    churn: float,
    between: tuple[float, float] = (0.05, 50.0),
    inflation: float = 1.003,
    generator: torch.Generator | None = None,
) -> Solution[Tensor]:
    """`denoising_walk` by Heun's rule with new noise on the way (the paper's algorithm 2); churn 0 makes none.

    churn:     S_churn; gamma = min(S_churn / steps, sqrt 2 - 1) at noise levels `between` S_min and S_max
    inflation: S_noise, deviation of the new noise
    """
    steps = len(levels) - 1
    evaluations = 0
    for level, after in itertools.pairwise(levels.tolist()):
        inside = between[0] <= level <= between[1]
        raised = level * (1 + (min(churn / steps, math.sqrt(2) - 1) if inside else 0.0))
        if raised > level:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            x = x + inflation * math.sqrt(raised**2 - level**2) * noise
        nodes = torch.tensor([raised, after], dtype=torch.float64)
        part = integrate(denoising_slope(denoise), x, nodes, "heun" if after else "euler", keep="last")
        x, evaluations = part.final, evaluations + part.evaluations
    return Solution(x[None], evaluations, steps, 0)


@torch.no_grad()
def denoising_log_density(
    denoise: Denoiser,
    x: Tensor,
    schedule: NoiseSchedule,
    steps: int = 32,
    method: str = "rk4",
    counted: Tensor | None = None,
    exact: bool = True,
) -> Tensor:
    """log p(x) of what `denoising_walk` samples from, (batch,) nats, along the same flow from data to noise.

    counted: (batch, ...) bool, which dimensions there are; the denoiser has to leave the others at 0
    exact:   the true divergence, by one vector-Jacobian product per dimension, all at once
    """
    nodes = schedule.grid(steps)[:-1].flip(0)
    slope = denoising_slope(denoise)
    states, gained = density_along(slope, x, x.new_zeros(len(x)), nodes, method, exact=exact)
    variance = schedule.sigma_max**2 + schedule.sigma_data**2
    logs = -0.5 * (states[-1].square() / variance + math.log(2 * math.pi * variance))
    return (logs if counted is None else logs * counted).flatten(1).sum(1) - gained[-1]
