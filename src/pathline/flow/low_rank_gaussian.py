"""Gaussians whose covariance is noise plus a Kronecker product of low rank, without ever forming it.

    z ~ N(0, scale^2 (noise^2 I + (L L^T) (x) (Q Q^T) (x) I_D)),   z: (times, nodes, dims), L: (times, M), Q: (nodes, K)

Woodbury's identity and the determinant lemma move everything to the capacitance
    R = I + noise^-2 (L^T L) (x) (Q^T Q)          of size M K, once for all D dimensions,
and a Cholesky factor of R gives the log-determinant, the Mahalanobis distance and solutions. The largest matrix has M K
rows instead of times x nodes x dims.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KroneckerGaussian:
    """left: (times, M) and right: (nodes, K) factors; noise, scale: () > 0. All of one dtype; float64 is advised."""

    left: Tensor
    right: Tensor
    noise: Tensor
    scale: float = 1.0

    def factor(self) -> Tensor:
        """Lower Cholesky factor of the capacitance R, (M K, M K)."""
        gram = torch.kron(self.left.T @ self.left, self.right.T @ self.right)
        eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return torch.linalg.cholesky(eye + gram / self.noise**2)

    def _whitened(self, z: Tensor, factor: Tensor) -> Tensor:
        """R^-1/2 (L (x) Q)^T z / noise^2: (M K, dims)."""
        projected = torch.einsum("tm,tnd,nk->mkd", self.left, z, self.right).flatten(0, 1) / self.noise**2
        return torch.linalg.solve_triangular(factor, projected, upper=False)

    def log_density(self, z: Tensor) -> Tensor:
        """log N(z), a scalar in nats; z: (times, nodes, dims)."""
        factor = self.factor()
        distance = (z / self.noise).square().sum() - self._whitened(z, factor).square().sum()
        log_noise = self.noise.log() + math.log(self.scale)
        log_det = 2 * z.shape[-1] * factor.diagonal().log().sum() + 2 * z.numel() * log_noise
        return -0.5 * (z.numel() * math.log(2 * math.pi) + log_det + distance / self.scale**2)

    def solve(self, z: Tensor) -> Tensor:
        """Covariance^-1 z, of the shape of z."""
        factor = self.factor()
        inner = torch.linalg.solve_triangular(factor.T, self._whitened(z, factor), upper=True)
        spread = inner.view(self.left.shape[1], self.right.shape[1], -1)
        low_rank = torch.einsum("tm,mkd,nk->tnd", self.left, spread, self.right)
        return (z - low_rank) / (self.noise * self.scale) ** 2

    def conditional_mean(self, z: Tensor, cross: Tensor) -> Tensor:
        """E[z at new times | z]: (new, nodes, dims).

        cross: (new, times), what L L^T would hold between the new times and those of z
        """
        return self.scale**2 * torch.einsum("st,tnd,nk,mk->smd", cross, self.solve(z), self.right, self.right)


def radial_kernel(first: Tensor, second: Tensor, length: Tensor) -> Tensor:
    """exp(-(s - t)^2 / (2 length^2)) for times (S,) and (T,): (S, T)."""
    return torch.exp(-((first[:, None] - second) / length).square() / 2)
