"""Seismic records (MiniSEED, SAC, whatever ObsPy reads) as `Waveforms`, with picks from a table, and back again.

Traces are grouped by network, station, location and instrument; their components are told by the last letter of the
channel code: Z, N and E as they are, 1 as N, 2 as E, and 3 as Z where there is no Z. A component that was not recorded
is 0. Gaps stay in a record as NaN up to `LONGEST_GAP` seconds; a longer one begins a new record.

Every trace is brought to one sampling rate, 100 a second: by the nearest ratio of whole numbers p / q with q <= 1000,
low-pass filtered and resampled by polyphase filtering (SciPy's `resample_poly`, a straight line through both ends taken
off before and put back after); what the ratio leaves of a difference is interpolated linearly. Samples are then laid on
the grid that begins with the earliest trace of the record, to the nearest sample.
"""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathline.data.errors import DataError
from pathline.data.readers.csv import read_csv
from pathline.data.waveforms import COMPONENTS, PHASES, Waveforms, waveforms_of

RATE = 100.0
LONGEST_GAP = 60.0  # seconds
PLACES = {"E": 0, "N": 1, "Z": 2, "2": 0, "1": 1, "3": 2}
LARGEST = 1000  # denominator of a resampling ratio
COLUMNS = ("station", "phase", "time")


def read_seismic(path: str | Path, picks: str | Path | None = None, **options: Any) -> Waveforms:
    """A file that ObsPy reads, of one or several stations.

    Args:
        picks: csv with the columns station, phase and time; by default `<name>.picks.csv` beside the file, or
            `<name>.csv` if it has these columns, or none.
        options: fields of `Waveforms`.
    """
    path = Path(path)
    stream = _stream(path)
    places = (path.with_suffix(".picks.csv"), path.with_suffix(".csv"))
    beside = picks or next((place for place in places if _has_picks(place)), None)
    return waveforms_from_stream(stream, picks=beside, name=path.stem, origin=str(path), **options)


def read_folder(path: str | Path, picks: str | Path | None = None, **options: Any) -> Waveforms:
    """A folder of PhaseNet's npz archives, or of files that ObsPy reads."""
    from pathline.data.readers.seismic_npz import read_phasenet_files

    path = Path(path)
    archives = sorted(path.glob("*.npz"))
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".mseed", ".miniseed", ".sac"))
    if archives and not files:
        if picks is not None:
            raise DataError(f"{picks}: archives carry their own picks (itp, its); leave --picks out")
        return read_phasenet_files(archives, name=path.name, **options)
    if not files:
        raise DataError(
            f"{path}: the folder holds no seismic records (.mseed, .miniseed, .sac, .npz); for pictures give --task"
        )
    stream = _stream(files[0])
    for file in files[1:]:
        stream += _stream(file)
    whole, parts = path / "picks.csv", [file.with_suffix(".picks.csv") for file in files]
    beside = [whole] if _has_picks(whole) else [part for part in parts if _has_picks(part)]
    return waveforms_from_stream(stream, picks=picks or beside, name=path.name, origin=str(path), **options)


def _obspy() -> Any:
    try:
        import obspy
    except ModuleNotFoundError:
        raise DataError("seismic records are read with ObsPy: pip install 'pathline[seismic]'") from None
    return obspy


