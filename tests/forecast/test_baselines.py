"""The baselines against closed forms and brute force."""

from dataclasses import replace

import numpy as np
import torch

from pathline.data import Series
from pathline.forecast.baselines import DailyProfile, LastValue, Linear

MONDAY = 1_704_067_200
HALF_DAY = 43_200


def tiny(values, observed=None, interval=HALF_DAY, history=2, horizon=2):
    """values: nested list (time, nodes)."""
    values = torch.tensor(values, dtype=torch.float32)[..., None]
    observed = torch.ones_like(values, dtype=torch.bool) if observed is None else torch.tensor(observed)[..., None]
    return Series(values=values, observed=observed.bool(), start=MONDAY, interval=interval, history=history,
                  horizon=horizon, name="tiny")  # fmt: skip


def test_last_value_is_the_last_observed_one_and_else_the_sensor_s_training_mean():
    past = [[1.0, 10.0, 0.0], [3.0, 20.0, 0.0], [0.0, 30.0, 0.0], [0.0, 40.0, 0.0]]
    seen = [[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]]
    data = tiny(past, seen)
    method = LastValue.for_data(data)
    window = data.last_window()  # of the last two steps sensor 0 has none: its mean is 2; sensor 2 has none at all
    expected = torch.tensor([2.0, 40.0, 104.0 / 6]).view(1, 1, 3, 1).expand(1, 2, 3, 1)
    torch.testing.assert_close(method.forecast(window), expected)
    window = data.gather(torch.tensor([0]))
    torch.testing.assert_close(method.forecast(window)[0, :, 0, 0], torch.tensor([3.0, 3.0]))


def test_daily_profile_is_the_mean_by_time_of_day_and_kind_of_day():
    days = torch.arange(14)
    weekend = days % 7 >= 5
    night = torch.where(weekend, 10.0, 1.0) + days.float()
    noon = torch.where(weekend, 100.0, 50.0) - days.float()
    data = tiny(torch.stack([night, noon], dim=1).reshape(28, 1).tolist())
    window = data.gather(torch.tensor([8]))  # steps 10 and 11: Saturday night and noon
    forecast = DailyProfile.for_data(data).forecast(window).flatten()
    torch.testing.assert_close(forecast, torch.stack([night[weekend].mean(), noon[weekend].mean()]))
    window = data.gather(torch.tensor([7]))  # steps 9 and 10: Friday noon, Saturday night
    forecast = DailyProfile.for_data(data).forecast(window).flatten()
    torch.testing.assert_close(forecast, torch.stack([noon[~weekend].mean(), night[weekend].mean()]))


def test_daily_profile_falls_back_to_both_kinds_then_to_the_sensor_then_to_all():
    values = [[1.0, 0.0, 0.0], [5.0, 7.0, 0.0], [3.0, 0.0, 0.0], [9.0, 7.0, 0.0], [2.0, 0.0, 0.0]]
    seen = [[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    method = DailyProfile.for_data(tiny(values, seen))
    weekday, weekend = method.profile[..., 0]
    torch.testing.assert_close(weekday[:, 0], torch.tensor([2.0, 7.0]))
    assert torch.equal(weekend, weekday), "no weekend was seen: both kinds are the weekday"
    torch.testing.assert_close(weekday[0, 1].item(), 7.0)  # never observed at night: its own mean
    torch.testing.assert_close(weekday[:, 2], torch.full((2,), 34.0 / 7))  # never observed at all: the mean of all


def test_daily_profile_holds_each_row_under_the_local_clock(series):
    method = DailyProfile.for_data(series)
    time_of_day, day_of_week = series.clock(torch.arange(series.steps))
    for kind, slot, node in np.ndindex(2, 8, 4):
        rows = (time_of_day == slot) & ((day_of_week >= 5) == bool(kind)) & series.observed[:, node, 0]
        expected = series.values[rows, node, 0].mean()
        torch.testing.assert_close(method.profile[kind, slot, node, 0], expected)


def test_linear_recovers_a_linear_law_exactly():
    a, b = [1.0], [2.0]
    for _ in range(40):  # a rotation: every future value is one linear map of the last two
        a.append(a[-1] * 0.8 - b[-1] * 0.6)
        b.append(a[-2] * 0.6 + b[-1] * 0.8)
    data = tiny([[x + 7, y + 7] for x, y in zip(a, b, strict=True)], interval=3600)
    assert Linear.for_data(data, ridge=1e-12).evaluate(data)["MAE"] < 1e-4
    assert LastValue.for_data(data).evaluate(data)["MAE"] > 0.5


def test_linear_equals_ridge_regression_on_the_observed_targets_of_each_step(series):
    ridge = 0.05
    method = Linear.for_data(series, ridge=ridge)
    mean, std = method.scaling.mean.double().item(), method.scaling.std.double().item()
    for q in range(series.horizon):
        rows, targets, everything = [], [], 0
        for start, n in np.ndindex(len(series), 4):
            past, last = [], 0.0
            for t in range(start, start + 4):
                last = (series.values[t, n, 0].item() - mean) / std if series.observed[t, n, 0] else last
                past.append(last)
            if series.observed[start + 4 + q, n, 0]:
                rows.append([*past, 1.0])
                targets.append((series.values[start + 4 + q, n, 0].item() - mean) / std)
        x, y, everything = np.array(rows), np.array(targets), len(rows)
        penalty = ridge * everything * np.diag([1.0, 1.0, 1.0, 1.0, 0.0])
        expected = np.linalg.solve(x.T @ x + penalty, x.T @ y)
        np.testing.assert_allclose(method.weight[q, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_fit_computes_and_trains_nothing(series):
    split = series.split()
    for cls in (LastValue, DailyProfile, Linear):
        fitted = cls.for_data(series.slice(0, 16)).fit(split)
        assert not fitted.training and fitted.parameter_count() == 0 and fitted.training_record is None
        fresh = cls.for_data(split.train).state_dict()
        assert all(torch.equal(value, fresh[name]) for name, value in fitted.state_dict().items())


def test_a_silent_sensor_breaks_no_baseline(series):
    observed = series.observed.clone()
    observed[:, 2] = False
    silent = replace(series, observed=observed)
    for cls in (LastValue, DailyProfile, Linear):
        assert cls.for_data(silent).forecast(silent.last_window()).isfinite().all()
