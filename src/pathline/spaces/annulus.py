"""Half an annulus: not convex, but polar coordinates map it to a rectangle."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from pathline.ode import Moved
from pathline.spaces.base import Space
from pathline.spaces.tracing import Faces, Sphere, Wall, trace


class HalfAnnulus(Space):
    """All x in the plane with inner <= |x| <= outer and x_2 >= 0.

    to_convex: (radius, angle) in [inner, outer] x [0, pi]
    """

    convex: ClassVar[bool] = False
    shape: tuple[int, ...] = (2,)

    def __init__(self, inner: float = 1.0, outer: float = 2.0) -> None:
        if not 0 < inner < outer:
            raise ValueError(f"a half-annulus needs 0 < inner < outer, got {inner} and {outer}")
        self.inner, self.outer = inner, outer
        below = Faces(torch.tensor([[0.0, -1.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        middle = torch.zeros(2, dtype=torch.float64)
        self.walls: list[Wall] = [below, Sphere(middle, outer), Sphere(middle, inner, inside=False)]

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        square, turn = torch.rand(2, count, generator=generator, dtype=torch.float64)
        radius = (self.inner**2 + (self.outer**2 - self.inner**2) * square).sqrt()
        return self.from_convex(torch.stack([radius, math.pi * turn], dim=1))

    def to_convex(self, x: Tensor) -> Tensor:
        return torch.stack([x.norm(dim=1), torch.atan2(x[:, 1].clamp(min=0), x[:, 0])], dim=1)

    def from_convex(self, u: Tensor) -> Tensor:
        radius, angle = u.unbind(1)
        return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)

    def excess(self, x: Tensor) -> Tensor:
        radius = x.norm(dim=1)
        return torch.stack([self.inner - radius, radius - self.outer, -x[:, 1]]).amax(0)

    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        return trace(self.walls, old, new, self.project)

    def project(self, x: Tensor) -> Tensor:
        radius = x.norm(dim=1, keepdim=True)
        up = torch.tensor([0.0, 1.0]).to(x)
        direction = torch.where(radius > 0, x / radius.clamp(min=1e-300 if x.dtype == torch.float64 else 1e-30), up)
        above = direction * radius.clamp(self.inner, self.outer)
        along = torch.where(x[:, 0] < 0, -1.0, 1.0) * x[:, 0].abs().clamp(self.inner, self.outer)
        below = torch.stack([along, torch.zeros_like(along)], dim=1)
        return torch.where(x[:, 1:] < 0, below, above)
