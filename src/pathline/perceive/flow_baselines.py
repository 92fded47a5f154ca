"""What a flow network must beat: nothing moves, brightness constancy with smooth motion, and the best matching block.

    Horn-Schunck     min over f of  sum (I_t + f . grad I)^2 + alpha^2 (|grad f_x|^2 + |grad f_y|^2),   coarse to fine
    block matching   f(x) = argmin over d of  sum over a block around x of |I1(y) - I2(y + d)|,         coarse to fine
Horn and Schunck, 1981, "Determining Optical Flow"; warping between linearisations and a median between them as in Sun,
Roth and Black, 2010, "Secrets of Optical Flow Estimation and Their Principles".
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.core.errors import MethodError
from pathline.nn.warp import pixel_grid, sample_at, warp
from pathline.perceive.flow_estimation import FixedFlow, in_grey

COARSEST = 12  # pixels of the shorter side at which a pyramid stops


class ZeroFlow(FixedFlow):
    """Nothing moves."""

    def estimate(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 2, *images.shape[-2:])


class HornSchunck(FixedFlow):
    """Smooth motion that keeps brightness.

    alpha: how much smoothness counts, in brightness (0 .. 1) per pixel; levels: of the pyramid, at most;
    warps: linearisations per level; iterations: of the Jacobi sweep of each
    """

    def __init__(self, alpha: float = 0.05, levels: int = 5, warps: int = 5, iterations: int = 40) -> None:
        super().__init__()
        if alpha <= 0 or min(levels, warps, iterations) < 1:
            raise MethodError(f"HornSchunck: alpha {alpha:g} must be above 0, levels, warps and iterations at least 1")
        self.alpha, self.levels, self.warps, self.iterations = alpha, levels, warps, iterations

    def estimate(self, images: Tensor) -> Tensor:
        first, second = in_grey(images).unbind(1)
        return horn_schunck(first, second, self.alpha, self.levels, self.warps, self.iterations)


class BlockMatching(FixedFlow):
    """The displacement whose block looks most alike, refined to a fraction of a pixel by a parabola.

    block: pixels of its side; search: pixels around the coarser estimate, at each level; levels: of the pyramid, at
    most
    """

    def __init__(self, block: int = 7, search: int = 4, levels: int = 4) -> None:
        super().__init__()
        if block < 1 or block % 2 == 0 or search < 1 or levels < 1:
            raise MethodError(
                f"BlockMatching: block {block} must be odd, search {search} and levels {levels} at least 1"
            )
        self.block, self.search, self.levels = block, search, levels

    def estimate(self, images: Tensor) -> Tensor:
        first, second = images.unbind(1)
        flow: Tensor | None = None
        for one, two in reversed(list(zip(pyramid(first, self.levels), pyramid(second, self.levels), strict=True))):
            start = torch.zeros_like(one[:, :2]) if flow is None else enlarged(flow, one)
            flow = median_filtered(matched(one, two, start.round(), self.block, self.search))
        assert flow is not None
        return flow


def pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The picture (batch, channels, height, width) and its halvings, as long as they are large enough."""
    found = [image]
    while len(found) < levels and min(found[-1].shape[-2:]) // 2 >= COARSEST:
        found.append(F.avg_pool2d(smoothed(found[-1]), 2))
    return found


def smoothed(image: Tensor) -> Tensor:
    """A binomial filter of 3 x 3, border repeated."""
    weights = torch.tensor([0.25, 0.5, 0.25], device=image.device, dtype=image.dtype)
    kernel = torch.outer(weights, weights).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=image.shape[1])


def enlarged(flow: Tensor, image: Tensor) -> Tensor:
    """The flow of a coarser level at the size of `image`, in its pixels."""
    height, width = image.shape[-2:]
    scale = torch.tensor([width / flow.shape[-1], height / flow.shape[-2]], device=flow.device).view(1, 2, 1, 1)
    return scale * F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)


