"""Two frames as one picture of three channels, for a detector that knows nothing of motion.

Each takes images (batch, 2, 1 or 3, height, width) from 0 to 1 and returns (batch, 3, height, width) from 0 to 1:
the frame alone, the change of brightness, optical flow as hue and brightness, the flow of a trained network in colours,
or the part of ReynoldsFlow that constant brightness leaves over as hue and brightness.
"""

import math

import torch
from torch import Tensor

from pathline.perceive.flow_baselines import horn_schunck
from pathline.perceive.flow_estimation import FlowEstimator, in_grey
from pathline.perceive.flow_pictures import flow_colours
from pathline.perceive.reynoldsflow import LEAST_CONTRAST, LEAST_RANGE, ReynoldsFlow, length, stretched


def frame_encoding(images: Tensor) -> Tensor:
    """The first frame three times, stretched."""
    return stretched(in_grey(images)[:, 0], LEAST_CONTRAST).expand(-1, 3, -1, -1)


def difference_encoding(images: Tensor) -> Tensor:
    """The second frame less the first, stretched, grey where nothing changed, three times."""
    grey = in_grey(images)
    change = grey[:, 1] - grey[:, 0]
    top = change.abs().flatten(1).quantile(0.99, 1).clamp(min=LEAST_CONTRAST).view(-1, 1, 1, 1)
    return (0.5 + change / (2 * top)).clamp(0, 1).expand(-1, 3, -1, -1)


def hue_encoding(flow: Tensor) -> Tensor:
    """Flow (batch, 2, height, width): its direction as hue, its length, stretched, as brightness; fully saturated."""
    hue = torch.atan2(flow[:, 1:], flow[:, :1]) / (2 * math.pi) % 1
    value = stretched(length(flow), LEAST_RANGE)
    corner = (torch.tensor([5.0, 3.0, 1.0], device=flow.device).view(1, 3, 1, 1) + 6 * hue) % 6
    return value * (1 - torch.minimum(corner, 4 - corner).clamp(0, 1))


def optical_flow_encoding(images: Tensor) -> Tensor:
    """Horn and Schunck's flow as hue and brightness."""
    first, second = in_grey(images).unbind(1)
    return hue_encoding(horn_schunck(first, second, levels=3, warps=2, iterations=20))


def network_encoding(images: Tensor, network: FlowEstimator) -> Tensor:
    """The flow of a trained network in the colours of the wheel."""
    flow = network.flow_of(images)
    top = length(flow).flatten(1).quantile(0.99, 1).clamp(min=LEAST_RANGE)
    return flow_colours(flow / top.view(-1, 1, 1, 1), 1.0)


def correction_encoding(images: Tensor, method: ReynoldsFlow) -> Tensor:
    """ReynoldsFlow's v_r as hue and brightness."""
    return hue_encoding(method.parts(images)[2])
