"""The probability simplex: x_i >= 0 with sum 1. Mirrors stand in its plane."""

import torch
from torch import Tensor

from pathline.ode import Moved
from pathline.spaces.base import Space
from pathline.spaces.tracing import Faces, trace


class Simplex(Space):
    """All x in R^dims with x >= 0 and sum 1; displacements lose their part across the plane."""

    def __init__(self, dims: int) -> None:
        if dims < 2:
            raise ValueError(f"a simplex needs at least 2 coordinates, got {dims}")
        self.shape = (dims,)
        # Inward steps along coordinate i within the plane: e_i - 1/dims; x_i >= 0 is normal_i . x <= 1/dims.
        self.faces = Faces(
            1 / dims - torch.eye(dims, dtype=torch.float64), torch.full((dims,), 1 / dims, dtype=torch.float64)
        )

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Dirichlet(1, .., 1): normalised exponentials."""
        uniform = torch.rand(count, *self.shape, generator=generator, dtype=torch.float64)
        weights = -torch.log1p(-uniform)
        return weights / weights.sum(1, keepdim=True)

    def excess(self, x: Tensor) -> Tensor:
        return torch.maximum(-x.amin(1), (x.sum(1) - 1).abs())

    def flat(self, vectors: Tensor) -> Tensor:
        """Vectors without their part across the plane."""
        return vectors - vectors.mean(1, keepdim=True)

    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        faces = Faces(self.faces.normals.to(old.device), self.faces.offsets.to(old.device))
        moved = trace([faces], old.double(), (old + self.flat(new - old)).double(), self._onto_plane)

        def pull_back(slope: Tensor) -> Tensor:
            carried: Tensor = moved.pull_back(self.flat(slope))
            return carried

        return Moved(moved.state.to(old.dtype), pull_back)

    def _onto_plane(self, x: Tensor) -> Tensor:
        """Rounding undone: points that are out by more (too many bounces) are projected."""
        level = x + (1 - x.sum(1, keepdim=True)) / x.shape[1]
        return torch.where((level < 0).any(1, keepdim=True), self.project(level), level)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point: subtract the one threshold that leaves a sum of 1 after clamping at 0.

        Held, Wolfe, Crowder, 1974; Duchi et al., 2008, "Efficient Projections onto the l1-Ball" (by sorting).
        """
        y = x.double()
        ordered = y.sort(dim=1, descending=True).values
        count = torch.arange(1, y.shape[1] + 1, dtype=torch.float64, device=y.device)
        threshold = (ordered.cumsum(1) - 1) / count
        used = (ordered > threshold).sum(1, keepdim=True)
        near = (y - threshold.gather(1, used - 1)).clamp(min=0)
        return (near / near.sum(1, keepdim=True)).to(x.dtype)
