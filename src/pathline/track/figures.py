"""Pictures of trackers on the same test data: paths with densities over the scene, error by lead time, calibration."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data.tracks import Encounters, Tracks
from pathline.track import metrics
from pathline.track.base import Tracker, evaluating

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

COLOURS = ("#1f6fb4", "#d1622b", "#3d8f5f", "#8a5fa8", "#b8902f", "#c04c6d", "#4aa3b5", "#777777")
PAST, TRUTH, BACKDROP = "#222222", "#1a9850", "#d9d9d9"
SHOWN = 4  # methods in columns
SAMPLES = 200  # futures that a density is made of
CELLS = 60  # a side of its grid
MOST = 3000  # windows that curves are made of
WIDTH = 10.0  # inches
DRAWN = 400  # tracks behind a scene


def draw(methods: dict[str, Tracker], data: Tracks) -> list[Figure]:
    """All pictures of `methods` on `data`."""
    first = next(iter(methods.values()))
    part = first._windows_of(data)
    chosen = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:MOST]
    window = part.gather(chosen)
    curves = {name: _by_lead(method, window) for name, method in methods.items()}
    ranked = sorted(methods, key=lambda name: float(curves[name].mean()))
    shown = {name: methods[name] for name in ranked[:SHOWN]}
    figures = [
        Figure(
            "Where the target goes",
            "Rows are three encounters of the test part, from usual to hard. Black: what was seen; green: what came; "
            "blue shade: the method's density over all steps of the future; thin lines: six of its futures; "
            "orange: neighbours" + (" (seen from above)." if part.dims == 3 else "."),
            scene_picture(shown, part, instructive(part, window)),
        ),
        Figure(
            "Error by lead time",
            "Mean distance from the truth of each method's likeliest future.",
            _lead_picture({name: curves[name] for name in ranked}, part),
        ),
    ]
    levels = {name: found for name in ranked if (found := coverage(methods[name], window)) is not None}
    if levels:
        figures.append(
            Figure(
                "Calibration",
                "How often the truth lay in the region that a density said holds it with this probability; "
                "on the diagonal it is right, below it is too sure.",
                calibration_picture(levels),
            )
        )
    return figures


def instructive(data: Tracks, window: Encounters) -> Encounters:
    """Three windows by how much the target leaves its straight line: the median, 80 and 95 of 100."""
    past, future = window.past[:, 0], window.future[:, 0]
    ahead = torch.arange(1, future.shape[1] + 1)[:, None]
    straight = past[:, -1:] + ahead * (past[:, -1:] - past[:, :1]) / (past.shape[1] - 1)
    order = (future - straight).norm(dim=-1).mean(1).argsort()
    places = order[[int(share * (len(order) - 1)) for share in (0.5, 0.8, 0.95)]]
    return _at(window, places.unique(sorted=False))


def _at(window: Encounters, index: Tensor) -> Encounters:
    changes = {
        name: getattr(window, name)[index]
        for name in ("past", "past_observed", "future", "future_observed", "agent", "scene", "frame")
    }
    return Encounters(**changes, interval=window.interval)


def coverage(method: Tracker, window: Encounters, k: int = 100) -> Tensor | None:
    """`coverage_levels` of up to 500 windows, or None for a method without densities."""
    part, generator = _at(window, torch.arange(min(500, len(window.past)))), torch.Generator().manual_seed(0)
    with evaluating(method):
        truth = method.log_density(part, generator)
        return None if truth is None else method.levels(part, method.forecast(part, k), truth, generator)


def _by_lead(method: Tracker, window: Encounters) -> Tensor:
    """Mean distance of the likeliest future by step, (horizon,)."""
    best = method.forecast(window).best[:, 0].cpu()
    return (best - window.future[:, 0]).norm(dim=-1).mean(0)


def density(samples: Tensor, low: Tensor, high: Tensor, cells: int = CELLS) -> Tensor:
    """Histogram (cells, cells) [y, x] of samples (n, 2) on the box low .. high, smoothed over a cell; sums to 1."""
    place = ((samples - low) / (high - low) * cells).floor().long()
    inside = ((place >= 0) & (place < cells)).all(1)
    place = place[inside]
    counts = torch.bincount(place[:, 1] * cells + place[:, 0], minlength=cells * cells).float().view(1, 1, cells, cells)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    smooth = torch.nn.functional.conv2d(counts, torch.outer(kernel, kernel)[None, None], padding=2)[0, 0]
    return smooth / smooth.sum().clamp(min=1e-9)


def scene_picture(methods: dict[str, Tracker], data: Tracks, window: Encounters) -> "Picture":
    """One row per window, one column per method."""
    from matplotlib.figure import Figure as Picture

    rows = len(window.past)
    columns = len(methods)
    picture = Picture(figsize=(max(WIDTH * columns / SHOWN, 4.5), 2.7 * rows + 0.3), layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False)
    for column, (name, method) in enumerate(methods.items()):
        samples = method.forecast(window, SAMPLES)
        target = samples.positions[:, :, 0].cpu()
        for row in range(rows):
            axis = axes[row, column]
            low, high = _frame(window, row)
            _backdrop(axis, data, int(window.scene[row]), low, high)
            shade = density(target[row, ..., :2].flatten(0, 1), low, high)
            extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
            axis.imshow(
                shade.sqrt().numpy(), origin="lower", extent=extent, cmap="Blues", alpha=0.75, aspect="equal", zorder=1
            )
            last = window.past[row, 0, -1:, :2]
            for path in target[row, :6, :, :2]:
                axis.plot(*torch.cat([last, path]).T.numpy(), color=COLOURS[0], linewidth=0.5, alpha=0.6, zorder=2)
            _agents(axis, window, row)
            axis.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
            for side in axis.spines.values():
                side.set_linewidth(0.5)
            if row == 0:
                axis.set_title(name, fontsize=9)
            if column == 0:
                _scale_bar(axis, extent)
                axis.set_ylabel(data.scenes[int(window.scene[row])][:24], fontsize=8)
    return picture


def _frame(window: Encounters, row: int) -> tuple[Tensor, Tensor]:
    """A square around the target's past and future with room on every side: its low and high corner."""
    path = torch.cat([window.past[row, 0, :, :2], window.future[row, 0, :, :2]])
    centre = (path.amin(0) + path.amax(0)) / 2
    half = 0.75 * float((path.amax(0) - path.amin(0)).max()) + 1e-3
    return centre - half, centre + half


