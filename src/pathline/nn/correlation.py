"""How alike every point of one picture is to every point of another, looked up around where a point is thought to be.

    C(i, k) = <g1(i), g2(k)> / sqrt(channels)              all pairs
    level l: the last two axes of C averaged over 2^l x 2^l blocks
    lookup(x'): C_l at x' / 2^l + d,  d in {-radius .. radius}^2, bilinear, zero outside
Teed and Deng, 2020, arXiv:2003.12039, sections 3.2 and 3.3. Both classes give the same numbers: `AllPairs` keeps the
whole volume (memory in the square of the number of points), `OnTheFly` only the averaged features (pooling is linear,
so averaging features of the second picture averages the volume).

All points of a window share one fraction of a pixel, so that a window is read as (2 radius + 2)^2 whole entries and
blended once, in place of four reads for each of its (2 radius + 1)^2 points.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def _blended(corners: Tensor, fraction: Tensor) -> Tensor:
    """Bilinear values from whole entries (points, 2r + 2, 2r + 2) and the window's (points, 2) fraction x, y."""
    x, y = fraction[:, 0, None, None], fraction[:, 1, None, None]
    rows = torch.lerp(corners[:, :-1], corners[:, 1:], y)
    return torch.lerp(rows[:, :, :-1], rows[:, :, 1:], x)


def _whole(points: Tensor, radius: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Flat index (n, side, side) of the whole entries of each window, whether they are inside, and the fraction."""
    base = points.floor()
    offset = torch.arange(-radius, radius + 2, device=points.device)
    column = base[:, 0, None].long() + offset
    row = base[:, 1, None].long() + offset
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    index = row.clamp(0, height - 1)[:, :, None] * width + column.clamp(0, width - 1)[:, None]
    return index, inside, points - base


class AllPairs:
    """The volume of all pairs and its pyramid, built once for two pictures.

    first, second: features (batch, channels, height, width) at one resolution
    """

    def __init__(self, first: Tensor, second: Tensor, levels: int, radius: int) -> None:
        self.radius = radius
        batch, channels, height, width = first.shape
        volume = first.flatten(2).mT @ second.flatten(2) / math.sqrt(channels)
        level = volume.reshape(batch * height * width, 1, *second.shape[-2:])
        self.levels = [level[:, 0]]
        for _ in range(levels - 1):
            level = F.avg_pool2d(level, 2) if min(level.shape[-2:]) > 1 else level
            self.levels.append(level[:, 0])

    def lookup(self, points: Tensor) -> Tensor:
        """Windows around `points` (batch, 2, height, width): (batch, levels x (2 radius + 1)^2, height, width)."""
        batch, _, height, width = points.shape
        flat = points.permute(0, 2, 3, 1).reshape(-1, 2)
        windows = []
        for depth, level in enumerate(self.levels):
            index, inside, fraction = _whole(flat / 2**depth, self.radius, *level.shape[1:])
            corners = level.flatten(1).gather(1, index.flatten(1)).view(index.shape) * inside
            windows.append(_blended(corners, fraction).flatten(1))
        return torch.cat(windows, 1).view(batch, height, width, -1).permute(0, 3, 1, 2)


class OnTheFly:
    """The same numbers without the volume: products are formed where a lookup asks for them."""

    def __init__(self, first: Tensor, second: Tensor, levels: int, radius: int) -> None:
        self.radius = radius
        self.first = first.permute(0, 2, 3, 1) / math.sqrt(first.shape[1])
        self.levels = [second]
        for _ in range(levels - 1):
            second = F.avg_pool2d(second, 2) if min(second.shape[-2:]) > 1 else second
            self.levels.append(second)

    def lookup(self, points: Tensor) -> Tensor:
        """As that of `AllPairs`; a loop over the rows of a window bounds the memory."""
        batch, _, height, width = points.shape
        count = height * width
        flat = points.permute(0, 2, 3, 1).reshape(-1, 2)
        first = self.first.reshape(batch, count, -1)
        windows = []
        for depth, level in enumerate(self.levels):
            channels, tall, wide = level.shape[1:]
            index, inside, fraction = _whole(flat / 2**depth, self.radius, tall, wide)
            side = index.shape[1]
            index = index.view(batch, count, side, side)
            rows = []
            for row in range(side):
                entries = index[:, :, row].reshape(batch, 1, -1).expand(-1, channels, -1)
                found = level.flatten(2).gather(2, entries).view(batch, channels, count, side)
                rows.append(torch.einsum("bnc,bcns->bns", first, found))
            corners = torch.stack(rows, 2).view(batch * count, side, side) * inside
            windows.append(_blended(corners, fraction).flatten(1))
        return torch.cat(windows, 1).view(batch, height, width, -1).permute(0, 3, 1, 2)


def local_correlation(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """<first(x), second(x + d)> / channels for d in {-radius .. radius}^2, zero outside the picture.

    first, second: (batch, channels, height, width). Returns (batch, (2 radius + 1)^2, height, width).
    """
    height, width = first.shape[-2:]
    side = 2 * radius + 1
    padded = F.pad(second, (radius,) * 4)
    shifts = [
        (first * padded[..., row : row + height, column : column + width]).mean(1)
        for row in range(side)
        for column in range(side)
    ]
    return torch.stack(shifts, 1)
