"""PhaseNet: labels, probabilities, training windows, and picks on simulated records."""

import math

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.data import Waveforms, waveforms_of
from pathline.perceive.phasenet import APART, PhaseNet, soft_labels
from pathline.sims.seismograms import simulate_seismograms

DRAW = torch.Generator().manual_seed(0)
EASY = simulate_seismograms(80, seed=0, samples=1600, stations=20, snr=(15.0, 30.0), vertical_only=0.0, first=0.4)


@pytest.fixture(scope="module")
def trained() -> PhaseNet:
    return PhaseNet.seeded(EASY, 0).fit(EASY, steps(120), warmup=10)


def settled(**options) -> PhaseNet:
    torch.manual_seed(0)
    method = PhaseNet(**options)
    method.network(torch.randn(8, 3, 1024, generator=DRAW))
    return method.eval()


# -- labels -----------------------------------------------------------------------------------------------------------


def test_labels_sum_to_one_and_peak_at_the_picks():
    picks = torch.tensor([[[300.0], [500.0]], [[100.0], [torch.nan]], [[torch.nan], [torch.nan]]])
    labels = soft_labels(picks, 1000, 6.0)
    torch.testing.assert_close(labels.sum(1), torch.ones(3, 1000))
    assert labels[0, 1].argmax() == 300 and labels[0, 2].argmax() == 500 and labels[0, 1, 300] == 1.0
    assert not labels[1, 2].any() and bool((labels[2, 0] == 1).all())
    assert bool((labels >= -1e-7).all())


def test_a_bump_is_that_of_the_authors_program():
    """31 samples of exp(-x^2 / (2 (30 / 5)^2)) around the pick, nothing beyond."""
    bump = soft_labels(torch.tensor([[[200.0], [torch.nan]]]), 400, 30 / 5)[0, 1]
    x = torch.arange(-15.0, 16.0)
    torch.testing.assert_close(bump[185:216], torch.exp(-x.square() / (2 * 6.0**2)))
    assert int((bump > 0).sum()) == 31
    wide = soft_labels(torch.tensor([[[200.0], [torch.nan]]]), 400, 10.0)[0, 1]
    assert wide[210] == pytest.approx(math.exp(-0.5)) and int((wide > 0).sum()) == 51


def test_overlapping_p_and_s_still_sum_to_one():
    for gap in (0.0, 2.0, 5.0, 12.0):
        labels = soft_labels(torch.tensor([[[300.0], [300.0 + gap]]]), 600, 6.0)
        torch.testing.assert_close(labels.sum(1), torch.ones(1, 600))
        assert bool((labels >= -1e-6).all())
        assert labels[0, 1].argmax() == 300 and (not gap or labels[0, 2].argmax() == 300 + gap)
    two = soft_labels(torch.tensor([[[100.0, 400.0], [torch.nan, torch.nan]]]), 600, 6.0)
    assert two[0, 1, 100] == two[0, 1, 400] == 1.0


# -- probabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [3000, 2999, 3001, 7000])
@pytest.mark.parametrize("combine", ["max", "mean"])
def test_probabilities_sum_to_one_at_every_sample_of_any_length(samples, combine):
    found = settled(combine=combine).probabilities(torch.randn(2, 3, samples, generator=DRAW))
    assert found.shape == (2, 3, samples)
    torch.testing.assert_close(found.sum(1), torch.ones(2, samples), atol=1e-5, rtol=0)
    assert bool((found >= 0).all()) and found[:, 1:].std() > 1e-3


def test_the_scale_of_a_record_changes_nothing(trained):
    x = EASY.signals[:4]
    torch.testing.assert_close(trained.probabilities(1000 * x), trained.probabilities(x), atol=1e-4, rtol=0)


def test_a_shift_by_256_samples_shifts_the_inside(trained):
    """256 = 4^4; without normalising the windows anew, as they would differ."""
    x = torch.randn(1, 3, 6256, generator=DRAW)
    with torch.no_grad():
        here, there = (trained.network(part).softmax(1) for part in (x[..., :6000], x[..., 256:]))
    inside = slice(2048, 4000)  # further from both ends than the network sees
    assert (here[..., inside] - there[..., 2048 - 256 : 4000 - 256]).abs().max() < 1e-3
    assert (here[..., inside] - there[..., 2048 - 254 : 4000 - 254]).abs().max() > 1e-2


