"""Seismic files: MiniSEED through ObsPy, npz archives of PhaseNet's authors, and tables of picks."""

import os
import sys

import numpy as np
import pytest
import torch

from pathline.core.source import open_data, read
from pathline.data import DataError
from pathline.data.readers.miniseed import (
    read_seismic,
    resampled,
    stream_from_waveforms,
    waveforms_from_stream,
    with_picks,
)
from pathline.data.sets import load

obspy = pytest.importorskip("obspy")
MIRROR = os.environ.get("PATHLINE_DATA")
BEGIN = obspy.UTCDateTime("2020-01-01T00:00:00")


def trace(code: str, values, rate: float = 100.0, after: float = 0.0, station: str = "AAA"):
    header = {"network": "XX", "station": station, "channel": code, "sampling_rate": rate, "starttime": BEGIN + after}
    return obspy.Trace(np.asarray(values, dtype=np.float64), header)


def test_obspy_s_own_example_goes_through_a_file_and_back(tmp_path):
    example = obspy.read()
    example.write(str(tmp_path / "example.mseed"))
    data = read(tmp_path / "example.mseed", "perceive")
    assert data.station == ("BW.RJOB",) and data.channels == ("EHE_EHN_EHZ",) and not data.has_truth
    assert data.signals.shape == (1, 3, 3000) and data.rate == 100
    back = stream_from_waveforms(data)
    for one in example:
        (other,) = back.select(channel=one.stats.channel)
        assert other.stats.starttime == one.stats.starttime and other.id == one.id
        np.testing.assert_allclose(other.data, one.data, atol=1e-3)


@pytest.mark.parametrize("rate", [20.0, 40.0, 62.5, 99.9987, 125.0, 200.0, 133.7])
def test_every_rate_becomes_100_and_a_sine_stays_where_it_was(rate):
    """Periods are far from both Nyquist frequencies; instants, not sample numbers, are kept."""
    time = np.arange(int(60 * rate)) / rate
    wave = 5 + 0.1 * time + np.sin(2 * np.pi * 1.3 * time)
    changed = resampled(wave, rate, 100.0)
    at = np.arange(len(changed)) / 100
    inner = (at > 1) & (at < 58)
    expected = 5 + 0.1 * at + np.sin(2 * np.pi * 1.3 * at)
    assert np.abs(changed - expected)[inner].max() < 0.02
    assert abs(at[-1] - time[-1]) < 1.5 / min(rate, 100)


def test_what_is_above_the_new_nyquist_frequency_is_removed_and_not_folded():
    time = np.arange(20 * 500) / 500
    assert np.abs(resampled(np.sin(2 * np.pi * 120 * time), 500.0, 100.0))[200:-200].max() < 0.02


def test_components_are_told_by_their_letters_and_missing_ones_are_zero():
    n = 500
    z12 = obspy.Stream([trace("HH1", np.full(n, 1.0)), trace("HH2", np.full(n, 2.0)), trace("HHZ", np.full(n, 3.0))])
    assert waveforms_from_stream(z12).signals[0, :, 0].tolist() == [2.0, 1.0, 3.0]
    alone = waveforms_from_stream(obspy.Stream([trace("EHZ", np.ones(n))]))
    assert alone.signals[0, :, 5].tolist() == [0.0, 0.0, 1.0] and alone.vertical_only.tolist() == [True]
    with pytest.raises(DataError, match=r"no channel ends in Z, N, E, 1, 2 or 3; its channels are XX.AAA..LOG"):
        waveforms_from_stream(obspy.Stream([trace("LOG", np.ones(n))]))


def test_several_stations_and_instruments_are_records_of_their_own():
    places = [(station, band) for station in ("AAA", "BBB") for band in ("HH", "HN")]
    traces = [trace(f"{band}{c}", np.arange(300.0), station=station) for station, band in places for c in "ZNE"]
    data = waveforms_from_stream(obspy.Stream(traces))
    assert data.station == ("XX.AAA", "XX.AAA", "XX.BBB", "XX.BBB")
    assert data.channels[:2] == ("HHE_HHN_HHZ", "HNE_HNN_HNZ")


