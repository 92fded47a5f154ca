"""Moving pictures along a flow: coordinates, backward warping, and carrying a flow itself forward in time.

Flow and coordinates are in pixels, x (to the right) first; pixel centres have whole coordinates, so that the corners
of a picture are (0, 0) and (width - 1, height - 1) (`align_corners=True` of `grid_sample`).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(2, height, width): the x and the y of every pixel."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).float()


def sample_at(image: Tensor, points: Tensor, outside: str = "zeros") -> Tensor:
    """Bilinear values of `image` (batch, channels, height, width) at `points` (batch, 2, rows, columns) in pixels.

    outside: "zeros" beyond the border, or "border" for the nearest pixel of it. Returns (batch, channels, rows,
    columns)
    """
    height, width = image.shape[-2:]
    scale = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)], device=points.device).view(1, 2, 1, 1)
    grid = (points * scale - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid.to(image.dtype), mode="bilinear", padding_mode=outside, align_corners=True)


def warp(image: Tensor, flow: Tensor, outside: str = "border") -> Tensor:
    """`image`(x + flow(x)): the second picture drawn back onto the first.

    image: (batch, channels, height, width);  flow: (batch, 2, height, width). Where it is 0 the picture stays exact.
    """
    moved = sample_at(image, pixel_grid(flow.shape[-2], flow.shape[-1], flow.device) + flow, outside)
    return torch.where((flow == 0).all(1, keepdim=True), image, moved)


def lands_inside(flow: Tensor) -> Tensor:
    """(batch, height, width) bool: where x + flow(x) is still within the picture."""
    height, width = flow.shape[-2:]
    x, y = (pixel_grid(height, width, flow.device) + flow).unbind(1)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def carried_forward(flow: Tensor) -> Tensor:
    """The flow (batch, 2, height, width) where its points are one frame later: a start for the next pair of a film.

    Every pixel takes the flow of the point that lands nearest to it; points that leave the picture are forgotten.
    """
    from scipy.spatial import cKDTree

    height, width = flow.shape[-2:]
    grid = pixel_grid(height, width).flatten(1).T
    inside = lands_inside(flow).flatten(1).cpu()
    carried = torch.zeros_like(flow)
    for one, (motion, kept) in enumerate(zip(flow.detach().cpu().flatten(2).mT, inside, strict=True)):
        if bool(kept.any()):
            _, nearest = cKDTree((grid + motion)[kept].numpy()).query(grid.numpy())
            carried[one] = motion[kept][torch.from_numpy(nearest)].T.reshape(2, height, width).to(flow)
    return carried
