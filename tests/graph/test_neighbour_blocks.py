"""Sampled neighbours: different ones, uniform, and sums over them unbiased; the implicit layer's memory on top."""

import torch

from pathline.graph import ImplicitMemory, SparseMatrix, bipartite_adjacency, personalised_pagerank, sample_block


def graph(users: int = 12, items: int = 18, edges: int = 70, seed: int = 0) -> SparseMatrix:
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(users * items, generator=generator)[:edges]
    return bipartite_adjacency(place // items, place % items, users, items)


def test_a_sample_holds_different_neighbours_each_equally_often() -> None:
    matrix = SparseMatrix(torch.zeros(6, dtype=torch.int64), torch.arange(6), None, (1, 6))
    block = sample_block(matrix, torch.zeros(20_000, dtype=torch.int64), 3, torch.Generator().manual_seed(0))
    chosen = block.neighbour.view(-1, 3)
    assert bool((chosen.sort(1).values.diff(dim=1) > 0).all()) and set(block.weight.tolist()) == {2.0}
    subsets = (1 << chosen).sum(1).unique(return_counts=True)[1]
    assert len(subsets) == 20 and float((subsets / 20_000 - 1 / 20).abs().max()) < 4.5 * (0.05 / 20_000) ** 0.5


def test_few_neighbours_are_all_taken_and_none_sum_to_zero() -> None:
    matrix = SparseMatrix(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 0]), None, (3, 3))
    block = sample_block(matrix, torch.arange(3), 2)
    assert block.neighbour.tolist() == [1, 2, 0] and block.sum(torch.eye(3)).tolist() == [
        [0, 1, 1],
        [0, 0, 0],
        [1, 0, 0],
    ]


def test_sums_over_samples_are_unbiased_and_the_snapshot_takes_their_noise_away() -> None:
    """Card 143, proof 3: 20000 draws; variance with a near snapshot <= 0.1 of that without, and zero at Z = M."""
    matrix, generator = graph(), torch.Generator().manual_seed(1)
    memory = ImplicitMemory(30, 4)
    memory.values.copy_(torch.randn(30, 4, generator=generator))
    target = int(matrix.pointer.diff().argmax())
    full = matrix.raw(memory.values, matrix.value)[target]
    draws = torch.full((20_000,), target)

    def spread() -> tuple[torch.Tensor, torch.Tensor]:
        sums = memory.aggregate(sample_block(matrix, draws, 3, generator))
        error = sums.mean(0) - full
        assert bool((error.abs() <= 3.5 * sums.std(0) / 20_000**0.5 + 1e-6).all())
        return error, sums.var(0)

    _, plain = spread()  # the snapshot is still zero
    memory.snapshot.copy_(memory.values + 0.1 * torch.randn(30, 4, generator=generator))
    memory.aggregated.copy_(matrix.raw(memory.snapshot, matrix.value))
    _, reduced = spread()
    assert float(plain.min()) > 1e-3 and float((reduced / plain).max()) <= 0.1
    memory.refresh(matrix)
    _, none = spread()
    assert float(none.max()) < 1e-12


def test_the_memory_converges_to_the_fixed_point_at_its_rate() -> None:
    """Card 143, proof 1: all nodes in every batch, no sampling, E frozen."""
    matrix, alpha = graph(), 0.45
    dense = torch.zeros(30, 30, dtype=torch.float64).index_put((matrix.row, matrix.column), matrix.value.double())
    x = torch.randn(30, 5, dtype=torch.float64)
    target = alpha * torch.linalg.solve(torch.eye(30).double() - (1 - alpha) * dense, x)
    memory = ImplicitMemory(30, 5).double()
    block = sample_block(matrix, torch.arange(30), None)
    first = float(target.norm())
    for sweep in range(1, 26):
        memory.step(x, block, alpha)
        assert float((memory.values - target).norm()) <= 1.001 * first * (1 - alpha) ** sweep + 1e-12
    assert float((memory.values - target).abs().max()) < 1e-6
    torch.testing.assert_close(personalised_pagerank(matrix, x, alpha, 60), target)


def test_the_gradient_from_memory_is_that_through_the_dense_inverse() -> None:
    """Card 143, proof 2."""
    matrix, alpha = graph(), 0.45
    dense = torch.zeros(30, 30, dtype=torch.float64).index_put((matrix.row, matrix.column), matrix.value.double())
    x = torch.randn(30, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(30, 5, dtype=torch.float64)
    z = alpha * torch.linalg.solve(torch.eye(30).double() - (1 - alpha) * dense, x)
    (exact,) = torch.autograd.grad((weight * z.tanh()).sum(), x)
    memory = ImplicitMemory(30, 5).double()
    block = sample_block(matrix, torch.arange(30), None)
    for _ in range(60):
        (found,) = torch.autograd.grad((weight * memory.step(x, block, alpha).tanh()).sum(), x)
    assert float((found - exact).norm() / exact.norm()) < 1e-5
    one_hop = alpha * weight * (1 - z.tanh().square())
    one_hop = one_hop.detach()
    assert float((one_hop - exact).norm() / exact.norm()) > 0.1, "the skip alone is not the gradient"


def test_a_fresh_memory_starts_from_the_incoming_gradient() -> None:
    matrix, alpha = graph(), 0.45
    dense = torch.zeros(30, 30).index_put((matrix.row, matrix.column), matrix.value)
    targets = torch.tensor([0, 3, 12, 15, 20])
    memory, weight = ImplicitMemory(30, 2), torch.randn(5, 2)
    x = torch.randn(5, 2, requires_grad=True)
    block = sample_block(matrix, targets, None)
    (found,) = torch.autograd.grad((weight * memory.step(x, block, alpha)).sum(), x)
    local = dense[targets][:, targets]
    torch.testing.assert_close(found, (1 - alpha) * local @ weight + alpha * weight)
    torch.testing.assert_close(memory.gradients[targets], found)
    (mixed,) = torch.autograd.grad((weight * memory.step(x, block, alpha, mix=0.25)).sum(), x)
    torch.testing.assert_close(mixed, (1 - alpha) * local @ (0.75 * found + 0.25 * weight) + alpha * weight)
