"""Reductions over segments: the gather-and-reduce step of message passing.

    out[..., s, ...] = reduce { values[..., e, ...] : index[e] = s }          for s in 0 .. count-1

`index` is one (E,) int64 tensor shared by all other dimensions of `values`, so a batch that shares its graph,
(batch, E, features) with dim=1, needs no copies of the index. All are differentiable in `values`.
"""

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
