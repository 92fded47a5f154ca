"""Lists of unequal length kept end to end: which places a selection of them occupies."""

import torch
from torch import Tensor


def starts_of(counts: Tensor) -> Tensor:
    """(lists + 1,) where each list begins, and where the last one ends; counts: (lists,) int64."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def places_of(start: Tensor, count: Tensor) -> Tensor:
    """(sum count,) the places start[k], .., start[k] + count[k] - 1 of every list k, one after another."""
    ends = count.cumsum(0)
    shift = start - (ends - count)
    return torch.arange(int(ends[-1]) if len(ends) else 0, device=start.device) + shift.repeat_interleave(count)


def position_in_segment(count: Tensor) -> Tensor:
    """(sum count,) 0, 1, .., count[k] - 1 for every list k."""
    return places_of(torch.zeros_like(count), count)
