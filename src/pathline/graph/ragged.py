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


def entries_of(pointer: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """All entries of some rows of a matrix in row order.

    pointer: (rows of the matrix + 1,);  rows: (n,), repeats allowed.
    Returns (m,) the place in `rows` that each entry belongs to, and (m,) the entry's number.
    """
    count = pointer[rows + 1] - pointer[rows]
    place = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
    return place, places_of(pointer[rows], count)


def position_in_segment(count: Tensor) -> Tensor:
    """(sum count,) 0, 1, .., count[k] - 1 for every list k."""
    return places_of(torch.zeros_like(count), count)
