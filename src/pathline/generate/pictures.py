"""Pictures of generators: what they draw beside real data, the paths they take, and how few network calls they need."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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


def figures(methods: "dict[str, Generator]", data: Samples) -> list[Figure]:
    """Samples of each method beside real ones, and distance against network calls."""
    shape, found = data.shape, []
    if len(shape) == 3 and shape[0] in (1, 3):
        found.append(_images(methods, data))
    elif len(shape) == 1 and shape[0] >= 2:
        found.append(_scatter(methods, data))
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


def _scatter(methods: "dict[str, Generator]", data: Samples) -> Figure:
    chosen = list(methods.items())[:PANELS]
    flat = data.values
    axes_of_data = torch.eye(2)
    if flat.shape[1] > 2:
        axes_of_data = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:2].T
    picture, axes = _panels(1 + len(chosen), 3.0)
    real = (flat @ axes_of_data)[:SHOWN]
    margin = 0.15 * (real.amax(0) - real.amin(0))
    low, high = real.amin(0) - margin, real.amax(0) + margin
    for axis in axes:
        axis.set_xlim(float(low[0]), float(high[0]))
        axis.set_ylim(float(low[1]), float(high[1]))
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
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
    plane = "" if flat.shape[1] == 2 else " in the plane of the two largest principal components"
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
