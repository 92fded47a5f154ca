"""Rows of common and exclusive neighbours, against sets; products, samples."""

import networkx as nx
import pytest
import torch

from pathline.graph.common_neighbours import Neighbourhoods, Rows, joined
from pathline.graph.links import both_ways


@pytest.fixture(scope="module")
def graph():
    graph = nx.gnm_random_graph(40, 160, seed=2)
    graph.add_nodes_from([40, 41])  # two without any neighbour
    return graph


@pytest.fixture(scope="module")
def near(graph):
    edge_index = both_ways(torch.tensor(list(graph.edges)).T)
    loops = torch.tensor([[3, 5], [3, 5]])
    return Neighbourhoods(torch.cat([edge_index, edge_index[:, :50], loops], 1), 42)


@pytest.fixture(scope="module")
def pairs():
    drawn = torch.randint(42, (2, 300), generator=torch.Generator().manual_seed(0))
    return torch.cat([drawn, torch.tensor([[40, 40, 7], [41, 1, 40]])], 1)


def sets_of(rows):
    found = [[] for _ in range(rows.pairs)]
    for pair, node in zip(rows.pair.tolist(), rows.node.tolist(), strict=True):
        found[pair].append(node)
    assert all(len(one) == len(set(one)) for one in found)
    return [set(one) for one in found]


def test_rows_are_the_intersection_and_both_differences(graph, near, pairs):
    overlap = near.overlap(pairs)
    one, other = ([set(graph[k]) for k in row.tolist()] for row in pairs)
    assert sets_of(overlap.common) == [a & b for a, b in zip(one, other, strict=True)]
    assert sets_of(overlap.first) == [a - b for a, b in zip(one, other, strict=True)]
    assert sets_of(overlap.second) == [b - a for a, b in zip(one, other, strict=True)]
    assert sets_of(near.common(pairs)) == sets_of(overlap.common)
    assert len(overlap.common) > 100


def test_the_shorter_row_is_gathered_for_what_is_common():
    star = torch.stack([torch.zeros(999, dtype=torch.int64), torch.arange(1, 1000)])
    near = Neighbourhoods(both_ways(torch.cat([star, torch.tensor([[1], [2]])], 1)), 1000)
    seen = []
    of = near.of
    near.of = lambda node: seen.append(of(node)) or seen[-1]
    assert near.common(torch.tensor([[0, 1], [1, 0]])).node.tolist() == [2, 2]
    assert [len(rows) for rows in seen] == [4]


def test_linked_is_having_an_edge(graph, near):
    every = torch.cartesian_prod(torch.arange(42), torch.arange(42)).T
    expected = torch.tensor(nx.to_numpy_array(graph, nodelist=range(42))).bool().flatten()
    assert torch.equal(near.linked(*every), expected)
    assert not bool(Neighbourhoods(torch.zeros(2, 0, dtype=torch.int64), 5).linked(*every[:, :3] % 5).any())


def test_products_are_those_of_dense_matrices_and_so_are_their_gradients(near, pairs):
    rows = near.overlap(pairs).first
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(42, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(len(rows), generator=generator, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(rows.pairs, 3, generator=generator, dtype=torch.float64)
    dense = torch.zeros(rows.pairs, 42, dtype=torch.float64).index_put((rows.pair, rows.node), weight)
    found, expected = rows.scaled(weight).times(h), dense @ h
    assert torch.allclose(found, expected, atol=1e-12)
    ours = torch.autograd.grad((found * towards).sum(), (h, weight))
    theirs = torch.autograd.grad((expected * towards).sum(), (h, weight))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_samples_are_of_the_row_and_right_in_the_mean():
    rows = Rows(torch.tensor([0] * 6 + [2] * 2), torch.arange(8), 3, 8)
    assert rows.sampled(6) is rows
    assert rows.sampled(None) is rows
    torch.manual_seed(0)
    h = torch.arange(8.0).double()[:, None]
    total = torch.zeros(3, 1, dtype=torch.float64)
    for _ in range(2000):
        drawn = rows.sampled(2)
        assert drawn.count.tolist() == [2, 0, 2]
        assert drawn.node[:2].unique().numel() == 2
        assert drawn.weight.tolist() == [3, 3, 1, 1]
        total += drawn.times(h) / 2000
    assert total[1:, 0].tolist() == [0, pytest.approx(13)]
    assert abs(float(total[0]) - 15) < 4 * 9.6 / 2000**0.5  # 3 x the deviation of a sum of two of 0..5, without return


def test_matrices_are_added_with_their_weights():
    one = Rows(torch.tensor([0, 1]), torch.tensor([2, 0]), 2, 3)
    other = Rows(torch.tensor([0, 0]), torch.tensor([1, 2]), 2, 3, torch.tensor([0.5, 0.25]))
    assert joined([one, other]).times(torch.eye(3)).tolist() == [[0, 0.5, 1.25], [1, 0, 0]]
    assert joined([one, one]).weight is None