def test_components_that_begin_at_other_times_are_laid_on_one_grid():
    stream = obspy.Stream([trace("HHZ", np.arange(300.0)), trace("HHN", np.arange(100.0), after=1.0)])
    data = waveforms_from_stream(stream)
    assert data.signals.shape == (1, 3, 300)
    assert data.signals[0, 1, 100:103].tolist() == [0.0, 1.0, 2.0] and bool(data.signals[0, 1, :100].isnan().all())
    assert bool(data.signals[0, 1, 200:].isnan().all()) and not data.signals[0, 0].any()


def test_a_short_gap_is_nan_and_a_long_one_begins_a_new_record():
    stream = obspy.Stream([trace("HHZ", np.ones(200)), trace("HHZ", np.ones(200), after=5.0)])
    data = waveforms_from_stream(stream)
    assert data.signals.shape == (1, 3, 700)
    assert bool(data.signals[0, 2, 200:500].isnan().all()) and bool((data.signals[0, 2, 500:] == 1).all())
    masked = waveforms_from_stream(stream.copy().merge())
    assert torch.equal(torch.isnan(masked.signals), torch.isnan(data.signals))
    back = stream_from_waveforms(data)
    assert [len(part) for part in back.split()] == [200, 200]
    far = waveforms_from_stream(obspy.Stream([trace("HHZ", np.ones(200)), trace("HHZ", np.ones(300), after=500.0)]))
    assert far.sizes.tolist() == [200, 300] and float(far.first_times.diff()) == 500.0


def test_gaps_survive_resampling():
    values = np.sin(np.arange(1000) / 9)
    values[400:440] = np.nan
    changed = resampled(values, 50.0, 100.0)
    gap = np.nonzero(np.isnan(changed))[0]
    assert len(changed) == 2000 and 798 <= gap[0] <= 802 and 877 <= gap[-1] <= 881


def test_picks_come_from_beside_the_file_or_from_an_option(tmp_path):
    obspy.Stream([trace(f"HH{c}", np.random.default_rng(0).normal(size=2000)) for c in "ZNE"]).write(
        str(tmp_path / "day.mseed")
    )
    (tmp_path / "elsewhere.csv").write_text("station,phase,time\nXX.AAA,Pg,2020-01-01T00:00:05.25\nAAA,S,8\n")
    assert not read_seismic(tmp_path / "day.mseed").has_truth
    data = open_data(str(tmp_path / "day.mseed"), "perceive", picks=tmp_path / "elsewhere.csv")
    assert [part.tolist() for part in data.pick_table] == [[0, 0], [0, 1], [525.0, 800.0]]
    (tmp_path / "day.csv").write_text("a,b\n1,2\n")  # some other table
    assert not read_seismic(tmp_path / "day.mseed").has_truth
    (tmp_path / "day.picks.csv").write_text("phase,station,time\nP,AAA,2020-01-01T00:00:03Z\n")
    assert read_seismic(tmp_path / "day.mseed").pick_table[2].tolist() == [300.0]
    whole = read(tmp_path, "perceive", task="pick")
    assert whole.pick_table[2].tolist() == [300.0] and len(whole.signals) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("BBB,P,5", "row 2: there is no record of station 'BBB'; the file has XX.AAA"),
        ("AAA,X,5", "row 2: phase 'X' begins neither with P nor with S"),
        ("AAA,P,yesterday noon", "row 2: time 'yesterday noon' is neither UTC nor a number"),
        ("AAA,P,2020-01-01T01:00:00", "row 2: .* is outside of the 1 record of AAA"),
    ],
)
def test_a_pick_that_fits_nothing_is_named(tmp_path, row, words):
    data = waveforms_from_stream(obspy.Stream([trace("HHZ", np.ones(2000))]))
    (tmp_path / "picks.csv").write_text(f"station,phase,time\n{row}\n")
    with pytest.raises(DataError, match=words):
        with_picks(data, tmp_path / "picks.csv")