def _backdrop(axis: Any, data: Tracks, scene: int, low: Tensor, high: Tensor) -> None:
    """Every track of the scene, thin and grey: the scene as its users draw it."""
    for agent in (data.scene == scene).nonzero()[:DRAWN, 0].tolist():
        path = torch.where(data.observed[agent, :, None], data.positions[agent, :, :2], torch.nan)
        axis.plot(*path.T.numpy(), color=BACKDROP, linewidth=0.6, zorder=0)


def _agents(axis: Any, window: Encounters, row: int) -> None:
    for agent in range(window.past.shape[1]):
        path = torch.cat([window.past[row, agent], window.future[row, agent]])[:, :2]
        seen = torch.cat([window.past_observed[row, agent], window.future_observed[row, agent]])
        if not seen.any():
            continue
        shown = torch.where(seen[:, None], path, torch.nan).numpy()
        cut = window.past.shape[2]
        before, after = (PAST, TRUTH) if agent == 0 else ("#b5651d", "#e6a35c")
        width = 1.8 if agent == 0 else 0.9
        axis.plot(*shown[:cut].T, color=before, linewidth=width, zorder=4)
        axis.plot(*shown[cut - 1 :].T, color=after, linewidth=width, zorder=3)
        axis.plot(*shown[cut - 1], "o", color=before, markersize=2 + width, zorder=5)


def _scale_bar(axis: Any, extent: tuple[float, float, float, float]) -> None:
    width = extent[1] - extent[0]
    exponent = np.floor(np.log10(width / 4))
    length = next(m for m in (5, 2, 1) if m * 10**exponent <= width / 4) * 10**exponent
    x, y = extent[0] + 0.06 * width, extent[2] + 0.06 * width
    axis.plot([x, x + length], [y, y], color=PAST, linewidth=2, zorder=6)
    axis.text(x, y + 0.02 * width, f"{length:g} m", fontsize=7, zorder=6)


def _lead_picture(curves: dict[str, Tensor], data: Tracks) -> "Picture":
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(WIDTH * 0.7, 3.4), layout="constrained")
    axis = picture.subplots()
    for (name, curve), colour in zip(curves.items(), COLOURS * 4, strict=False):
        lead = data.interval * torch.arange(1, len(curve) + 1)
        axis.plot(lead.numpy(), curve.numpy(), color=colour, label=name, linewidth=1.4)
    axis.set(xlabel="seconds ahead", ylabel="metres", xlim=(0, None), ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return picture


def calibration_picture(levels: dict[str, Tensor]) -> "Picture":
    """levels: what `metrics.coverage_levels` gave for each method."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(4.2, 3.8), layout="constrained")
    axis = picture.subplots()
    nominal = torch.linspace(0, 1, 41, dtype=torch.float64)
    axis.plot([0, 1], [0, 1], color=BACKDROP, linewidth=1)
    for (name, found), colour in zip(levels.items(), COLOURS * 4, strict=False):
        covered = (found.double().flatten()[:, None] <= nominal).double().mean(0)
        error = metrics.calibration_error(found)
        axis.plot(nominal.numpy(), covered.numpy(), color=colour, label=f"{name} ({error:.2f})", linewidth=1.4)
    axis.set(xlabel="probability of the region", ylabel="share of truths in it", xlim=(0, 1), ylim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, title="mean error", title_fontsize=8)
    return picture
