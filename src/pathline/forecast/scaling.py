"""From measurements to numbers a network likes, and back; gaps never enter a statistic."""

import torch
from torch import Tensor, nn

from pathline.data import Series


def carry_forward(values: Tensor, observed: Tensor, before: Tensor) -> Tensor:
    """Fill gaps with the last observed value, and with `before` where there is none yet.

    values, observed: (batch, time, nodes, channels); before: broadcast to that -> the shape of values
    """
    if bool(observed.all()):
        return values
    steps = torch.arange(values.shape[1], device=values.device).view(1, -1, 1, 1)
    latest = torch.where(observed, steps, -1).cummax(dim=1).values
    return torch.where(latest >= 0, values.gather(1, latest.clamp(min=0)), before)


class Standardise(nn.Module):
    """z = (x - mean) / std with one mean and one standard deviation per channel, over all sensors and times.

    One scale for all sensors is the field's habit (DCRNN, GMAN, AGCRN): sensors keep their differences, and a network
    with shared weights sees how busy a sensor is.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def read(self, data: Series) -> None:
        """Take the statistics from the observed values of `data`; a constant or empty channel keeps std 1."""
        observed = data.observed.double()
        count = observed.sum((0, 1)).clamp(min=1)
        values = data.values.double()
        mean = (values * observed).sum((0, 1)) / count
        std = (((values - mean).square() * observed).sum((0, 1)) / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6 * (1 + mean.abs()), std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) in the data's units -> standardised."""
        return (x - self.mean) / self.std

    def inverse(self, z: Tensor) -> Tensor:
        """Standardised -> the data's units, in float32 whatever precision the network ran in."""
        return z.to(self.std.dtype) * self.std + self.mean
