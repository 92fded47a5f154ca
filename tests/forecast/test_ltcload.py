"""Liquid networks on streams and their rivals: forecast first, learn afterwards, freeze what is said to be frozen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.data import Series
from pathline.forecast.ltcload import LTCLoad
from pathline.forecast.stream_rivals import Autoregression, GatedLoad, Incremental, LagMLP
from pathline.forecast.streaming import (
    HEADROOM,
    HybridForecaster,
    choose,
    rolling_mean,
    time_to_convergence,
)
from pathline.nn.liquid import ClosedFormCell, LiquidCell, SynapticCell

LAGS = 4
SMALL = {"lags": LAGS, "capacity": 1.0}
NETWORKS = {
    "liquid": (LTCLoad, {"width": 6, "unfolds": 2}),
    "synaptic": (LTCLoad, {"width": 6, "unfolds": 2, "cell": "synaptic"}),
    "policy": (LTCLoad, {"width": 12, "unfolds": 2, "cell": "synaptic", "wiring": "policy"}),
    "closed-form": (LTCLoad, {"width": 6, "cell": "closed-form"}),
    "gated": (GatedLoad, {"width": 6}),
    "perceptron": (LagMLP, {"width": 8}),
    "autoregression": (Autoregression, {}),
}


@pytest.fixture(scope="module")
def loads() -> Series:
    """Two links over three days, every half hour; at step 100 one load jumps."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(144)
    wave = 0.3 + 0.1 * torch.sin(2 * torch.pi * (time[:, None] / 48 + torch.tensor([0.0, 0.3])))
    wave[100:, 0] += 0.4
    values = (wave + 0.01 * torch.randn(wave.shape, generator=generator))[..., None]
    seen = torch.ones_like(values, dtype=torch.bool)
    return Series(values=values, observed=seen, start=0, interval=1800, history=12, horizon=1, name="loads")


def built(name: str, data: Series, **config):
    cls, own = NETWORKS[name]
    return cls.seeded(data, 0, **SMALL | own | config)


def checksum(module: torch.nn.Module) -> float:
    return sum(float(p.detach().double().abs().sum() * (i + 1)) for i, p in enumerate(module.parameters()))


def streamers(data: Series) -> dict:
    found = {name: built(name, data.slice(0, 100)) for name in NETWORKS}
    found["incremental"] = Incremental(found["perceptron"], every=10, epochs=2)
    found["hybrid"] = HybridForecaster(found["liquid"], Incremental(found["perceptron"], every=10, epochs=2), 5)
    return found


@pytest.mark.parametrize("name", [*NETWORKS, "incremental", "hybrid"])
def test_a_sample_is_forecast_before_it_is_seen(name, loads):
    told = streamers(loads)[name].stream(loads)
    assert told.shape == loads.values.shape
    assert told[:LAGS].isnan().all() and told[LAGS:].isfinite().all()
    for moment in (60, 105, 143):
        junk = loads.values.clone()
        junk[moment:] = 0.9 * torch.rand(junk[moment:].shape)
        other = streamers(loads)[name].stream(replace(loads, values=junk))
        assert torch.equal(other[LAGS : moment + 1], told[LAGS : moment + 1])
        if moment < 143:
            assert not torch.equal(other[moment + 1], told[moment + 1])  # but then it is


def test_frozen_means_frozen(loads):
    for name in ("liquid", "gated", "perceptron"):
        network = built(name, loads)
        before = checksum(network)
        network.stream(loads)
        assert checksum(network) == before


def test_incremental_learning_changes_its_weights_every_b_samples_and_at_no_other_time(loads, monkeypatch):
    static = built("perceptron", loads)
    before = checksum(static)
    learner = Incremental(static, every=10, epochs=2)
    used: list[tuple[int, float]] = []
    refitted: list[int] = []
    original, refit = type(learner.network).respond, learner.refit

    def respond(self, features):
        if not torch.is_grad_enabled() and features.shape[1] > 1:
            used.append((features.shape[1], checksum(self)))
        return original(self, features)

    def noted(features, target):
        refitted.append(features.shape[1])
        assert features.shape[1] == target.shape[1]
        refit(features, target)

    monkeypatch.setattr(type(learner.network), "respond", respond)
    monkeypatch.setattr(learner, "refit", noted)
    learner.stream(loads, begin=100)
    assert [count for count, _ in used] == [106, 10, 10, 10, 4]  # samples 4..109, then b by b
    assert refitted == [10, 10, 10, 10]
    sums = [total for _, total in used]
    assert sums[0] == before == checksum(static) and len(set(sums)) == 5


