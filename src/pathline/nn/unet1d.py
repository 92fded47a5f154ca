"""A U-Net for signals in time, of any length.

Ronneberger et al., 2015, arXiv:1505.04597, in one dimension as Zhu, Beroza, 2019, arXiv:1803.03211, lay it out: strided
convolutions instead of pooling, transposed ones on the way up, and padding that makes lengths ceil(n / stride).

Signals are carried as pictures of height 1 whose channels lie side by side in memory: on processors such convolutions
take a third to a half of the time of those of `nn.Conv1d`.
"""

import copy
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def even_padding(samples: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros in front and behind, one more behind where they are odd, that make a convolution give ceil(n / stride)
    samples."""
    missing = max((-(-samples // stride) - 1) * stride + kernel - samples, 0)
    return missing // 2, missing - missing // 2


class ConvolutionBlock(nn.Module):
    """ReLU(BN(conv(x))) and dropout: (batch, inputs, 1, n) -> (batch, outputs, 1, ceil(n / stride)); no bias, for BN
    has one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.convolution = nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        before, behind = even_padding(x.shape[-1], self.kernel, self.stride)
        if before == behind:  # the convolution's own padding, which needs no copy
            conv = self.convolution
            x = F.conv2d(x, conv.weight, conv.bias, conv.stride, (0, before))
        else:
            x = self.convolution(F.pad(x, (before, behind)))
        result: Tensor = self.dropout(F.relu(self.norm(x), inplace=not self.training))
        return result

    def fold(self) -> None:
        self.convolution, self.norm = _folded(self.convolution, self.norm), nn.Identity()


class UpBlock(nn.Module):
    """Transposed convolution to `stride` times the length, cut in the middle to the length of the skip, joined with
    it behind the skip, and a convolution: (batch, 2 c, 1, m), (batch, c, 1, n) -> (batch, c, 1, n)."""

    def __init__(self, channels: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.rise = nn.ConvTranspose2d(2 * channels, channels, (1, kernel), (1, stride), bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.join = ConvolutionBlock(2 * channels, channels, kernel, 1, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        whole = x.shape[-1] * self.stride
        risen = self.rise(x)
        begin = (risen.shape[-1] - whole) // 2 + (whole - skip.shape[-1]) // 2
        risen = self.norm(risen[..., begin : begin + skip.shape[-1]])
        joined: Tensor = self.join(torch.cat([skip, self.dropout(F.relu(risen))], dim=1))
        return joined

    def fold(self) -> None:
        together = _folded(self.rise, self.norm, transpose=True)
        self.rise, self.norm = together, _Offset(together.bias)
        self.rise.bias = None  # a transposed convolution that adds its own is several times as slow


class _Offset(nn.Module):
    """What is left of a normalisation beside its scale: one number for each channel."""

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset.detach()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset.to(x.dtype)  # type: ignore[operator]


def _folded(convolution: Any, norm: nn.Module, transpose: bool = False) -> Any:
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm, transpose).to(memory_format=torch.channels_last)


class UNet1d(nn.Module):
    """(batch, inputs, samples) -> (batch, outputs, samples).

    filters: channels at the finest of `depth` levels; every level has twice as many and 1 / stride the length
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        filters: int = 8,
        depth: int = 5,
        kernel: int = 7,
        stride: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kernel < stride:
            raise ValueError(f"a kernel of {kernel} leaves gaps at a stride of {stride}; choose kernel >= stride")
        widths = [filters * 2**level for level in range(depth)]
        self.enter = ConvolutionBlock(inputs, filters, kernel, 1, dropout)
        self.refine = nn.ModuleList(
            ConvolutionBlock(width if not level else widths[level - 1], width, kernel, 1, dropout)
            for level, width in enumerate(widths)
        )
        self.shrink = nn.ModuleList(ConvolutionBlock(width, width, kernel, stride, dropout) for width in widths[:-1])
        self.up = nn.ModuleList(UpBlock(width, kernel, stride, dropout) for width in reversed(widths[:-1]))
        self.leave = nn.Conv2d(filters, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def folded(self) -> Self:
        """A copy for inference whose convolutions have taken the normalisations in: the same numbers, sooner."""
        net = copy.deepcopy(self).eval()
        for module in list(net.modules()):
            if isinstance(module, ConvolutionBlock | UpBlock):
                module.fold()
        return net

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x[:, :, None].contiguous(memory_format=torch.channels_last))
        skips = []
        for level, refine in enumerate(self.refine):
            h = refine(h)
            if level < len(self.shrink):
                skips.append(h)
                h = self.shrink[level](h)
        for up in self.up:
            h = up(h, skips.pop())
        output: Tensor = self.leave(h)[:, :, 0]
        return output
