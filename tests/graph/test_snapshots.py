"""Sparse snapshots against dense matrices."""

import torch

from pathline.graph.adjacency import symmetric
from pathline.graph.snapshots import block_diagonal, both_ways, degree_one_hot, normalised_adjacency

SOURCE, TARGET = torch.tensor([0, 1, 0, 3, 2, 0]), torch.tensor([1, 0, 2, 3, 4, 1])


def dense():
    adjacency = torch.zeros(6, 6)
    for i, j in ((0, 1), (0, 2), (2, 4)):
        adjacency[i, j] = adjacency[j, i] = 1
    return adjacency


def test_edges_go_both_ways_once_and_never_to_themselves():
    found = both_ways(SOURCE, TARGET, 6)
    assert torch.equal(found, dense().nonzero().T)


def test_the_normalised_adjacency_is_the_dense_one():
    found = normalised_adjacency(both_ways(SOURCE, TARGET, 6), 6)
    torch.testing.assert_close(found.to_dense(), symmetric(dense(), loops=True))
    assert float(found.to_dense()[5, 5]) == 1  # nobody there but itself


def test_blocks_do_not_see_each_other():
    one, other = (
        normalised_adjacency(both_ways(SOURCE, TARGET, 6), 6),
        normalised_adjacency(torch.zeros(2, 0).long(), 3),
    )
    joined = block_diagonal([one, other, one]).to_dense()
    torch.testing.assert_close(joined, torch.block_diag(one.to_dense(), other.to_dense(), one.to_dense()))


def test_degrees_are_clipped():
    found = degree_one_hot(both_ways(SOURCE, TARGET, 6)[0], 6, 1)
    assert torch.equal(found.argmax(1), dense().sum(1).clamp(max=1).long())
    assert torch.equal(found.sum(1), torch.ones(6))
