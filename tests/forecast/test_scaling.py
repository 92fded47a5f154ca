"""Filling gaps and standardising."""

import numpy as np
import torch

from pathline.forecast.scaling import Standardise, carry_forward


def test_gaps_take_the_last_observed_value_and_before_it_the_given_one():
    values = torch.tensor([0.0, 5.0, 0.0, 0.0, 7.0, 0.0]).view(1, 6, 1, 1)
    observed = torch.tensor([False, True, False, False, True, False]).view(1, 6, 1, 1)
    filled = carry_forward(values, observed, torch.tensor([-1.0]))
    assert filled.flatten().tolist() == [-1.0, 5.0, 5.0, 5.0, 7.0, 7.0]


def test_each_sensor_and_channel_is_filled_from_itself():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 7, 4, 2, generator=generator)
    observed = torch.rand(values.shape, generator=generator) > 0.5
    before = torch.randn(4, 2, generator=generator)
    filled = carry_forward(values, observed, before)
    for b, n, c in np.ndindex(3, 4, 2):
        last = before[n, c]
        for t in range(7):
            last = values[b, t, n, c] if observed[b, t, n, c] else last
            assert filled[b, t, n, c] == last


def test_statistics_come_from_observed_values_only(series):
    scaling = Standardise(1)
    scaling.read(series)
    known = series.values[series.observed].double()
    torch.testing.assert_close(scaling.mean.double(), known.mean()[None], rtol=1e-6, atol=0)
    torch.testing.assert_close(scaling.std.double(), known.std(correction=0)[None], rtol=1e-6, atol=0)
    x = torch.randn(2, 3, 4, 1) * 30
    torch.testing.assert_close(scaling.inverse(scaling(x)), x)


def test_a_constant_channel_is_left_at_its_scale(series):
    scaling = Standardise(1)
    scaling.read(series.slice(0, 1))
    assert scaling.std.item() > 0 and scaling(series.values).isfinite().all()
