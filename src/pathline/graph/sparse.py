"""Sparse products with learned weights: messages summed at their receivers, in the forward and the backward direction.

    y[r] = sum_{e: receiver(e) = r} w_e x[sender(e)]          `Edges.propagate(x, w)`
    dL/dx[s] = sum_{e: sender(e) = s} w_e dL/dy[receiver(e)]   the same product along the reversed edges
    dL/dw_e = <dL/dy[receiver(e)], x[sender(e)]>               `Edges.dots`

The edge list is sorted once by receiver and once by sender; no message is ever stored, so memory is that of the nodes.
The three products are each other's derivatives, hence differentiable any number of times.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pathline.graph.segment import segment_softmax, segment_sum

_BLOCK = 1 << 23  # numbers gathered at once


class Edges:
    """An edge list from `senders` to `receivers` nodes, sorted both ways on first use.

    edge_index: (2, E) int64, row 0 the sender and row 1 the receiver; parallel edges stay apart
    """

    def __init__(self, edge_index: Tensor, receivers: int, senders: int | None = None) -> None:
        """Raises IndexError for an edge that names a node which is not there."""
        self.edge_index, self.receivers = edge_index, receivers
        self.senders = receivers if senders is None else senders
        for row, count in zip(edge_index, (self.senders, receivers), strict=True):
            if row.numel() and not 0 <= int(row.min()) <= int(row.max()) < count:
                raise IndexError(f"edges name nodes {int(row.min())} to {int(row.max())}; there are {count}")

    @cached_property
    def into(self) -> "_Bags":
        """Grouped by receiver."""
        return _Bags(self.edge_index[1], self.edge_index[0], self.receivers)

    @cached_property
    def out_of(self) -> "_Bags":
        """Grouped by sender."""
        return _Bags(self.edge_index[0], self.edge_index[1], self.senders)

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


class _Bags:
    """Edges grouped by one end: `order` sorts them, `other` is their other end in that order."""

    def __init__(self, end: Tensor, other: Tensor, count: int) -> None:
        self.end, self.plain_other, self.count = end, other, count
        self.order = end.argsort(stable=True)
        self.other = other[self.order]
        self.pointer = torch.zeros(count + 1, dtype=torch.int64, device=end.device)
        torch.cumsum(torch.bincount(end, minlength=count), 0, out=self.pointer[1:])

    def sum(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """(count, width) the sums of weight_e x[other end of e]."""
        if not len(self.other) or x.device.type != "cpu":
            rows = x.index_select(0, self.plain_other)
            rows = rows if weight is None else rows * weight[:, None]
            return x.new_zeros(self.count, x.shape[1]).index_add(0, self.end, rows)
        sorted_weight = None if weight is None else weight.index_select(0, self.order)
        return torch.embedding_bag(x.contiguous(), self.other, self.pointer, False, 0, False, sorted_weight, True)[0]


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
        sender, receiver = edges.edge_index
        block = max(1, _BLOCK // max(1, receiving.shape[1]))
        parts = [
            torch.einsum("ed,ed->e", receiving.index_select(0, r), sending.index_select(0, s))
            for r, s in zip(receiver.split(block), sender.split(block), strict=True)
        ]
        return torch.cat(parts) if parts else receiving.new_zeros(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        receiving, sending = ctx.saved_tensors
        for_receiving = for_sending = None
        if ctx.needs_input_grad[0]:
            for_receiving = _Propagate.apply(sending, gradient, ctx.edges, False)
        if ctx.needs_input_grad[1]:
            for_sending = _Propagate.apply(receiving, gradient, ctx.edges, True)
        return for_receiving, for_sending, None


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
