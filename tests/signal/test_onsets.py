"""Averages, triggers, autoregression and Akaike's criterion, each beside its definition."""

import pytest
import torch

from pathline.signal import aic_onset, autoregression, prediction_errors, recursive_sta_lta, triggers

DRAW = torch.Generator().manual_seed(0)


def test_the_recursive_averages_follow_their_recursion():
    x = torch.randn(2, 200, generator=DRAW)
    found = recursive_sta_lta(x, 5, 40)
    for row in range(2):
        short = long = 0.0
        for k, value in enumerate(x[row].tolist()):
            short += (value**2 - short) / 5
            long += (value**2 - long) / 40
            assert abs(float(found[row, k]) - (0.0 if k < 40 else short / long)) < 1e-4


def test_the_averages_equal_those_of_obspy():
    trigger = pytest.importorskip("obspy.signal.trigger")
    x = torch.randn(500, generator=DRAW, dtype=torch.float64)
    x[0] = 0.0  # which theirs leaves out
    theirs = torch.from_numpy(trigger.recursive_sta_lta(x.numpy(), 10, 100)).float()
    torch.testing.assert_close(recursive_sta_lta(x[None], 10, 100)[0, 100:], theirs[100:], atol=1e-3, rtol=1e-3)


def test_triggers_are_rises_and_keep_quiet_afterwards():
    curve = torch.tensor([[0, 2, 2, 0, 2, 0, 0, 2, 0, 2.0], [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]])
    assert [t.tolist() for t in triggers(curve, 1.0, 0)] == [[0, 0, 0, 0, 1, 1], [1, 4, 7, 9, 0, 9]]
    assert [t.tolist() for t in triggers(curve, 1.0, 3)] == [[0, 0, 1, 1], [1, 7, 0, 9]]
    assert [t.tolist() for t in triggers(curve, 5.0, 3)] == [[], []]


def test_autoregression_finds_the_coefficients_of_its_own_process():
    true = torch.tensor([1.2, -0.6])
    x = torch.zeros(1, 20_000)
    noise = torch.randn(20_000, generator=DRAW)
    values = [0.0, 0.0]
    for k in range(2, 20_000):
        values.append(1.2 * values[-1] - 0.6 * values[-2] + float(noise[k]))
    x[0] = torch.tensor(values)
    found = autoregression(x, 2)
    torch.testing.assert_close(found[0].float(), true, atol=0.02, rtol=0)
    errors = prediction_errors(x, found)
    assert abs(float(errors[0, 2:].std()) - 1) < 0.02
    torch.testing.assert_close(errors[0, 2:].float(), noise[2:], atol=0.4, rtol=0)
    assert errors.shape == x.shape and not errors[0, :2].any()


def test_the_criterion_is_least_where_the_variance_changes():
    x = torch.randn(20, 300, generator=DRAW)
    at = torch.arange(60, 240, 9)
    x = torch.where(torch.arange(300) >= at[:, None], 6 * x, x).double()
    criterion = aic_onset(x, x, margin=5)
    assert (criterion.argmin(1) - at).abs().max() <= 3
    assert bool(torch.isinf(criterion[:, :5]).all()) and bool(torch.isinf(criterion[:, 295:]).all())
    k = 100
    expected = k * torch.log(x[0, :k].square().mean()) + (300 - k - 1) * torch.log(x[0, k:].square().mean())
    torch.testing.assert_close(criterion[0, k], expected)
