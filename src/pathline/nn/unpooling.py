"""Convolutional networks from fields to fields with one decoder for all outputs or one for each.

`UnpoolingUNet` remembers where each maximum of its pooling stood and puts it back there on the way up (Zeiler, Fergus,
2014, arXiv:1311.2901), beside the features of the same scale on the way down (Ronneberger, Fischer, Brox, 2015,
arXiv:1505.04597). `Autoencoder` keeps the full resolution throughout and has no such skips. Both as in Ribeiro,
Rehman, Ahmed, Dengel, 2020, arXiv:2004.08826. Any height and width works that the poolings leave a cell of.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolutions(channels: Sequence[int], kernel: int, ends: bool = False) -> nn.Sequential:
    """A convolution from each number of channels to the next, with ReLU after each, but not after one that `ends`.

    Weights begin with the variance that keeps that of the signal (He, Zhang, Ren, Sun, 2015, arXiv:1502.01852).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*(layers[:-1] if ends else layers))


def decoder_outputs(outputs: int, separate: bool) -> list[int]:
    """Channels of each decoder: 1 for each output if separate, else all in one."""
    return [1] * outputs if separate else [outputs]


class UnpoolingUNet(nn.Module):
    """An encoder and one decoder, or as many as outputs.

    filters:  channels at each scale; each but the first has half the height and width of the one before
    kernel:   odd size of the convolutions
    layers:   convolutions at each scale, on the way down and on the way up
    separate: a decoder of its own for every output
    """

    def __init__(
        self, inputs: int, outputs: int, filters: Sequence[int], kernel: int, layers: int, separate: bool
    ) -> None:
        super().__init__()
        scales = list(pairwise([inputs, *filters]))
        self.down = nn.ModuleList(convolutions([i] + [o] * layers, kernel) for i, o in scales)
        self.decoders = nn.ModuleList()
        for count in decoder_outputs(outputs, separate):
            ups = [*((width, before) for before, width in reversed(scales[1:])), (filters[0], count)]
            self.decoders.append(
                nn.ModuleList(
                    convolutions([2 * width] + [width] * (layers - 1) + [after], kernel, ends=k == len(filters) - 1)
                    for k, (width, after) in enumerate(ups)
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height, width)."""
        skips, places = [], []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x, place = F.max_pool2d(x, 2, return_indices=True)
            places.append(place)
        return torch.cat([self._up(decoder, x, skips, places) for decoder in self.decoders], 1)

    def _up(self, decoder: nn.Module, x: Tensor, skips: list[Tensor], places: list[Tensor]) -> Tensor:
        for block, skip, place in zip(decoder.children(), reversed(skips), reversed(places), strict=True):
            x = F.max_unpool2d(x, place, [2, 2], output_size=skip.shape[2:])
            x = block(torch.cat([skip, x], 1))
        return x


class Autoencoder(nn.Module):
    """One convolution for each of the `filters` and one back from each, all at full resolution."""

    def __init__(self, inputs: int, outputs: int, filters: Sequence[int], kernel: int, separate: bool) -> None:
        super().__init__()
        self.encoder = convolutions([inputs, *filters], kernel)
        self.decoders = nn.ModuleList(
            convolutions([*reversed(filters), count], kernel, ends=True) for count in decoder_outputs(outputs, separate)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height, width)."""
        x = self.encoder(x)
        return torch.cat([decoder(x) for decoder in self.decoders], 1)
