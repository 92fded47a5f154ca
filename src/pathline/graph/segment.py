"""Reductions over segments: the gather-and-reduce step of message passing.

    out[..., s, ...] = reduce { values[..., e, ...] : index[e] = s }          for s in 0 .. count-1

`index` is one (E,) int64 tensor shared by all other dimensions of `values`, so a batch that shares its graph,
(batch, E, features) with dim=1, needs no copies of the index. All are differentiable in `values`.
"""

from typing import Any

import torch
from torch import Tensor


def _sized(values: Tensor, count: int, dim: int, fill: float = 0.0) -> Tensor:
    """A tensor like `values` with `count` entries along `dim`."""
    shape = list(values.shape)
    shape[dim] = count
    return values.new_full(shape, fill)


def _checked(values: Tensor, index: Tensor, dim: int) -> int:
    """The non-negative form of `dim`, once `index` is known to run along it."""
    if not -values.dim() <= dim < values.dim():
        raise ValueError(f"dim is {dim} but values has only {values.dim()} dimensions")
    if index.dim() != 1 or index.shape[0] != values.shape[dim]:
        raise ValueError(
            f"index has shape {tuple(index.shape)} but must be ({values.shape[dim]},): "
            f"one segment per entry of values {tuple(values.shape)} along dim {dim}"
        )
    return dim % values.dim()


def _along(vector: Tensor, values: Tensor, dim: int) -> Tensor:
    """View a (n,) vector so that it broadcasts along dimension `dim` of `values`."""
    return vector.view([-1 if d == dim else 1 for d in range(values.dim())])


def segment_sum(values: Tensor, index: Tensor, count: int, dim: int = 0) -> Tensor:
    """Sum per segment; an empty segment is 0.

    values: (..., E, ...) with E along `dim`;  index: (E,) int64 in 0..count-1;  returns (..., count, ...).
    Raises ValueError when `index` does not match `values`, IndexError/RuntimeError when an entry is out of range.
    """
    dim = _checked(values, index, dim)
    return _sized(values, count, dim).index_add(dim, index, values)


def segment_mean(values: Tensor, index: Tensor, count: int, dim: int = 0) -> Tensor:
    """Mean per segment; an empty segment is 0. Shapes as in `segment_sum`."""
    dim = _checked(values, index, dim)
    members = torch.bincount(index, minlength=count).clamp(min=1).to(values.dtype)
    return segment_sum(values, index, count, dim) / _along(members, values, dim)


def segment_max(values: Tensor, index: Tensor, count: int, dim: int = 0, empty: float = 0.0) -> Tensor:
    """Maximum per segment; an empty segment is `empty`. Shapes as in `segment_sum`.

    The gradient goes to the maximal entry and is shared equally among ties.
    """
    dim = _checked(values, index, dim)
    place = _along(index, values, dim).expand_as(values)
    return _sized(values, count, dim, empty).scatter_reduce(dim, place, values, "amax", include_self=False)


def segment_softmax(values: Tensor, index: Tensor, count: int, dim: int = 0) -> Tensor:
    """Softmax among the entries of each segment: exp(v_e) / sum_{e': index[e'] = index[e]} exp(v_e').

    Returns the shape of `values`. Shifted by the segment's maximum, hence free of overflow; an entry of -inf gets
    weight 0, and a segment of nothing but -inf gets 0 everywhere (attention with every neighbour masked).
    """
    dim = _checked(values, index, dim)
    peak = segment_max(values.detach(), index, count, dim)
    peak = peak.masked_fill(peak == -torch.inf, 0.0)
    weight = (values - peak.index_select(dim, index)).exp()
    total = segment_sum(weight, index, count, dim)
    total = total.masked_fill(total == 0, 1.0)
    return weight / total.index_select(dim, index)


