"""What GCRN is measured against on frames: the same encoder and decoder, with cells that know no graph.

VectorLSTM:   an ordinary LSTM over all pixels as one vector (Srivastava et al., 2015, arXiv:1502.04681)
ConvLSTM:     3 x 3 convolutions, which know right from left (Shi et al., 2015, arXiv:1506.04214)
They are no catalogued systems.
"""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from pathline.core.errors import DataError
from pathline.forecast.gcrn import GCRN
from pathline.nn.graph_recurrent import SequenceCell, State, remembering


class FlatCell(SequenceCell):
    """The state (h, c) is (batch, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.cell = remembering(nn.LSTMCell(inputs, width))

    def start(self, x: Tensor) -> State:
        return (x.new_zeros(x.shape[-2], self.cell.hidden_size),) * 2

    def step(self, x: Tensor, state: State, matrix: Tensor) -> State:
        h, c = self.cell(x.transpose(0, 1).flatten(1), (state[0], state[1]))
        return h, c


class ConvCell(SequenceCell):
    """Nodes are the pixels of a square, row by row; the state (h, c) is (nodes, batch, width)."""

    def __init__(self, inputs: int, width: int, side: int, kernel: int = 3) -> None:
        super().__init__()
        self.width, self.side = width, side
        self.gates = nn.Conv2d(inputs + width, 4 * width, kernel, padding=kernel // 2)
        assert self.gates.bias is not None
        with torch.no_grad():
            self.gates.bias[width : 2 * width] = 1.0

    def start(self, x: Tensor) -> State:
        return (x.new_zeros(x.shape[0], x.shape[-2], self.width),) * 2

    def step(self, x: Tensor, state: State, matrix: Tensor) -> State:
        h, c = state
        picture = torch.cat([x.to(h.dtype), h], -1).permute(1, 2, 0).unflatten(-1, (self.side, self.side))
        i, f, g, o = self.gates(picture).flatten(2).permute(2, 0, 1).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class VectorLSTM(GCRN):
    """width: of h, for all pixels together."""

    def __init__(
        self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int, width: int = 10, **options: Any
    ) -> None:
        super().__init__(
            nodes, channels, history, horizon, steps_per_day, width, 1, model="stacked", clock=False, **options
        )
        self.encoder, self.decoder = (nn.ModuleList([FlatCell(nodes * channels, width)]) for _ in range(2))


class ConvLSTM(GCRN):
    """width: channels of h."""

    def __init__(
        self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int, width: int = 18, **options: Any
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day, width, 1, clock=False, **options)
        side = isqrt(nodes)
        if side**2 != nodes:
            raise DataError(f"ConvLSTM works on square pictures, and {nodes} sensors are none")
        self.encoder, self.decoder = (nn.ModuleList([ConvCell(channels, width, side)]) for _ in range(2))
