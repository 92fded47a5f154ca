"""Balls: mirrors with a radial normal."""

import torch
from torch import Tensor

from pathline.ode import Moved
from pathline.spaces.base import Space
from pathline.spaces.tracing import Sphere, trace


class Ball(Space):
    """All x in R^dims with |x - centre| <= radius."""

    def __init__(self, dims: int, radius: float = 1.0, centre: list[float] | float = 0.0) -> None:
        if radius <= 0 or dims < 1:
            raise ValueError(f"a ball needs a positive radius and at least 1 dimension, got {radius} and {dims}")
        self.shape, self.radius = (dims,), radius
        self.centre = torch.as_tensor(centre, dtype=torch.float64).expand(dims)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        dims = self.shape[0]
        direction = torch.randn(count, dims, generator=generator, dtype=torch.float64)
        radius = self.radius * torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1 / dims)
        return self.centre + radius * direction / direction.norm(dim=1, keepdim=True)

    def excess(self, x: Tensor) -> Tensor:
        return (x - self.centre.to(x)).norm(dim=1) - self.radius

    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        return trace([Sphere(self.centre.to(old.device), self.radius)], old, new, self.project)

    def project(self, x: Tensor) -> Tensor:
        centre = self.centre.to(x)
        offset = x - centre
        return centre + offset * (self.radius / offset.norm(dim=1, keepdim=True).clamp(min=1e-300)).clamp(max=1.0)
