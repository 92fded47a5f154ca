"""Gaussian probability paths between noise (t = 0) and data (t = 1).

    p_t(x | x1) = N(alpha_t x1, sigma_t^2 I)         psi_t(x0) = alpha_t x1 + sigma_t x0,  x0 ~ N(0, I)
    d psi_t / dt = alpha_t' x1 + sigma_t' x0
    u_t(x | x1) = sigma_t'/sigma_t (x - alpha_t x1) + alpha_t' x1

Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, "Flow Matching for Generative Modeling", arXiv:2210.02747.
Networks regress on d psi_t / dt: unlike u_t(x | x1) it divides by nothing that vanishes as t -> 1.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Schedule(NamedTuple):
    """Coefficients at time t and their derivatives in t, each of the shape of t."""

    alpha: Tensor
    sigma: Tensor
    alpha_rate: Tensor
    sigma_rate: Tensor


def over(t: Tensor, x: Tensor) -> Tensor:
    """Times (batch,) as (batch, 1, ...), to broadcast over x (batch, ...); a t without dimension stays."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


class GaussianPath(ABC):
    """A path is a schedule; everything else follows from it.

    Everywhere below x, x0, x1 are (batch, ...) and t is (batch,) or has no dimension.
    last: the latest time at which the velocity is finite; draw times in, and integrate over, [0, last]
    """

    last: float = 1.0

    @abstractmethod
    def schedule(self, t: Tensor) -> Schedule:
        """alpha, sigma, alpha', sigma' at t."""

    @property
    def prior_scale(self) -> float:
        """Standard deviation of the noise that a sampler starts from: sigma at t = 0."""
        return float(self.schedule(torch.zeros((), dtype=torch.float64)).sigma)

    def at(self, t: Tensor, x: Tensor) -> Schedule:
        """The schedule, broadcast over x."""
        return self.schedule(over(t, x))

    def sample(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """psi_t(x0) = alpha x1 + sigma x0: a point of the path at time t."""
        path = self.at(t, x1)
        return path.alpha * x1 + path.sigma * x0

    def target(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """d psi_t / dt = alpha' x1 + sigma' x0: what a velocity network regresses on."""
        path = self.at(t, x1)
        return path.alpha_rate * x1 + path.sigma_rate * x0

    def conditional_velocity(self, x: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """u_t(x | x1) = sigma'/sigma (x - alpha x1) + alpha' x1."""
        path = self.at(t, x)
        return path.sigma_rate / path.sigma * (x - path.alpha * x1) + path.alpha_rate * x1

    def data_from_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x1 = (x - sigma eps) / alpha; not defined at t = 0 where alpha is 0."""
        path = self.at(t, x)
        return (x - path.sigma * noise) / path.alpha

    def noise_from_data(self, x: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """eps = (x - alpha x1) / sigma; not defined where sigma is 0."""
        path = self.at(t, x)
        return (x - path.alpha * x1) / path.sigma

    def velocity_from_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """v = alpha'/alpha (x - sigma eps) + sigma' eps."""
        return self.target(noise, self.data_from_noise(x, noise, t), t)

    def velocity_from_data(self, x: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """v = alpha' x1 + sigma'/sigma (x - alpha x1), the conditional velocity towards a predicted x1."""
        return self.conditional_velocity(x, x1, t)

    def data_from_velocity(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """Solve (x, v) = (alpha x1 + sigma eps, alpha' x1 + sigma' eps) for x1."""
        path = self.at(t, x)
        determinant = path.alpha * path.sigma_rate - path.alpha_rate * path.sigma
        return (path.sigma_rate * x - path.sigma * velocity) / determinant

    def noise_from_velocity(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """Solve (x, v) = (alpha x1 + sigma eps, alpha' x1 + sigma' eps) for eps."""
        path = self.at(t, x)
        determinant = path.alpha * path.sigma_rate - path.alpha_rate * path.sigma
        return (path.alpha * velocity - path.alpha_rate * x) / determinant


@dataclass(frozen=True)
class OptimalTransport(GaussianPath):
    """Straight lines: alpha = t, sigma = 1 - (1 - s_min) t; s_min = 0 gives the target x1 - x0."""

    s_min: float = 1e-4

    def schedule(self, t: Tensor) -> Schedule:
        one = torch.ones_like(t)
        shrink = 1.0 - self.s_min
        return Schedule(t, 1.0 - shrink * t, one, -shrink * one)


@dataclass(frozen=True)
class VariancePreserving(GaussianPath):
    """The diffusion of Song et al., 2021, arXiv:2011.13456, run from noise to data, with s = 1 - t:

        T(s) = b_min s + (b_max - b_min) s^2 / 2         alpha = exp(-T/2)         sigma = sqrt(1 - exp(-T))

    sigma' grows without bound as t -> 1, so `last` is 1 - 1e-5.
    """

    b_min: float = 0.1
    b_max: float = 20.0
    last: float = 1.0 - 1e-5

    def schedule(self, t: Tensor) -> Schedule:
        s = 1.0 - t
        integral = self.b_min * s + 0.5 * (self.b_max - self.b_min) * s.square()
        rate = self.b_min + (self.b_max - self.b_min) * s  # T'(s) = -dT/dt
        alpha = torch.exp(-0.5 * integral)
        sigma = torch.sqrt(-torch.expm1(-integral))
        return Schedule(alpha, sigma, 0.5 * rate * alpha, -0.5 * rate * alpha.square() / sigma)


@dataclass(frozen=True)
class VarianceExploding(GaussianPath):
    """Noise that shrinks geometrically around the data: alpha = 1, sigma = s_min (s_max / s_min)^(1 - t).

    The prior is N(0, s_max^2 I), wide enough to drown the data. Source as for `VariancePreserving`.
    """

    s_min: float = 0.01
    s_max: float = 50.0

    def schedule(self, t: Tensor) -> Schedule:
        ratio = math.log(self.s_max / self.s_min)
        sigma = self.s_min * torch.exp(ratio * (1.0 - t))
        return Schedule(torch.ones_like(t), sigma, torch.zeros_like(t), -ratio * sigma)
