"""Pictures of populations: on their way between snapshots, and how far off they are over time."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.transport.base import Transporter

PANELS = 4  # methods drawn side by side
SHOWN = 400  # cells of a population drawn at most
ARROWS = 60
FRAMES = 21
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")  # Okabe and Ito
GREY = "#b5b5b5"


def figures(methods: "dict[str, Transporter]", data: Snapshots) -> list[Figure]:
    """Moving populations, and distance over time."""
    found = [draw_populations(methods, data)] if len(data.times) > 1 else []
    return [*found, draw_distances(methods, data)] if found else []


class Plane:
    """The two axes that a population is drawn on: its own if there are two, else its leading principal components."""

    def __init__(self, data: Snapshots) -> None:
        x = data.positions
        self.centre = torch.zeros(data.dims)
        self.names = [*data.columns, "x1", "x2"][:2] if data.dims == len(data.columns) else ["x1", "x2"]
        self.axes = torch.eye(data.dims, 2)
        if data.dims > 2:
            self.centre = x.mean(0)
            self.axes = torch.linalg.svd(x - self.centre, full_matrices=False).Vh[:2].T
            self.names = ["component 1", "component 2"]
        flat = self(x)
        margin = 0.08 * (flat.amax(0) - flat.amin(0)).clamp(min=1e-6)
        self.low, self.high = flat.amin(0) - margin, flat.amax(0) + margin

    def __call__(self, x: Tensor) -> Tensor:
        return (x.cpu() - self.centre) @ self.axes

    def dress(self, axis: "Axes", title: str) -> None:
        axis.set_xlim(float(self.low[0]), float(self.high[0]))
        axis.set_ylim(float(self.low[1]), float(self.high[1]))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(self.names[0], fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)


def draw_populations(methods: "Mapping[str, Transporter]", data: Snapshots) -> Figure:
    """Measured snapshots, and each method's push of the first one, coloured by time, with its velocity arrows."""
    picture = populations_picture(methods, data)
    several = len(methods) > PANELS
    caption = (
        f"Left: the snapshots of {data.name}, coloured by time. Then the first snapshot as each method carries it to "
        "the times of the others; a point's area is its weight, arrows are the velocity where the cells are."
        + (f" {len(methods) - PANELS} more methods are not drawn." if several else "")
    )
    return Figure("Populations on their way", caption, picture, _moving(methods, data))