def test_gaps_and_dead_components_give_numbers(trained):
    x = EASY.signals[:2].clone()
    x[0, :, 300:500], x[1, :2] = torch.nan, 0.0
    found = trained.probabilities(x)
    assert bool(torch.isfinite(found).all())


# -- training ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_with_soft_labels():
    method = settled(window=1000)
    windows = EASY.tiles(1000, 0)
    with torch.no_grad():
        q = method.probabilities(windows.signals)
    p = soft_labels(windows.picks, 1000, method.sigma)
    torch.testing.assert_close(method.loss(windows), -(p * q.log()).sum(1).mean(), atol=1e-5, rtol=1e-5)


def test_training_windows_hold_their_pick_anywhere():
    """In the records P lies within a sample of one place; in the windows it is spread over all of it."""
    method = PhaseNet.for_data(EASY)
    assert method.window == 1066  # two thirds of the records, so that there is room
    _, phase, sample = EASY.pick_table
    assert sample[phase == 0].std() < 1
    generator = torch.Generator().manual_seed(0)
    batches = [batch for _ in range(4) for batch in method.batches(EASY, 32, generator)]
    assert len(batches) == 4 * method.epoch_length(EASY, 32)
    picks = torch.cat([batch.picks[:, 0, 0] for batch in batches])
    inside = picks[(picks >= 0) & (picks < method.window)]
    assert inside.min() < 150 and inside.max() > 600 and inside.std() > 130
    assert not any(batch.signals.isnan().any() for batch in batches)  # no window reaches over an end


def test_some_windows_hold_noise_alone_and_noise_is_drawn_from_before_the_events():
    records = [torch.cat([torch.full((3, 1500), 7.0), torch.ones(3, 1500)], dim=1) for _ in range(40)]
    data = waveforms_of(records, [([1500], [1700])] * 40)
    method = PhaseNet.for_data(data, window=1000)
    generator = torch.Generator().manual_seed(0)
    batches = [batch for _ in range(10) for batch in method.batches(data, 80, generator)]
    noise, signals = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("noise", "signals"))
    assert bool((noise == 7).all())
    alone = (signals == 7).flatten(1).all(1).float().mean()
    assert 0.03 < alone < 0.2  # one of twenty, and those whose pick falls at the very end