def _stream(path: Path) -> Any:
    obspy = _obspy()
    try:
        return obspy.read(str(path))
    except Exception as error:  # ObsPy raises whatever its many readers raise
        raise DataError(
            f"{path}: ObsPy cannot read it ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from None


def waveforms_from_stream(
    stream: Any,
    picks: Any = None,
    rate: float = RATE,
    name: str = "stream",
    origin: str = "",
    **options: Any,
) -> Waveforms:
    """An ObsPy Stream as a container.

    Args:
        picks: a csv file, a list of them, or a table with the columns station, phase and time.
        rate: samples a second that everything is brought to.
        origin: what errors call the stream.

    Raises:
        DataError: nothing of three known components, or picks that fit no record.
    """
    origin = origin or name
    groups: dict[str, list[Any]] = {}
    unknown = []
    for trace in stream:
        if not len(trace.data):
            continue
        code = trace.stats.channel
        if not code or code[-1].upper() not in PLACES:
            unknown.append(trace.id)
            continue
        key = f"{trace.stats.network}.{trace.stats.station}.{trace.stats.location}.{code[:-1]}"
        groups.setdefault(key, []).extend(trace.split() if np.ma.isMaskedArray(trace.data) else [trace])
    if not groups:
        found = f"its channels are {', '.join(unknown)}" if unknown else "it has no samples"
        raise DataError(f"{origin}: no channel ends in Z, N, E, 1, 2 or 3; {found}")
    records, stations, channels, begins = [], [], [], []
    for key, traces in sorted(groups.items()):
        for part in _without_long_gaps(traces):
            signal, begin, codes = _record(part, rate, origin)
            records.append(signal)
            stations.append(".".join(key.split(".")[:2]).strip("."))
            channels.append(codes)
            begins.append(begin)
    data = waveforms_of(
        records,
        None,
        rate=rate,
        station=tuple(stations),
        channels=tuple(channels),
        begins=torch.tensor(begins, dtype=torch.float64),
        name=name,
        **options,
    )
    return data if picks is None or (isinstance(picks, list) and not picks) else with_picks(data, picks)


def _without_long_gaps(traces: list[Any]) -> Iterable[list[Any]]:
    """Traces in order of time, parted where nothing was recorded for longer than `LONGEST_GAP`."""
    ordered = sorted(traces, key=lambda trace: trace.stats.starttime)
    part, end = [ordered[0]], ordered[0].stats.endtime
    for trace in ordered[1:]:
        if trace.stats.starttime - end > LONGEST_GAP:
            yield part
            part = []
        part.append(trace)
        end = trace.stats.endtime if not part[1:] else max(end, trace.stats.endtime)
    yield part


def _record(traces: list[Any], rate: float, origin: str) -> tuple[torch.Tensor, float, str]:
    """One record (3, samples), the time of its first sample, and its channel codes."""
    begin = min(trace.stats.starttime.timestamp for trace in traces)
    letters = {trace.stats.channel[-1].upper() for trace in traces}
    pieces = []
    for trace in traces:
        letter = trace.stats.channel[-1].upper()
        if (letter in "12" and {"1": "N", "2": "E"}[letter] in letters) or (letter == "3" and "Z" in letters):
            continue  # the same component once more
        values = np.asarray(trace.data, dtype=np.float64)
        if not np.isfinite(values).all():
            values = np.where(np.isfinite(values), values, np.nan)
        offset = round((trace.stats.starttime.timestamp - begin) * rate)
        pieces.append(
            (PLACES[letter], offset, resampled(values, trace.stats.sampling_rate, rate, f"{origin}, {trace.id}"))
        )
    samples = max(offset + len(values) for _, offset, values in pieces)
    signal = np.full((3, samples), np.nan, dtype=np.float32)
    for place, offset, values in pieces:
        signal[place, offset : offset + len(values)] = values
    absent = [place for place in range(3) if place not in {place for place, _, _ in pieces}]
    signal[absent] = 0.0
    codes = {PLACES[trace.stats.channel[-1].upper()]: trace.stats.channel for trace in traces}
    return torch.from_numpy(signal), begin, "_".join(codes[place] for place in sorted(codes))


def resampled(values: np.ndarray, rate: float, wanted: float, what: str = "a trace") -> np.ndarray:
    """`values` (samples,) at `rate` as samples at `wanted` a second, the first at the same time; see the module."""
    from scipy.signal import resample_poly

    if rate <= 0 or not np.isfinite(rate):
        raise DataError(f"{what}: the sampling rate is {rate}; it must be above 0")
    if rate == wanted:
        return values
    ratio = Fraction(wanted / rate).limit_denominator(LARGEST)
    if not ratio:
        raise DataError(f"{what}: {rate:g} samples a second are too many to be resampled to {wanted:g}")
    changed = values
    if ratio != 1:
        gaps = ~np.isfinite(values)
        filled = np.where(gaps, 0.0, values)
        changed = resample_poly(filled, ratio.numerator, ratio.denominator, padtype="line")
        if gaps.any():
            near = np.rint(np.arange(len(changed)) * ratio.denominator / ratio.numerator).astype(int)
            changed[gaps[near.clip(max=len(values) - 1)]] = np.nan
    reached = rate * ratio.numerator / ratio.denominator
    if abs(reached - wanted) > 1e-9 * wanted:
        count = int((len(changed) - 1) * wanted / reached) + 1
        changed = np.interp(np.arange(count) * reached / wanted, np.arange(len(changed)), changed)
    return changed


# -- picks ------------------------------------------------------------------------------------------------------------


def _has_picks(path: Path) -> bool:
    """Whether the file is there and its first line names the columns."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        heads = [head.strip().strip('"').lower() for head in file.readline().split(",")]
    return all(column in heads for column in COLUMNS)


def with_picks(data: Waveforms, picks: Any) -> Waveforms:
    """`data` with the arrivals of a csv file, of several, or of a table: columns station ("NET.STA" or "STA"), phase
    (P, Pg, S, Sn, ...: the first letter counts) and time (UTC text, or seconds after the beginning of the station's
    first record).

    Every record that has a pick, and every other one of a station that has some, counts as labelled.
    """
    tables = picks if isinstance(picks, list) else [picks]
    rows = [row for table in tables for row in _pick_rows(data, table)]
    record, phase, sample = zip(*rows, strict=True)
    where = torch.tensor(record)
    named = {data.station_of(number) for number in record}
    return replace(
        data,
        pick_record=where,
        pick_phase=torch.tensor(phase),
        pick_sample=torch.tensor(sample, dtype=torch.float64),
        labelled=torch.tensor([data.station_of(number) in named for number in range(len(data.signals))]),
    )


def _pick_rows(data: Waveforms, picks: Any) -> list[tuple[int, int, float]]:
    """Record, phase and sample of every row; a `DataError` names the row that fits nothing."""
    import pandas as pd

    where = str(picks) if isinstance(picks, str | Path) else "the table of picks"
    if isinstance(picks, str | Path) and not Path(picks).is_file():
        raise DataError(f"{picks}: there is no such file of picks")
    table = read_csv(picks, as_text=True) if isinstance(picks, str | Path) else picks
    table = table.rename(columns={name: str(name).strip().lower() for name in table.columns})
    for column in COLUMNS:
        if column not in table:
            raise DataError(f"{where}: there is no column '{column}'; a table of picks has {', '.join(COLUMNS)}")
    if not len(table):
        raise DataError(f"{where}: there is no row, so no pick")
    begins, sizes = data.first_times, data.sizes
    names = [data.station_of(number) for number in range(len(data.signals))]
    rows = []
    for line, (station, phase, time) in enumerate(table[list(COLUMNS)].itertuples(index=False), start=2):
        own = [n for n, name in enumerate(names) if str(station).strip() in (name, name.rpartition(".")[2])]
        if not own:
            known = ", ".join(sorted(set(names))[:8])
            raise DataError(f"{where}, row {line}: there is no record of station '{station}'; the file has {known}")
        letter = str(phase).strip()[:1].upper()
        if letter not in PHASES:
            raise DataError(f"{where}, row {line}: phase '{phase}' begins neither with P nor with S")
        try:
            after = float(begins[own[0]]) + float(time)
        except ValueError:
            try:
                stamp = pd.Timestamp(str(time).strip())
                after = float((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).timestamp())
            except ValueError:
                raise DataError(f"{where}, row {line}: time '{time}' is neither UTC nor a number of seconds") from None
        samples = [(number, (after - float(begins[number])) * data.rate) for number in own]
        inside = [(n, sample) for n, sample in samples if 0 <= sample <= float(sizes[n]) - 1]
        if not inside:
            raise DataError(
                f"{where}, row {line}: {time} is outside of the {len(own)} record{'s' * (len(own) > 1)} of {station}"
            )
        rows += [(number, PHASES.index(letter), sample) for number, sample in inside]
    return rows


# -- and back ---------------------------------------------------------------------------------------------------------


def stream_from_waveforms(data: Waveforms) -> Any:
    """An ObsPy Stream of the components that were recorded; gaps are masked, unknown times begin in 1970."""
    obspy = _obspy()
    traces = []
    for number, signal in enumerate(data.signals.numpy()):
        network, _, station = data.station_of(number).rpartition(".")
        codes = data.channels[number].split("_") if data.channels else []
        by_place = {PLACES[code[-1].upper()]: code for code in codes if code and code[-1].upper() in PLACES}
        begin = float(data.first_times[number])
        for place, letter in enumerate(COMPONENTS):
            values = signal[place, : int(data.sizes[number])]
            if not np.nan_to_num(values).any():
                continue
            gaps = ~np.isfinite(values)
            header = {
                "network": network[:2],
                "station": station[:5],
                "channel": by_place.get(place, f"HH{letter}"),
                "sampling_rate": data.rate,
                "starttime": obspy.UTCDateTime(0.0 if np.isnan(begin) else begin),
            }
            traces.append(obspy.Trace(np.ma.array(values, mask=gaps) if gaps.any() else values.copy(), header))
    return obspy.Stream(traces)
