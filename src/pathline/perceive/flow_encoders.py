"""What flow networks are built of: residual encoders of pictures and the encoder of motion features.

Channels and kernels as in RAFT's official networks (Teed and Deng, 2020, arXiv:2003.12039).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _norm(kind: str, channels: int) -> nn.Module:
    kinds: dict[str, type[nn.Module]] = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    return kinds[kind](channels) if kind in kinds else nn.Identity()


class _Block(nn.Module):
    """x + convolutions(x): two of 3 x 3, or 1 x 1, 3 x 3, 1 x 1 through a quarter of the channels (`bottleneck`)."""

    def __init__(self, inputs: int, channels: int, stride: int, norm: str, bottleneck: bool) -> None:
        super().__init__()
        inner = channels // 4
        shape = (
            [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, channels, 1, 1)]
            if bottleneck
            else [(inputs, channels, 3, stride), (channels, channels, 3, 1)]
        )
        layers: list[nn.Module] = []
        for before, after, kernel, step in shape:
            layers += [nn.Conv2d(before, after, kernel, step, kernel // 2), _norm(norm, after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == channels
            else nn.Sequential(nn.Conv2d(inputs, channels, 1, stride), _norm(norm, channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


class PictureEncoder(nn.Module):
    """A 7 x 7 stem of stride 2, two blocks per stage, and a 1 x 1 convolution.

    stages: channels and stride of each;  norm: "instance", "batch" or "none"
    (batch, 3, height, width) -> (batch, channels, height / stride, width / stride)
    """

    def __init__(self, stages: Sequence[tuple[int, int]], channels: int, norm: str, bottleneck: bool = False) -> None:
        super().__init__()
        width = stages[0][0]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3), _norm(norm, width), nn.ReLU(inplace=True)]
        self.stride = 2
        for after, stride in stages:
            layers += [_Block(width, after, stride, norm, bottleneck), _Block(after, after, 1, norm, bottleneck)]
            width = after
            self.stride *= stride
        layers.append(nn.Conv2d(width, channels, 1))
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features


class MotionEncoder(nn.Module):
    """Features of the flow so far and of the similarities around where it points; the flow itself is passed on.

    windows: channels of the lookup; first, second: of its convolutions (second None: only one); flow_first,
    flow_second: of those of the flow; channels: of the result, its last two the flow
    """

    def __init__(
        self, windows: int, first: int, second: int | None, flow_first: int, flow_second: int, channels: int
    ) -> None:
        super().__init__()
        looked: list[nn.Module] = [nn.Conv2d(windows, first, 1), nn.ReLU(inplace=True)]
        if second is not None:
            looked += [nn.Conv2d(first, second, 3, padding=1), nn.ReLU(inplace=True)]
        self.looked = nn.Sequential(*looked)
        self.flow = nn.Sequential(
            nn.Conv2d(2, flow_first, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Conv2d(flow_first, flow_second, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.merged = nn.Conv2d((second or first) + flow_second, channels - 2, 3, padding=1)
        self.channels = channels

    def forward(self, windows: Tensor, flow: Tensor) -> Tensor:
        """windows: (batch, windows, height, width), flow: (batch, 2, height, width) -> (batch, channels, ...)"""
        both = torch.cat([self.looked(windows), self.flow(flow)], 1)
        merged = F.relu(self.merged(both))
        return torch.cat([merged, flow.to(merged.dtype)], 1)


def two_convolutions(inputs: int, hidden: int, outputs: int, last: int) -> nn.Sequential:
    """3 x 3 to `hidden` channels, ReLU, and last x last to `outputs`."""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, last, padding=last // 2),
    )