def test_mixing_adds_events_noise_and_missing_components_only_where_allowed():
    data = simulate_seismograms(40, seed=1, samples=4600, snr=(15.0, 30.0), vertical_only=0.0, first=0.7)
    method = PhaseNet.for_data(data, turn=False, superpose=1.0, mix=0.0, drop=0.0).train()
    batch = next(method.batches(data, 60, torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    signals, picks = method.mixed(batch)
    known = torch.isfinite(picks)
    added = known.sum((1, 2)) > torch.isfinite(batch.picks).sum((1, 2))
    assert 0.1 < added.float().mean() < 1.0
    between = (picks[:, :, :, None] - picks[:, :, None]).abs()
    events = between[:, :, :, -1:][added][:, :, :-1]  # the added event's picks beside the window's own
    assert bool((events[torch.isfinite(events)] >= APART * method.rate).all()) and bool(torch.isfinite(events).any())
    torch.testing.assert_close(signals.mean(-1), torch.zeros(60, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(signals.std(-1, correction=0), torch.ones(60, 3), atol=1e-4, rtol=0)
    plain = PhaseNet.for_data(data, turn=False, superpose=0.0, mix=0.0, drop=0.0).train().mixed(batch)[0]
    torch.testing.assert_close(signals[~added], plain[~added])
    assert (signals[added] - plain[added]).abs().mean() > 0.01
    dropped = PhaseNet.for_data(data, turn=False, superpose=0.0, mix=0.0, drop=1.0).train().mixed(batch)[0]
    assert not dropped[:, :2].any() and torch.allclose(dropped[:, 2], plain[:, 2], atol=1e-5)
    noisy = PhaseNet.for_data(data, turn=False, superpose=0.0, mix=1.0, drop=0.0).train().mixed(batch)[0]
    assert bool(batch.noise.any()) and not torch.allclose(noisy, plain, atol=0.05)


def test_turning_mixes_the_horizontal_components_and_flips_the_vertical_one():
    method = PhaseNet.for_data(EASY, superpose=0.0, mix=0.0, drop=0.0).train()
    batch = next(method.batches(EASY, 30, torch.Generator().manual_seed(0)))
    raw = batch.signals - batch.signals.mean(-1, keepdim=True)
    normal = raw / raw.std(-1, correction=0, keepdim=True)
    torch.manual_seed(0)
    turned, _ = method.mixed(batch)
    up = (turned[:, 2] * normal[:, 2]).mean(-1)
    torch.testing.assert_close(up.abs(), torch.ones(30), atol=1e-3, rtol=0)
    assert 3 < int((up < 0).sum()) < 27
    assert (turned[:, 0] * normal[:, 0]).mean(-1).std() > 0.3
    flat = torch.cat([turned[:, :2], normal[:, :2]], dim=1)  # what is turned lies in the plane of what was
    assert bool((torch.linalg.svdvals(flat)[:, 2] < 1e-2 * torch.linalg.svdvals(flat)[:, 0]).all())


def test_it_learns_to_pick_easy_records(trained):
    fresh = simulate_seismograms(40, seed=9, samples=1600, stations=10, snr=(15.0, 30.0), vertical_only=0.0, first=0.6)
    metrics = trained.evaluate(fresh)
    assert metrics["f1_p"] > 0.6 and metrics["f1_s"] > 0.35 and metrics["std_p"] < 0.2
    assert PhaseNet.seeded(EASY, 0).eval().evaluate(fresh)["f1"] < 0.2


# -- picks ------------------------------------------------------------------------------------------------------------


def test_long_records_of_unequal_length_are_picked_where_short_ones_are(trained):
    """A record between stretches of its own noise: the window slid over it finds the same arrivals."""
    record = EASY.signals[3]
    noise = record[:, :600]
    long = torch.cat([noise, noise.flip(1), record, noise.flip(1), noise], dim=1)
    data = waveforms_of([record, long], station=("XX.A", "XX.B"), rate=100.0)
    picks = trained.perceive(data)
    alone = picks.arrivals.item == 0
    own, other = picks.arrivals.sample[alone], picks.arrivals.sample[~alone] - 1200
    assert len(own) >= 2
    for sample in own:
        assert (other - sample).abs().min() <= 20
    by_tensor = trained.perceive(record).arrivals.sample
    torch.testing.assert_close(by_tensor, own)


def test_picks_are_peaks_above_the_threshold_and_apart(trained):
    curves = trained.curves(EASY.signals[:20])
    found = trained.pick(EASY.signals[:20])
    assert found.probability.min() >= 0.3 and len(found.item) > 20
    torch.testing.assert_close(found.probability, curves[found.item, found.phase, found.sample.long()])
    for item in range(20):
        for phase in (0, 1):
            places = found.sample[(found.item == item) & (found.phase == phase)].sort().values
            assert not len(places) or bool((places.diff() > 50).all())


def test_an_obspy_stream_is_perceived_like_its_container(trained):
    obspy = pytest.importorskip("obspy")
    from pathline.data.readers.miniseed import stream_from_waveforms

    data = EASY.take(torch.arange(3))
    stream = stream_from_waveforms(data)
    assert isinstance(stream, obspy.Stream)
    table, own = trained.perceive(stream).table(), trained.perceive(data).table()
    assert set(zip(table.phase, table["sample"], strict=True)) == set(zip(own.phase, own["sample"], strict=True))
    assert table.time.str.startswith("1970-01-01T00:00:").all() and set(table.station) == set(data.station)


def test_records_without_truth_are_picked_but_teach_nothing(trained):
    bare = Waveforms(signals=EASY.signals[:5], name="bare")
    assert len(trained.predict(bare)) >= 5
    for refused in (trained.evaluate, trained.fit, PhaseNet.for_data):
        with pytest.raises(DataError, match=r"bare: no arrival is picked .* --picks FILE"):
            refused(bare)
    with pytest.raises(DataError, match=r"odd has 50 samples a second, but this PhaseNet was made for 100"):
        trained.predict(Waveforms(signals=EASY.signals[:2], rate=50.0, name="odd"))


def test_settings_that_cannot_work_are_refused():
    for wrong in ({"threshold": 1.5}, {"sigma": 0.0}, {"combine": "sum"}, {"overlap": 1.0}):
        with pytest.raises(MethodError, match="threshold"):
            PhaseNet(**wrong)


def test_figures_show_components_curves_and_residuals(trained):
    record, residuals = PhaseNet.figures({"phasenet": trained}, EASY)
    assert len(record.picture.axes) == 4 and len(residuals.picture.axes) == 2
    assert "dotted lines" in record.caption
    (bare,) = PhaseNet.figures({"phasenet": trained}, Waveforms(signals=EASY.signals[:5], name="bare"))
    assert "dotted" not in bare.caption
