"""Mixtures on an interval, a circle and a line, from raw network outputs: densities with gradients, draws without.

    Beta on (0, 1)         sum_k w_k u^(a_k - 1) (1 - u)^(b_k - 1) / B(a_k, b_k)      a, b = 2 sigmoid(raw) + 0.1
    von Mises on a circle  sum_k w_k exp(c_k cos(angle - m_k)) / (2 pi I_0(c_k))      c = softplus(raw) + 0.01
    normal on a line       sum_k w_k N(x; m_k, s_k^2)                                 s = softplus(raw) + 0.01

Weights are a softmax. The bounds of the Beta's parameters are those of the official code of continuous GFlowNets
(Lahlou et al., 2023, arXiv:2301.12594); `span` widens them. Draws come from torch's global generator.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BETA_LEAST, BETA_SPAN = 0.1, 2.0
EDGE = 1e-6  # a Beta's density is infinite at 0 and 1: draws and arguments stay this far inside


@dataclass(frozen=True)
class BetaMixture:
    """log_weight, alpha, beta: (..., components)."""

    log_weight: Tensor
    alpha: Tensor
    beta: Tensor

    @staticmethod
    def size(components: int) -> int:
        """Raw outputs per mixture."""
        return 3 * components

    @classmethod
    def of(cls, raw: Tensor, span: float = BETA_SPAN) -> "BetaMixture":
        """raw (..., 3 * components): weights, alphas, betas; zeros give 1.1 for both when `span` is 2."""
        weight, alpha, beta = raw.chunk(3, -1)
        return cls(weight.log_softmax(-1), span * alpha.sigmoid() + BETA_LEAST, span * beta.sigmoid() + BETA_LEAST)

    def log_density(self, u: Tensor) -> Tensor:
        """log p(u) with respect to length; u (...) in [0, 1] -> (...)."""
        u = u.clamp(EDGE, 1 - EDGE)[..., None]
        a, b = self.alpha, self.beta
        normaliser = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
        return torch.logsumexp(self.log_weight + (a - 1) * u.log() + (b - 1) * (-u).log1p() - normaliser, -1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        """One draw per mixture, inside [1e-6, 1 - 1e-6]: (...)."""
        which = _component(self.log_weight)
        a, b = (torch._standard_gamma(p.gather(-1, which)[..., 0]) for p in (self.alpha, self.beta))
        return (a / (a + b)).nan_to_num(0.5).clamp(EDGE, 1 - EDGE)


@dataclass(frozen=True)
class VonMisesMixture:
    """log_weight, mean, concentration: (..., components)."""

    log_weight: Tensor
    mean: Tensor
    concentration: Tensor

    @staticmethod
    def size(components: int) -> int:
        """Raw outputs per mixture."""
        return 4 * components

    @classmethod
    def of(cls, raw: Tensor) -> "VonMisesMixture":
        """raw (..., 4 * components): weights, cosines and sines of the means (any length), concentrations.

        The first cosine is shifted by one, so that zeros give a definite direction.
        """
        weight, cosine, sine, concentration = raw.chunk(4, -1)
        mean = torch.atan2(sine, cosine + 1.0)
        return cls(weight.log_softmax(-1), mean, torch.nn.functional.softplus(concentration) + 0.01)

    def log_density(self, angle: Tensor) -> Tensor:
        """log p(angle) with respect to arc length on the unit circle; equal for angles that differ by 2 pi."""
        c = self.concentration
        log_bessel = torch.special.i0e(c).log() + c
        exponent = c * torch.cos(angle[..., None] - self.mean)
        return torch.logsumexp(self.log_weight + exponent - log_bessel - math.log(2 * math.pi), -1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        """One draw per mixture, in (-pi, pi]: (...)."""
        which = _component(self.log_weight)
        mean, concentration = (p.gather(-1, which)[..., 0] for p in (self.mean, self.concentration))
        return torch.distributions.VonMises(mean, concentration, validate_args=False).sample()


@dataclass(frozen=True)
class NormalMixture:
    """log_weight, mean, deviation: (..., components)."""

    log_weight: Tensor
    mean: Tensor
    deviation: Tensor

    @staticmethod
    def size(components: int) -> int:
        """Raw outputs per mixture."""
        return 3 * components

    @classmethod
    def of(cls, raw: Tensor) -> "NormalMixture":
        """raw (..., 3 * components): weights, means, deviations."""
        weight, mean, deviation = raw.chunk(3, -1)
        return cls(weight.log_softmax(-1), mean, torch.nn.functional.softplus(deviation) + 0.01)

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x): (...) -> (...)."""
        score = (x[..., None] - self.mean) / self.deviation
        log_normal = -0.5 * score.square() - self.deviation.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weight + log_normal, -1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        """One draw per mixture: (...)."""
        which = _component(self.log_weight)
        mean, deviation = (p.gather(-1, which)[..., 0] for p in (self.mean, self.deviation))
        return mean + deviation * torch.randn_like(mean)


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _component(log_weight: Tensor) -> Tensor:
    """One index per mixture by the Gumbel trick: (..., components) -> (..., 1)."""
    noise = torch.empty_like(log_weight).exponential_().log()
    return (log_weight - noise).argmax(-1, keepdim=True)
