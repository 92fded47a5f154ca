"""Poisson flows: noise whose tails are set by a number of extra dimensions.

Data in R^N are charges in R^(N + D), on the plane where all D extra coordinates are 0; the field lines of their
electric field carry a far sphere to the data. By symmetry only the distance r from that plane matters:

    p_r(x | y) ~ (|x - y|^2 + r^2)^(-(N + D)/2),  r = sigma D^1/2
    x = y + R u,  u uniform on the sphere of R^N,  R^2 / (R^2 + r^2) ~ Beta(N/2, D/2)
    equally  x = y + sigma g / (chi / D)^1/2  with g ~ N(0, I) and chi ~ chi^2(D): a Student law with D degrees
    D -> infinity  x = y + sigma g, the noise of diffusion models
    dx/dsigma = E_x / E_r D^-1/2 = (x - E[y | x, sigma]) / sigma,  E the field: the same form for every D

Xu, Liu, Tian, Tong, Tegmark, Jaakkola, 2023, "PFGM++: Unlocking the Potential of Physics-Inspired Generative Models",
arXiv:2302.04265; D = 1 is Xu, Liu, Tegmark, Jaakkola, 2022, "Poisson Flow Generative Models", arXiv:2209.11178.
"""

import torch
from torch import Tensor

from pathline.flow.edm import Denoiser
from pathline.flow.paths import over


def poisson_noise(
    shape: tuple[int, ...],
    extra: int | None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(x - y) / sigma of the kernel, for a batch of `shape` (batch, ...); `extra` is D, None for infinitely many.

    chi^2 is drawn in float64: a Beta variable in single precision is 1 before the tail begins.
    """
    normal = torch.randn(shape, generator=generator, dtype=dtype)
    if extra is None:
        return normal
    if extra < 1:
        raise ValueError(f"there must be at least 1 extra dimension, got {extra}")
    half = torch.full((shape[0],), extra / 2, dtype=torch.float64)
    spread = (half / torch._standard_gamma(half, generator=generator)).sqrt()  # (D / chi^2)^1/2
    return normal * over(spread.to(normal.dtype), normal)


def posterior_weights(x: Tensor, data: Tensor, sigma: Tensor, extra: int | None) -> Tensor:
    """Probability that x came from each of finitely many points: (batch, count), in the dtype of x.

    x: (batch, ...), data: (count, ...), sigma: without dimension or (batch,)
    """
    x, data = x.flatten(1), data.flatten(1).to(x.dtype)
    squares = (x.square().sum(1)[:, None] + data.square().sum(1) - 2 * x @ data.T).clamp(min=0)
    squares = squares / over(sigma, squares).square()
    if extra is None:
        return (-squares / 2).softmax(dim=1)
    return (-(data.shape[1] + extra) / 2 * (squares / extra).log1p()).softmax(dim=1)


def posterior_mean(x: Tensor, data: Tensor, sigma: Tensor, extra: int | None = None) -> Tensor:
    """E[y | x, sigma] when y is one of finitely many points, equally likely: what a perfect denoiser says.

    Shapes as for `posterior_weights` -> the shape of x. For a path x = alpha y + s n ask at x / alpha, s / alpha.
    """
    weights = posterior_weights(x, data, sigma, extra)
    return (weights @ data.flatten(1).to(x.dtype)).reshape(x.shape)


def oracle_denoiser(data: Tensor, extra: int | None = None) -> Denoiser:
    """The perfect denoiser of finitely many points (count, ...)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return posterior_mean(x, data, sigma.to(x.dtype), extra)

    return denoise


def poisson_field(x: Tensor, distance: Tensor, data: Tensor, extra: int) -> tuple[Tensor, Tensor]:
    """The field of equal charges at `data`, a distance r away from their plane, up to one positive factor per point.

    x: (batch, ...), distance: (batch,), data: (count, ...)
    Returns its part along x, (batch, N), and along r, (batch,): sum_i (x - y_i, r) / |(x - y_i, r)|^(N + D).
    """
    gap = x.flatten(1)[:, None] - data.flatten(1)
    length = (gap.square().sum(-1) + distance.square()[:, None]).sqrt()
    nearest = length.min(dim=1, keepdim=True).values
    weight = (nearest / length) ** (gap.shape[-1] + extra)
    return (weight[..., None] * gap).sum(1), weight.sum(1) * distance
