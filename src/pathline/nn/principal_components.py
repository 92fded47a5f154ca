"""Principal components as coordinates: few numbers for a trajectory, an image or a spectrum, of equal deviation each.

    x = d P (s - m) / deviation          s = m + P^T (deviation x / d)         P (components, dims) orthonormal rows
Deviations are those of the training rows along each component, so that x has deviation d everywhere, as diffusion
models want it. Whitening stretches small components as much as large ones: keep few.
"""

import math

import torch
from torch import Tensor, nn


class PrincipalComponents(nn.Module):
    """Rows (..., dims) as coordinates (..., components) and back.

    target: d, the deviation of every coordinate
    """

    mean: Tensor
    axes: Tensor
    deviation: Tensor
    explained: Tensor

    def __init__(self, dims: int, components: int, target: float = 1.0) -> None:
        super().__init__()
        if not 1 <= components <= dims:
            raise ValueError(f"{dims} dimensions have 1 to {dims} principal components, not {components}")
        self.target = target
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("axes", torch.eye(components, dims))
        self.register_buffer("deviation", torch.ones(components))
        self.register_buffer("explained", torch.zeros(components, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Read mean, axes and deviations off `rows` (count, dims); `explained` is the share of the variance that the
        first 1, 2, .. components hold."""
        if rows.ndim != 2 or rows.shape[1] != len(self.mean) or not len(rows):
            raise ValueError(f"rows have shape {tuple(rows.shape)}; expected (count, {len(self.mean)}), count > 0")
        rows = rows.double()
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()  # no sign by accident
        count = len(self.deviation)
        deviation = values[:count].sqrt()
        self.mean.copy_(mean)
        self.axes.copy_(vectors[:, :count].T)
        self.deviation.copy_(torch.where(deviation > 1e-6 * deviation[0].clamp(min=1e-12), deviation, 1.0))
        self.explained.copy_((values.cumsum(0) / values.sum().clamp(min=1e-30))[:count])

    def encode(self, rows: Tensor) -> Tensor:
        """(..., dims) -> (..., components)."""
        return (rows - self.mean) @ self.axes.T / self.deviation * self.target

    def decode(self, coordinates: Tensor) -> Tensor:
        """(..., components) -> (..., dims), the nearest row in the span of the components."""
        return self.mean + (coordinates / self.target * self.deviation) @ self.axes

    def log_volume(self) -> Tensor:
        """log |dx / ds| within the span of the components: added to log p(x) it gives log p(s)."""
        return len(self.deviation) * math.log(self.target) - self.deviation.double().log().sum()
