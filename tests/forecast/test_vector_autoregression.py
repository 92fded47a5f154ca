"""Vector autoregression and the weekly profile: closed forms on small series."""

from dataclasses import replace

import pytest
import torch

from pathline.core.errors import DataError
from pathline.data import Series
from pathline.forecast.baselines import DailyProfile, Linear
from pathline.forecast.vector_autoregression import VectorAutoregression
from pathline.forecast.weekly_profile import WeeklyProfile

MONDAY = 1_704_067_200


def coupled(steps=600, seed=0, lags=2):
    """A stationary process of three sensors, each driven by another one two steps before."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.3]])
    second = torch.tensor([[0.0, 0.0, 0.4], [0.5, 0.0, 0.0], [0.0, 0.6, 0.0]])
    z = torch.zeros(steps, 3)
    z[:2] = torch.randn(2, 3, generator=generator)
    for step in range(2, steps):
        z[step] = first @ z[step - 1] + second @ z[step - 2] + 0.1 * torch.randn(3, generator=generator)
    values = 10 + z * torch.tensor([1.0, 5.0, 0.2])
    return Series(
        values=values[..., None], observed=torch.ones(steps, 3, 1, dtype=torch.bool), start=0, interval=60,
        history=4, horizon=3, name="coupled",
    ), first, second  # fmt: skip


def test_it_finds_the_process_that_made_the_data_and_iterates_it():
    data, first, second = coupled(6000)
    method = VectorAutoregression.for_data(data, lags=2)
    scale = method.spread[:, 0]
    found = method.weight[:-1].unflatten(0, (2, 3)).transpose(1, 2)  # (lag, to, from), oldest first
    found = found * scale[:, None] / scale  # from standardised to the data's units
    units = torch.tensor([1.0, 5.0, 0.2])
    expected = torch.stack([second, first]) * units[:, None] / units
    assert ((found - expected).abs() / (units[:, None] / units) < 0.06).all()
    window = data.gather(torch.tensor([50]))
    z = ((window.past[0, -2:, :, 0] - method.average[:, 0]) / scale).double()
    for step in range(3):
        ahead = torch.cat([z[-2], z[-1], torch.ones(1, dtype=torch.float64)]) @ method.weight.double()
        value = ahead.float() * scale + method.average[:, 0]
        torch.testing.assert_close(method.forecast(window)[0, step, :, 0], value, rtol=1e-5, atol=1e-5)
        z = torch.stack([z[-1], ahead])


def test_it_beats_the_map_that_sees_one_sensor_only_gaps_or_not():
    data, *_ = coupled(1500, seed=1)
    split = data.split()
    alone = Linear.for_data(split.train).evaluate(split.test)["MAE"]
    assert VectorAutoregression.for_data(split.train).evaluate(split.test)["MAE"] < 0.9 * alone
    seen = torch.rand(data.values.shape, generator=torch.Generator().manual_seed(2)) > 0.15
    gappy = replace(split.train, observed=seen[: split.train.steps])
    assert VectorAutoregression.for_data(gappy).evaluate(split.test)["MAE"] < 0.97 * alone


def test_hidden_readings_do_not_matter_and_silent_sensors_are_forecast_too(series):
    method = VectorAutoregression.for_data(series)
    garbage = replace(series, values=torch.where(series.observed, series.values, 1e6))
    assert torch.equal(VectorAutoregression.for_data(garbage).weight, method.weight)
    silent = replace(series, observed=series.observed & (torch.arange(4) != 2)[:, None])
    assert VectorAutoregression.for_data(silent).forecast(silent.last_window()).isfinite().all()


def test_many_sensors_shorten_the_lags_and_too_many_are_refused():
    def wide(nodes):
        values = torch.randn(60, nodes, 1, generator=torch.Generator().manual_seed(0))
        return Series(values=values, observed=torch.ones_like(values, dtype=torch.bool), start=0, interval=60)

    assert VectorAutoregression.for_data(wide(300)).lags == 3
    with pytest.raises(DataError, match="2100 sensors x 1 channels"):
        VectorAutoregression.for_data(wide(2100))


def test_weekly_profile_knows_the_day_and_falls_back_on_its_kind():
    steps = torch.arange(9 * 4)  # nine days from Monday, every six hours
    day = steps // 4
    values = (100.0 * (day % 7) + steps % 4).float()[:, None, None].expand(-1, 2, -1).clone()
    values[28:] += 2  # the second Monday and Tuesday
    data = Series(
        values=values, observed=torch.ones_like(values, dtype=torch.bool), start=MONDAY, interval=21_600, history=2,
        horizon=4, name="weeks",
    )  # fmt: skip
    method = WeeklyProfile.for_data(data)
    for first, expected in ((0, [3.0, 4.0, 101.0, 102.0]), (6, [200.0, 201.0, 202.0, 203.0])):
        assert method.forecast(data.gather(torch.tensor([first])))[0, :, 0, 0].tolist() == expected
    short = data.slice(0, 8)  # Monday and Tuesday
    daily, weekly = DailyProfile.for_data(short), WeeklyProfile.for_data(short)
    window = data.gather(torch.tensor([14]))  # a Thursday
    assert torch.equal(weekly.forecast(window), daily.forecast(window))
