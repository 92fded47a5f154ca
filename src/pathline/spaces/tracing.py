"""Exact ray tracing between mirrors: flat faces, and spheres from either side.

from p inside, along d: the first wall that is hit at p + s d, s < 1; go there; d <- (1 - s) (d - 2 (d . n) n); again
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from pathline.ode import Moved

BOUNCES = 50  # after so many the rest of the way is projected


class Wall(Protocol):
    """A mirror: `hit` tells when a ray meets it and the unit normal there."""

    def hit(self, start: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
        """start, way: (batch, dims) -> share of the way (batch,), infinite for a miss; normal (batch, dims)."""
        ...


class Faces:
    """The half spaces a_i . x <= b_i. normals: (faces, dims), of any length; offsets: (faces,)."""

    def __init__(self, normals: Tensor, offsets: Tensor) -> None:
        length = normals.norm(dim=1)
        self.normals, self.offsets = normals / length[:, None], offsets / length

    def slack(self, x: Tensor) -> Tensor:
        """b_i - a_i . x, the distance to every face, negative outside: (batch, dims) -> (batch, faces)."""
        return self.offsets - x @ self.normals.T

    def hit(self, start: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
        rate = way @ self.normals.T
        share = torch.where(rate > 0, self.slack(start).clamp(min=0) / rate, torch.inf)
        first, face = share.min(dim=1)
        return first, self.normals[face]


class Sphere:
    """|x - centre| = radius, seen from `inside` or from outside."""

    def __init__(self, centre: Tensor, radius: float, inside: bool = True) -> None:
        self.centre, self.radius, self.inside = centre, radius, inside

    def hit(self, start: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
        from_centre = start - self.centre
        a = way.square().sum(1)
        b = (from_centre * way).sum(1)
        c = from_centre.square().sum(1) - self.radius**2
        discriminant = b.square() - a * c
        root = discriminant.clamp(min=0).sqrt()
        if self.inside:
            share, meets = (root - b) / a, a > 0
        else:
            share, meets = (-b - root) / a, (a > 0) & (b < 0) & (discriminant > 0)
        share = torch.where(meets, share.clamp(min=0), torch.inf)
        place = from_centre + share.nan_to_num(posinf=0.0)[:, None] * way
        return share, place / place.norm(dim=1, keepdim=True).clamp(min=1e-300)


def trace(walls: Sequence[Wall], old: Tensor, new: Tensor, project: Callable[[Tensor], Tensor]) -> Moved:
    """Carry `old` (batch, dims), inside, along new - old between mirrors. Works in float64, returns old's type.

    `project` ends ways of more than `BOUNCES` bounces and takes care of rounding. The slope found at the end is pulled
    back through the mirrors in reverse order.
    """
    start, way = old.double(), new.double() - old.double()
    end = new.double().clone()
    active = torch.arange(len(start), device=start.device)
    mirrors: list[tuple[Tensor, Tensor]] = []
    for _ in range(BOUNCES):
        shares, normals = zip(*(wall.hit(start, way) for wall in walls), strict=True)
        share, which = torch.stack(shares).min(dim=0)
        kept = (share < 1).nonzero()[:, 0]
        if not len(kept):
            break
        normal = torch.stack(normals)[which[kept], kept]
        start, way, share, active = start[kept], way[kept], share[kept, None], active[kept]
        start, way = start + share * way, _mirrored((1 - share) * way, normal)
        end[active] = start + way
        mirrors.append((active, normal))

    def pull_back(slope: Tensor) -> Tensor:
        carried = slope.double()
        for hit, normal in reversed(mirrors):
            carried = carried.index_copy(0, hit, _mirrored(carried[hit], normal))
        return carried.to(slope.dtype)

    return Moved(project(end).to(old.dtype), pull_back)


def _mirrored(vectors: Tensor, normal: Tensor) -> Tensor:
    return vectors - 2 * (vectors * normal).sum(1, keepdim=True) * normal
