"""The implicit layer: sums over samples without bias, the memory's fixed point, and the gradient through it."""

import torch

from pathline.graph import ImplicitMemory, SparseMatrix, bipartite_adjacency, personalised_pagerank, sample_block


def graph(users: int = 12, items: int = 18, edges: int = 70, seed: int = 0) -> SparseMatrix:
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(users * items, generator=generator)[:edges]
    return bipartite_adjacency(place // items, place % items, users, items)


def test_sums_over_samples_are_unbiased_and_the_snapshot_takes_their_noise_away() -> None:
    """Card 143, proof 3: 20000 draws; variance with a near snapshot <= 0.1 of that without, and zero at Z = M."""
    matrix, generator = graph(), torch.Generator().manual_seed(1)
    memory = ImplicitMemory(30, 4)
    memory.values.copy_(torch.randn(30, 4, generator=generator))
    target = int(matrix.pointer.diff().argmax())
    full = (matrix @ memory.values)[target]
    draws = torch.full((20_000,), target)

    def spread() -> tuple[torch.Tensor, torch.Tensor]:
        sums = memory.aggregate(sample_block(matrix, draws, 3, generator))
        error = sums.mean(0) - full
        assert bool((error.abs() <= 3.5 * sums.std(0) / 20_000**0.5 + 1e-6).all())
        return error, sums.var(0)

    _, plain = spread()  # the snapshot is still zero
    memory.snapshot.copy_(memory.values + 0.1 * torch.randn(30, 4, generator=generator))
    memory.aggregated.copy_(matrix @ memory.snapshot)
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
