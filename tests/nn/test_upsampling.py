"""Coarse flow to fine: convex means of neighbours, in the pixels of the finer grid."""

import pytest
import torch
from torch.nn import functional as F

from pathline.nn.upsampling import convex_upsampled, linear_upsampled


def drawn(stride, height=5, width=6):
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(2, 2, height, width, generator=generator)
    return flow, 3 * torch.randn(2, 9 * stride**2, height, width, generator=generator)


@pytest.mark.parametrize("stride", [4, 8])
def test_a_constant_flow_is_the_stride_times_itself_everywhere(stride):
    """This holds only if the weights sum to 1, at the border too."""
    _, logits = drawn(stride)
    constant = torch.tensor([1.25, -2.0]).view(1, 2, 1, 1).expand(2, 2, 5, 6)
    expected = (stride * constant[..., :1, :1]).expand(2, 2, 5 * stride, 6 * stride)
    for fine in (convex_upsampled(constant, logits, stride), linear_upsampled(constant, stride)):
        torch.testing.assert_close(fine, expected)


def test_every_fine_value_lies_between_its_nine_neighbours():
    flow, logits = drawn(4)
    fine = convex_upsampled(flow, logits, 4)
    padded = F.pad(4 * flow, (1, 1, 1, 1), mode="replicate")
    highest = F.max_pool2d(padded, 3, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    lowest = -F.max_pool2d(-padded, 3, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert bool((fine <= highest + 1e-5).all() and (fine >= lowest - 1e-5).all())
    assert float(fine.std()) > 1


def test_each_fine_pixel_uses_the_weights_of_its_own_place():
    flow, logits = drawn(2)
    fine = convex_upsampled(flow, logits, 2)
    y, x, down, right = 2, 3, 1, 0
    weights = logits.view(2, 9, 2, 2, 5, 6)[:, :, down, right, y, x].softmax(1)
    around = 2 * flow[:, :, y - 1 : y + 2, x - 1 : x + 2].flatten(2)
    torch.testing.assert_close(fine[:, :, 2 * y + down, 2 * x + right], (around * weights[:, None]).sum(2))
