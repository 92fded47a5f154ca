"""Rivals of EvolveGCN with weights that do not move. They are no catalogued systems.

StaticGCN:  Kipf and Welling, 2017, arXiv:1609.02907, on the last snapshot, trained on all windows.
GCNGRU:     the same convolutions on every snapshot of the window, then a gated recurrent unit along each node's vectors
            (GCN-GRU of Pareja et al., 2020, arXiv:1902.10191).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pathline.events.snapshot_windows import Windows
from pathline.events.snapshots import SnapshotModel


class Convolutions(nn.Module):
    """H^l = act(Ahat H^{l-1} W^l), two layers; weights uniform in +-2 / sqrt(inputs)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(rows, width).uniform_(-2 * rows**-0.5, 2 * rows**-0.5)) for rows in (inputs, width)
        )
        self.activation = nn.RReLU()

    def forward(self, smoothed: Tensor, adjacency: Tensor) -> Tensor:
        """smoothed = Ahat X: (B, N, inputs), adjacency: sparse (B N, B N) -> (B, N, width)."""
        hidden = self.activation(smoothed @ self.weights[0]) @ self.weights[1]
        out: Tensor = self.activation((adjacency @ hidden.flatten(0, 1)).view_as(hidden))
        return out


class StaticGCN(SnapshotModel):
    """A graph convolution on the last snapshot."""

    def __init__(self, stream: dict[str, Any], **options: Any) -> None:
        super().__init__(stream, **options)
        self.network = Convolutions(self.inputs, self.width)

    def encode(self, windows: Windows) -> Tensor:
        assert windows.adjacency[-1] is not None
        out: Tensor = self.network(windows.smoothed[-1], windows.adjacency[-1])
        return out


class GCNGRU(SnapshotModel):
    """A graph convolution on every snapshot, and a memory for every node."""

    all_adjacencies: ClassVar[bool] = True

    def __init__(self, stream: dict[str, Any], **options: Any) -> None:
        super().__init__(stream, **options)
        self.network = Convolutions(self.inputs, self.width)
        self.recurrent = nn.GRU(self.width, self.width)

    def encode(self, windows: Windows) -> Tensor:
        each = []
        for smoothed, adjacency in zip(windows.smoothed, windows.adjacency, strict=True):
            assert adjacency is not None
            each.append(self.network(smoothed, adjacency).flatten(0, 1))
        _, last = self.recurrent(torch.stack(each))
        out: Tensor = last[0].view(*windows.smoothed[-1].shape[:2], -1)
        return out
