"""Trend and remainder."""

import pytest
import torch

from pathline.nn.decomposition import Decomposition

X = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 3, 5, 25])
def test_trend_and_remainder_sum_to_the_series(kernel):
    trend, remainder = Decomposition(kernel)(X)
    assert trend.shape == remainder.shape == X.shape
    torch.testing.assert_close(trend + remainder, X, rtol=0, atol=1e-14)


def test_trend_is_the_moving_average_with_the_ends_repeated():
    trend, _ = Decomposition(5)(X)
    for t in range(12):
        around = [min(max(s, 0), 11) for s in range(t - 2, t + 3)]
        torch.testing.assert_close(trend[..., t], X[..., around].mean(-1))


def test_constant_series_has_no_remainder_and_a_wiggle_has():
    trend, remainder = Decomposition(3)(torch.full((1, 8), 7.0, dtype=torch.float64))
    torch.testing.assert_close(trend, torch.full_like(trend, 7.0))
    assert remainder.abs().max() < 1e-14
    _, remainder = Decomposition(3)(torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]]))
    assert remainder.abs().min() > 0.5


def test_kernel_one_leaves_no_remainder():
    assert not Decomposition(1)(X)[1].any()


@pytest.mark.parametrize("kernel", [0, 2, -3])
def test_a_kernel_without_a_middle_is_refused(kernel):
    with pytest.raises(ValueError, match="odd"):
        Decomposition(kernel)