def test_refitting_learns_new_habits(loads):
    """A smooth load begins to alternate: a perceptron that is refitted says so soon, a static one never."""
    time = torch.arange(144)[:, None, None]
    values = torch.where(time < 100, 0.3 + 0.1 * torch.sin(time / 8), 0.3 + 0.02 * (-1.0) ** time).expand(-1, 2, -1)
    data = replace(loads, values=values)
    static = built("perceptron", data.slice(0, 100), width=16).fit(data.slice(0, 100), steps(60))
    learned = Incremental(static, every=11, epochs=40).stream(data, begin=100)
    error = {name: (told - values).square() for name, told in (("static", static.stream(data)), ("il", learned))}
    assert torch.equal(error["static"][LAGS:111], error["il"][LAGS:111])
    assert error["il"][122:].mean() < 0.2 * error["static"][122:].mean()


def test_the_stream_of_a_perceptron_is_its_forecast_from_every_window(loads):
    data = loads.with_window(LAGS, 1)
    network = LagMLP.seeded(data, 0, width=8, **SMALL)
    windows = data.gather(torch.arange(len(data)))
    told = network.stream(data)
    torch.testing.assert_close(network.forecast(windows)[:, 0], told[LAGS:], atol=1e-6, rtol=1e-5)


def test_a_liquid_network_keeps_its_state_along_the_stream(loads):
    network = built("liquid", loads)
    with torch.no_grad():
        network.head.normal_()
    whole, late = network.stream(loads)[60:], network.stream(loads.slice(60 - LAGS, 144))[LAGS:]
    assert not torch.allclose(whole[0], late[0], atol=1e-6) and torch.allclose(whole[-1], late[-1], atol=1e-5)
    window = network.forecast(loads.gather(torch.tensor([20])))  # steps 20 .. 31, from rest
    torch.testing.assert_close(window[0, 0], network.stream(loads.slice(20, 33))[12])


def test_responses_stay_within_the_reach_of_the_states(loads):
    """Whatever arrives, the change that is said is bounded: states lie between 0 and the reversal levels."""
    network = built("liquid", loads)
    junk = replace(loads, values=torch.randn_like(loads.values) * 1e3)
    change = (network.stream(junk)[LAGS:] - junk.values[LAGS - 1 : -1]) / network.usual
    cell = network.cell
    most = (cell.reversal.abs() @ network.head.abs() + network.bias.abs())[:, 0]
    assert (change.abs().amax(0) <= most * 1.001 + 1e-1).all()


def test_the_loss_is_the_mean_over_every_moment_of_the_window(loads):
    gap = loads.observed.clone()
    gap[30:33, 1] = False
    data = replace(loads, observed=gap).with_window(8, 2)
    network = built("perceptron", data)
    batch = data.gather(torch.tensor([22, 25]))
    terms = []
    past = torch.where(batch.past_observed, batch.past, torch.nan)
    for b in range(2):
        filled = past[b, :, :, 0].clone()
        for node in range(2):
            for t in range(1, 8):
                if filled[t, node].isnan():
                    filled[t, node] = filled[t - 1, node]
        values = torch.cat([batch.past[b, :, :, 0], batch.future[b, :, :, 0]])
        known = torch.cat([batch.past_observed[b, :, :, 0], batch.future_observed[b, :, :, 0]])
        for t in range(LAGS - 1, 8):
            for node in range(2):
                features = torch.tensor(
                    [
                        filled[t, node],
                        *[(filled[t - k, node] - filled[t - k - 1, node]) / network.usual[node, 0] for k in range(3)],
                    ]
                )
                said = network.respond(features.expand(2, 1, 1, 4))[node, 0, 0]
                for q in range(2):
                    if known[t + q + 1, node]:
                        change = (values[t + q + 1, node] - filled[t, node]) / network.usual[node, 0]
                        terms.append((said[q] - change) ** 2)
    torch.testing.assert_close(network.loss(batch), torch.stack(terms).mean(), atol=1e-5, rtol=1e-5)


def test_scales_are_capacities_and_usual_changes(loads):
    network = built("perceptron", loads.slice(0, 90), capacity=None, reach=3.0)
    part = loads.values[:90]
    torch.testing.assert_close(network.full, HEADROOM * part.amax(0))
    torch.testing.assert_close(network.usual, 3 * part.diff(dim=0).square().mean(0).sqrt())
    assert built("perceptron", loads).full.eq(1.0).all()


def test_the_clock_is_read_if_wanted(loads):
    network = built("perceptron", loads, clock=True)
    values, time_of_day = network._stream_of(loads)
    seen = network.look(values[None], time_of_day[None])
    assert seen.shape[-1] == LAGS + 2
    angle = 2 * torch.pi * time_of_day[LAGS - 1 :] / loads.steps_per_day
    torch.testing.assert_close(seen[0, :, 0, -2:], torch.stack([angle.sin(), angle.cos()], -1))


