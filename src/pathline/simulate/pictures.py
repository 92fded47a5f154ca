"""Pictures of rollouts: paths in a plane, and how the error grows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Rollouts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.simulate.base import Simulator

PANELS = 4  # methods drawn side by side
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")  # Okabe and Ito
TRUTH = "#b5b5b5"


def draw_trajectories(methods: "Mapping[str, Simulator]", data: Rollouts) -> Figure:
    """One panel per method over the true paths of one rollout: the one whose bodies move a median distance."""
    chosen = dict(list(methods.items())[:PANELS])
    begin = data.start or 0
    travelled = (data.positions[:, -1] - data.positions[:, begin]).square().sum((1, 2))
    index = travelled.argsort()[len(travelled) // 2].reshape(1)
    truth = data.positions[index, begin:][0]
    steps = (len(truth) - 1) // data.span
    truth = truth[: steps * data.span + 1]
    state = data.step_between(begin, data.span).gather(index)
    paths = {name: method.rollout(state, steps)[0].cpu() for name, method in chosen.items()}
    picture = _path_panels(truth, paths, data, steps * data.span)
    left_out = f"; {len(methods) - len(chosen)} more methods are not drawn" if len(methods) > len(chosen) else ""
    caption = (
        f"Rollout {int(index)} of {data.name} in the plane of its first two axes, {steps} "
        f"step{'s' if steps > 1 else ''} of {data.interval * data.span:g} time units fed with the method's own "
        f"predictions{left_out}."
    )
    moving = Animation(
        lambda k: _path_panels(truth, paths, data, k * data.span), steps + 1, rate=4.0 if steps < 20 else 10.0
    )
    return Figure("Paths, true and predicted", caption, picture, moving)


def _path_panels(truth: Tensor, paths: Mapping[str, Tensor], data: Rollouts, frame: int) -> "Picture":
    """The paths up to `frame` frames after the given state, all in the window of the whole rollout."""
    from matplotlib.figure import Figure as Picture
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = ConstrainedLayoutEngine(h_pad=0.1)  # for the titles above tall panels
    picture = Picture(figsize=(9, 9 / max(2, len(paths)) + 1.0), layout=room)
    panels = picture.subplots(1, len(paths), sharex=True, sharey=True, squeeze=False)[0]
    for panel, colour, (name, path) in zip(panels, COLOURS, paths.items(), strict=False):
        whole = torch.cat([truth, path])[..., [0, min(1, truth.shape[-1] - 1)]].flatten(0, 1)
        draw_paths(panel, truth[: frame + 1], path[: frame // data.span + 1], colour)
        panel.plot(*whole.T, ",", alpha=0)  # keeps the window as the paths grow
        panel.set_title(name, fontsize=10)
        panel.set_xlabel(_label("x", data.unit))
    panels[0].set_ylabel(_label("y", data.unit))
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return picture


def draw_paths(panel: "Axes", truth: Tensor, predicted: Tensor, colour: str) -> None:
    """truth: (frames, nodes, dims), predicted: (steps + 1, nodes, dims); both start at the same state."""
    plane = [path[..., [0, min(1, path.shape[-1] - 1)]].unbind(-1) for path in (truth, predicted)]
    (x, y), (x_predicted, y_predicted) = plane
    panel.plot(x, y, "-", color=TRUTH, linewidth=2.5)[0].set_label("truth")
    panel.plot(x_predicted, y_predicted, ".-", color=colour, linewidth=1, markersize=5)
    panel.plot(x[0], y[0], "o", color="black", markersize=4, label="start")
    panel.plot(x[-1], y[-1], "o", color=TRUTH, markersize=8, label="true end", zorder=0)
    panel.margins(0.12)
    panel.set_aspect("equal", adjustable="box")
    panel.spines[["top", "right"]].set_visible(False)


def draw_errors(methods: "Mapping[str, Simulator]", data: Rollouts) -> Figure:
    """Root mean squared error after each step of a rollout."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 4), layout="constrained")
    panel = picture.subplots()
    shown = dict(list(methods.items())[: len(COLOURS)])
    for colour, (name, method) in zip(COLOURS, shown.items(), strict=False):
        error = method.rollout_errors(data).sqrt()
        time = torch.arange(1, len(error) + 1) * data.interval * data.span
        panel.plot(time, error, "o-", color=colour, label=name, markersize=4)
    panel.set_yscale("log")
    panel.set_xlabel("time since the given state")
    panel.set_ylabel(_label("error per axis (RMS)", data.unit))
    panel.grid(True, which="major", axis="y", color="#e6e6e6")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    caption = (
        f"Root mean squared error over bodies and axes in {data.name} ({data.positions.shape[0]} rollouts), when each "
        "method is fed with its own predictions."
    )
    return Figure("Error over time", caption, picture)


def _label(what: str, unit: str) -> str:
    return f"{what} [{unit}]" if unit else what
