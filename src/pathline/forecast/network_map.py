"""A network over time: every sensor in its place, coloured by what was measured and by what had been forecast."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Series
from pathline.forecast.base import Forecaster, lead_time
from pathline.graph.adjacency import laplacian

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MOMENTS, FRAMES = 5, 48
ROWS = ("measured", "forecast", "difference")


def places_of(data: Series) -> Tensor | None:
    """(nodes, 2): the data's own positions, or two slow waves of its graph, by which neighbours lie together; or None
    where there is neither."""
    if data.positions is not None or data.graph is None or len(data.nodes) < 3:
        return data.positions
    graph = torch.maximum(data.graph, data.graph.T).double()
    return torch.linalg.eigh(laplacian(graph))[1][:, 1:3].float()


def network_map(name: str, method: Forecaster, part: Series) -> Figure | None:
    """Moments of `part`, side by side and as a film; None for sensors that have neither places nor a graph."""
    places = places_of(part)
    if places is None or not bool(places.isfinite().all(1).any()):
        return None
    forecasts = torch.cat([forecast[:, -1, :, 0].cpu() for _, forecast in method.forecasts(part)])
    steps = part.history + part.horizon - 1 + part.stride * torch.arange(len(forecasts))
    truth = torch.where(part.observed[steps, :, 0], part.values[steps, :, 0], torch.nan)
    layers = torch.stack([truth, forecasts, forecasts - truth])
    known = truth[truth.isfinite()]
    low, high = (float(known.quantile(share)) if len(known) else 0.0 for share in (0.02, 0.98))
    gap = layers[2][layers[2].isfinite()].abs()
    limit = max(float(gap.quantile(0.98)) if len(gap) else 1.0, 1e-6)
    scales = ((low, high, "viridis"), (low, high, "viridis"), (-limit, limit, "RdBu_r"))
    lead = lead_time(part.horizon, part.horizon, part.interval)

    def draw(moments: list[int]) -> "Picture":
        from pathline.forecast.figures import clock_of, label_of, picture_of

        picture = picture_of(1.7 * len(ROWS) + 0.4, width=1.8 * len(moments) + 1.2)
        axes = picture.subplots(len(ROWS), len(moments), squeeze=False)
        for row, (line, (least, most, colours)) in enumerate(zip(axes, scales, strict=True)):
            for axis, moment in zip(line, moments, strict=True):
                dots = _dots(axis, places, layers[row, moment], part, least, most, colours)
                if not row:
                    when = clock_of(part, steps[moment : moment + 1])[0]
                    axis.set_title(str(np.datetime_as_string(when, unit="m")).replace("T", " "), fontsize=7)
            line[0].set_ylabel(ROWS[row], fontsize=8)
            bar = picture.colorbar(dots, ax=line, pad=0.01, shrink=0.9)
            bar.set_label(label_of(part), fontsize=7)
            bar.ax.tick_params(labelsize=7, width=0.6)
            bar.outline.set_linewidth(0.4)
        return picture

    chosen = torch.linspace(0, len(steps) - 1, min(MOMENTS, len(steps))).long().unique().tolist()
    film = torch.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).long().unique().tolist()
    caption = (
        f"The readings of all sensors, what {name} had said of them {lead} before, and the difference; the place is "
        + ("theirs." if part.positions is not None else "made from the graph: neighbours lie together.")
    )
    animation = Animation(lambda frame: draw([film[frame]]), len(film), rate=6.0) if len(film) > 1 else None
    return Figure("The network over time", caption, draw(chosen), animation)


def _dots(axis: Any, places: Tensor, values: Tensor, part: Series, least: float, most: float, colours: str) -> Any:
    shown = places.isfinite().all(1)
    x, y = places[shown].T.numpy()
    if part.graph is not None and len(part.nodes) <= 400:
        from matplotlib.collections import LineCollection

        sender, receiver = (part.graph.triu(1) + part.graph.tril(-1).T).nonzero().T
        near = shown[sender] & shown[receiver]
        ends = places[torch.stack([sender[near], receiver[near]], dim=1)]
        axis.add_collection(LineCollection(list(ends.numpy()), colors="#cccccc", linewidths=0.3, zorder=0))
    size = max(3.0, min(40.0, 900 / len(x)))
    axis.set(xticks=[], yticks=[], aspect="equal" if part.positions is not None else "auto")
    axis.spines[:].set_visible(False)
    return axis.scatter(
        x, y, c=values[shown].numpy(), s=size, cmap=colours, vmin=least, vmax=most, edgecolors="#444444", linewidths=0.2
    )
