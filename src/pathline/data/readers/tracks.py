"""Tracks from tables: one row per agent and moment.

With a header, columns are known by their names: who (agent, id, track, ...), when (frame, or time as seconds or dates),
where (x, y[, z], or latitude, longitude) and, if there are several, in which scene. Without one, four or
five numbers a row are frame, agent, x, y[, z] (the ETH and UCY files), eight are a TUM trajectory (seconds, x, y, z,
quaternion) and twelve a KITTI pose matrix. EuRoC's csv is known by its header.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathline.data.errors import DataError
from pathline.data.geodesy import to_metres
from pathline.data.readers.csv import read_csv, read_matrix
from pathline.data.readers.npz import read_npz
from pathline.data.readers.parquet import read_parquet
from pathline.data.resampling import resample, tracks_from_rows
from pathline.data.tables import numbers, require_columns
from pathline.data.tracks import Tracks

WHO = ("agent", "agent_id", "id", "ped", "pedestrian", "pedestrian_id", "track", "track_id", "trajectory", "vehicle",
       "vehicle_id", "device", "name", "icao24", "mmsi", "individual", "entity")  # fmt: skip
WHEN = ("time", "timestamp", "t", "datetime", "date", "seconds")
FRAME = ("frame", "frame_id", "frame_number", "step")
AXES = (("x", "pos_x", "x_m", "position_x"), ("y", "pos_y", "y_m", "position_y"), ("z", "pos_z", "z_m", "position_z"))
LATITUDE, LONGITUDE = ("latitude", "lat"), ("longitude", "lon", "lng", "long")
SCENE = ("scene", "scene_id", "video", "recording", "session")
EUROC = "p_RS_R_x [m]"
TUM, KITTI, ETH = 8, 12, (4, 5)  # numbers a row
STEP_OF_VIDEO = 0.4  # seconds between the rows of an ETH or UCY pedestrian
KITTI_STEP = 0.1
FAR = 1e4  # metres: coordinates beyond lose centimetres in float32
SPREAD = 4  # times the spacing: up to there a gap is interpolated unless one says otherwise
Rows = dict[str, Any]


def read_tracks(path: str | Path | list[Path], **options: Any) -> Tracks:
    """A csv, txt or parquet table, a folder of such files or of gpx files (one scene each), or a list of them."""
    if isinstance(path, list):
        return _several(path, **options)
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in (".csv", ".txt", ".parquet", ".gpx"))
        files = [f for f in files if not f.name.endswith("_times.txt")]
        if not files:
            raise DataError(f"{path}: the folder holds no track: bring .csv, .txt, .parquet or .gpx files")
        return _several(files, name=path.name, **options)
    return tracks_from_table(_table(path), str(path), **options)


def _several(paths: Sequence[Path], name: str | None = None, **options: Any) -> Tracks:
    from pathline.data.readers.gpx import read_gpx

    whole = {name: options.pop(name) for name in ("hold_out", "stride", "radius") if name in options}
    if "interval" not in options:  # all files share one: that of the first
        first = read_gpx(paths[0], **options) if paths[0].suffix.lower() == ".gpx" else read_tracks(paths[0], **options)
        options["interval"] = first.interval
    read = [
        read_gpx(path, **options) if path.suffix.lower() == ".gpx" else read_tracks(path, **options) for path in paths
    ]
    return replace(joined(read, [path.stem for path in paths], name or paths[0].parent.name), **whole)


def joined(parts: Sequence[Tracks], labels: Sequence[str], name: str) -> Tracks:
    """Several containers as one, with their scenes apart: named by the labels, and by their own names where a part has
    more than one.

    Raises:
        DataError: they differ in dimensions or interval, or in whether they are on a globe.
    """
    import torch
    from torch.nn.functional import pad

    head = parts[0]
    for part, label in zip(parts, labels, strict=True):
        for what in ("dims", "interval", "geographic"):
            if getattr(part, what) != getattr(head, what):
                raise DataError(
                    f"{name}: {labels[0]} and {label} differ in {what} ({getattr(head, what)} and "
                    f"{getattr(part, what)}); read them apart"
                )
    start = min(part.start for part in parts)
    longest = max(part.observed.shape[1] for part in parts)
    offsets = np.cumsum([0, *(len(part.scenes) for part in parts)])
    several = [len(part.scenes) > 1 for part in parts]
    origin: tuple[tuple[float, ...], ...] = ()
    if any(part.origin for part in parts):
        zero = ((0.0,) * head.dims,)
        origin = tuple(place for part in parts for place in part.origin or zero * len(part.scenes))
    moved = [round((part.start - start) / part.interval) for part in parts]
    return Tracks(
        positions=torch.cat([pad(part.positions, (0, 0, 0, longest - part.positions.shape[1])) for part in parts]),
        observed=torch.cat([pad(part.observed, (0, longest - part.observed.shape[1])) for part in parts]),
        first=torch.cat([part.first + frames for part, frames in zip(parts, moved, strict=True)]),
        scene=torch.cat([part.scene + int(offset) for part, offset in zip(parts, offsets, strict=False)]),
        scenes=tuple(
            f"{label} {scene}" if many else label
            for part, label, many in zip(parts, labels, several, strict=True)
            for scene in part.scenes
        ),
        agents=tuple(agent for part in parts for agent in part.agents),
        interval=head.interval,
        start=start,
        history=head.history,
        horizon=head.horizon,
        neighbours=head.neighbours,
        origin=origin,
        geographic=head.geographic,
        name=name,
    )


def _table(path: Path) -> pd.DataFrame:
    """With the header it has, or with the one that its width implies."""
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with path.open(encoding="utf-8", errors="replace") as lines:
        head = next((line.strip() for line in lines if line.strip() and not line.startswith("# ")), "")
    if head.startswith("#timestamp"):
        table = read_csv(path)
        return table.rename(columns={name: name.lstrip("#").strip() for name in table.columns})
    separated = head.replace(",", " ").split()
    try:
        [float(word) for word in separated]
    except ValueError:
        return read_csv(path) if "," in head or path.suffix.lower() == ".csv" else _spaced(path, header=0)
    table = read_matrix(path) if "," in head else _spaced(path, header=None)
    width = table.shape[1]
    if width in ETH:
        table.columns = pd.Index(["frame", "agent", "x", "y", "z"][:width])
        table.attrs["video"] = True
    elif width == TUM:
        table.columns = pd.Index(["time", "x", "y", "z", "qx", "qy", "qz", "qw"])
        table = table.drop_duplicates("time")  # which are rounded there
    elif width == KITTI:
        table = table[[3, 7, 11]].set_axis(["x", "z_down", "y"], axis=1)
        table = pd.DataFrame({"time": _kitti_times(path, len(table)), "x": table.x, "y": table.y, "z": -table.z_down})
    else:
        raise DataError(
            f"{path}: there is no header and {width} numbers a row; expected frame, agent, x, y[, z], or a header"
        )
    return table


def _spaced(path: Path, header: int | None) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=r"\s+", header=header, comment="#")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of numbers ({str(error).strip()})") from None


def _kitti_times(path: Path, rows: int) -> np.ndarray:
    """Seconds from the file NAME_times.txt beside it, else ten poses a second."""
    beside = path.with_name(f"{path.stem}_times.txt")
    if not beside.is_file():
        return KITTI_STEP * np.arange(rows)
    times = np.loadtxt(beside)
    if len(times) != rows:
        raise DataError(f"{beside}: {len(times)} times for the {rows} poses of {path.name}")
    return times


def _named(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    lowered = {str(column).strip().lower(): str(column) for column in table.columns}
    return next((lowered[name] for name in names if name in lowered), None)


def tracks_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    interval: float | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    gap: float | None = None,
    missing: float | None = None,
    method: str = "linear",
    **fields: Any,
) -> Tracks:
    """Tracks of a table.

    interval: seconds from one step to the next. By default 1 for frames, or 0.4 for pedestrian files without header;
        for times the median spacing. Frames are counted by their smallest common step and never interpolated.
    gap: seconds up to which missing positions are interpolated between times; 4 spacings by default
    missing: a coordinate that means: not seen
    """
    for column in (time_column, group_column):
        if column is not None:
            require_columns(table, file, (column,))
    video = bool(table.attrs.get("video"))
    if EUROC in table.columns:
        table = pd.DataFrame({"time": table["timestamp"] * 1e-9}).join(
            table[[f"p_RS_R_{axis} [m]" for axis in "xyz"]].set_axis(list("xyz"), axis=1)
        )
    who = group_column or _named(table, WHO)
    when = time_column if time_column is not None else _named(table, WHEN)
    frame = None if time_column is not None else _named(table, FRAME)
    if when is None and frame is None:
        raise DataError(
            f"{file}: no column says when: name one 'frame' or 'time', or name yours with --time-column; the file has "
            f"{', '.join(map(str, table.columns[:8]))}"
        )
    if when is not None and frame is not None and interval is None:
        raise DataError(
            f"{file}: both '{frame}' and '{when}' say when: take one with --time-column {when}, or say how long a "
            "frame lasts with --interval"
        )
    where, geographic = _where(table, file)
    table = table.reset_index(drop=True)
    values = numbers(table[where], file, gaps=True)
    if missing is not None:
        values[values == missing] = np.nan
    kept = np.flatnonzero(np.isfinite(values).all(1))
    if not len(kept):
        raise DataError(f"{file}: no row has a position")
    labels = table[who].astype(str).to_numpy()[kept] if who else np.full(len(kept), Path(file).stem)
    scene = _named(table, SCENE)
    scenes = table[scene].astype(str).to_numpy()[kept] if scene else np.full(len(kept), Path(file).stem)
    clock = _frames(table, file, frame) if frame is not None else _seconds(table, file, str(when))
    rows: Rows = {"values": values[kept], "clock": clock[kept], "line": kept + (1 if video else 2)}
    timed = frame is None
    interval = interval or (STEP_OF_VIDEO if video else None)
    return from_rows(rows, labels, scenes, file, timed, interval, gap, method, geographic, fields)


def from_rows(
    rows: Rows,
    labels: np.ndarray,
    scenes: np.ndarray,
    file: str,
    timed: bool,
    interval: float | None,
    gap: float | None,
    method: str,
    geographic: bool,
    fields: dict[str, Any],
) -> Tracks:
    """values: (n, dims), clock: (n,) seconds if `timed` else whole frames, line: (n,) in the file; labels, scenes: (n,)
    names of who and where."""
    scene_names, scene = np.unique(scenes, return_inverse=True)
    agent_names, agent = np.unique(labels, return_inverse=True)
    keys, track = np.unique(scene * len(agent_names) + agent, return_inverse=True)
    names = [str(agent_names[key]) for key in keys % len(agent_names)]
    order = np.lexsort((rows["clock"], track))
    track, clock, values, line = track[order], rows["clock"][order], rows["values"][order], rows["line"][order]
    same = np.flatnonzero((np.diff(track) == 0) & (np.diff(clock) <= 0))
    if len(same):
        at = same[0] + 1
        raise DataError(
            f"{file}, row {max(line[at - 1], line[at])}: '{names[track[at]]}' is there twice at {clock[at]:g}; keep "
            "one row for each moment of each agent"
        )
    scene_of = keys // len(agent_names)
    metres, origin = _local(values, scene_of[track], len(scene_names), geographic)
    start = 0.0
    if timed:
        inside = np.diff(track) == 0
        if not inside.any():
            raise DataError(f"{file}: nobody is there at two moments; a track needs at least two")
        spacing = float(np.median(np.diff(clock)[inside]))
        interval = float(f"{spacing:.3g}") if interval is None else interval
        start = float(np.floor(clock.min() / interval) * interval)
        track, frame, metres = resample(
            track, clock - start, metres, interval, SPREAD * max(spacing, interval) if gap is None else gap, method
        )
        if not len(track):
            raise DataError(f"{file}: no track is as long as the interval of {interval:g} s; give a shorter --interval")
    else:
        interval = 1.0 if interval is None else interval
        step = int(np.gcd.reduce(np.diff(np.unique(clock)))) or 1
        frame = clock // step
        if gap is not None:
            track, frame, metres = resample(track, frame * interval, metres, interval, gap, method)
    fields = {"name": Path(file).stem} | known_fields(fields, file)
    return tracks_from_rows(
        track,
        frame,
        metres,
        names,
        scene_of,
        interval=float(interval),
        start=start,
        scenes=tuple(str(one) for one in scene_names),
        origin=origin,
        geographic=geographic,
        **fields,
    )


def known_fields(fields: dict[str, Any], file: str) -> dict[str, Any]:
    """`fields` if each can be told a reader of tracks; a `DataError` names one that cannot."""
    known = ("history", "horizon", "neighbours", "stride", "hold_out", "radius", "name")
    for name in fields:
        if name not in known:
            raise DataError(f"{file}: tracks are not read with --{name.replace('_', '-')}; leave it out")
    return fields


def _local(
    values: np.ndarray, scene: np.ndarray, scenes: int, geographic: bool
) -> tuple[np.ndarray, tuple[tuple[float, ...], ...]]:
    """Positions in metres that float32 holds, and what the point 0 of each scene was called."""
    if not geographic and np.abs(values).max() < FAR:
        return values, ()
    middle = np.stack([np.median(values[scene == one], axis=0) for one in range(scenes)])
    if not geographic:
        middle = np.round(middle)
        return values - middle[scene], tuple(tuple(map(float, place)) for place in middle)
    return to_metres(values, middle[scene]), tuple(tuple(map(float, place)) for place in middle)


def _where(table: pd.DataFrame, file: str) -> tuple[list[str], bool]:
    """The columns of the position, and whether they are latitude and longitude."""
    axes = [_named(table, names) for names in AXES]
    if axes[0] and axes[1]:
        return [axis for axis in axes if axis], False
    globe = [_named(table, LATITUDE), _named(table, LONGITUDE)]
    if globe[0] and globe[1]:
        values = numbers(table[globe], file, gaps=True)
        if np.nanmax(np.abs(values[:, 0])) > 90 or np.nanmax(np.abs(values[:, 1])) > 360:
            raise DataError(f"{file}: latitudes go to 90 degrees and longitudes to 360; are they swapped?")
        return [column for column in globe if column], True
    raise DataError(
        f"{file}: no columns say where: name them x and y (and z), or latitude and longitude; the file has "
        f"{', '.join(map(str, table.columns[:8]))}"
    )


def _frames(table: pd.DataFrame, file: str, column: str) -> np.ndarray:
    values = numbers(table[[column]], file)[:, 0]
    whole = np.rint(values)
    if (np.abs(values - whole) > 1e-6).any():
        row = int((np.abs(values - whole) > 1e-6).argmax())
        raise DataError(
            f"{file}, row {row + 2}, column '{column}': {values[row]:g} is no whole number; times go into 'time'"
        )
    return whole.astype(np.int64)


def _seconds(table: pd.DataFrame, file: str, column: str) -> np.ndarray:
    """Numbers as seconds, anything else as dates (a zone is taken into account)."""
    if pd.api.types.is_numeric_dtype(table[column]):
        return numbers(table[[column]], file)[:, 0]
    stamps = pd.to_datetime(table[column], errors="coerce", format="mixed", utc=True)
    if bool(stamps.isna().any()):
        row = int(stamps.isna().to_numpy().argmax())
        raise DataError(f"{file}, row {row + 2}, column '{column}': '{table[column].iloc[row]}' is not a time")
    return (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()


def tracks_from_archive(path: str | Path, interval: float | None = None, **fields: Any) -> Tracks:
    """npz: `positions` (agents, steps, dims), NaN where nothing was seen or with `observed` (agents, steps); and as far
    as they are there `interval`, `first`, `scene` and `start`."""
    import torch

    arrays = read_npz(path)
    if "positions" not in arrays or arrays["positions"].ndim != 3:
        raise DataError(f"{path}: there is no array 'positions' of shape (agents, steps, dims)")
    positions = arrays["positions"].astype(float)
    observed = np.isfinite(positions).all(-1)
    if "observed" in arrays:
        observed &= arrays["observed"].astype(bool)
    extra: dict[str, Any] = {
        name: torch.from_numpy(arrays[name].astype(np.int64)) for name in ("first", "scene") if name in arrays
    }
    if "scene" in extra:
        extra["scenes"] = tuple(f"scene {i}" for i in range(int(extra["scene"].max()) + 1))
    if "start" in arrays:
        extra["start"] = float(arrays["start"])
    given = float(arrays["interval"]) if "interval" in arrays else 1.0
    return Tracks(
        positions=torch.from_numpy(np.nan_to_num(positions)).float(),
        observed=torch.from_numpy(observed),
        interval=given if interval is None else interval,
        **({"name": Path(path).stem} | extra | known_fields(fields, str(path))),
    )
