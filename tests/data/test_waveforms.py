"""Waveforms: ragged records, windows, honest parts."""

import pytest
import torch

from pathline.core.source import open_data
from pathline.data import DataError, Waveforms, waveforms_of

LENGTHS = (900, 400, 1000, 650, 1000)


def ragged(**fields) -> Waveforms:
    """Every value is 1000 record + sample, and P and S of record r are at 100 + r and 200 + r (none in record 3)."""
    records = [(1000.0 * r + torch.arange(n)).expand(3, n) for r, n in enumerate(LENGTHS)]
    picks = [([100 + r], [200 + r]) if r != 3 else ([], []) for r in range(5)]
    station = ("XX.A", "XX.B", "XX.A", "XX.C", "XX.D")
    return waveforms_of(records, picks, **{"station": station, "window": 300, "name": "ragged"} | fields)


def test_short_records_are_filled_with_nan_and_know_their_length():
    data = ragged()
    assert data.signals.shape == (5, 3, 1000) and data.sizes.tolist() == list(LENGTHS)
    for r, n in enumerate(LENGTHS):
        assert bool(torch.isfinite(data.signals[r, :, :n]).all()) and bool(data.signals[r, :, n:].isnan().all())
    assert data.looked_at.tolist() == [True, True, True, False, True] and data.has_truth
    about = data.describe()
    assert (about["records"], about["stations"], about["P_picks"], about["S_picks"]) == (5, 4, 4, 4)


def test_windows_hold_the_samples_and_the_picks_of_their_place():
    data = ragged()
    assert len(data) == 3 + 1 + 3 + 2 + 3
    every = data.gather(torch.arange(len(data)))
    assert every.record.tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3, 4, 4, 4]
    assert every.start.tolist() == [0, 300, 600, 0, 0, 300, 600, 0, 300, 0, 300, 600]
    expected = 1000.0 * every.record[:, None] + every.start[:, None] + torch.arange(300)
    torch.testing.assert_close(every.signals, expected[:, None].expand(-1, 3, -1))
    window = data.cut(torch.tensor([4, 3]), torch.tensor([150, 0]), 100)
    assert window.picks[0, :, 0].tolist() == [-46.0, 54.0] and bool(window.picks[1].isnan().all())
    beyond = data.cut(torch.tensor([1]), torch.tensor([350]), 100).signals[0, 0]
    assert beyond[:50].tolist() == list(range(1350, 1400)) and bool(beyond[50:].isnan().all())
    before = data.cut(torch.tensor([1]), torch.tensor([-10]), 20).signals[0, 0]
    assert bool(before[:10].isnan().all()) and before[10] == 1000


def test_several_picks_of_one_phase_stay_together():
    data = ragged()
    many = Waveforms(
        signals=data.signals,
        pick_record=torch.tensor([2, 0, 2, 2]),
        pick_phase=torch.tensor([1, 0, 0, 1]),
        pick_sample=torch.tensor([30.0, 5.0, 10.0, 20.0]),
    )
    picks = many.cut(torch.tensor([2, 0, 1]), torch.zeros(3).long(), 50).picks
    assert picks.shape == (3, 2, 2)
    assert picks[0, 1].tolist() == [30.0, 20.0] and picks[0, 0, 0] == 10 and picks[1, 0, 0] == 5
    assert bool(picks[2].isnan().all()) and int(picks.isnan().sum()) == 8


def test_tiles_hold_every_pick_wherever_it_falls():
    """Offsets are uniform, so that the place of an arrival in its window is too; nothing reaches over an end."""
    data = ragged()
    tiles = data.tiles(300, seed=0, cuts=400)
    assert set(tiles.record.tolist()) == {0, 1, 2, 4}  # nobody looked at record 3
    inside = (tiles.picks >= 0) & (tiles.picks < 300)
    for r in (0, 1, 2, 4):
        for phase in (0, 1):
            assert int(inside[tiles.record == r, phase].sum()) >= 400
    assert not tiles.signals.isnan().any()
    places = tiles.picks[:, 1, 0][inside[:, 1, 0] & (tiles.record != 1)]
    assert places.min() < 30 and places.max() > 190 and 90 < places.std() * 2 < 200
    again, other = data.tiles(300, seed=0, cuts=400), data.tiles(300, seed=1, cuts=400)
    assert torch.equal(again.start, tiles.start) and not torch.equal(other.start[:100], tiles.start[:100])


