"""Recurrent cells whose state is a matrix, such as the weights of a layer, and what summarises a set for them.

    gate(X, H) = act(W X + U H + B),       X, H, B: (rows, columns), W, U: (rows, rows)
The columns of the state are treated as a batch of vectors; only B tells them apart.

    gated recurrent unit:  Z = sigmoid gate(X, H), R = sigmoid gate(X, H), C = tanh gate(X, R * H)
                           H' = (1 - Z) * H + Z * C
    long short-term:       F, I, O = sigmoid gates(X, H), C~ = tanh gate(X, H)
                           C' = F * C + I * C~,  H' = O * tanh(C')
Pareja et al., 2020, "EvolveGCN", arXiv:1902.10191.
"""

import torch
from torch import Tensor, nn


def uniform(*shape: int, width: int) -> nn.Parameter:
    """Uniform in +-1 / sqrt(width)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-(width**-0.5), width**-0.5))


class MatrixGates(nn.Module):
    """W X + U H + B for several gates that see the same X and H."""

    def __init__(self, rows: int, columns: int, gates: int) -> None:
        super().__init__()
        self.gates = gates
        self.from_input = uniform(gates * rows, rows, width=rows)
        self.from_state = uniform(gates * rows, rows, width=rows)
        self.bias = nn.Parameter(torch.zeros(gates * rows, columns))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """x, state: (..., rows, columns) -> as many of the same shape as there are gates."""
        return (self.from_input @ x + self.from_state @ state + self.bias).chunk(self.gates, dim=-2)


class MatrixGRU(nn.Module):
    """A gated recurrent unit with a state of (rows, columns)."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.gates = MatrixGates(rows, columns, 2)
        self.candidate = MatrixGates(rows, columns, 1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """The next state. x, state: (..., rows, columns)."""
        update, reset = (torch.sigmoid(gate) for gate in self.gates(x, state))
        (candidate,) = self.candidate(x, reset * state)
        return torch.lerp(state, torch.tanh(candidate), update)


class MatrixLSTM(nn.Module):
    """A long short-term memory with a state and a cell of (rows, columns)."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.gates = MatrixGates(rows, columns, 4)

    def forward(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """The next state and cell. x, state, cell: (..., rows, columns)."""
        forget, enter, output, candidate = self.gates(x, state)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(output) * torch.tanh(cell), cell


class TopSummary(nn.Module):
    """The `count` rows of a set that score highest, each scaled by the tanh of its score, as columns.

        y = X p / |p|,  i_1, i_2, ... = top(y),  summary = [tanh(y_i) X_i for i in top]^T
    The factor lets a gradient reach p (Cangea et al., 2018, arXiv:1811.01287). Absent rows never enter; where fewer
    than `count` are present the last one is repeated, and where none is the summary is zero.
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.direction = uniform(features, width=features)

    def chosen(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows, (batch, count) int64 from the highest score on, and all scores (batch, rows)."""
        scores = x @ (self.direction / self.direction.norm())
        masked = scores.masked_fill(~present, -torch.inf)
        top = masked.topk(min(self.count, x.shape[-2]), dim=-1).indices
        last = present.sum(-1, keepdim=True).clamp(1, top.shape[-1]) - 1
        rank = torch.minimum(torch.arange(self.count, device=x.device), last)
        return top.gather(-1, rank), scores

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x: (batch, rows, features), present: (batch, rows) bool -> (batch, features, count)."""
        rows, scores = self.chosen(x, present)
        picked = x.gather(-2, rows[..., None].expand(*rows.shape, x.shape[-1]))
        summary = picked * torch.tanh(scores.gather(-1, rows))[..., None]
        return (summary * present.any(-1)[..., None, None]).transpose(-1, -2)