def test_autoregression_is_least_squares_on_the_lags(loads):
    model = built("autoregression", loads.slice(0, 100), capacity=1.0)
    y = loads.values[:100, 1, 0].double().numpy()
    rows = np.stack([y[3 - k : 99 - k] for k in range(4)] + [np.ones(96)], 1)
    weights = np.linalg.lstsq(rows, y[4:100], rcond=None)[0]
    told = model.stream(loads)[4:100, 1, 0]
    np.testing.assert_allclose(told.numpy(), rows @ weights, atol=2e-4)


def test_training_beats_the_last_value_on_noise_around_a_level():
    """White noise on a level: the best forecast is a mean, so changes are predictable, and all networks find some."""
    generator = torch.Generator().manual_seed(0)
    values = 0.5 + 0.02 * torch.randn(600, 2, 1, generator=generator)
    data = Series(
        values=values, observed=torch.ones_like(values, dtype=torch.bool), start=0, interval=300, history=24, horizon=1
    )
    last = values[:-1][499:] - values[500:]
    for name in ("liquid", "gated"):
        network = built(name, data.slice(0, 500)).fit(data.slice(0, 500), steps(150), lr=2e-2)
        error = (network.stream(data) - values)[500:]
        assert error.square().mean() < 0.8 * last.square().mean(), name


def test_cells_by_name_and_wrong_settings(loads):
    assert isinstance(built("liquid", loads).cell, LiquidCell)
    assert isinstance(built("policy", loads).cell, SynapticCell)
    assert isinstance(built("closed-form", loads).cell, ClosedFormCell)
    with pytest.raises(MethodError, match="no cell 'spiking'"):
        built("liquid", loads, cell="spiking")
    with pytest.raises(MethodError, match=r"lags \(0\)"):
        built("liquid", loads, lags=0)
    with pytest.raises(MethodError, match=r"capacity \(-1"):
        built("liquid", loads, capacity=-1.0)
    with pytest.raises(DataError, match="was built for 2"):
        built("liquid", loads).stream(
            replace(loads, values=loads.values[:, :1], observed=loads.observed[:, :1], nodes=())
        )


def test_a_hybrid_lets_speak_who_has_erred_less():
    generator = torch.Generator().manual_seed(0)
    truth, first, second = torch.randn(3, 30, 2, 1, generator=generator)
    first[:4] = torch.nan
    told = choose(first, second, truth, window=5)
    for t in range(30):
        for node in range(2):
            recent = slice(max(0, t - 5), t)
            errors = [
                (x[recent, node, 0] - truth[recent, node, 0]).abs().nan_to_num(0.0).sum() for x in (first, second)
            ]
            expected = first if errors[0] <= errors[1] + 1e-6 else second
            if abs(errors[0] - errors[1]) > 1e-5 or t == 0:
                assert told[t, node, 0] == expected[t, node, 0] or told[t, node, 0].isnan()


def test_the_rolling_mean_is_that_of_the_last_entries():
    x = torch.arange(10.0)[:, None] ** 2
    expected = torch.stack([x[max(0, t - 3) : t + 1].mean(0) for t in range(10)])
    torch.testing.assert_close(rolling_mean(x, 4), expected)
    torch.testing.assert_close(rolling_mean(x, 40)[-1], x.mean(0))


def test_time_to_convergence_is_when_the_error_stays_low():
    error = torch.ones(60, 3)
    error[30:34] = 10.0  # all err after the failure
    error[50, 1] = 1e3  # one relapses
    error[30:, 2] = 5.0  # and one never recovers
    found = time_to_convergence(error, begin=30, window=5, kappa=1.2)
    # the last mean over 5 samples that holds one of the four large errors ends at sample 37, the relapse's at 54
    assert found.tolist() == [8, 25, 30]
    error[:2] = torch.nan
    assert time_to_convergence(error, 30, 5, 1.2).tolist() == [8, 25, 30]
    assert time_to_convergence(torch.ones(20, 1), 10, 5).tolist() == [0]


def test_the_picture_of_a_failure_has_its_load_its_forecasts_and_its_errors(loads):
    from pathline.forecast.stream_pictures import BEFORE, SHOWN, draw_failure

    long = replace(loads, values=loads.values.repeat(4, 1, 1), observed=loads.observed.repeat(4, 1, 1))
    told = {name: built(name, long).stream(long)[..., 0] for name in ("liquid", "perceptron")}
    picture = draw_failure(told, long, 100, torch.full((2,), 0.01))
    load, near, error = picture.axes
    assert len(load.lines[0].get_xdata()) == BEFORE + SHOWN
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["liquid", "perceptron"]
    assert len(near.lines) == 4 and error.get_yscale() == "log"
