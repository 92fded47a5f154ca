"""Rows of positions as tracks: irregular times brought to a fixed interval, and rows gathered by who moves.

Between two measurements a position is interpolated, so a step may know the measurement that comes after it, by up to
one spacing of the log; where that matters, choose an interval no shorter than the spacing. Gaps longer than `gap`
stay gaps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pathline.data.tracks import Tracks

APART = 100  # steps: a longer absence begins a row of its own


def resample(
    track: np.ndarray, time: np.ndarray, positions: np.ndarray, interval: float, gap: float, method: str = "linear"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions at multiples of `interval`: track, frame and position of every step that lies within no gap.

    track: (n,) whose rows these are, sorted; time: (n,) seconds, rising within a track; positions: (n, dims) float64.
    A frame is a whole number: time / interval. method: "linear", or "cubic" (Hermite, with the slopes of the parabola
    through three points).
    """
    if method not in ("linear", "cubic"):
        raise ValueError(f"there is no interpolation '{method}'; choose linear or cubic")
    hair = 1e-6
    begins = np.flatnonzero(np.diff(track, prepend=track[0] - 1))
    ends = np.append(begins[1:], len(track)) - 1
    first = np.ceil(time[begins] / interval - hair).astype(np.int64)
    last = np.floor(time[ends] / interval + hair).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(begins)), counts)
    frame = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[owner]
    # one search for all tracks: each on a stretch of its own of one long time axis
    span = (time[ends] - time[begins]).max() + interval
    where = (time - time[begins][np.repeat(np.arange(len(begins)), ends - begins + 1)]) / span
    places = np.searchsorted(
        where + np.repeat(np.arange(len(begins)), ends - begins + 1),
        (frame * interval - time[begins][owner]) / span + owner,
        side="right",
    )
    left = np.clip(places - 1, begins[owner], np.maximum(ends[owner] - 1, begins[owner]))
    right = np.minimum(left + 1, ends[owner])
    spacing = np.where(right > left, time[right] - time[left], 1.0)
    share = np.clip((frame * interval - time[left]) / spacing, 0.0, 1.0)
    near = np.minimum(share, 1 - share) * spacing < 0.01 * interval
    keep = (spacing <= gap + hair) | near | (right == left)
    s = share[:, None]
    values = positions[left] + s * (positions[right] - positions[left])
    if method == "cubic":
        slope = _slopes(track, time, positions)
        h = spacing[:, None]
        values = (
            (2 * s**3 - 3 * s**2 + 1) * positions[left]
            + (s**3 - 2 * s**2 + s) * h * slope[left]
            + (3 * s**2 - 2 * s**3) * positions[right]
            + (s**3 - s**2) * h * slope[right]
        )
    return track[begins][owner][keep], frame[keep], values[keep]


def _slopes(track: np.ndarray, time: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Velocity at every row: of the parabola through it and its neighbours, at an end of the straight line."""
    step = np.diff(time)
    inside = np.diff(track) == 0
    chord = np.diff(positions, axis=0) / np.where(inside & (step > 0), step, 1.0)[:, None]
    zero = np.zeros((1, positions.shape[1]))
    before, after = np.concatenate([zero, chord]), np.concatenate([chord, zero])
    has_before, has_after = np.append(False, inside), np.append(inside, False)
    h0, h1 = np.append(1.0, step)[:, None], np.append(step, 1.0)[:, None]
    both = (has_before & has_after)[:, None]
    total = np.where(both, h0 + h1, 1.0)
    return np.where(both, (h1 * before + h0 * after) / total, np.where(has_before[:, None], before, after))


def tracks_from_rows(
    track: np.ndarray,
    frame: np.ndarray,
    positions: np.ndarray,
    names: Sequence[str],
    scene_of: Sequence[int] | np.ndarray,
    **fields: Any,
) -> Tracks:
    """Rows (track, frame, position), sorted by track and frame, as a container.

    names, scene_of: of each track, by its number; a track with an absence of more than 100 steps goes on in a new row
    """
    new = (np.diff(track, prepend=track[0] - 1) != 0) | (np.diff(frame, prepend=frame[0]) > APART)
    row = new.cumsum() - 1
    begins = np.flatnonzero(new)
    first = frame[begins]
    step = frame - first[row]
    owner = track[begins]
    part = np.arange(len(owner)) - np.searchsorted(owner, owner)
    shape = (len(begins), int(step.max()) + 1)
    grid = np.zeros((*shape, positions.shape[1]))
    seen = np.zeros(shape, dtype=bool)
    grid[row, step], seen[row, step] = positions, True
    return Tracks(
        positions=torch.from_numpy(grid).float(),
        observed=torch.from_numpy(seen),
        first=torch.from_numpy(first.astype(np.int64)),
        scene=torch.from_numpy(np.asarray(scene_of)[owner].astype(np.int64)),
        agents=tuple(names[o] if not p else f"{names[o]}/{p + 1}" for o, p in zip(owner, part, strict=True)),
        **fields,
    )
