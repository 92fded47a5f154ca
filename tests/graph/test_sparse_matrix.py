"""Sparse products equal dense ones, forwards and backwards, and touch nothing but their entries."""

import pytest
import torch

from pathline.graph import SparseMatrix, bipartite_adjacency, entries_of, interaction_matrix, polynomial


def random_matrix(rows: int = 7, columns: int = 5, count: int = 14, seed: int = 0) -> tuple[SparseMatrix, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(rows * columns, generator=generator)[:count]
    value = torch.randn(count, generator=generator, dtype=torch.float64)
    dense = torch.zeros(rows, columns, dtype=torch.float64)
    dense.view(-1)[place] = value
    return SparseMatrix(place // columns, place % columns, value, (rows, columns)), dense


def test_products_and_their_gradients_equal_the_dense_ones() -> None:
    matrix, dense = random_matrix()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matrix @ x, dense @ x)
    torch.testing.assert_close(matrix.T @ (matrix @ x), dense.T @ (dense @ x))
    assert torch.autograd.gradcheck(lambda x: matrix @ x, (x,))
    assert torch.autograd.gradcheck(lambda x: matrix.T @ (matrix @ x), (x,))


def test_learned_entries_have_the_gradient_of_finite_differences() -> None:
    matrix, _ = random_matrix()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    value = matrix.value.clone().requires_grad_()
    torch.testing.assert_close(matrix.product(x, value), matrix @ x)
    assert torch.autograd.gradcheck(matrix.product, (x, value))


def test_an_empty_row_is_zero_and_a_place_outside_is_refused() -> None:
    matrix = SparseMatrix(torch.tensor([2]), torch.tensor([0]), None, (4, 2))
    assert (matrix @ torch.ones(2, 3)).sum(1).tolist() == [0, 0, 3, 0]
    with pytest.raises(IndexError, match="columns run from 0 to 2; there are 2"):
        SparseMatrix(torch.tensor([0, 1]), torch.tensor([0, 2]), None, (2, 2))


def test_a_polynomial_of_a_symmetric_matrix_is_its_own_backward_pass() -> None:
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
    with pytest.raises(ValueError, match="needs a symmetric matrix"):
        polynomial(interaction_matrix(user, item, 3, 4), x, [1.0, 1.0])


def test_normalisation_divides_by_the_roots_of_both_degrees() -> None:
    matrix = bipartite_adjacency(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 2)
    assert matrix.value[(matrix.row == 0) & (matrix.column == 3)].item() == pytest.approx(0.5)
    assert matrix.value[(matrix.row == 1) & (matrix.column == 3)].item() == pytest.approx(0.5**0.5)
    plain = interaction_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 2, normalised=True)
    torch.testing.assert_close(plain.value, torch.tensor([0.5**0.5, 0.5, 0.5**0.5]))


def test_entries_of_rows_are_those_of_the_rows_also_repeated_and_empty_ones() -> None:
    place, entry = entries_of(torch.tensor([0, 2, 2, 5]), torch.tensor([2, 1, 0, 2]))
    assert place.tolist() == [0, 0, 0, 2, 2, 3, 3, 3] and entry.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
