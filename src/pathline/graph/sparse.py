"""Sparse products, with learned or fixed weights: no message is ever stored, so memory is that of the nodes.

    y[r] = sum_{e: receiver(e) = r} w_e x[sender(e)]          `Edges.propagate(x, w)`
    dL/dx[s] = sum_{e: sender(e) = s} w_e dL/dy[receiver(e)]   the same product along the reversed edges
    dL/dw_e = <dL/dy[receiver(e)], x[sender(e)]>               `Edges.dots`

The edge list is sorted once by receiver and once by sender, each when it is first needed. The three products are each
other's derivatives, hence differentiable any number of times. On a processor sums run through `embedding_bag` and dots
through a sampled product of matrices, tens of times as fast as gathering both ends.

A `SparseMatrix` is the same in the words of linear algebra: its rows receive, its columns send, its entries are sorted
and have values.
"""

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pathline.graph.ragged import starts_of
from pathline.graph.segment import segment_softmax, segment_sum, sum_bags

_SAMPLED = (torch.float32, torch.float64)  # dtypes of which there is a sampled product
_BLOCK = 1 << 23  # numbers gathered at once


class Edges:
    """An edge list from `senders` to `receivers` nodes, sorted both ways on first use.

    edge_index: (2, E) int64, row 0 the sender and row 1 the receiver; parallel edges stay apart
    """

    ends = "senders", "receivers"

    def __init__(self, edge_index: Tensor, receivers: int, senders: int | None = None) -> None:
        """Raises IndexError for an edge that names a node which is not there."""
        self.edge_index, self.receivers = edge_index, receivers
        self.senders = receivers if senders is None else senders
        for what, row, count in zip(self.ends, edge_index, (self.senders, receivers), strict=True):
            if row.numel() and not 0 <= int(row.min()) <= int(row.max()) < count:
                raise IndexError(f"{what} run from {int(row.min())} to {int(row.max())}; there are {count}")

    @cached_property
    def into(self) -> "Grouped":
        """Grouped by receiver."""
        return Grouped(self.edge_index[1], self.edge_index[0], self.receivers, self.senders)

    @cached_property
    def out_of(self) -> "Grouped":
        """Grouped by sender."""
        return Grouped(self.edge_index[0], self.edge_index[1], self.senders, self.receivers)

    @cached_property
    def in_degree(self) -> Tensor:
        """(receivers,) int64."""
        return torch.bincount(self.edge_index[1], minlength=self.receivers)

    def propagate(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """y (receivers, width) of x (senders, width) and weight (E,) or (E, heads); heads share the width equally."""
        if x.ndim != 2 or len(x) != self.senders:
            raise ValueError(f"x has shape {tuple(x.shape)} but must be ({self.senders}, width)")
        if weight is not None and weight.ndim == 2:
            heads = zip(x.chunk(weight.shape[1], 1), weight.unbind(1), strict=True)
            return torch.cat([self.propagate(part, one) for part, one in heads], 1)
        summed: Tensor = _Propagate.apply(x, None if weight is None else weight.to(x.dtype), self, False)
        return summed

    def dots(self, receiving: Tensor, sending: Tensor) -> Tensor:
        """<receiving[receiver(e)], sending[sender(e)]>: (E,)."""
        products: Tensor = _Dots.apply(receiving, sending, self)
        return products

    def weight_sum(self, weight: Tensor) -> Tensor:
        """The weights that arrive at each receiver: (E, ...) -> (receivers, ...)."""
        return segment_sum(weight, self.edge_index[1], self.receivers)

    def softmax(self, scores: Tensor) -> Tensor:
        """Softmax of (E, ...) among the edges that arrive at a node."""
        return segment_softmax(scores, self.edge_index[1], self.receivers)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the senders of each receiver, 0 where there is none: (receivers, width)."""
        return self.propagate(x) / self.in_degree.clamp(min=1).to(x.dtype)[:, None]


class Grouped:
    """Edges grouped by one end, `end`, of which there are `count`: the products themselves, without a gradient.

    order:   (E,) sorts the edges by that end, and keeps those of one end in the order in which they came
    other:   (E,) their other end in that order
    pointer: (count + 1,) where the edges of each end begin
    """

    def __init__(self, end: Tensor, other: Tensor, count: int, others: int) -> None:
        self.shape = count, others
        self.as_given = bool((end.diff() >= 0).all())
        self.order = torch.arange(len(end), device=end.device) if self.as_given else end.argsort(stable=True)
        self.other = other if self.as_given else other[self.order]
        self.pointer = starts_of(torch.bincount(end, minlength=count))
        self._patterns: dict[torch.dtype, Tensor] = {}

    def sum(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """(count, width) the sums of weight_e x[other end of e]."""
        if weight is not None and not self.as_given:
            weight = weight.index_select(0, self.order)
        return sum_bags(x, self.other, self.pointer, weight)

    def dots(self, own: Tensor, other: Tensor) -> Tensor:
        """(E,) <own[end of e], other[other end of e]>."""
        if not len(self.other):
            return own.new_zeros(0)
        if own.dtype not in _SAMPLED or own.device.type not in ("cpu", "cuda"):
            return self._gathered_dots(own, other)
        if own.dtype not in self._patterns:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
                zeros = own.new_zeros(len(self.other))
                self._patterns[own.dtype] = torch.sparse_csr_tensor(self.pointer, self.other, zeros, self.shape)
        pattern = self._patterns[own.dtype]
        sampled = torch.sparse.sampled_addmm(pattern, own.contiguous(), other.contiguous().T, beta=0.0).values()
        return sampled if self.as_given else torch.empty_like(sampled).index_copy_(0, self.order, sampled)

    def _gathered_dots(self, own: Tensor, other: Tensor) -> Tensor:
        """The same where there is no sampled product, some edges at a time."""
        end = torch.arange(self.shape[0], device=own.device).repeat_interleave(self.pointer.diff())
        found = own.new_empty(len(end))
        for part in torch.arange(len(end), device=own.device).split(max(1, _BLOCK // max(1, own.shape[1]))):
            found[self.order[part]] = (own[end[part]] * other[self.other[part]]).sum(1)
        return found


class SparseMatrix(Edges):
    """Entries of a (rows, columns) matrix, sorted by row and then column.

    row, column: (E,) int64;  value: (E,) float, ones if not given; entries at one place stay apart and are added
    symmetric:   the caller knows that the matrix equals its transpose, which is then not sorted again

    Attributes `row`, `column` and `value` are the sorted entries; `order` (E,) says which given entry each one was.
    Learned values are those of `propagate(x, value)`, in the order of the sorted entries.
    """

    ends = "columns", "rows"

    def __init__(
        self, row: Tensor, column: Tensor, value: Tensor | None, shape: tuple[int, int], symmetric: bool = False
    ) -> None:
        self.shape, self.symmetric = shape, symmetric
        self.order = (row * max(1, shape[1]) + column).argsort(stable=True)
        super().__init__(torch.stack([column, row])[:, self.order], *shape)
        self.column, self.row = self.edge_index
        self.value = torch.ones(len(row), device=row.device) if value is None else value[self.order]

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.row)

    @property
    def pointer(self) -> Tensor:
        """(rows + 1,) where the entries of each row begin."""
        return self.into.pointer

    @property
    def transposed(self) -> Tensor:
        """(E,) which entry stands at each place of the transpose: for a symmetric pattern, the reverse edge."""
        return self.out_of.order

    @cached_property
    def T(self) -> "SparseMatrix":  # noqa: N802
        """The transpose."""
        if self.symmetric:
            return self
        column, row, value = (part[self.transposed] for part in (self.column, self.row, self.value))
        flipped = SparseMatrix(column, row, value, (self.shape[1], self.shape[0]))
        flipped.T = self
        return flipped

    def __matmul__(self, x: Tensor) -> Tensor:
        """A x for x (columns, width): (rows, width), differentiable in x."""
        product: Tensor = _Product.apply(x, self)
        return product


def polynomial(matrix: SparseMatrix, x: Tensor, coefficients: list[float]) -> Tensor:
    """sum_l coefficients[l] A^l x for a symmetric A; its gradient is the same polynomial of the gradient.

    Nothing but x's gradient is kept, however many powers there are.
    """
    if not matrix.symmetric:
        raise ValueError("a polynomial needs a symmetric matrix, for its backward pass is itself")
    result: Tensor = _Polynomial.apply(x, matrix, coefficients)
    return result


def gcn_weights(edges: Edges, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Entries of D^-1/2 (A + I) D^-1/2: (E,) on the edges and (nodes,) on the diagonal; D counts what arrives, and 1.

    weight: (E,) >= 0, 1 by default. Kipf and Welling, 2017, arXiv:1609.02907. Edges from a node to itself should be
    left out of the list: the identity stands for them.
    """
    sender, receiver = edges.edge_index
    arriving = edges.in_degree.to(torch.get_default_dtype()) if weight is None else edges.weight_sum(weight)
    scale = (arriving + 1).rsqrt()
    on_edges = scale[sender] * scale[receiver]
    return on_edges if weight is None else on_edges * weight, scale.square()


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, edges: Edges, reverse: bool) -> Tensor:
        ctx.edges, ctx.reverse = edges, reverse
        ctx.save_for_backward(x, weight)
        return (edges.out_of if reverse else edges.into).sum(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        for_x = for_weight = None
        if ctx.needs_input_grad[0]:
            for_x = _Propagate.apply(gradient, weight, ctx.edges, not ctx.reverse)
        if ctx.needs_input_grad[1]:
            ends = (x, gradient) if ctx.reverse else (gradient, x)
            for_weight = _Dots.apply(*ends, ctx.edges)
        return for_x, for_weight, None, None


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, receiving: Tensor, sending: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(receiving, sending)
        return edges.into.dots(receiving, sending)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        receiving, sending = ctx.saved_tensors
        for_receiving = for_sending = None
        if ctx.needs_input_grad[0]:
            for_receiving = _Propagate.apply(sending, gradient, ctx.edges, False)
        if ctx.needs_input_grad[1]:
            for_sending = _Propagate.apply(receiving, gradient, ctx.edges, True)
        return for_receiving, for_sending, None


class _Product(torch.autograd.Function):
    """The product with fixed values, whose gradient is that with the transpose: sorted once, values and all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.into.sum(x, matrix.value.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Product.apply(gradient, ctx.matrix.T), None


class _Polynomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix, coefficients: list[float]) -> Tensor:
        """Horner's rule."""
        ctx.matrix, ctx.coefficients = matrix, coefficients
        total = coefficients[-1] * x
        for coefficient in reversed(coefficients[:-1]):
            total = torch.add(matrix @ total, x, alpha=coefficient)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Polynomial.apply(gradient, ctx.matrix, ctx.coefficients), None, None