class Segments:
    """An `index` that is reduced over again and again, sorted once: message passing at the speed of memory.

    `gather` and `sum` are each other's gradient, so a layer never meets the slow scatter that indexing differentiates
    into: values[index], and the sum of the rows of each segment. On a processor the sum runs through `embedding_bag`,
    several times as fast as `index_add`.
    """

    def __init__(self, index: Tensor, count: int) -> None:
        """index: (E,) int64 in 0 .. count-1. Raises IndexError for an entry out of range."""
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
            raise IndexError(
                f"the index runs from {int(index.min())} to {int(index.max())}; there are {count} segments"
            )
        self.index, self.count = index, count
        self.order = index.argsort(stable=True)
        self.pointer = torch.zeros(count + 1, dtype=torch.int64, device=index.device)
        torch.cumsum(torch.bincount(index, minlength=count), 0, out=self.pointer[1:])

    def gather(self, values: Tensor) -> Tensor:
        """values[index]: (count, ...) -> (E, ...)."""
        gathered: Tensor = _Gather.apply(values, self)
        return gathered

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each segment: (E, ...) -> (count, ...); an empty segment is 0."""
        if len(values) != len(self.index):
            raise ValueError(f"values has {len(values)} rows, but there are {len(self.index)} entries in the segments")
        summed: Tensor = _Sum.apply(values, self)
        return summed


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        if values.numel() == len(values):  # single numbers are gathered several times as fast as rows of one
            return values.reshape(-1).index_select(0, segments.index).view(-1, *values.shape[1:])
        return values.index_select(0, segments.index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.segments), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        rows = values.flatten(1) if values.ndim > 1 else values[:, None]
        if not rows.numel() or rows.device.type != "cpu":
            return _sized(values, segments.count, 0).index_add(0, segments.index, values)
        summed = sum_bags(rows, segments.order, segments.pointer)
        return summed.view(segments.count, *values.shape[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.segments), None


class Ends:
    """Both ends of every edge, for layers that add to an edge what its sender and its receiver say.

    add(x, v)[e] = x[e] + v[sender[e], 0] + v[receiver[e], 1]; its gradient runs through `embedding_bag` too.
    """

    def __init__(self, edge_index: Tensor, count: int) -> None:
        """edge_index: (2, E), sender and receiver, in 0 .. count-1."""
        places = 2 * edge_index.T + torch.arange(2, device=edge_index.device)
        self.places = places.flatten()
        self.pairs = torch.arange(0, 2 * len(places) + 1, 2, device=edge_index.device)
        self.segments = Segments(self.places, 2 * count)
        self.edges = self.segments.order // 2

    def add(self, values: Tensor, said: Tensor) -> Tensor:
        """values: (E, width), which are overwritten; said: (count, 2 * width), to edges that leave and that arrive."""
        added: Tensor = _AddEnds.apply(values, said.view(-1, values.shape[-1]).to(values.dtype), self)
        return added


class _AddEnds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, said: Tensor, ends: Ends) -> Tensor:
        ctx.ends = ends
        ctx.mark_dirty(values)
        if not len(values) or values.device.type != "cpu":
            return values.add_(said.index_select(0, ends.places).unflatten(0, (-1, 2)).sum(1))
        return values.add_(sum_bags(said, ends.places, ends.pairs))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, _SumEnds.apply(gradient, ctx.ends), None


class _SumEnds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, ends: Ends) -> Tensor:
        ctx.ends = ends
        if not len(gradient) or gradient.device.type != "cpu":
            return _sized(gradient, ends.segments.count, 0).index_add(0, ends.places, gradient.repeat_interleave(2, 0))
        return sum_bags(gradient, ends.edges, ends.segments.pointer)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(0, ctx.ends.places).unflatten(0, (-1, 2)).sum(1), None


def sum_bags(rows: Tensor, index: Tensor, pointer: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sums of weight * rows[index] over pointer[k] .. pointer[k + 1] - 1 for every k, without a gradient.

    rows: (n, width);  index, weight: (m,), the weight of the rows' dtype;  pointer: (count + 1,) int64, non-decreasing
    from 0 to m. Returns (count, width). All sums over a graph's neighbours end here.
    """
    if not len(index) or not rows.shape[1]:
        return rows.new_zeros(len(pointer) - 1, rows.shape[1])
    if rows.device.type != "cpu":
        owner = torch.arange(len(pointer) - 1, device=rows.device).repeat_interleave(pointer.diff())
        chosen = rows[index] if weight is None else rows[index] * weight[:, None]
        return rows.new_zeros(len(pointer) - 1, rows.shape[1]).index_add(0, owner, chosen)
    return torch.embedding_bag(rows.contiguous(), index, pointer, False, 0, False, weight, True)[0]
