"""Neighbour sampling: enough for the layers, no more than asked for, without bias."""

import torch

from pathline.graph.links import both_ways
from pathline.graph.sampling import incoming, sample_block, sample_neighbours
from pathline.graph.sparse import SparseMatrix

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


def test_a_sample_holds_different_neighbours_each_equally_often():
    matrix = SparseMatrix(torch.zeros(6, dtype=torch.int64), torch.arange(6), None, (1, 6))
    block = sample_block(matrix, torch.zeros(20_000, dtype=torch.int64), 3, torch.Generator().manual_seed(0))
    chosen = block.neighbour.view(-1, 3)
    assert bool((chosen.sort(1).values.diff(dim=1) > 0).all()) and set(block.weight.tolist()) == {2.0}
    subsets = (1 << chosen).sum(1).unique(return_counts=True)[1]
    assert len(subsets) == 20 and float((subsets / 20_000 - 1 / 20).abs().max()) < 4.5 * (0.05 / 20_000) ** 0.5


def test_few_neighbours_are_all_taken_and_none_sum_to_zero():
    matrix = SparseMatrix(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), None, (3, 3))
    block = sample_block(matrix, torch.arange(3), 2)
    assert block.neighbour.tolist() == [1, 2, 0] and block.sum(torch.eye(3)).tolist() == [
        [0, 1, 1],
        [0, 0, 0],
        [1, 0, 0],
    ]
