"""Mixtures of Gaussians in a few dimensions, one for each entry of a batch.

p(x) = sum_k w_k N(x; m_k, L_k L_k^T)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """log_weight: (..., components), mean: (..., components, dims), factor L: (..., components, dims, dims), lower
    triangular with a positive diagonal."""

    log_weight: Tensor
    mean: Tensor
    factor: Tensor

    @staticmethod
    def size(components: int, dims: int) -> int:
        """Raw network outputs per mixture."""
        return components * (1 + dims + dims * (dims + 1) // 2)

    @classmethod
    def of(cls, raw: Tensor, components: int, dims: int, least: float = 1e-3) -> "GaussianMixture":
        """raw: (..., size). Zeros give equal weights, means 0 and deviations log 2 (+ `least`)."""
        raw = raw.unflatten(-1, (components, -1))
        mean, lower = raw[..., 1 : 1 + dims], raw[..., 1 + dims :]
        row, column = torch.tril_indices(dims, dims, device=raw.device)
        lower = torch.where(row == column, F.softplus(lower) + least, lower)
        factor = raw.new_zeros(*raw.shape[:-1], dims, dims)
        factor[..., row, column] = lower
        return cls(raw[..., 0].log_softmax(-1), mean, factor)

    def log_density(self, x: Tensor) -> Tensor:
        """x: (..., dims) -> (...), nats."""
        apart = (x[..., None, :] - self.mean)[..., None]
        white = torch.linalg.solve_triangular(self.factor, apart, upper=False)[..., 0]
        volume = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        dims = x.shape[-1]
        each = -0.5 * (white.square().sum(-1) + dims * math.log(2 * math.pi)) - volume
        return torch.logsumexp(self.log_weight + each, -1)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """(..., count, dims)."""
        shape, components = self.log_weight.shape[:-1], self.log_weight.shape[-1]
        weight = self.log_weight.exp().reshape(-1, components)
        which = torch.multinomial(weight, count, True, generator=generator)
        rows = torch.arange(len(which), device=which.device)[:, None]
        mean, factor = self.mean.flatten(0, -3)[rows, which], self.factor.flatten(0, -4)[rows, which]
        white = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return (mean + (factor @ white[..., None])[..., 0]).reshape(*shape, count, -1)
