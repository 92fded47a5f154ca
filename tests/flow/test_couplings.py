from itertools import permutations

import pytest
import torch

from pathline.flow import independent, minibatch_optimal_transport


def test_the_minibatch_coupling_is_the_best_of_all_permutations() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x0, x1 = torch.randn(2, 6, 2, 2, generator=generator)
        best = min(float((x0[list(order)] - x1).square().sum()) for order in permutations(range(6)))
        paired, data = minibatch_optimal_transport(x0, x1)
        assert torch.equal(data, x1)
        assert float((paired - x1).square().sum()) == pytest.approx(best, rel=1e-6)
        assert torch.equal(paired.flatten(1).sort(dim=0).values, x0.flatten(1).sort(dim=0).values)


def test_on_the_line_the_coupling_is_monotone() -> None:
    x0, x1 = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(0))
    paired, _ = minibatch_optimal_transport(x0, x1)
    assert torch.equal(paired[x1[:, 0].argsort()], x0.sort(dim=0).values)


def test_repeated_points_still_give_a_permutation() -> None:
    x0 = torch.arange(4.0)[:, None]
    paired, _ = minibatch_optimal_transport(x0, torch.zeros(4, 1))
    assert torch.equal(paired.sort(dim=0).values, x0)


def test_the_independent_coupling_leaves_the_batch_alone_and_unequal_batches_are_refused() -> None:
    x0, x1 = torch.randn(2, 4, 1)
    assert independent(x0, x1) == (x0, x1)
    with pytest.raises(ValueError, match="equal shapes"):
        minibatch_optimal_transport(x0, x1[:3])
