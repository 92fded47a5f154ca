"""Recurrent cells whose matrix products are Chebyshev graph filters (`*`), for signals on the nodes of a graph.

    ChebyshevLSTM   i = sigmoid(W_xi * x + W_hi * h + w_ci c + b_i),   f likewise,   g = tanh(W_xg * x + W_hg * h + b_g)
                    c' = f c + i g,   o = sigmoid(W_xo * x + W_ho * h + w_co c' + b_o),   h' = o tanh(c')
    ChebyshevGRU    r, u = sigmoid(W_x * x + W_h * h + b),   g = tanh(W_xg * x + W_hg * (r h) + b),   h' = u h + (1-u) g
Seo, Defferrard, Vandergheynst, Bresson, 2016, arXiv:1612.07659, model 2 (the LSTM); the GRU is its twin.

T_k(L) x and T_k(L) h are computed once and shared by all gates; all steps of an input that is known go through their
filter at once, so that only what depends on h is left in the loop over time. One gate order everywhere: i, f, g, o as
in torch.nn.LSTM; with one coefficient and no peepholes the cell IS torch's LSTM at every node.

Layout: nodes come FIRST, (nodes, time, batch, features), for then a graph product is one matrix product. `matrix` is as
in `nn.chebyshev`, or a list of one matrix per step for a graph that changes.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from pathline.nn.chebyshev import ChebyshevFilter

State = tuple[Tensor, ...]


class SequenceCell(nn.Module):
    """A step, and the loop over time. A state is a tuple of tensors; the first one is the output."""

    def start(self, x: Tensor) -> State:
        """The state before the first step, for x (nodes, ..., batch, inputs)."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State, matrix: Tensor) -> State:
        """x (nodes, batch, inputs) and the state before -> the state after."""
        raise NotImplementedError

    def forward(self, x: Tensor, matrix: Tensor | Sequence[Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """x: (nodes, time, batch, inputs) -> outputs (nodes, time, batch, width) and the last state."""
        state = self.start(x) if state is None else state
        outputs = []
        matrices = [matrix] * x.shape[1] if isinstance(matrix, Tensor) else matrix
        for value, now in zip(x.unbind(1), matrices, strict=True):
            state = self.step(value, state, now)
            outputs.append(state[0])
        return torch.stack(outputs, -3), state


class ChebyshevCell(SequenceCell):
    """What both cells share: an input that is filtered for all steps at once where the graph stays the same.

    inputs, width: features of x and of h;  coefficients: K, so a step sees K - 1 hops
    """

    states: int  # tensors (nodes, batch, width) in a state

    def __init__(self, inputs: int, width: int, coefficients: int, gates: int) -> None:
        super().__init__()
        self.width = width
        self.input = ChebyshevFilter(inputs, gates * width, coefficients, bias=True)

    def start(self, x: Tensor) -> State:
        return tuple(x.new_zeros(x.shape[0], x.shape[-2], self.width) for _ in range(self.states))

    def step(self, x: Tensor, state: State, matrix: Tensor) -> State:
        return self.update(self.input.nodes_first(x, matrix), state, matrix)

    def update(self, driven: Tensor, state: State, matrix: Tensor) -> State:
        """As `step`, for an input that has been filtered: driven (nodes, batch, gates * width)."""
        raise NotImplementedError

    def forward(self, x: Tensor, matrix: Tensor | Sequence[Tensor], state: State | None = None) -> tuple[Tensor, State]:
        if not isinstance(matrix, Tensor) or matrix.dim() == 3:
            return super().forward(x, matrix, state)
        state = self.start(x) if state is None else state
        outputs = []
        for driven in self.input.nodes_first(x, matrix).unbind(1):
            state = self.update(driven, state, matrix)
            outputs.append(state[0])
        return torch.stack(outputs, 1), state


class ChebyshevLSTM(ChebyshevCell):
    """State (h, c). peephole: weights w_c (width,) from c to the gates, shared by all nodes so that none is tied to N.

    The forget gate's bias starts at 1, so that a fresh cell remembers.
    """

    states = 2

    def __init__(self, inputs: int, width: int, coefficients: int, peephole: bool = True) -> None:
        super().__init__(inputs, width, coefficients, gates=4)
        self.hidden = ChebyshevFilter(width, 4 * width, coefficients)
        self.peephole = nn.Parameter(torch.zeros(3, width)) if peephole else None
        assert self.input.bias is not None
        with torch.no_grad():
            self.input.bias[width : 2 * width] = 1.0

    def update(self, driven: Tensor, state: State, matrix: Tensor) -> State:
        h, c = state
        i, f, g, o = (driven + self.hidden.nodes_first(h, matrix)).chunk(4, -1)
        if self.peephole is not None:
            i, f = i + self.peephole[0] * c, f + self.peephole[1] * c
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        if self.peephole is not None:
            o = o + self.peephole[2] * c
        return o.sigmoid() * c.tanh(), c


class ChebyshevGRU(ChebyshevCell):
    """State (h,)."""

    states = 1

    def __init__(self, inputs: int, width: int, coefficients: int) -> None:
        super().__init__(inputs, width, coefficients, gates=3)
        self.hidden = ChebyshevFilter(width, 2 * width, coefficients)
        self.candidate = ChebyshevFilter(width, width, coefficients)

    def update(self, driven: Tensor, state: State, matrix: Tensor) -> State:
        (h,) = state
        gates, candidate = driven.split([2 * self.width, self.width], -1)
        reset, keep = (gates + self.hidden.nodes_first(h, matrix)).sigmoid().chunk(2, -1)
        g = (candidate + self.candidate.nodes_first(reset * h, matrix)).tanh()
        return (torch.lerp(g, h, keep),)


class StackedLSTM(SequenceCell):
    """The paper's model 1: ReLU(w * x) at every node, all nodes' features as one vector, an ordinary LSTM over that.

    Its state (h, c) and its outputs have no nodes: (batch, width), (time, batch, width). For few nodes: its matrix has
    4 width (nodes features + width) entries, and belongs to one graph.
    """

    def __init__(self, nodes: int, inputs: int, features: int, width: int, coefficients: int) -> None:
        super().__init__()
        self.filter = ChebyshevFilter(inputs, features, coefficients, bias=True)
        self.cell = remembering(nn.LSTMCell(nodes * features, width))

    def start(self, x: Tensor) -> State:
        return (x.new_zeros(x.shape[-2], self.cell.hidden_size),) * 2

    def step(self, x: Tensor, state: State, matrix: Tensor) -> State:
        features = self.filter.nodes_first(x, matrix).relu().transpose(0, 1).flatten(1)
        h, c = self.cell(features, (state[0], state[1]))
        return h, c


Cell = TypeVar("Cell", nn.LSTMCell, nn.LSTM)


def remembering(cell: Cell) -> Cell:
    """The same with its forget gate's bias at 1."""
    bias: Tensor = getattr(cell, "bias_ih" if isinstance(cell, nn.LSTMCell) else "bias_ih_l0")
    with torch.no_grad():
        bias.view(4, -1)[1] = 1.0
    return cell
