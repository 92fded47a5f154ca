"""What RAFT is measured against: an encoder-decoder, and one pass over a pyramid with local similarities.

Both are ours in the shape of the published ones, at a size for small pictures, and learn with RAFT's loss (a weighted
sum of absolute errors, coarse estimates weighing less), recipe and pictures.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pathline.core.claim import widest_within
from pathline.nn.correlation import local_correlation
from pathline.nn.upsampling import linear_upsampled
from pathline.nn.warp import warp
from pathline.perceive.flow_estimation import LearnedFlow

CHANNELS = (1.0, 1.5, 2.0, 3.0)  # of the resolutions 1/2, 1/4, 1/8, 1/16, times the width


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.LeakyReLU(0.1, inplace=True))


class FlowNetS(LearnedFlow):
    """Both pictures stacked into one, coded down to 1/16 and decoded with skips, a flow at every resolution.

    Dosovitskiy et al., 2015, "FlowNet: Learning Optical Flow with Convolutional Networks", arXiv:1504.06852.
    Finest estimate at 1/2 the resolution (there: 1/4), then linear.
    """

    stride = 16

    def __init__(self, width: int = 24, gamma: float = 0.8, noise: float = 5.0) -> None:
        super().__init__(gamma, noise)
        sizes = [round(width * share) for share in CHANNELS]
        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise((6, *sizes))):
            kernel = (7, 5, 3, 3)[level]
            inner = nn.Sequential(_convolution(before, after, kernel, 2), _convolution(after, after))
            self.encoder.append(inner)
        self.decoder, self.predict_flow, self.raise_flow = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels = sizes[-1]
        for level in (3, 2, 1, 0):
            self.predict_flow.append(nn.Conv2d(channels, 2, 3, padding=1))
            if level:
                after = sizes[level - 1]
                self.decoder.append(
                    nn.Sequential(nn.ConvTranspose2d(channels, after, 4, 2, 1), nn.LeakyReLU(0.1, inplace=True))
                )
                self.raise_flow.append(nn.ConvTranspose2d(2, 2, 4, 2, 1))
                channels = 2 * after + 2

    def sequence(self, images: Tensor) -> list[Tensor]:
        x = 2 * images.flatten(1, 2) - 1
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        flows = [self.predict_flow[0](x).float()]
        for level, skip in enumerate(reversed(skips[:-1])):
            x = torch.cat([skip, self.decoder[level](x), self.raise_flow[level](flows[-1]).to(x.dtype)], 1)
            flows.append(self.predict_flow[level + 1](x).float())
        return [linear_upsampled(flow, 16 >> level) for level, flow in enumerate(flows)]


class PWC(LearnedFlow):
    """A pyramid of features; from coarse to fine, warp the second by the flow so far, compare locally, and correct.

    Sun et al., 2018, "PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume", arXiv:1709.02371.
    Finest estimate at 1/4 as there; no dense links and no context network.
    """

    stride = 16
    radius = 4

    def __init__(self, width: int = 24, gamma: float = 0.8, noise: float = 5.0) -> None:
        super().__init__(gamma, noise)
        sizes = [round(width * share) for share in CHANNELS]
        self.pyramid = nn.ModuleList(
            nn.Sequential(_convolution(before, after, 3, 2), _convolution(after, after))
            for before, after in pairwise((3, *sizes))
        )
        window = (2 * self.radius + 1) ** 2
        self.estimators = nn.ModuleList()
        for level in (3, 2, 1):
            passed = 0 if level == 3 else 2 + 2 * width
            self.estimators.append(
                nn.Sequential(
                    _convolution(window + sizes[level] + passed, 3 * width), _convolution(3 * width, 2 * width)
                )
            )
        self.heads = nn.ModuleList(nn.Conv2d(2 * width, 2, 3, padding=1) for _ in range(3))

    def sequence(self, images: Tensor) -> list[Tensor]:
        batch = len(images)
        x = 2 * images.transpose(0, 1).flatten(0, 1) - 1
        levels = []
        for block in self.pyramid:
            x = block(x)
            levels.append(x.float())
        flow: Tensor | None = None
        memory: Tensor | None = None
        flows = []
        for step, level in enumerate((3, 2, 1)):
            first, second = levels[level].split(batch)
            given: list[Tensor] = []
            if flow is not None and memory is not None:
                flow = linear_upsampled(flow, 2)
                memory = F.interpolate(memory, scale_factor=2, mode="bilinear", align_corners=False)
                second = warp(second, flow.detach(), outside="zeros")
                given = [flow, memory]
            window = F.leaky_relu(local_correlation(first, second, self.radius), 0.1)
            memory = self.estimators[step](torch.cat([window, first, *given], 1)).float()
            change = self.heads[step](memory).float()
            flow = change if flow is None else flow + change
            flows.append(linear_upsampled(flow, 16 >> step))
        return flows


def of_equal_size(cls: type[Any], parameters: int) -> int:
    """The largest width whose network has at most so many parameters."""
    return widest_within(parameters, lambda width: cls(width=width))
