"""Pictures of a learned density and its velocity on a plane, over time."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Measurements, Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure as Picture

    from pathline.transport.fields import FieldLearner

GRID, ARROWS, MOMENTS, FRAMES, PANELS = 60, 12, 4, 17, 3


def figures(methods: "Mapping[str, FieldLearner]", data: Snapshots | Measurements) -> list[Figure]:
    """Density as colour and velocity as arrows at a few times, one row per method, and moving."""
    chosen = dict(list(methods.items())[:PANELS])
    low, high = bounds(data)
    times = torch.linspace(float(data.times.min()), float(data.times.max()), MOMENTS, dtype=torch.float64).tolist()
    rows = {name: (density_of(method), method.velocity) for name, method in chosen.items()}
    picture = fields_picture(rows, times, low, high, data)
    frames = torch.linspace(times[0], times[-1], FRAMES, dtype=torch.float64).tolist()
    top = highest(rows, times, low, high)
    moving = Animation(lambda k: fields_picture(rows, [frames[k]], low, high, data, top), FRAMES)
    what = "readings of sensors (circles)" if isinstance(data, Measurements) else "cells (dots)"
    caption = f"Density as colour, velocity as arrows, over {what} of {data.name}; the same colours at all times."
    return [Figure("Density and velocity", caption, picture, moving)]


def density_of(method: "FieldLearner") -> "Callable[[Tensor, float], Tensor]":
    """rho(x, time) in the data's units."""
    return lambda x, time: method.log_density(x, time).exp().cpu()


def bounds(data: Snapshots | Measurements) -> tuple[Tensor, Tensor]:
    """The box of the data with a margin."""
    low, high = data.positions.amin(0), data.positions.amax(0)
    margin = 0.08 * (high - low).clamp(min=1e-6)
    return low - margin, high + margin


def grid(low: Tensor, high: Tensor, count: int) -> Tensor:
    """Centres of count x count cells of a box, x fastest: (count^2, 2)."""
    steps = (torch.arange(count) + 0.5) / count
    y, x = torch.meshgrid(low[1] + (high[1] - low[1]) * steps, low[0] + (high[0] - low[0]) * steps, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def highest(rows: "Mapping[str, tuple]", times: list[float], low: Tensor, high: Tensor) -> float:
    """A density that few places exceed, for one scale of colours: of the first row."""
    density, _ = next(iter(rows.values()))
    values = torch.stack([density(grid(low, high, GRID), t) for t in times])
    return float(values.quantile(0.998).clamp(min=1e-12))


def fields_picture(
    rows: "Mapping[str, tuple[Callable[[Tensor, float], Tensor], Callable[[Tensor, float], Tensor]]]",
    times: list[float],
    low: Tensor,
    high: Tensor,
    data: Snapshots | Measurements | None = None,
    top: float | None = None,
) -> "Picture":
    """A row per name, a column per time: density(x, t) as colour and velocity(x, t) as arrows."""
    from matplotlib.figure import Figure as Picture

    top = highest(rows, times, low, high) if top is None else top
    picture = Picture(figsize=(max(4.2, 2.4 * len(times)), 2.3 * len(rows) + 0.4), layout="constrained")
    panels = picture.subplots(len(rows), len(times), squeeze=False, sharex=True, sharey=True)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    image = None
    for line, (name, (density, velocity)) in zip(panels, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9)
        for panel, time in zip(line, times, strict=True):
            values = density(grid(low, high, GRID), time).reshape(GRID, GRID)
            image = panel.imshow(
                values.numpy(), origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=top, aspect="auto"
            )
            points = grid(low, high, ARROWS)
            x, y = points.T.numpy()
            u, v = velocity(points, time).cpu().T.numpy()
            panel.quiver(x, y, u, v, color="white", width=0.005, alpha=0.8)
            _marks(panel, data, time, top)
            panel.tick_params(labelsize=7)
    for panel, time in zip(panels[0], times, strict=True):
        panel.set_title(f"time {time:.2f}", fontsize=9)
    if image is not None:
        bar = picture.colorbar(image, ax=list(panels[:, -1]), shrink=0.8)
        bar.ax.tick_params(labelsize=7)
    return picture


def _marks(axis: Any, data: Snapshots | Measurements | None, time: float, top: float) -> None:
    """The data nearest in time: readings as circles of their own colour, cells as dots."""
    if isinstance(data, Measurements):
        near = (data.times - time).abs() <= (data.times - time).abs().min() + 1e-9
        near = near & torch.isfinite(data.density)
        x, y = data.positions[near].T.numpy()
        looks: dict[str, Any] = {"s": 22, "cmap": "viridis", "vmin": 0, "vmax": top, "linewidths": 0.7}
        axis.scatter(x, y, c=data.density[near].numpy(), edgecolors="white", **looks)
    elif data is not None:
        k = int((data.times - time).abs().argmin())
        if abs(float(data.times[k]) - time) < 0.03 * float(data.times[-1] - data.times[0]):
            x, y = data.population(k)[:300].T.numpy()
            axis.scatter(x, y, s=2, color="#ff7f50", linewidths=0, alpha=0.8)