def populations_picture(methods: "Mapping[str, Transporter]", data: Snapshots) -> "Picture":
    """A panel of the data and one per method."""
    plane, chosen = Plane(data), dict(list(methods.items())[:PANELS])
    picture, axes = _panels(1 + len(chosen), plane)
    colours = _colours(len(data.times))
    for k, time in enumerate(data.times.tolist()):
        _cloud(axes[0], plane(_few(data.population(k))), colours[k], label=f"{time:g}")
    legend = axes[0].legend(title=f"time {data.unit}".strip(), fontsize=7, title_fontsize=7, frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([20])  # type: ignore[union-attr]
    plane.dress(axes[0], "measured")
    for axis, (name, method) in zip(axes[1:], chosen.items(), strict=True):
        way = method.trajectory(_few(data.population(0)), data.times.tolist())
        for k in range(len(data.times)):
            _cloud(axis, plane(way.positions[k]), colours[k], way.log_weights[k])
        points, arrows = _arrows(method, way.positions, data.times, plane)
        _quiver(axis, points, arrows)
        plane.dress(axis, name)
    return picture


def _moving(methods: "Mapping[str, Transporter]", data: Snapshots) -> Animation:
    """The pushed population at evenly spaced times, over the two snapshots between which it is."""
    plane, chosen = Plane(data), dict(list(methods.items())[:PANELS])
    times = torch.linspace(float(data.times[0]), float(data.times[-1]), FRAMES, dtype=torch.float64)
    ways = {name: method.trajectory(_few(data.population(0)), times.tolist()) for name, method in chosen.items()}
    speeds = {
        name: _arrows(method, ways[name].positions, times, plane, each_time=True) for name, method in chosen.items()
    }

    def draw(frame: int) -> "Picture":
        picture, axes = _panels(len(chosen), plane)
        before = int((data.times <= times[frame] + 1e-9).sum()) - 1
        near = sorted({before, min(before + 1, len(data.times) - 1)})
        for axis, (name, way) in zip(axes, ways.items(), strict=True):
            for k in near:
                _cloud(axis, plane(_few(data.population(k))), GREY)
            _cloud(axis, plane(way.positions[frame]), COLOURS[0], way.log_weights[frame])
            points, arrows = speeds[name]
            _quiver(axis, points[frame], arrows[frame])
            plane.dress(axis, f"{name}, time {float(times[frame]):.2f} {data.unit}".strip())
        return picture

    return Animation(draw, FRAMES)


def draw_distances(methods: "Mapping[str, Transporter]", data: Snapshots) -> Figure:
    """Wasserstein-1 distance and mass over time."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 3.4), layout="constrained")
    left, right = picture.subplots(1, 2)
    held: set[float] = set()
    for colour, (name, method) in zip(COLOURS, methods.items(), strict=False):
        rows = method.by_time(data)
        moments = [row["time"] for row in rows]
        held |= {row["time"] for row in rows if not row["learned"]}
        left.plot(moments, [row["w1"] for row in rows], "o-", color=colour, markersize=4, label=name)
        begin = [float(data.times[0]), *moments]
        right.plot(begin, [1.0, *(row["mass"] for row in rows)], "o-", color=colour, markersize=4, label=name)
    right.plot(data.times, data.masses / data.masses[0], "s--", color="black", markersize=4, label="measured")
    for axis, title in ((left, "Wasserstein-1 distance"), (right, "mass, relative to the first snapshot")):
        for time in sorted(held):
            axis.axvspan(time - 0.05 * _span(data), time + 0.05 * _span(data), color="#eeeeee", zorder=0)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"time {data.unit}".strip())
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize=8)
    shaded = "; shaded: times that were held out" if held else ""
    caption = f"Pushed from the first snapshot of {data.name}{shaded}. Lower distance is better."
    return Figure("Distance and mass over time", caption, picture)


def _panels(count: int, plane: Plane) -> "tuple[Picture, list[Axes]]":
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(max(4.0, min(10.0, 3.0 * count)), 3.2), layout="constrained")
    axes = list(picture.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0])
    axes[0].set_ylabel(plane.names[1], fontsize=8)
    return picture, axes


def _cloud(axis: "Axes", points: Tensor, colour: Any, log_weights: Tensor | None = None, label: str = "") -> None:
    area: Any = 4.0 if log_weights is None else (4.0 * log_weights.cpu().clamp(-4, 3).exp()).numpy()
    axis.scatter(
        points[:, 0].numpy(), points[:, 1].numpy(), s=area, color=colour, linewidths=0, alpha=0.6, label=label or None
    )


def _quiver(axis: "Axes", points: Tensor, arrows: Tensor) -> None:
    if bool((arrows.abs() > 1e-9).any()):  # an arrow of no length has no scale to be drawn at
        axis.quiver(*points.T.numpy(), *arrows.T.numpy(), color="#222222", width=0.004, alpha=0.8)


def _arrows(
    method: "Transporter", positions: Tensor, times: Tensor, plane: Plane, each_time: bool = False
) -> tuple[Tensor, Tensor]:
    """Places (.., ARROWS, 2) and velocities there on the plane, of some cells at each time or spread over all."""
    count = ARROWS if each_time else max(1, math.ceil(ARROWS / len(times)))
    chosen = positions[:, :: max(1, positions.shape[1] // count)]
    speeds = torch.stack([method.velocity(x, float(t)).cpu() for x, t in zip(chosen, times, strict=True)])
    points, arrows = plane(chosen), speeds @ plane.axes
    return (points, arrows) if each_time else (points.flatten(0, 1), arrows.flatten(0, 1))


def _few(cells: Tensor) -> Tensor:
    return cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))[:SHOWN]]


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](k / max(1, count - 1) * 0.9) for k in range(count)]


def _span(data: Snapshots) -> float:
    return float(data.times[-1] - data.times[0]) / 4
