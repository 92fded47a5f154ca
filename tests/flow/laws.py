"""Data laws whose marginal velocities are known in closed form."""

import torch
from torch import Tensor

from pathline.flow import GaussianPath

DOUBLE = torch.float64


class Mixture:
    """A mixture of normals on the line: its velocity is the posterior mean of the conditional one."""

    weights = torch.tensor([0.3, 0.5, 0.2], dtype=DOUBLE)
    means = torch.tensor([-2.0, 0.4, 2.0], dtype=DOUBLE)
    deviations = torch.tensor([0.3, 0.5, 0.2], dtype=DOUBLE)

    def distribution(self) -> torch.distributions.MixtureSameFamily:
        return torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(self.weights),
            torch.distributions.Normal(self.means, self.deviations),
        )

    def velocity(self, path: GaussianPath, x: Tensor, t: Tensor) -> Tensor:
        """E[d psi_t / dt | x], linear in noise and data, so their posterior means are enough. x: (batch,)."""
        alpha, sigma, *_ = path.schedule(t)
        variance = (alpha * self.deviations) ** 2 + sigma**2
        offset = x[:, None] - alpha * self.means
        posterior = (self.weights.log() - 0.5 * variance.log() - 0.5 * offset**2 / variance).softmax(dim=1)
        data = (posterior * (self.means + alpha * self.deviations**2 / variance * offset)).sum(dim=1)
        noise = (posterior * (sigma / variance * offset)).sum(dim=1)
        return path.target(noise, data, t)


class Normal:
    """N(m, S) in several dimensions: posterior means of data and noise given a point of the path are
    affine.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.covariance = mean, covariance

    def posterior(self, path: GaussianPath, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """E[x1 | x], E[x0 | x]; x: (batch, dims), t without dimension."""
        alpha, sigma, *_ = path.schedule(t)
        total = alpha**2 * self.covariance + sigma**2 * torch.eye(len(self.mean), dtype=x.dtype)
        whitened = torch.linalg.solve(total, (x - alpha * self.mean).T).T
        return self.mean + alpha * whitened @ self.covariance, sigma * whitened

    def velocity(self, path: GaussianPath, x: Tensor, t: Tensor) -> Tensor:
        data, noise = self.posterior(path, x, t)
        return path.target(noise, data, t)


def correlated_normal() -> Normal:
    root = torch.tensor([[1.2, 0.0, 0.0], [0.5, 0.4, 0.0], [-0.3, 0.2, 0.7]], dtype=DOUBLE)
    return Normal(torch.tensor([1.0, -2.0, 0.5], dtype=DOUBLE), root @ root.T)
