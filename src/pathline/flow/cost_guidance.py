"""Steer a denoiser by any differentiable cost, at sampling time, without training.

    score' = (D(x, sigma) - x) / sigma^2 - lambda g,        g = grad_x L(D(x, sigma))
which as a denoiser is D' = D - lambda sigma^2 g. Raw gradients explode where the noise is large, so by default they are
clipped element by element and brought to the size of the noise: g <- g / (sigma (rms(g) + eps)), hence
D' = D - lambda sigma g / rms(g), for as long as the cost is not nearly zero. Optionally some gradient steps are made on
the denoised sample itself: D' <- D' - rate grad L(D').

Jiang, Cornman, Park, Sapp, Zhou, Anguelov, 2023, "MotionDiffuser", arXiv:2306.03083; the scaling is ours,
where the paper leaves it open. The gradient through D: Chung et al., 2023, arXiv:2209.14687.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.flow.edm import Denoiser
from pathline.flow.paths import over

Cost = Callable[[Tensor], Tensor]  # samples (batch, ...) -> (batch,), at least 0; 0 is satisfied


@dataclass(frozen=True)
class Steering:
    """weight:    lambda; 0 samples freely, bit for bit
    scaled:     bring gradients to the size of the noise; otherwise they are taken as they are
    largest:    clip of each element of the gradient, in units of its root mean square (scaled) or absolute (raw)
    least:      where the root mean square of a gradient is below this, its scaled push fades with it
    through:    differentiate through the denoiser; otherwise grad L at D, as if dD/dx were 1
    inner, rate: gradient steps on the denoised sample, and their length in units of sigma
    """

    weight: float = 1.0
    scaled: bool = True
    largest: float = 3.0
    least: float = 0.1
    through: bool = True
    inner: int = 0
    rate: float = 0.1


def steered(denoise: Denoiser, cost: Cost, steering: Steering) -> Denoiser:
    """D'(x, sigma), which a sampler uses in place of D. Samples must not see each other."""
    if not steering.weight and not steering.inner:
        return denoise

    def push(gradient: Tensor) -> Tensor:
        if not steering.scaled:
            return gradient.clamp(-steering.largest, steering.largest)
        size = over(gradient.flatten(1).square().mean(1).sqrt(), gradient)
        return (gradient / (size + steering.least)).clamp(-steering.largest, steering.largest)

    def denoise_and_steer(x: Tensor, sigma: Tensor) -> Tensor:
        wide = over(sigma, x)
        with torch.enable_grad():
            seen = x.detach().requires_grad_(True)
            denoised = denoise(seen, sigma)
            point = seen if steering.through else denoised
            (gradient,) = torch.autograd.grad(cost(denoised).sum(), point, allow_unused=True)
        found = denoised.detach()
        if gradient is not None:
            found = found - steering.weight * (wide if steering.scaled else wide.square()) * push(gradient)
        for _ in range(steering.inner):
            found = found - steering.rate * wide.clamp(max=1) * push(gradient_of(cost, found))
        return found

    return denoise_and_steer


def gradient_of(cost: Cost, x: Tensor) -> Tensor:
    """grad L at x: the shape of x."""
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cost(point).sum(), point)
    return gradient
