"""Pictures of generators: what they draw beside real data, how it comes about, and how few network calls they need."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Samples
from pathline.generate.features import has_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.generate.base import Generator

REAL, DRAWN = "#444444", "#1f6fb4"
COLOURS = ("#1f6fb4", "#d1622b", "#3d8f5f", "#8a5fa8", "#b8902f", "#c04c6d", "#4aa3b5")
STEPS = (1, 2, 4, 8, 16)
COUNT = 500  # samples per point of a curve
SHOWN, TRACED = 1500, 40  # points and paths in a scatter
ROWS, COLUMNS = 4, 8  # of a grid of images
PANELS = 5  # methods shown at most
FRAMES = 17  # of an animation from noise to data


def figures(methods: "dict[str, Generator]", data: Samples) -> list[Figure]:
    """Samples of each method beside real ones, and distance against network calls."""
    shape, found = data.shape, []
    if len(shape) == 3 and shape[0] in (1, 3):
        found += [_images(methods, data), _journey(methods, data)]
    elif len(shape) == 1 and shape[0] >= 2:
        found += [_scatter(methods, data), _journey(methods, data)]
    return [*found, _calls(methods, data)]


def _panels(count: int, height: float) -> tuple[Any, "list[Axes]"]:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(min(9.0, 3.0 * count), height), layout="constrained")
    axes = picture.subplots(1, count, squeeze=False)[0]
    return picture, list(axes)


def grids(panels: dict[str, Tensor], bounds: tuple[float, float]) -> "Picture":
    """Panels of the first images of each set (count, channels, height, width), under its title."""
    low, high = bounds
    picture, axes = _panels(len(panels), 2.0)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        image = tile((values[: ROWS * COLUMNS].cpu().clamp(low, high) - low) / (high - low))
        axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    return picture


def _images(methods: "dict[str, Generator]", data: Samples) -> Figure:
    bounds = data.bounds or (float(data.values.min()), float(data.values.max()))
    panels = {"real": data.values[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))]}
    for name, method in list(methods.items())[:PANELS]:
        drawn = method.draw(ROWS * COLUMNS)
        panels[_title(name, drawn.evaluations)] = drawn.values
    caption = f"Unselected samples of each method beside test data of {data.name}."
    return Figure("Samples", caption, grids(panels, bounds))


def tile(images: Tensor) -> Tensor:
    """Images (count, channels, height, width) as one picture with a white pixel between them, 8 to a row."""
    channels, height, width = images.shape[1:]
    rows = -(-len(images) // COLUMNS)
    canvas = torch.ones(rows, COLUMNS, channels, height + 1, width + 1)
    canvas.view(-1, channels, height + 1, width + 1)[: len(images), :, :height, :width] = images
    picture = canvas.permute(0, 3, 1, 4, 2).reshape(rows * (height + 1), COLUMNS * (width + 1), channels)
    return picture.squeeze(-1)


def _journey(methods: "dict[str, Generator]", data: Samples) -> Figure:
    """Samples on their way from noise to data; a formula without a way, such as the Gaussian, jumps half-way."""
    count = ROWS * COLUMNS if len(data.shape) == 3 else SHOWN
    ways = {name: method.paths(count, FRAMES - 1).cpu() for name, method in list(methods.items())[:PANELS]}
    bounds = data.bounds or (float(data.values.min()), float(data.values.max()))
    plane = None if len(data.shape) == 3 else _plane(data)

    def draw(frame: int) -> "Picture":
        share = frame / (FRAMES - 1)
        states = {name: way[round(share * (len(way) - 1))] for name, way in ways.items()}
        if plane is None:
            return grids(states, bounds)
        picture, axes = _panels(len(states), 3.0)
        for axis, (name, points) in zip(axes, states.items(), strict=True):
            flat = (points @ plane).numpy()
            axis.scatter(flat[:, 0], flat[:, 1], s=2, color=DRAWN, linewidths=0)
            axis.set_title(name, fontsize=9)
            _frame(axis, data.values @ plane, 0.5)
        return picture

    caption = f"{count} samples of each method on their way from noise (start) to data (end)."
    return Figure("From noise to data", caption, draw(FRAMES - 1), Animation(draw, FRAMES))


def _plane(data: Samples) -> Tensor:
    """(columns, 2): the two columns of the data, or its two largest principal axes."""
    flat = data.values
    if flat.shape[1] == 2:
        return torch.eye(2)
    return torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:2].T


def _frame(axis: "Axes", points: Tensor, margin: float) -> None:
    """Limits around `points` (count, 2), wider by a share of their extent; no box above and to the right."""
    more = margin * (points.amax(0) - points.amin(0))
    (left, bottom), (right, top) = (points.amin(0) - more).tolist(), (points.amax(0) + more).tolist()
    axis.set(xlim=(left, right), ylim=(bottom, top))
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _scatter(methods: "dict[str, Generator]", data: Samples) -> Figure:
    chosen = list(methods.items())[:PANELS]
    axes_of_data = _plane(data)
    picture, axes = _panels(1 + len(chosen), 3.0)
    real = (data.values @ axes_of_data)[:SHOWN]
    for axis in axes:
        _frame(axis, real, 0.15)
    axes[0].scatter(real[:, 0].numpy(), real[:, 1].numpy(), s=2, color=REAL, linewidths=0)
    axes[0].set_title("real", fontsize=9)
    for axis, (name, method) in zip(axes[1:], chosen, strict=True):
        drawn = method.draw(SHOWN)
        ways = (method.paths(TRACED, seed=1).cpu() @ axes_of_data).transpose(0, 1)
        points = (drawn.values.cpu() @ axes_of_data).numpy()
        axis.scatter(points[:, 0], points[:, 1], s=2, color=DRAWN, linewidths=0)
        for way in ways:
            axis.plot(*way.T.numpy(), color=REAL, linewidth=0.5, alpha=0.5)
        axis.set_title(_title(name, drawn.evaluations), fontsize=9)
    plane = "" if data.shape[0] == 2 else " in the plane of the two largest principal components"
    caption = f"Samples of each method beside test data of {data.name}{plane}; thin lines carry noise to data."
    return Figure("Samples and paths", caption, picture)


def _calls(methods: "dict[str, Generator]", data: Samples) -> Figure:
    from matplotlib.figure import Figure as Picture

    from pathline.generate.base import distances

    picture = Picture(figsize=(6.0, 3.2), layout="constrained")
    axis = picture.subplots()
    metric = "frechet_distance" if has_features(data) else "sliced_w2"
    for (name, method), colour in zip(methods.items(), COLOURS, strict=False):
        curve: dict[int, float] = {}
        for steps in STEPS:
            drawn = method.draw(COUNT, steps)
            curve.setdefault(drawn.evaluations, distances(drawn.values, data)[metric])
            if not drawn.evaluations:  # a formula: steps change nothing
                break
        if set(curve) == {0}:
            axis.axhline(curve[0], color=colour, linestyle="--", linewidth=1, label=f"{name} (no network)")
        else:
            axis.plot(
                list(curve), list(curve.values()), color=colour, marker="o", markersize=3, linewidth=1.2, label=name
            )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("network calls per sample")
    axis.set_ylabel(metric.replace("_", " "))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    caption = (
        f"Distance of {COUNT} samples to the test data of {data.name} against the network calls spent; lower is better."
    )
    return Figure("Distance by network calls", caption, picture)


def _title(name: str, calls: int) -> str:
    return f"{name}, {calls} call{'' if calls == 1 else 's'}" if calls else name