def test_noise_gives_a_window_and_a_short_record_lies_anywhere_in_one():
    data = ragged(labelled=torch.tensor([True, True, True, True, True]))
    tiles = data.tiles(500, seed=0, cuts=50)
    assert int((tiles.record == 3).sum()) == 50
    short = tiles.start[tiles.record == 1]
    assert short.min() >= -100 and short.max() <= 0 and len(short.unique()) > 20
    first = torch.isfinite(tiles.signals[tiles.record == 1][:, 0]).int().argmax(1)
    assert torch.equal(first, -short)


def test_no_station_is_in_two_parts_and_no_record_is_lost():
    data = ragged()
    for seed in range(8):
        parts = data.split(seed)
        stations = [set(part.station) for part in (parts.train, parts.validation, parts.test)]
        assert all(stations) and not stations[0] & stations[1] and not (stations[0] | stations[1]) & stations[2]
        assert sum(len(part.signals) for part in (parts.train, parts.validation, parts.test)) == 5
        for part in (parts.train, parts.validation, parts.test):
            where, phase, sample = part.pick_table
            value = part.signals[where, 0, sample.long()]
            assert torch.equal(value % 1000, sample.float())
            assert torch.equal(sample % 100, torch.div(value, 1000, rounding_mode="floor").double())
            assert phase.tolist().count(0) == phase.tolist().count(1)
    assert {tuple(sorted(set(data.split(seed).test.station))) for seed in range(20)} != {("XX.A",)}


def test_shares_are_kept_by_records():
    records = [torch.zeros(3, 10) for _ in range(200)]
    data = waveforms_of(records, [([5], [])] * 200, station=tuple(f"XX.{k // 2}" for k in range(200)))
    parts = data.split(0, (0.6, 0.1, 0.3))
    assert [len(part.signals) for part in (parts.train, parts.validation, parts.test)] == [120, 20, 60]


def test_without_stations_records_are_parted_and_one_long_record_is_parted_in_time():
    parts = ragged(station=()).split()
    assert [len(part.signals) for part in (parts.train, parts.validation, parts.test)] == [3, 1, 1]
    long = waveforms_of([torch.arange(4000.0).expand(3, -1)], [([50, 3250, 3700], [3999])], window=300, name="long")
    parts = long.split()
    assert [int(part.sizes) for part in (parts.train, parts.validation, parts.test)] == [3200, 400, 400]
    assert parts.validation.signals[0, 0, 0] == 3200 and parts.test.signals[0, 0, -1] == 3999
    assert parts.validation.pick_table[2].tolist() == [50.0] and parts.test.pick_table[2].tolist() == [100.0, 399.0]
    with pytest.raises(DataError, match=r"long: 1 record of 40 s cannot be split .* at least 50 s"):
        waveforms_of([torch.zeros(3, 4000)], [([50], [])], window=500, name="long").split()


def test_records_that_nobody_looked_at_are_not_parted():
    with pytest.raises(DataError, match=r"bare: no arrival is picked .* --picks FILE"):
        Waveforms(signals=torch.zeros(9, 3, 4000), name="bare").split()


def test_times_move_with_the_part():
    data = waveforms_of([torch.zeros(3, 4000)], [([50], [])], window=300, begins=torch.tensor([1e9]))
    assert data.split().test.first_times.tolist() == [1e9 + 36.0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"signals": torch.zeros(2, 2, 9)}, r"shape \(2, 2, 9\)"),
        ({"signals": torch.full((1, 3, 9), torch.inf)}, "record 0 has an infinite value"),
        ({"rate": 0.0}, "must be above 0"),
        ({"pick_record": torch.tensor([2])}, "1 pick records, 0 phases"),
        ({"pick_record": torch.tensor([2]), "pick_phase": torch.tensor([0]), "pick_sample": torch.ones(1)}, "record 2"),
        ({"pick_record": torch.tensor([0]), "pick_phase": torch.tensor([3]), "pick_sample": torch.ones(1)}, "phase 3"),
        ({"lengths": torch.tensor([9, 10])}, "expected 1 to 9"),
        ({"station": ("A",)}, "1 station names for 2 records"),
    ],
)
def test_what_cannot_be_is_named(fields, words):
    with pytest.raises(DataError, match=words):
        Waveforms(**{"signals": torch.zeros(2, 3, 9)} | fields)


def test_built_in_simulated_records_are_opened_by_the_room():
    data = open_data("simulated-seismograms", "perceive")
    assert isinstance(data, Waveforms) and data.name == "simulated-seismograms" and data.has_truth
