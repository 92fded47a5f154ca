"""A coarse flow brought to full resolution: as a learned mean of its neighbours, or linearly between them.

    fine(stride x + a) = sum over the 3 x 3 neighbours y of x:  w_a(x, y) stride coarse(y),   w_a = softmax over y
Teed and Deng, 2020, arXiv:2003.12039, section 3.3. Flow is in pixels of its own resolution, hence the factor stride.
"""

from torch import Tensor
from torch.nn import functional as F


def convex_upsampled(flow: Tensor, logits: Tensor, stride: int) -> Tensor:
    """(batch, 2, stride height, stride width) from flow (batch, 2, height, width) and (batch, 9 stride^2, h, w) logits.

    Beyond the border a neighbour is the nearest one inside, so that the result stays between the neighbours' values.
    """
    batch, _, height, width = flow.shape
    weights = logits.view(batch, 1, 9, stride, stride, height, width).softmax(2)
    padded = F.pad(stride * flow, (1, 1, 1, 1), mode="replicate")
    around = F.unfold(padded, (3, 3)).view(batch, 2, 9, 1, 1, height, width)
    fine = (weights * around).sum(2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, stride * height, stride * width)


def linear_upsampled(flow: Tensor, stride: int) -> Tensor:
    """The same by bilinear interpolation between the centres of coarse pixels."""
    return stride * F.interpolate(flow, scale_factor=stride, mode="bilinear", align_corners=False)
