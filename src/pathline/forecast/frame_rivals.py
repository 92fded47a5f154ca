"""What GCRN is measured against on frames: the same encoder and decoder, with a cell that knows no graph.

VectorLSTM is an ordinary LSTM over all pixels as one vector (Srivastava et al., 2015, arXiv:1502.04681). It is no
catalogued system.
"""

from typing import Any

from torch import Tensor, nn

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


class VectorLSTM(GCRN):
    """width: of h, for all pixels together."""

    def __init__(
        self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int, width: int = 10, **options: Any
    ) -> None:
        super().__init__(
            nodes, channels, history, horizon, steps_per_day, width, 1, model="stacked", clock=False, **options
        )
        self.encoder, self.decoder = (nn.ModuleList([FlatCell(nodes * channels, width)]) for _ in range(2))