def test_files_that_are_none_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "noise.mseed").write_bytes(b"no seismogram at all" * 40)
    with pytest.raises(DataError, match=r"noise.mseed: ObsPy cannot read it"):
        read(tmp_path / "noise.mseed", "perceive")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no seismic records"):
        read(tmp_path / "empty", "perceive", task="pick")
    with pytest.raises(DataError, match="there is no such file of picks"):
        with_picks(waveforms_from_stream(obspy.Stream([trace("HHZ", np.ones(200))])), tmp_path / "none.csv")


def test_without_obspy_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "day.mseed").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "obspy", None)
    with pytest.raises(DataError, match=r"pip install 'pathline\[seismic\]'"):
        read(tmp_path / "day.mseed", "perceive")


def test_values_that_are_no_numbers_are_gaps():
    values = np.ones(400)
    values[100:110] = np.inf
    data = waveforms_from_stream(obspy.Stream([trace("HHZ", values)]))
    assert bool(data.signals[0, 2, 100:110].isnan().all()) and int(data.signals[0, 2].isnan().sum()) == 10


# -- archives ---------------------------------------------------------------------------------------------------------


def archive(path, **arrays) -> None:
    data = np.random.default_rng(0).normal(size=(900, 3))
    np.savez(path, **{"data": data, "itp": 300, "its": 420, "channels": "HHE_HHN_HHZ"} | arrays)


def test_archives_of_phasenet_alone_and_in_a_folder(tmp_path):
    archive(tmp_path / "NC_MEM_20171007.npz")
    archive(tmp_path / "BG_AL1_2012.npz", its=np.array([[410, np.nan]]), t0="2012-06-10T03:01:04.500")
    one = read(tmp_path / "NC_MEM_20171007.npz", "perceive")
    assert one.station == ("NC.MEM",) and one.pick_table[2].tolist() == [300.0, 420.0]
    both = read(tmp_path, "perceive", task="pick")
    assert both.station == ("BG.AL1", "NC.MEM") and sorted(both.pick_table[2].tolist()) == [300, 300, 410, 420]
    assert float(both.first_times[0]) == obspy.UTCDateTime("2012-06-10T03:01:04.5").timestamp
    assert bool(both.first_times[1].isnan())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": np.zeros((900, 2))}, r"data has shape \(900, 2\)"),
        ({"itp": 900}, r"a P arrival at sample 900 is outside of 0 .. 899"),
        ({"its": "late"}, "'its' holds"),
        ({"t0": "a while ago"}, "t0 is 'a while ago'"),
    ],
)
def test_an_archive_that_is_wrong_is_named(tmp_path, arrays, words):
    archive(tmp_path / "NC_MEM_1.npz", **arrays)
    with pytest.raises(DataError, match=rf"NC_MEM_1.npz: .*{words}"):
        read(tmp_path / "NC_MEM_1.npz", "perceive")


@pytest.mark.skipif(not MIRROR, reason="PATHLINE_DATA names no mirror")
def test_the_built_in_records_say_how_many_of_them_are_missing():
    data = load("seismograms-phasenet")
    where, phase, sample = data.pick_table
    assert data.signals.shape == (124, 3, 9001) and len(set(data.station)) == 85 and int(data.vertical_only.sum()) == 29
    assert bool((sample[phase == 0] == 3000).all()) and int(sample[phase == 1].min()) == 3036 and len(where) == 248
    assert data.describe()["note"] == "124 of the 154 upstream records; 30 are not here"


@pytest.mark.skipif(not MIRROR, reason="PATHLINE_DATA names no mirror")
def test_a_mirror_with_some_of_the_records_gives_those(monkeypatch, tmp_path):
    place = tmp_path / "seismograms-phasenet"
    place.mkdir()
    for name in ("BG_AL1_2012061003014499.npz", "BG_CLV_2010120607083474.npz"):
        (place / name).symlink_to(f"{MIRROR}/seismograms-phasenet/{name}")
    monkeypatch.setenv("PATHLINE_DATA", str(tmp_path))
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path / "cache"))
    data = load("seismograms-phasenet")
    assert data.station == ("BG.AL1", "BG.CLV") and data.remark.startswith("2 of the 154")