def gradient(image: Tensor) -> Tensor:
    """Central differences of (batch, 1, height, width) as (batch, 2, height, width), x first; border repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    along_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return torch.cat([along_x, along_y], 1)


def median_filtered(flow: Tensor) -> Tensor:
    """Each component replaced by the median of 3 x 3 pixels around, border repeated.

    The median of nine is that of: the largest of the three columns' least, the median of their medians, the least of
    their largest. So it takes comparisons of whole pictures and sorts no pixel by itself.
    """
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    least, middle, largest = _sorted_three(*(padded[..., row : row + flow.shape[-2], :] for row in range(3)))

    def columns(values: Tensor) -> list[Tensor]:
        return [values[..., column : column + flow.shape[-1]] for column in range(3)]

    one, two, three = columns(least)
    low = torch.maximum(torch.maximum(one, two), three)
    one, two, three = columns(largest)
    high = torch.minimum(torch.minimum(one, two), three)
    return _sorted_three(low, _sorted_three(*columns(middle))[1], high)[1]


def _sorted_three(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The least, the middle and the largest of three at each place."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    middle = torch.minimum(high, c)
    return torch.minimum(low, c), torch.maximum(low, middle), torch.maximum(high, c)


def horn_schunck(
    first: Tensor, second: Tensor, alpha: float = 0.05, levels: int = 5, warps: int = 5, iterations: int = 40
) -> Tensor:
    """The flow (batch, 2, height, width) of grey pictures (batch, 1, height, width) from 0 to 1.

    At each linearisation around f0 the minimum's equations are swept as
        f = mean of the neighbours' f - grad I (grad I . (that mean - f0) + I_t) / (alpha^2 + |grad I|^2).
    """
    flow: Tensor | None = None
    for one, two in reversed(list(zip(pyramid(first, levels), pyramid(second, levels), strict=True))):
        flow = torch.zeros_like(one.expand(-1, 2, -1, -1)) if flow is None else enlarged(flow, one)
        for _ in range(warps):
            back = warp(two, flow)
            slope = gradient((one + back) / 2)
            change = back - one
            base, weight = flow, slope / (alpha**2 + slope.square().sum(1, keepdim=True))
            for _ in range(iterations):
                mean = neighbour_mean(flow)
                flow = mean - weight * ((slope * (mean - base)).sum(1, keepdim=True) + change)
            flow = median_filtered(flow)
    assert flow is not None
    return flow


def neighbour_mean(flow: Tensor) -> Tensor:
    """Horn and Schunck's mean of the eight neighbours: 1/6 beside, 1/12 across; border repeated."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    across = torch.add(padded[..., :-2] + padded[..., 2:], padded[..., 1:-1], alpha=2)
    both = torch.add(across[..., :-2, :] + across[..., 2:, :], across[..., 1:-1, :], alpha=2)  # 1 2 1 both ways
    return torch.add(both, flow, alpha=-4) / 12


def matched(first: Tensor, second: Tensor, start: Tensor, block: int, search: int) -> Tensor:
    """start + the best displacement within +-search, (batch, 2, height, width); second taken at the nearest pixel."""
    height, width = first.shape[-2:]
    grid = pixel_grid(height, width, first.device) + start
    side = range(-search, search + 1)
    costs = []
    for down in side:
        for right in side:
            shift = torch.tensor([right, down], device=first.device).view(1, 2, 1, 1)
            difference = (sample_at(second, grid + shift, "border") - first).abs().mean(1, keepdim=True)
            costs.append(F.avg_pool2d(difference, block, 1, block // 2, count_include_pad=False))
    cost = torch.cat(costs, 1)
    # of equal displacements the shortest: a picture without texture stands still
    length = torch.tensor([abs(down) + abs(right) for down in side for right in side], device=first.device)
    best = (cost + 1e-6 * length.view(1, -1, 1, 1)).argmin(1, keepdim=True)
    count = len(side)
    row, column = best // count, best % count

    def fraction(place: Tensor, step: int) -> Tensor:
        """Where a parabola through the best and its two neighbours has its minimum; 0 at the end of the range."""
        inside = (place > 0) & (place < count - 1)
        before, after = (cost.gather(1, (best + sign * step).clamp(0, count * count - 1)) for sign in (-1, 1))
        middle = cost.gather(1, best)
        bend = before - 2 * middle + after
        offset = torch.where(bend > 1e-6, (before - after) / (2 * bend.clamp(min=1e-6)), 0.0)
        return torch.where(inside, offset.clamp(-0.5, 0.5), 0.0)

    moved = torch.cat([column + fraction(column, 1), row + fraction(row, count)], 1) - search
    return start + moved
