"""The classical pickers find what they should on simulated records, and tuning helps."""

import math

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.data import waveforms_of
from pathline.perceive import pickers
from pathline.perceive.pickers import ArAic, Settings, StaLta
from pathline.sims.seismograms import simulate_seismograms

LOUD = simulate_seismograms(30, seed=4, samples=2400, snr=(20.0, 30.0), vertical_only=0.2, first=0.5)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    """A grid of a few settings, so that tuning takes a second."""
    monkeypatch.setattr(pickers, "BANDS", ((0.0, 0.0), (1.0, 20.0)))
    monkeypatch.setattr(pickers, "SHORT", (0.2, 0.5))
    monkeypatch.setattr(pickers, "LONG", (5.0,))
    monkeypatch.setattr(pickers, "S_SHORT", (0.2,))
    monkeypatch.setattr(pickers, "S_LONG", (1.0,))
    monkeypatch.setattr(pickers, "THRESHOLDS", (1.5, 3.0, 5.0, 10.0))


@pytest.mark.parametrize("kind", [StaLta, ArAic])
def test_tuned_on_loud_records_it_finds_p_on_others(kind):
    method = kind.for_data(LOUD).fit(LOUD)
    fresh = simulate_seismograms(30, seed=5, samples=2400, snr=(20.0, 30.0), vertical_only=0.2, first=0.5)
    metrics = method.evaluate(fresh)
    assert metrics["f1_p"] > 0.6 and metrics["f1_s"] > 0.25
    untuned = kind.for_data(LOUD)
    assert method.evaluate(LOUD)["f1_p"] >= untuned.evaluate(LOUD)["f1_p"]


def test_the_onset_by_akaike_is_nearer_than_the_trigger():
    """Noise that becomes six times as strong at a known sample: the trigger is late, the onset is not."""
    draw = torch.Generator().manual_seed(0)
    signals = torch.randn(20, 3, 2000, generator=draw)
    signals[..., 1200:] *= 6
    found = {}
    for kind in (StaLta, ArAic):
        method = kind(window=2000)
        around = kind.around[2] if len(kind.around) > 1 else (0.0, 0.0)
        method.p_settings.copy_(torch.tensor(Settings(0.0, 0.0, 0.5, 5.0, 4.0, 30.0, *around)))
        first = method.pick(signals).of(0)
        assert len(first.item) == 20
        found[kind] = (first.sample - 1200).abs().median()
    assert found[ArAic] <= 5 < found[StaLta]


def test_s_is_the_first_horizontal_trigger_after_p_and_nothing_without_p():
    signals = torch.full((1, 3, 3000), 0.01)
    signals[0, :, ::2] *= -1
    signals[0, 2, 1000:1100] *= 30  # P on Z alone
    signals[0, :2, 1400:1500] *= 30  # S on the horizontals
    signals[0, :2, 400:450] *= 30  # before P: no S
    method = StaLta()
    method.p_settings.copy_(torch.tensor(Settings(0.0, 0.0, 0.1, 3.0, 5.0, 30.0)))
    method.s_settings.copy_(torch.tensor(Settings(0.0, 0.0, 0.1, 2.0, 5.0, 0.5)))
    found = method.pick(signals)
    assert found.phase.tolist() == [0, 1]
    assert 1000 <= found.sample[0] < 1010 and 1400 <= found.sample[1] < 1410
    assert bool(((found.probability >= 0.5) & (found.probability < 1)).all())
    quiet = signals.clone()
    quiet[0, 2, 1000:1100] /= 30
    assert not len(method.pick(quiet).item)


def test_a_record_with_the_vertical_component_alone_still_has_an_s():
    alone = LOUD.take(torch.nonzero(LOUD.vertical_only).flatten())
    method = StaLta.for_data(LOUD).fit(LOUD)
    found = method.perceive(alone).arrivals
    assert set(found.phase.tolist()) == {0, 1}


def test_the_band_removes_what_lies_outside():
    time = torch.arange(3000) / 100
    low, middle = (torch.sin(2 * math.pi * f * time) for f in (0.2, 5.0))
    signals = torch.stack([low, middle, low + middle])[None]
    parts = StaLta().filtered(signals, 1.0, 20.0)[0, :, 500:]
    assert parts[0].abs().max() < 0.1 and parts[1].abs().max() > 1.2
    torch.testing.assert_close(parts[2] / parts[2].std(), parts[1] / parts[1].std(), atol=0.2, rtol=0)


def test_settings_survive_and_learning_by_gradients_is_refused(tmp_path):
    method = ArAic.for_data(LOUD).fit(LOUD)
    method.save(tmp_path)
    again = ArAic.load(tmp_path)
    assert torch.equal(again.p_settings, method.p_settings) and torch.equal(again.s_settings, method.s_settings)
    with pytest.raises(MethodError, match="tuned by fit"):
        method.loss(None)
    with pytest.raises(MethodError, match="at least 1"):
        ArAic(order=0)


def test_a_record_that_is_shorter_than_the_averages_gives_nothing():
    short = waveforms_of([torch.randn(3, 120)], station=("XX.A",))
    assert not len(ArAic().perceive(short))
