"""Neighbour sampling: enough for the layers, no more than asked for, without bias."""

import torch

from pathline.graph.links import both_ways
from pathline.graph.sampling import incoming, sample_neighbours

GENERATOR = torch.Generator


def star(leaves):
    return both_ways(torch.stack([torch.zeros(leaves, dtype=torch.int64), 1 + torch.arange(leaves)]))


def test_all_neighbours_give_the_whole_receptive_field():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.unique(both_ways(torch.randint(50, (2, 90), generator=generator)), dim=1)
    seeds = torch.tensor([3, 17])
    drawn = sample_neighbours(incoming(edge_index, 50), seeds, [-1, -1], generator)
    assert torch.equal(drawn.nodes[:2], seeds)
    assert torch.equal(drawn.nodes[drawn.edge_index], edge_index[:, drawn.edge])
    reach = set(seeds.tolist())
    for _ in range(2):
        reach |= set(edge_index[0, torch.isin(edge_index[1], torch.tensor(sorted(reach)))].tolist())
    assert set(drawn.nodes.tolist()) == reach
    x = torch.randn(50, 3, generator=generator)

    def twice(x, edges):
        for _ in range(2):
            x = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]) + x
        return x

    assert torch.allclose(twice(x[drawn.nodes], drawn.edge_index)[:2], twice(x, edge_index)[seeds], atol=1e-5)


def test_a_fanout_takes_that_many_without_replacement_each_equally_often():
    graph = incoming(star(10), 11)
    generator = torch.Generator().manual_seed(1)
    counts = torch.zeros(11)
    for _ in range(2000):
        drawn = sample_neighbours(graph, torch.tensor([0]), [3], generator)
        senders = drawn.nodes[drawn.edge_index[0]]
        assert len(senders.unique()) == len(senders) == 3
        counts[senders] += 1
    assert float((counts[1:] - 600).abs().max()) < 4 * (2000 * 0.3 * 0.7) ** 0.5
