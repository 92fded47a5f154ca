"""Gated recurrent units on pictures: the hidden state and every gate are maps, and matrices are convolutions.

    z = sigmoid(W_z * [h, x])    r = sigmoid(W_r * [h, x])    q = tanh(W_q * [r h, x])    h' = (1 - z) h + z q
Ballas et al., 2016, arXiv:1511.06432; separable as in Teed and Deng, 2020, arXiv:2003.12039: one unit of 1 x 5 and then
one of 5 x 1 see as far as 5 x 5 with two fifths of the weights.

The input x has a part that is the same in every step (context) and one that changes. Convolutions are linear, so the
context's share is computed once (`share`), with the biases in it.
"""

import torch
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """One unit with kernels of rows x columns.

    hidden, context, inputs: channels of the state, of the unchanging input and of the changing one
    """

    def __init__(self, hidden: int, context: int, inputs: int, kernel: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.hidden = hidden
        self.fixed = nn.Conv2d(context, 3 * hidden, kernel, padding=padding)
        self.gates = nn.Conv2d(hidden + inputs, 2 * hidden, kernel, padding=padding, bias=False)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding, bias=False)
        # as if each gate were one convolution over all its inputs: uniform in +-1 / sqrt(inputs x kernel)
        bound = ((hidden + context + inputs) * kernel[0] * kernel[1]) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def share(self, context: Tensor) -> Tensor:
        """What `context` (batch, context, height, width) adds to the gates: (batch, 3 hidden, height, width)."""
        shared: Tensor = self.fixed(context)
        return shared

    def forward(self, state: Tensor, inputs: Tensor, share: Tensor) -> Tensor:
        """The next state. state: (batch, hidden, height, width), inputs: (batch, inputs, height, width)"""
        fixed_gates, fixed_candidate = share.split([2 * self.hidden, self.hidden], 1)
        update, reset = torch.sigmoid(self.gates(torch.cat([state, inputs], 1)) + fixed_gates).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([reset * state, inputs], 1)) + fixed_candidate)
        return torch.lerp(state.to(candidate.dtype), candidate, update.to(candidate.dtype))


class SeparableConvGRU(nn.Module):
    """A unit along rows (1 x 5), then one along columns (5 x 1)."""

    def __init__(self, hidden: int, context: int, inputs: int, length: int = 5) -> None:
        super().__init__()
        self.along_rows = ConvGRU(hidden, context, inputs, (1, length))
        self.along_columns = ConvGRU(hidden, context, inputs, (length, 1))

    def share(self, context: Tensor) -> Tensor:
        """As that of `ConvGRU`, both units' shares side by side."""
        return torch.cat([self.along_rows.share(context), self.along_columns.share(context)], 1)

    def forward(self, state: Tensor, inputs: Tensor, share: Tensor) -> Tensor:
        rows, columns = share.chunk(2, 1)
        between = self.along_rows(state, inputs, rows)
        after: Tensor = self.along_columns(between, inputs, columns)
        return after
