"""A small time-conditioned U-Net for images.

Ronneberger et al., 2015, arXiv:1505.04597; with the residual blocks of Ho et al., 2020, arXiv:2006.11239,
conditioned by scale and shift as in Dhariwal, Nichol, 2021, arXiv:2105.05233. Any height and width works:
the way up resizes to the skip.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.nn.attention import MultiHeadAttention
from pathline.nn.embeddings import Conditioning


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with up to 8 groups, always a divisor of `channels`."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


class ConditionedBlock(nn.Module):
    """x + conv(SiLU((1 + scale) GroupNorm(conv(SiLU(GroupNorm(x)))) + shift)), scale and shift linear in c.

    x: (batch, inputs, height, width), c: (batch, condition) -> (batch, outputs, height, width)
    """

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(group_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.norm = group_norm(outputs)
        self.leave = nn.Sequential(nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(F.silu(condition))[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm(self.enter(x)), 1 + scale)
        result: Tensor = self.skip(x) + self.leave(h)
        return result


class ImageAttention(nn.Module):
    """x + attention over all pixels of GroupNorm(x); (batch, channels, height, width) in and out."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.attention = MultiHeadAttention(channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        update: Tensor = self.attention(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + update


class UNet(nn.Module):
    """A velocity network for images; attention works at the coarsest level only.

    channels:    of the image
    width:       channels at the finest level
    multipliers: of the width at each level; each level after the first halves height and width
    blocks:      residual blocks per level on the way down, one more on the way up
    num_classes, interval: see `Conditioning`
    """

    def __init__(
        self,
        channels: int,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        heads: int = 4,
        num_classes: int | None = None,
        interval: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        condition = 4 * width
        widths = [width * multiplier for multiplier in multipliers]
        self.condition = Conditioning(condition, num_classes, interval)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        current, skips = width, [width]
        for level, outputs in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(current, current, 3, stride=2, padding=1))
                skips.append(current)
            for _ in range(blocks):
                self.down.append(ConditionedBlock(current, outputs, condition))
                current = outputs
                skips.append(current)
        self.middle = nn.ModuleList(
            [
                ConditionedBlock(current, current, condition),
                ImageAttention(current, heads),
                ConditionedBlock(current, current, condition),
            ]
        )
        self.up = nn.ModuleList()
        for outputs in reversed(widths):
            for _ in range(blocks + 1):
                self.up.append(ConditionedBlock(current + skips.pop(), outputs, condition))
                current = outputs
        self.leave = nn.Sequential(group_norm(current), nn.SiLU(), nn.Conv2d(current, channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """x: (batch, channels, height, width); t, r: (batch,); label: (batch,) int64 -> the shape of x."""
        condition = self.condition(t, r, label)
        h = self.enter(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, condition) if isinstance(layer, ConditionedBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, condition) if isinstance(layer, ConditionedBlock) else layer(h)
        for layer in self.up:
            skip = skips.pop()
            if h.shape[2:] != skip.shape[2:]:
                h = F.interpolate(h, size=skip.shape[2:], mode="nearest")
            h = layer(torch.cat([h, skip], dim=1), condition)
        output: Tensor = self.leave(h)
        return output
