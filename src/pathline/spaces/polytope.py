"""Convex polytopes {x : a_i . x <= b_i}, bounded and with an interior; polygons by their corners."""

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, Delaunay, HalfspaceIntersection, QhullError
from torch import Tensor

from pathline.ode import Moved
from pathline.spaces.base import Space
from pathline.spaces.tracing import Faces, trace

ROUNDS = 2000  # of the accelerated dual ascent that projects


class Polytope(Space):
    """All x with normals @ x <= offsets. normals: (faces, dims); offsets: (faces,).

    Uniform samples are exact, by a triangulation of the corners: for up to about eight dimensions.
    Raises ValueError if the set is empty, flat or unbounded.
    """

    def __init__(self, normals: list[list[float]] | Tensor, offsets: list[float] | Tensor) -> None:
        a, b = (torch.as_tensor(part, dtype=torch.float64) for part in (normals, offsets))
        if a.ndim != 2 or b.shape != a.shape[:1]:
            raise ValueError(
                f"normals (faces, dims) and offsets (faces,) have shapes {tuple(a.shape)}, {tuple(b.shape)}"
            )
        self.faces, self.shape = Faces(a, b), (a.shape[1],)
        self.centre, self.corners = self._inner_ball(), torch.empty(0)
        halfspaces = torch.cat([self.faces.normals, -self.faces.offsets[:, None]], dim=1).numpy()
        try:
            corners = HalfspaceIntersection(halfspaces, self.centre.numpy()).intersections
            triangles = Delaunay(np.unique(corners, axis=0))
        except (QhullError, ValueError):
            raise ValueError("the faces bound no region with corners: one side of it is open, or it is flat") from None
        self.corners = torch.from_numpy(triangles.points[triangles.simplices])  # (triangles, dims + 1, dims)
        self.volumes = torch.linalg.det(self.corners[:, 1:] - self.corners[:, :1]).abs()

    def _inner_ball(self) -> Tensor:
        """The centre of the largest ball inside, by a linear program."""
        a, b = self.faces.normals.numpy(), self.faces.offsets.numpy()
        found = linprog(
            np.r_[np.zeros(a.shape[1]), -1.0],
            A_ub=np.c_[a, np.ones(len(a))],
            b_ub=b,
            bounds=[(None, None)] * a.shape[1] + [(0, None)],
        )
        if not found.success or found.x[-1] <= 1e-12:
            raise ValueError("the faces leave no interior of finite size: the polytope is empty, flat or unbounded")
        return torch.from_numpy(found.x[:-1])

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        chosen = self.corners[torch.multinomial(self.volumes, count, replacement=True, generator=generator)]
        uniform = torch.rand(count, chosen.shape[1], generator=generator, dtype=torch.float64)
        weights = -torch.log1p(-uniform)
        return torch.einsum("nk,nkd->nd", weights / weights.sum(1, keepdim=True), chosen)

    def excess(self, x: Tensor) -> Tensor:
        return -self._on(x).slack(x.double()).amin(1)

    def _on(self, x: Tensor) -> Faces:
        return Faces(self.faces.normals.to(x.device), self.faces.offsets.to(x.device))

    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        return trace([self._on(old)], old, new, self.project)

    def project(self, x: Tensor) -> Tensor:
        """Nearest points by accelerated ascent on the dual, max_{m >= 0} m . (A x - b) - |A^T m|^2 / 2; what little is
        left outside after that is drawn towards the centre."""
        faces, y = self._on(x), x.double()
        outside = (faces.slack(y) < 0).any(1)
        if not bool(outside.any()):
            return x
        point = y[outside]
        gram = faces.normals @ faces.normals.T
        step = 1 / float(torch.linalg.matrix_norm(gram, 2))
        need = -faces.slack(point)
        force = ahead = torch.zeros_like(need)
        for k in range(ROUNDS):
            following = (ahead + step * (need - ahead @ gram)).clamp(min=0)
            momentum = k / (k + 3)
            if bool((following - force).abs().max() < 1e-14 * (1 + need.abs().max())) and k > 10:
                break
            ahead = following + momentum * (following - force)
            force = following
        near = point - force @ faces.normals
        room = faces.slack(self.centre.to(y)[None])
        spent = (room - faces.slack(near)) / room
        near = self.centre.to(y) + (near - self.centre.to(y)) / spent.amax(1, keepdim=True).clamp(min=1.0)
        y = y.clone()
        y[outside] = near
        return y.to(x.dtype)


def polygon(corners: list[list[float]] | Tensor) -> Polytope:
    """The polygon with these corners (count, 2), in order around it.

    Raises ValueError if it is not convex: straight paths would leave it.
    """
    points = torch.as_tensor(corners, dtype=torch.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"a polygon has at least 3 corners in the plane, got shape {tuple(points.shape)}")
    edges = points.roll(-1, 0) - points
    following = edges.roll(-1, 0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    if not (bool((turns > 0).all()) or bool((turns < 0).all())) or len(ConvexHull(points.numpy()).vertices) < len(
        points
    ):
        raise ValueError(
            "the polygon is not convex, so straight paths between its points leave it: cut it into convex parts, or "
            "use a domain with a map to a convex one, such as half-annulus"
        )
    outward = torch.stack([edges[:, 1], -edges[:, 0]], dim=1) * turns.sum().sign()
    return Polytope(outward, (outward * points).sum(1))
