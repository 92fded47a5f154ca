"""From a window of vectors to a horizon of vectors: recurrent cells or a transformer, with three ways to look ahead."""

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError

CELLS = ("gru", "lstm", "rnn", "transformer")
DECODERS = ("direct", "zeros", "autoregressive")


class MotionNetwork(nn.Module):
    """(batch, time, dims) -> (batch, horizon, dims).

    GRU: z = s(W_z x + U_z h + b),  r = s(W_r x + U_r h + b),  n = tanh(W x + r * (U h + b)),  h' = (1 - z) n + z h

    decoder: "direct", the last state gives all steps at once by one linear map; "zeros", a second cell starts from the
        state and runs on without input, each of its states gives one step; "autoregressive", its input is its last step
    """

    def __init__(
        self, dims: int, horizon: int, cell: str, layers: int, width: int, dropout: float, decoder: str, longest: int
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise MethodError(f"there is no cell '{cell}'; there are {', '.join(CELLS)}")
        if decoder not in DECODERS:
            raise MethodError(f"there is no decoder '{decoder}'; there are {', '.join(DECODERS)}")
        if cell == "transformer" and width % 4:
            raise MethodError(f"a transformer of 4 heads needs a width that is a multiple of 4, not {width}")
        if cell == "transformer" and decoder != "direct":
            raise MethodError("a transformer has no state to run on from: its decoder is 'direct'")
        self.dims, self.horizon, self.decoder, self.cell = dims, horizon, decoder, cell
        self.decode: nn.Module | None = None
        if cell == "transformer":
            self.lift = nn.Linear(dims, width)
            self.place = nn.Parameter(0.02 * torch.randn(longest, width))
            block = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True, norm_first=True)
            self.encode: nn.Module = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        else:
            kind = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[cell]
            between = dropout if layers > 1 else 0.0
            self.encode = kind(dims, width, layers, batch_first=True, dropout=between)
            if decoder != "direct":
                self.decode = kind(1 if decoder == "zeros" else dims, width, layers, batch_first=True)
        self.head = nn.Linear(width, dims * (horizon if decoder == "direct" else 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.cell == "transformer":
            encoded = self.encode(self.lift(x) + self.place[: x.shape[1]])
            return self.head(encoded[:, -1]).unflatten(1, (self.horizon, self.dims))
        states, last = self.encode(x)
        if self.decode is None:
            return self.head(states[:, -1]).unflatten(1, (self.horizon, self.dims))
        if self.decoder == "zeros":
            nothing = states.new_zeros(len(x), self.horizon, 1)
            return self.head(self.decode(nothing, last)[0])
        step, steps = x[:, -1:], []
        for _ in range(self.horizon):
            state, last = self.decode(step, last)
            step = self.head(state)
            steps.append(step)
        return torch.cat(steps, 1)
