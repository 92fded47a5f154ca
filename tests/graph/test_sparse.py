"""Sparse products: equal to dense ones, forwards and backwards, to any order; as edges and as matrices."""

import pytest
import torch

from pathline.graph import bipartite_adjacency, interaction_matrix
from pathline.graph.sparse import Edges, SparseMatrix, gcn_weights, polynomial


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


def test_dots_are_those_of_both_ends_in_the_order_of_the_edges_to_second_order(drawn):
    edges, sending, _ = drawn
    receiving = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = (receiving[edges.edge_index[1]] * sending[edges.edge_index[0]]).sum(1)
    assert torch.allclose(edges.dots(receiving, sending), wanted, atol=1e-12)
    assert torch.allclose(edges.dots(receiving.half(), sending.half()).double(), wanted, atol=0.05), "gathered"
    inputs = (receiving.requires_grad_(), sending.requires_grad_())
    assert torch.autograd.gradcheck(edges.dots, inputs)
    assert torch.autograd.gradgradcheck(edges.dots, inputs)


def test_an_edge_list_that_is_sorted_already_is_not_moved(drawn):
    edges, x, weight = drawn
    order = edges.edge_index[1].argsort(stable=True)
    ordered = Edges(edges.edge_index[:, order], 5, 7)
    assert ordered.into.as_given and not edges.into.as_given and not ordered.out_of.as_given
    assert torch.equal(ordered.propagate(x, weight[order]), edges.propagate(x, weight))
    assert torch.equal(ordered.dots(x[:5], x), edges.dots(x[:5], x)[order])


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


# -- matrices ----------------------------------------------------------------------------------------------------------


def random_matrix(rows: int = 7, columns: int = 5, count: int = 14, seed: int = 0) -> tuple[SparseMatrix, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(rows * columns, generator=generator)[:count]
    value = torch.randn(count, generator=generator, dtype=torch.float64)
    dense = torch.zeros(rows, columns, dtype=torch.float64)
    dense.view(-1)[place] = value
    return SparseMatrix(place // columns, place % columns, value, (rows, columns)), dense


def test_products_and_their_gradients_equal_the_dense_ones():
    matrix, dense = random_matrix()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matrix @ x, dense @ x)
    torch.testing.assert_close(matrix.T @ (matrix @ x), dense.T @ (dense @ x))
    assert torch.autograd.gradcheck(lambda x: matrix @ x, (x,))
    assert torch.autograd.gradcheck(lambda x: matrix.T @ (matrix @ x), (x,))
    assert torch.autograd.gradgradcheck(lambda x: (matrix @ x).square(), (x,))
    assert matrix.T.T is matrix and torch.equal(matrix.T.value, matrix.value[matrix.transposed])


def test_learned_entries_have_the_gradient_of_finite_differences():
    matrix, _ = random_matrix()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    value = matrix.value.clone().requires_grad_()
    torch.testing.assert_close(matrix.propagate(x, value), matrix @ x)
    assert torch.autograd.gradcheck(matrix.propagate, (x, value))
    assert torch.autograd.gradgradcheck(matrix.propagate, (x, value))


def test_an_empty_row_is_zero_and_a_place_outside_is_refused():
    matrix = SparseMatrix(torch.tensor([2]), torch.tensor([0]), None, (4, 2))
    assert (matrix @ torch.ones(2, 3)).sum(1).tolist() == [0, 0, 3, 0]
    with pytest.raises(IndexError, match="columns run from 0 to 2; there are 2"):
        SparseMatrix(torch.tensor([0, 1]), torch.tensor([0, 2]), None, (2, 2))


def test_a_polynomial_of_a_symmetric_matrix_is_its_own_backward_pass():
    user, item = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2])
    matrix = bipartite_adjacency(user, item, 3, 4)
    dense = torch.zeros(7, 7).index_put((matrix.row, matrix.column), matrix.value)
    torch.testing.assert_close(dense, dense.T)
    x = torch.randn(7, 2, requires_grad=True)
    weight = torch.randn(7, 2)
    powers = [torch.linalg.matrix_power(dense, power) @ x for power in range(4)]
    wanted = sum(c * power for c, power in zip([0.1, 0.2, 0.3, 0.4], powers, strict=True))
    found = polynomial(matrix, x, [0.1, 0.2, 0.3, 0.4])
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((weight * y).sum(), x)[0] for y in (found, wanted)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradgradcheck(lambda x: polynomial(matrix, x, [0.1, 0.2]).square(), (x.double(),))
    with pytest.raises(ValueError, match="needs a symmetric matrix"):
        polynomial(interaction_matrix(user, item, 3, 4), x, [1.0, 1.0])


def test_normalisation_divides_by_the_roots_of_both_degrees():
    matrix = bipartite_adjacency(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 2)
    assert matrix.value[(matrix.row == 0) & (matrix.column == 3)].item() == pytest.approx(0.5)
    assert matrix.value[(matrix.row == 1) & (matrix.column == 3)].item() == pytest.approx(0.5**0.5)
    plain = interaction_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 2, normalised=True)
    torch.testing.assert_close(plain.value, torch.tensor([0.5**0.5, 0.5, 0.5**0.5]))
