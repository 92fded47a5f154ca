"""What a likelihood of pairs on bins of time needs to know of a stream, however many events it has.

In a bin of width w, with s the time of an event since the bin began, a pair whose points move straight contributes
    sum over its events of log rate = n (a_i + a_j - |x|^2) - 2 <x, v> S1 - |v|^2 S2,    S1 = sum s,  S2 = sum s^2
so three numbers for each pair and bin in which it met are enough: cost depends on pairs, not on events.

Bins in which it was not recorded whether a pair met (`Events.gaps`) are not watched: they enter neither the sum nor the
integral. A gap closes every bin that it touches.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data.container import Batch
from pathline.data.events import Events


@dataclass(frozen=True)
class PairBatch(Batch):
    """All pairs among some nodes, or all there are. Processes that share a training see the same ones.

    first, second: (pairs,) int64, first < second
    watched:       (bins, pairs) float32, 0 where a gap is
    pair, bin:     (cells,) int64: where pairs met
    count, since, square: (cells,) float64: n, S1 and S2
    share:         of all pairs, those in the batch
    """

    first: Tensor
    second: Tensor
    watched: Tensor
    pair: Tensor
    bin: Tensor
    count: Tensor
    since: Tensor
    square: Tensor
    share: float = 1.0
    shared: ClassVar[tuple[str, ...]] = ("first", "second", "watched", "pair", "bin", "count", "since", "square")

    def part(self, rank: int, world: int) -> "PairBatch":
        return self


@dataclass(frozen=True)
class PairCounts:
    """Counts of a stream on a grid of bins. first < second and bin: (cells,) int64; count, since, square: (cells,)
    float64 with time in units of the whole stretch; closed: (closed, 3) int64: first, second, bin of gaps."""

    nodes: int
    bins: int
    first: Tensor
    second: Tensor
    bin: Tensor
    count: Tensor
    since: Tensor
    square: Tensor
    closed: Tensor

    @classmethod
    def of(cls, data: Events, bins: int, origin: float, length: float) -> "PairCounts":
        """The part's own events, on the stretch [origin, origin + length] of its clock. Who sent does not count."""
        source, target = data.source[data.start :], data.target[data.start :]
        time = (data.clock[data.start :] - origin) / length
        first, second = torch.minimum(source, target), torch.maximum(source, target)
        closed = closed_bins(data.gaps, bins, origin, length)
        bin = (time * bins).long().clamp(0, bins - 1)
        key = (first * data.nodes + second) * bins + bin
        shut = (closed[:, 0] * data.nodes + closed[:, 1]) * bins + closed[:, 2]
        kept = (first != second) & (time >= 0) & (time <= 1) & ~torch.isin(key, shut)
        cells, place = torch.unique(key[kept], return_inverse=True)
        since = (time - bin.double() / bins)[kept]
        zero = torch.zeros(len(cells), dtype=torch.float64)
        return cls(
            nodes=data.nodes,
            bins=bins,
            first=cells // bins // data.nodes,
            second=cells // bins % data.nodes,
            bin=cells % bins,
            count=zero.index_add(0, place, torch.ones_like(since)),
            since=zero.index_add(0, place, since),
            square=zero.index_add(0, place, since.square()),
            closed=closed,
        )

    def batch(self, chosen: Tensor) -> PairBatch:
        """The pairs among the nodes `chosen` (count,) int64, sorted."""
        count = len(chosen)
        place = torch.full((self.nodes,), -1).index_copy(0, chosen, torch.arange(count))
        i, j = torch.triu_indices(count, count, offset=1)

        def pair_of(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
            a, b = place[first], place[second]
            return a * (2 * count - a - 1) // 2 + b - a - 1, (a >= 0) & (b >= 0)

        pair, inside = pair_of(self.first, self.second)
        shut, shut_inside = pair_of(self.closed[:, 0], self.closed[:, 1])
        watched = torch.ones(self.bins, len(i))
        watched[self.closed[shut_inside, 2], shut[shut_inside]] = 0
        return PairBatch(
            first=chosen[i],
            second=chosen[j],
            watched=watched,
            pair=pair[inside],
            bin=self.bin[inside],
            count=self.count[inside],
            since=self.since[inside],
            square=self.square[inside],
            share=count * (count - 1) / (self.nodes * (self.nodes - 1)),
        )


def closed_bins(gaps: Tensor | None, bins: int, origin: float, length: float) -> Tensor:
    """Every bin that a gap touches: (closed, 3) int64 rows first < second, bin, each once."""
    if gaps is None or not len(gaps):
        return torch.zeros(0, 3, dtype=torch.int64)
    ends = gaps[:, :2].long()
    begin, end = ((gaps[:, 2:] - origin) / length * bins).T.clamp(-1, bins + 1)
    edge = torch.arange(bins)
    touched = (begin[:, None] < edge + 1 - 1e-9) & (end[:, None] > edge + 1e-9)
    gap, bin = touched.nonzero().T
    rows = torch.stack([ends.amin(1)[gap], ends.amax(1)[gap], bin], 1)
    return torch.unique(rows, dim=0)
