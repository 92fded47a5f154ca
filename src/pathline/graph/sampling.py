"""Neighbour sampling: a batch of nodes, some of their neighbours, some of those neighbours', and the edges drawn.

    N_0 = seeds,   N_l = N_(l-1) + at most `fanout[l]` senders of each node that was new in layer l - 1

Hamilton, Ying, Leskovec, 2017, "Inductive Representation Learning on Large Graphs", arXiv:1706.02216. Every layer is
drawn for all its nodes at once: a node with more senders than the fanout takes that many of them without replacement.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pathline.graph.ragged import places_of, position_in_segment


class Incoming(NamedTuple):
    """Edges grouped by receiver: those into node i are `edge[start[i]:start[i + 1]]`, places in the edge list."""

    start: Tensor
    edge: Tensor
    sender: Tensor


def incoming(edge_index: Tensor, nodes: int) -> Incoming:
    """Group an edge list (2, E) by receiver."""
    order = edge_index[1].argsort(stable=True)
    count = torch.bincount(edge_index[1], minlength=nodes)
    return Incoming(torch.cat([count.new_zeros(1), count.cumsum(0)]), order, edge_index[0, order])


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
    nodes, fresh, taken = seeds, seeds, [seeds.new_zeros(0)]
    receivers = [seeds.new_zeros(0)]
    for most in fanout:
        begin, count = graph.start[fresh], graph.start[fresh + 1] - graph.start[fresh]
        slots = places_of(begin, count)
        owner = torch.arange(len(fresh)).repeat_interleave(count)
        if most >= 0:
            draw = torch.rand(len(slots), generator=generator, dtype=torch.float64)
            order = (owner + draw).argsort()  # draws lie in [0, 1), so owners stay together
            kept = order[position_in_segment(count) < most]
            slots, owner = slots[kept], owner[kept]
        taken.append(slots)
        receivers.append(place[fresh[owner]])
        senders = graph.sender[slots].unique()
        fresh = senders[place[senders] < 0]
        place[fresh] = len(nodes) + torch.arange(len(fresh))
        nodes = torch.cat([nodes, fresh])
    slots = torch.cat(taken)
    return Sample(nodes, graph.edge[slots], torch.stack([place[graph.sender[slots]], torch.cat(receivers)]))
