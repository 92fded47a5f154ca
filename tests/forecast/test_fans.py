"""Bands from past errors."""

from dataclasses import replace

import pytest
import torch

from pathline.core.errors import DataError
from pathline.data import Series
from pathline.forecast.baselines import LastValue
from pathline.forecast.fans import fan, fans, quantiles, window_errors


def noise(steps, seed=0):
    """Sensor 0 is quiet, sensor 1 ten times as loud."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(steps, 2, 1, generator=generator) * torch.tensor([1.0, 10.0])[:, None]
    return Series(
        values=values, observed=torch.ones_like(values, dtype=torch.bool), start=0, interval=3600, history=2, horizon=3,
        name="noise",
    )  # fmt: skip


def test_bands_hold_as_much_as_they_say_at_each_sensor():
    data = noise(6000)
    method = LastValue.for_data(data)
    bands = quantiles(window_errors(method, data.slice(0, 3000)))
    errors = window_errors(method, data.slice(3000, 6000))
    for low, high, share in ((0, 4, 0.9), (1, 3, 0.5)):
        inside = ((errors >= bands[low]) & (errors <= bands[high])).float().mean(0)
        torch.testing.assert_close(inside, torch.full_like(inside, share), rtol=0, atol=0.04)
    assert (bands[4, :, 1] > 5 * bands[4, :, 0]).all()


def test_the_fan_of_what_comes_next_is_ordered_and_around_the_forecast():
    data = noise(200)
    method = LastValue.for_data(data)
    made = fan(method, data)
    assert made.shape == (5, 3, 2, 1) and (made.diff(dim=0) >= 0).all()
    expected = method.forecast(data.last_window()) + window_errors(method, data).quantile(0.95, dim=0)
    torch.testing.assert_close(made[4:], expected)
    with pytest.raises(DataError, match="6 windows are too few"):
        fan(method, data.slice(0, 10))


def test_a_silent_sensor_takes_the_bands_of_all():
    data = noise(300)
    silent = replace(data, observed=data.observed & torch.tensor([True, False])[:, None])
    bands = quantiles(window_errors(LastValue.for_data(silent), silent))
    torch.testing.assert_close(bands[:, :, 1], bands[:, :, 0])
    assert (bands[4] > bands[0]).all()


def test_no_band_knows_what_came_after_it():
    data = noise(120)
    method = LastValue.for_data(data)
    later = replace(data, values=torch.cat([data.values[:80], 100 * data.values[80:]]))
    polygons = []
    for some in (data, later):
        figure = fans("last value", method, some, 60, 90, method.errors(data))
        polygons.append([band.get_paths()[0].vertices for band in figure.picture.axes[0].collections])
    same = [(first == second).all() for first, second in zip(*polygons, strict=True)]
    # two bands a fan, and a fan every three steps from step 62 on: those made before step 80 are as they were
    assert all(same[: 2 * 6]) and not any(same[-2:])
    assert fans("last value", method, data.slice(0, 20), 0, 20, method.errors(data)) is None
