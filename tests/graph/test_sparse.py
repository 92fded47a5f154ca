"""Sparse products: equal to dense ones, forwards and backwards, in any order of derivatives."""

import pytest
import torch

from pathline.graph.sparse import Edges, gcn_weights


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.stack([torch.randint(count, (30,), generator=generator) for count in (7, 5)])
    x = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    weight = torch.rand(30, generator=generator, dtype=torch.float64)
    return Edges(edge_index, 5, 7), x, weight


def dense(edges, weight):
    matrix = torch.zeros(edges.receivers, edges.senders, dtype=weight.dtype)
    return matrix.index_put((edges.edge_index[1], edges.edge_index[0]), weight, accumulate=True)


def test_a_product_is_that_of_the_dense_matrix_with_parallel_edges_added_up(drawn):
    edges, x, weight = drawn
    assert torch.allclose(edges.propagate(x, weight), dense(edges, weight) @ x, atol=1e-12)
    assert torch.allclose(edges.propagate(x), dense(edges, torch.ones_like(weight)) @ x, atol=1e-12)


def test_gradients_of_values_and_weights_are_exact_to_second_order(drawn):
    edges, x, weight = drawn
    inputs = (x.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(edges.propagate, inputs)
    assert torch.autograd.gradgradcheck(edges.propagate, inputs)


def test_heads_have_weights_of_their_own(drawn):
    edges, x, weight = drawn
    both = edges.propagate(x, torch.stack([weight, 2 * weight], 1))
    assert torch.allclose(both[:, :2], edges.propagate(x[:, :2], weight))
    assert torch.allclose(both[:, 2:], edges.propagate(x[:, 2:], 2 * weight))


def test_softmax_sums_to_one_where_something_arrives(drawn):
    edges, _, weight = drawn
    total = edges.weight_sum(edges.softmax(weight))
    assert torch.allclose(total, (edges.in_degree > 0).double())


def test_normalised_weights_are_those_of_the_dense_matrix():
    edge_index = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    on_edges, on_self = gcn_weights(Edges(edge_index, 5))
    looped = dense(Edges(edge_index, 5), torch.ones(6)) + torch.eye(5)
    scale = looped.sum(1).rsqrt()
    expected = scale[:, None] * looped * scale
    assert torch.allclose(on_edges, expected[edge_index[1], edge_index[0]])
    assert torch.allclose(on_self, expected.diagonal())


def test_an_edge_to_nowhere_is_refused_and_no_edges_are_fine():
    with pytest.raises(IndexError, match="3"):
        Edges(torch.tensor([[0], [3]]), 3)
    empty = Edges(torch.zeros(2, 0, dtype=torch.int64), 3)
    assert torch.equal(empty.propagate(torch.ones(3, 2)), torch.zeros(3, 2))
