"""Neighbour sampling: for graphs of which only a part can be touched at a time.

Of every node at most so many neighbours are drawn, uniformly and without replacement, by Floyd's algorithm for all
nodes at once: for j = d - size .. d - 1 draw t from 0 .. j, and take t, or j where t was taken already (Bentley and
Floyd, 1987, "A sample of brilliance", Communications of the ACM 30, 754). The cost is that of the sample alone, however
many neighbours a node has. Sums over a sample, times degree / sampled, are unbiased for sums over all neighbours.

`sample_neighbours` draws a subgraph, layer by layer:

    N_0 = seeds,   N_l = N_(l-1) + at most `fanout[l]` senders of each node that was new in layer l - 1

Hamilton, Ying, Leskovec, 2017, "Inductive Representation Learning on Large Graphs", arXiv:1706.02216.
`sample_block` draws one layer, from the rows of a sparse matrix, with the weights of unbiased sums.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pathline.graph.ragged import places_of, starts_of
from pathline.graph.segment import sum_bags
from pathline.graph.sparse import Edges, SparseMatrix


def draw_entries(
    pointer: Tensor, rows: Tensor, size: int | None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Of each of `rows` (n,) at most `size` of its entries pointer[row] .. pointer[row + 1] - 1, all if size is None.

    Returns where those of each row begin, (n + 1,), and the entries. Draws are of torch's global generator by default.
    """
    first, degree = pointer[rows], pointer[rows + 1] - pointer[rows]
    if size is None:
        return starts_of(degree), places_of(first, degree)
    start = starts_of(degree.clamp(max=size))
    entry = start.new_empty(int(start[-1]))
    few, many = (degree <= size).nonzero().flatten(), (degree > size).nonzero().flatten()
    entry[places_of(start[few], degree[few])] = places_of(first[few], degree[few])
    chosen = _floyd(degree[many], size, generator) + first[many, None]
    entry[(start[many, None] + torch.arange(size, device=start.device)).flatten()] = chosen.flatten()
    return start, entry


def _floyd(degree: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """(rows, size) different numbers from 0 .. degree - 1 in every row; every degree is above `size`."""
    draws = torch.rand(len(degree), size, generator=generator, dtype=torch.float64).to(degree.device)
    last = degree[:, None] - size + torch.arange(size, device=degree.device)
    tried = (draws * (last + 1)).long().minimum(last)
    chosen = torch.full_like(tried, -1)
    for k in range(size):
        taken = (chosen[:, :k] == tried[:, k : k + 1]).any(1)
        chosen[:, k] = torch.where(taken, last[:, k], tried[:, k])
    return chosen


class Incoming(NamedTuple):
    """Edges grouped by receiver: those into node i are `edge[start[i]:start[i + 1]]`, places in the edge list."""

    start: Tensor
    edge: Tensor
    sender: Tensor


def incoming(edge_index: Tensor, nodes: int) -> Incoming:
    """Group an edge list (2, E) by receiver."""
    into = Edges(edge_index, nodes).into
    return Incoming(into.pointer, into.order, into.other)


class Sample(NamedTuple):
    """nodes: (n,) their numbers in the whole graph, the seeds first;  edge: (e,) places in the whole edge list;
    edge_index: (2, e) the same edges between places in `nodes`."""

    nodes: Tensor
    edge: Tensor
    edge_index: Tensor


def sample_neighbours(graph: Incoming, seeds: Tensor, fanout: list[int], generator: torch.Generator) -> Sample:
    """A subgraph in which the seeds see what `len(fanout)` layers of message passing need.

    seeds: (b,) int64, all different. A fanout of -1 takes all senders.
    """
    place = torch.full((len(graph.start) - 1,), -1)
    place[seeds] = torch.arange(len(seeds))
    nodes, fresh = seeds, seeds
    entries, receivers = [seeds.new_zeros(0)], [seeds.new_zeros(0)]
    for most in fanout:
        start, entry = draw_entries(graph.start, fresh, None if most < 0 else most, generator)
        entries.append(entry)
        receivers.append(place[fresh].repeat_interleave(start.diff()))
        senders = graph.sender[entry].unique()
        fresh = senders[place[senders] < 0]
        place[fresh] = len(nodes) + torch.arange(len(fresh))
        nodes = torch.cat([nodes, fresh])
    entry = torch.cat(entries)
    return Sample(nodes, graph.edge[entry], torch.stack([place[graph.sender[entry]], torch.cat(receivers)]))


class NeighbourBlock(NamedTuple):
    """targets: (t,) nodes, increasing;  pointer: (t + 1,) where the neighbours of each begin;  neighbour: (m,) nodes;
    weight: (m,) float, entry of the matrix times degree / sampled."""

    targets: Tensor
    pointer: Tensor
    neighbour: Tensor
    weight: Tensor

    def sum(self, rows: Tensor) -> Tensor:
        """Weighted sums of the rows (nodes, width) of the neighbours of each target: (t, width)."""
        return sum_bags(rows, self.neighbour, self.pointer, self.weight.to(rows.dtype))

    def sum_at_targets(self, rows: Tensor) -> Tensor:
        """The same for rows (t, width) that only the targets have, all others being 0."""
        local = torch.searchsorted(self.targets, self.neighbour).clamp(max=len(self.targets) - 1)
        weight = self.weight * (self.targets[local] == self.neighbour)
        return sum_bags(rows, local, self.pointer, weight.to(rows.dtype))


def sample_block(
    matrix: SparseMatrix, targets: Tensor, size: int | None, generator: torch.Generator | None = None
) -> NeighbourBlock:
    """At most `size` neighbours of each target, all if size is None; drawn from torch's global generator by default."""
    start, entry = draw_entries(matrix.pointer, targets, size, generator)
    taken, degree = start.diff(), matrix.pointer[targets + 1] - matrix.pointer[targets]
    share = (degree / taken.clamp(min=1)).repeat_interleave(taken)
    return NeighbourBlock(targets, start, matrix.column[entry], matrix.value[entry] * share.to(matrix.value.dtype))
