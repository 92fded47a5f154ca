"""What event models remember, as dense tensors: the last entries of every node, and numbers for pairs of nodes.

Everything is written batch by batch without a loop over events. Where a batch writes one place twice, the later event
wins: entries come in the order of time, and that order, not the one in which a device happens to write, decides.
"""

import torch
from torch import Tensor, nn


def last_writes(index: Tensor, count: int) -> Tensor:
    """Places of the last entry of each value in `index` (entries,), int64 in 0 .. count-1: (distinct,), by value."""
    place = torch.arange(len(index), device=index.device)
    last = torch.full((count,), -1, dtype=torch.int64, device=index.device)
    last = last.scatter_reduce(0, index, place, "amax")
    return last[last >= 0]


def ranks(index: Tensor) -> tuple[Tensor, Tensor]:
    """For each entry of `index` (entries,), how many equal ones come before it, and how many after it."""
    order = torch.sort(index, stable=True).indices
    ordered = index[order]
    place = torch.arange(len(index), device=index.device)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    group = begins.cumsum(0) - 1
    first = place[begins]
    size = torch.diff(first, append=first.new_tensor([len(index)]))
    before = torch.empty_like(place)
    before[order] = place - first[group]
    after = torch.empty_like(place)
    after[order] = size[group] - 1 - (place - first[group])
    return before, after


class Recent(nn.Module):
    """The last `depth` entries of each of `rows` rows: a ring buffer whose writes need no loop.

    An entry is one integer, one time in float64 and `width` numbers. All are buffers.

    number: (rows, depth) int64;  time: (rows, depth) float64;  values: (rows, depth, width);  written: (rows,) int64
    """

    number: Tensor
    time: Tensor
    values: Tensor
    written: Tensor

    def __init__(self, rows: int, depth: int, width: int = 0) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("number", torch.zeros(rows, depth, dtype=torch.int64))
        self.register_buffer("time", torch.zeros(rows, depth, dtype=torch.float64))
        self.register_buffer("values", torch.zeros(rows, depth, width))
        self.register_buffer("written", torch.zeros(rows, dtype=torch.int64))

    def reset(self) -> None:
        """Forget every entry."""
        for buffer in (self.number, self.time, self.values, self.written):
            buffer.zero_()

    def write(self, row: Tensor, number: Tensor, time: Tensor, values: Tensor) -> None:
        """Append entries (entries, ...) to the rows `row` (entries,), in their order."""
        before, after = ranks(row)
        slot = (self.written[row] + before) % self.depth
        kept = after < self.depth
        place = (row[kept], slot[kept])
        self.number[place] = number[kept]
        self.time[place] = time[kept]
        self.values[place] = values[kept].to(self.values.dtype)
        self.written.index_add_(0, row, torch.ones_like(row))

    def filled(self, row: Tensor) -> Tensor:
        """(rows asked, depth) bool: which slots hold an entry."""
        return torch.arange(self.depth, device=row.device) < self.written[row, None]


class PairTable:
    """Numbers for those pairs (or other int64 keys) that were written, found by bisection in sorted keys.

    keys: (pairs,) int64, rising;  values: (pairs, width) float64
    """

    def __init__(self, width: int = 1) -> None:
        self.keys = torch.zeros(0, dtype=torch.int64)
        self.values = torch.zeros(0, width, dtype=torch.float64)

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Values (..., width) of `keys` (...,), 0 where there is none, and whether there is one."""
        if not len(self.keys):
            return self.values.new_zeros(*keys.shape, self.values.shape[1]), torch.zeros_like(keys, dtype=torch.bool)
        place = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        found = self.keys[place] == keys
        return self.values[place] * found[..., None], found

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Set the values (entries, width) of `keys` (entries,); of equal keys the last one wins."""
        everything, place = torch.unique(torch.cat([self.keys, keys]), return_inverse=True)
        last = last_writes(place, len(everything))
        self.keys, self.values = everything, torch.cat([self.values, values])[last]
