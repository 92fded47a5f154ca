"""Signed distance of every cell of a grid to a shape that covers some of the cells.

Exact Euclidean distances between cell centres (scipy's distance transform: Maurer, Qi, Raghavan, 2003, IEEE TPAMI),
from which half a cell is taken, for the shape's boundary lies half-way between a covered cell and a free one.
"""

import math

import torch
from torch import Tensor


def signed_distance(covered: Tensor) -> Tensor:
    """Distance to the boundary of the shape, in cells: positive outside of it, negative inside; float32.

    covered: (..., height, width) bool, any number of grids. Where a grid is covered nowhere (or everywhere) there is no
    boundary, and the distance is the grid's diagonal (or minus that): as far as a distance on this grid can be.
    """
    from scipy.ndimage import distance_transform_edt

    grids = covered.flatten(0, -3) if covered.ndim > 2 else covered[None]
    height, width = covered.shape[-2:]
    diagonal = math.hypot(height, width)
    apart = [2 * diagonal, 1.0, 1.0]  # so far lie the grids from each other: one transform serves all of them

    def to_nearest(seen: Tensor) -> Tensor:
        """Distance of cells that are `seen` to the nearest that is not."""
        if bool(seen.all()):
            return torch.full(seen.shape, diagonal + 0.5)
        found = torch.from_numpy(distance_transform_edt(seen.cpu().numpy(), sampling=apart)).float()
        return found.clamp(max=diagonal + 0.5)

    distance = torch.where(grids, 0.5 - to_nearest(grids), to_nearest(~grids) - 0.5)
    return distance.view(covered.shape).to(covered.device)
