"""The verb, the metrics and the checks that all forecasters share."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError
from pathline.data import Series
from pathline.forecast.base import lead_time, masked_mae
from pathline.forecast.baselines import DailyProfile, LastValue, Linear
from pathline.forecast.gman import GMAN
from pathline.forecast.rivals import AdaptiveGraphGRU, AttentionGRU, DiffusionGRU
from pathline.forecast.stlinear import STLinear

SMALL_GMAN = {"heads": 2, "head_width": 2, "embedding": 4}
FORECASTERS = {
    LastValue: {},
    DailyProfile: {},
    Linear: {},
    STLinear: {"width": 8},
    GMAN: SMALL_GMAN,
    AdaptiveGraphGRU: {"width": 4, "layers": 1},
    AttentionGRU: SMALL_GMAN | {"decoder_width": 4},
    DiffusionGRU: {"width": 4, "ste_width": 4, "embedding": 4},
}
ALL = pytest.mark.parametrize("cls", FORECASTERS, ids=lambda cls: cls.__name__)
TRAINED = pytest.mark.parametrize("cls", [c for c in FORECASTERS if c.trains], ids=lambda cls: cls.__name__)


def build(cls, data, **config):
    return cls.seeded(data, 0, **FORECASTERS[cls] | config)


def first_windows(data, count=5):
    return data.gather(torch.arange(count))


@ALL
def test_metrics_equal_a_loop_over_windows_steps_and_sensors(cls, series):
    split = series.split()
    method = build(cls, split.train)
    data = split.test
    absolute, squared, percent = [], [], []
    by_step = {1: [], 2: [], 4: []}
    for start in range(len(data)):
        window = data.gather(torch.tensor([start]))
        forecast = method.forecast(window)
        for q, n in np.ndindex(4, 4):
            if data.observed[start + 4 + q, n, 0]:
                error = abs(forecast[0, q, n, 0].item() - data.values[start + 4 + q, n, 0].item())
                absolute.append(error)
                squared.append(error**2)
                value = abs(data.values[start + 4 + q, n, 0].item())
                if value >= 0.1 * method.scaling.std.item():
                    percent.append(100 * error / value)
                if q + 1 in by_step:
                    by_step[q + 1].append(error)
    metrics = method.evaluate(data)
    assert list(metrics) == ["MAE", "MAE 3 h", "MAE 6 h", "MAE 12 h", "RMSE", "MAPE (%)"]
    by_lead = [np.mean(errors) for errors in by_step.values()]
    expected = [np.mean(absolute), *by_lead, np.mean(squared) ** 0.5, np.mean(percent)]
    np.testing.assert_allclose(list(metrics.values()), expected, rtol=1e-5)


@ALL
def test_what_was_not_observed_and_what_is_yet_to_come_changes_no_forecast(cls, series):
    method = build(cls, series.split().train)
    window = first_windows(series)
    junk = torch.full_like(window.past, 1e9)
    other = replace(
        window,
        past=torch.where(window.past_observed, window.past, torch.nan),
        future=junk,
        future_observed=torch.ones_like(window.future_observed),
    )
    assert not window.past_observed.all()
    assert torch.equal(method.forecast(window), method.forecast(other))


@TRAINED
def test_unobserved_targets_change_neither_loss_nor_gradient(cls, series):
    method = build(cls, series.split().train)
    window = first_windows(series)

    def gradients(batch):
        torch.manual_seed(0)  # scheduled sampling tosses coins
        method.train().zero_grad()
        loss = method.loss(batch)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in method.parameters() if p.grad is not None)]

    seen = window.future_observed
    assert not seen.all()
    before = gradients(window)
    after = gradients(replace(window, future=torch.where(seen, window.future, 1e9)))
    assert len(before) > 1 and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_size_of_the_loss_does_not_depend_on_how_much_is_missing():
    prediction = torch.zeros(2, 3, requires_grad=True)
    target = torch.full((2, 3), 2.0)
    observed = torch.tensor([[True, False, False], [False, True, False]])
    loss = masked_mae(prediction, torch.where(observed, target, torch.nan), observed)
    assert loss.item() == pytest.approx(2.0)
    loss.backward()
    assert torch.equal(prediction.grad, -observed.float() / 2)
    assert masked_mae(prediction, target, torch.zeros_like(observed)).item() == 0.0


@ALL
def test_the_test_part_leaves_no_trace_in_a_method_built_from_the_training_part(cls, series):
    first = int(series.steps * 0.7)
    changed = series.values.clone()
    changed[first:] = 1e3 * torch.randn(changed[first:].shape, generator=torch.Generator().manual_seed(5))
    other = replace(series, values=changed)
    assert not torch.equal(other.values, series.values)
    one, two = (build(cls, data.split()).state_dict() for data in (series, other))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    learned = build(cls, other)  # while the whole series does leave one
    assert any(not torch.equal(value, learned.state_dict()[name]) for name, value in one.items())


@ALL
def test_forecasts_are_in_the_data_s_units_and_reach_past_its_end(cls, series):
    method = build(cls, series)
    forecast = method.forecast(series.last_window())
    assert forecast.shape == (1, 4, 4, 1) and forecast.dtype == torch.float32 and not forecast.requires_grad
    table = method.predict(series)
    assert list(table.columns) == ["time", *series.nodes]
    hours = pd.date_range("2024-01-12 00:00", periods=4, freq="3h")
    assert (table["time"].to_numpy() == hours.to_numpy()).all()
    np.testing.assert_array_equal(table[list(series.nodes)].to_numpy(), forecast[0, ..., 0].numpy())
    shifted = replace(series, values=series.values + 1000)
    if (
        cls is not GMAN and cls is not DiffusionGRU
    ):  # a new offset is a new mean, hence the same forecast plus the offset
        moved = build(cls, shifted).forecast(shifted.last_window())
        torch.testing.assert_close(moved - 1000, forecast, rtol=0, atol=0.1)


@TRAINED
def test_training_beats_the_untrained(cls, series):
    split = series.split()
    method = build(cls, split.train)
    before = method.evaluate(split.test)["MAE"]
    method.fit(split.train, steps(40), lr=1e-2, batch_size=16)
    assert method.evaluate(split.test)["MAE"] < 0.8 * before


def test_forecasting_in_training_mode_uses_no_batch_statistics_and_stays_in_it(series):
    method = build(GMAN, series).train()
    window = first_windows(series)
    before = method.state_dict()["input.0.1.running_mean"].clone()
    together = method.forecast(window)
    alone = method.forecast(first_windows(series, 1))
    torch.testing.assert_close(together[:1], alone)
    assert method.training and torch.equal(before, method.state_dict()["input.0.1.running_mean"])


def test_several_channels_have_a_metric_each(series):
    both = replace(
        series,
        values=torch.cat([series.values, 10 * series.values], dim=-1),
        observed=series.observed.repeat(1, 1, 2),
        channels=("speed", "flow"),
    )
    for cls in FORECASTERS:
        metrics = build(cls, both).evaluate(both)
        assert {"MAE speed", "MAE flow"} < set(metrics)
        assert metrics["MAE"] == pytest.approx((metrics["MAE speed"] + metrics["MAE flow"]) / 2)
    metrics = build(LastValue, both).evaluate(both)
    assert metrics["MAE flow"] == pytest.approx(10 * metrics["MAE speed"])
    assert list(build(Linear, both).predict(both).columns)[1:3] == ["0 speed", "0 flow"]


def test_lead_times_are_named_in_readable_units():
    assert [lead_time(step, 12, 300) for step in (3, 6, 12)] == ["15 min", "30 min", "60 min"]
    assert lead_time(12, 24, 3600) == "12 h"
    assert lead_time(7, 28, 86_400) == "7 days"
    assert lead_time(1, 5, 5400) == "1.5 h"


def test_bad_windows_are_named(series):
    method = build(LastValue, series)
    window = first_windows(series)
    wrong = {
        "past has shape": replace(window, past=window.past[:, :, :3]),
        "past_observed has shape": replace(window, past_observed=window.past_observed[:, :3]),
        "time_of_day has shape": replace(window, time_of_day=window.time_of_day[:, :5]),
        "day_of_week runs from": replace(window, day_of_week=window.day_of_week + 7),
        "empty": window.map(lambda tensor: tensor[:0]),
        "marked as observed": replace(window, past=window.past.clone().index_fill_(2, torch.tensor([1]), torch.nan)),
    }
    for words, bad in wrong.items():
        with pytest.raises(DataError, match=words):
            method.forecast(bad)
    with pytest.raises(DataError, match="Series"):
        method.forecast(series)


def test_bad_data_is_named(series):
    method = build(LastValue, series)
    fewer = replace(series, values=series.values[:, :3], observed=series.observed[:, :3], nodes=(), adjacency=None,
                    positions=None)  # fmt: skip
    with pytest.raises(DataError, match=r"3 sensors.*built for 4"):
        method.evaluate(fewer)
    with pytest.raises(DataError, match="no window"):
        method.evaluate(series.slice(0, 5))
    with pytest.raises(DataError, match="steps per day"):
        method.predict(replace(series, interval=3600))
    silent = replace(series, observed=torch.zeros_like(series.observed))
    with pytest.raises(DataError, match="no value was observed"):
        method.evaluate(silent)
    with pytest.raises(DataError, match="no value was observed"):
        LastValue.for_data(silent)


def test_data_cut_otherwise_is_evaluated_in_the_method_s_own_windows(series):
    method = build(LastValue, series)
    assert method.evaluate(series.with_window(6, 2)) == method.evaluate(series)


def test_figures_show_curves_fans_lead_times_sensors_and_maps(series):
    methods = {cls.__name__: build(cls, series.split().train) for cls in (LastValue, DailyProfile, STLinear)}
    figures = LastValue.figures(methods, series)
    assert [figure.title for figure in figures] == [
        "Forecasts and what came", "How sure the forecast is", "Error by lead time", "All sensors over a day",
        "The network over time", "Where it is hard",
    ]  # fmt: skip
    curves, by_lead = figures[0].picture, figures[2].picture.axes
    assert 1 <= len(curves.axes) <= 3
    errors = methods["LastValue"].errors(series)
    for axis, measure in zip(by_lead, (errors.mae, errors.rmse, errors.mape), strict=True):
        line = {line.get_label(): line.get_ydata() for line in axis.lines}
        np.testing.assert_allclose(line["LastValue"], measure((1, 2)).numpy())
    for figure in figures:
        figure.picture.canvas.draw()
    film = figures[4].animation
    assert film.count > 3 and film.draw(0).axes
    without = replace(series, positions=None)  # places are made from the graph, and a map of errors has none
    assert len(LastValue.figures(methods, without)) == 5
    alone = replace(without, adjacency=None)
    assert len(LastValue.figures(methods, alone)) == 4
    assert len(LastValue.figures(methods, series.split().test)) == 5  # too short for bands


def test_percentages_leave_out_what_is_next_to_nothing(series):
    quiet = replace(series, values=torch.where(torch.arange(series.steps)[:, None, None] % 3 == 0, 0.0, series.values))
    method = build(LastValue, series)
    errors, all_zero = method.errors(quiet), method.errors(replace(series, values=0 * series.values))
    assert errors.mape().isfinite() and errors.large.sum() < errors.count.sum()
    assert not all_zero.large.any() and "MAPE (%)" not in method.evaluate(replace(series, values=0 * series.values))
    constant = replace(series, values=torch.full_like(series.values, 40.0), observed=torch.ones_like(series.observed))
    shifted = build(LastValue, constant)
    window = replace(constant, values=torch.cat([constant.values[:4], constant.values[4:] + 10]))
    assert shifted.errors(window.slice(0, 8)).mape((1, 2)).tolist() == pytest.approx([20.0] * 4)


def test_windows_of_separate_clips_do_not_overlap():
    values = torch.arange(40.0)[:, None, None]
    clips = Series(
        values=values, observed=torch.ones_like(values, dtype=torch.bool), start=0, interval=60, history=3, horizon=2,
        stride=5, name="clips",
    )  # fmt: skip
    assert len(clips) == 8
    window = clips.gather(torch.arange(8))
    assert window.past[:, 0, 0, 0].tolist() == [5.0 * k for k in range(8)]
    split = clips.split()
    assert [part.steps % 5 for part in (split.train, split.validation, split.test)] == [0, 0, 0]
    method = LastValue.for_data(clips)
    where = torch.arange(40)[:, None] % 5 == 3  # the first future step of each clip
    assert method.errors(clips, where).count[..., 0, 0].tolist() == [8, 0]
    with pytest.raises(DataError, match="stride is 0"):
        replace(clips, stride=0)


def test_a_graph_that_no_method_could_use_is_named(series):
    for adjacency, said in (
        (torch.full((4, 4), -1.0), "from sensor 0 to 0 is -1"),
        (torch.full((4, 4), torch.nan), "weights must be finite"),
        (torch.zeros(3, 3), "3 x 3 but there are 4 sensors"),
        (torch.zeros(7, 4, 4), "changes over 7 steps"),
    ):
        with pytest.raises(DataError, match=said):
            replace(series, adjacency=adjacency)
