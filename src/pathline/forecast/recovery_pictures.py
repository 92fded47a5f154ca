"""Pictures of recovered signals: the map at one moment against the truth, and nodes over time."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data.graph_signal import GraphSignal
from pathline.forecast.figures import COLOURS, TRUTH

if TYPE_CHECKING:
    from pathline.forecast.recovery import Recoverer

SHOWN = 3  # methods in a picture
LONGEST = 120  # times in a picture of curves


def draw(methods: "dict[str, Recoverer]", data: GraphSignal) -> list[Figure]:
    """All pictures of `methods` on `data`, which must ask for something (else its own test part is taken)."""
    assert data.asked is not None
    data = data if bool(data.asked.any()) else data.split().test
    assert data.asked is not None
    recovered = {name: method.recover(data) for name, method in methods.items()}
    error = {name: (found - data.values)[data.asked].square().mean().sqrt() for name, found in recovered.items()}
    ranked = sorted(recovered, key=lambda name: error[name].item())[:SHOWN]
    shown = {f"{name} (RMSE {error[name]:.3g})": recovered[name] for name in ranked}
    figures = [draw_curves(shown, data)]
    return figures if data.positions is None else [draw_maps(shown, data), *figures]


def draw_maps(recovered: dict[str, Tensor], data: GraphSignal) -> Figure:
    """The moment at which the nodes that are asked for differ most: truth, what was seen, and what was made of it."""
    from matplotlib.figure import Figure as Picture

    assert data.asked is not None and data.positions is not None
    count = data.asked.sum(0).clamp(min=1)
    mean = (data.values * data.asked).sum(0) / count
    spread = ((data.values - mean).square() * data.asked).sum(0) / count
    step = int(torch.where(count >= 0.2 * count.max(), spread, -1.0).argmax())
    truth, known = data.values[:, step], data.known[:, step]
    low, high = (float(torch.quantile(truth[known], q)) for q in (0.02, 0.98))
    x, y = data.positions.T.numpy()
    panels: dict[str, tuple[Tensor, Tensor]] = {
        "truth": (truth, known),
        "what was seen": (truth, data.seen[:, step]),
        **{name: (found[:, step], torch.ones_like(known)) for name, found in recovered.items()},
    }
    picture = Picture(figsize=(2.9 * len(panels) + 0.8, 3.2), layout="constrained")
    axes = picture.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, (values, there)) in zip(axes, panels.items(), strict=True):
        axis.scatter(x, y, s=14, facecolors="none", edgecolors="#cccccc", linewidths=0.5)
        dots = axis.scatter(
            x[there.numpy()], y[there.numpy()], c=values[there].numpy(), s=26, cmap="RdYlBu_r", vmin=low, vmax=high
        )
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.margins(0.05)
        for side in axis.spines.values():
            side.set_linewidth(0.4)
    bar = picture.colorbar(dots, ax=list(axes), shrink=0.85, pad=0.01)
    bar.set_label(data.unit or "value", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    caption = (
        f"Time {step} of {data.name}, the one at which the nodes that are asked for differ most. Empty rings were not "
        "seen; the other panels fill them in."
    )
    return Figure("Recovered maps", caption, picture)


def draw_curves(recovered: dict[str, Tensor], data: GraphSignal) -> Figure:
    """Nodes over time: those whose asked entries have a variance that is middling, large, and largest."""
    from matplotlib.figure import Figure as Picture

    assert data.asked is not None
    count = data.asked.sum(1)
    mean = (data.values * data.asked).sum(1) / count.clamp(min=1)
    spread = ((data.values - mean[:, None]).square() * data.asked).sum(1) / count.clamp(min=1)
    order = spread.argsort()
    chosen = list(dict.fromkeys(order[[len(order) // 2, len(order) * 9 // 10, -1]].tolist()))
    times = torch.arange(max(0, data.steps - LONGEST), data.steps)
    picture = Picture(figsize=(9.0, 1.8 * len(chosen) + 0.5), layout="constrained")
    axes = picture.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axis, node in zip(axes, chosen, strict=True):
        truth = torch.where(data.known[node], data.values[node], torch.nan)[times]
        seen = data.seen[node, times]
        axis.plot(times, truth, color=TRUTH, lw=1.0, label="truth")
        axis.plot(times[seen], truth[seen], "o", color=TRUTH, ms=3, label="seen")
        for (name, found), colour in zip(recovered.items(), COLOURS, strict=False):
            axis.plot(times, found[node, times], color=colour, lw=1.2, alpha=0.9, label=name)
        axis.set_title(f"node {data.nodes[node]}", fontsize=9, loc="left")
        tidy(axis)
    axes[-1].set_xlabel("time", fontsize=8)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=5, frameon=False, fontsize=8)
    caption = (
        "Dots were seen; between them the methods had to say what came. A middling node, a lively one, the liveliest."
    )
    return Figure("Recovered courses", caption, picture)


def tidy(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(width=0.6, labelsize=8)
