"""A first layer on features most of which are zero, as words of a text are: dropout and product see only the others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.sparse import Edges

WIDE, SHARE = 256, 0.1  # from how many features on, and up to which share that is not zero, it pays


class SparseInput:
    """W dropout(x) + b, with the places of what is not zero remembered for the x seen last.

    It is `linear(F.dropout(x))` in every respect: a zero that is dropped is zero. Where x has a gradient, is narrow or
    dense, that is what is computed.
    """

    def __init__(self) -> None:
        self.x: Tensor | None = None
        self.values: Tensor | None = None
        self.edges: Edges | None = None

    def __call__(self, linear: nn.Linear, x: Tensor, dropout: float, training: bool) -> Tensor:
        """x: (n, inputs) -> (n, outputs)."""
        if not self._sparse(x):
            done: Tensor = linear(F.dropout(x, dropout, training))
            return done
        assert self.edges is not None and self.values is not None
        said = self.edges.propagate(linear.weight.T, F.dropout(self.values, dropout, training))
        return said if linear.bias is None else said + linear.bias

    def _sparse(self, x: Tensor) -> bool:
        if x.requires_grad or x.shape[1] < WIDE:
            return False
        if self.x is None or self.x.dtype != x.dtype or self.x.device != x.device or not torch.equal(self.x, x):
            row, column = x.nonzero().T
            self.x, self.values, self.edges = x, None, None
            if len(row) <= SHARE * x.numel():
                self.values = x[row, column]
                self.edges = Edges(torch.stack([column, row]), len(x), x.shape[1])
        return self.edges is not None
