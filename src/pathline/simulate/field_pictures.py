"""Pictures of fields: what is given, the truth, what methods say and how far off that is; and errors of rollouts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data import Fields

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.simulate.fields import FieldSimulator

PANELS, CHANNELS = 3, 3  # methods and channels drawn at most
STEPS = 40  # frames of an animation at most
SIGNED, UNSIGNED, WRONG = "RdBu_r", "viridis", "magma"  # colour maps
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito


def draw_fields(methods: "Mapping[str, FieldSimulator]", data: Fields) -> Figure:
    """The item on which the first method's error is the median: a row of truth, one of predictions and one of errors
    for each method, a column for each field; errors share the colours of all methods."""
    chosen = dict(list(methods.items())[:PANELS])
    found = {name: method.filled(data).values[:, -1] for name, method in chosen.items()}
    truth = data.values[:, -1]
    item = int((next(iter(found.values())) - truth).square().mean((1, 2, 3)).argsort()[len(truth) // 2])
    picture = panels(
        data,
        truth[item],
        {name: values[item] for name, values in found.items()},
        _inside(data, item),
        _given(data, item),
    )
    caption = (
        f"Item {item} of the test part, the one with the median error of {next(iter(chosen))}: what is given, the true "
        "fields, and under them what each method says and the size of its error, in the same colours for all."
    )
    return Figure("Fields that nobody has seen", caption, picture)


def panels(
    data: Fields, truth: Tensor, found: dict[str, Tensor], inside: Tensor, given: Tensor | None = None
) -> "Picture":
    """truth and each of found: (channels, height, width);  inside: (height, width) bool;  given: (height, width)."""
    from matplotlib.figure import Figure as Picture

    channels = min(CHANNELS, len(truth))
    height, width = data.grid
    first = [] if given is None else ["given"]
    rows = [*first, "truth", *(f"{name}{what}" for name in found for what in ("", ", error"))]
    across = 3.1 if width >= height else 2.3
    picture = Picture(
        figsize=(across * channels + 1.2, max(0.9, across * height / width) * len(rows) + 0.5), layout="constrained"
    )
    axes = picture.subplots(len(rows), channels, squeeze=False)
    if given is not None:
        _show(axes[0, 0], given, None, (float(given.min()), float(given.max())), "cividis")
        axes[0, 0].contour(inside.float().numpy(), [0.5], colors="white", linewidths=1)
        axes[0, 0].set_title(data.given[0], fontsize=9)
        for axis in axes[0, 1:]:
            axis.axis("off")
    for channel in range(channels):
        values = truth[channel][inside]
        low, high = float(values.min()), float(values.max())
        signed = low < 0 < high
        limits = (-max(-low, high), max(-low, high)) if signed else (low, high)
        worst = max(
            float((fields[channel] - truth[channel]).abs()[inside].quantile(0.995)) for fields in found.values()
        )
        row = len(first)
        colours = SIGNED if signed else UNSIGNED
        shown = [(truth[channel], limits, colours)]
        for fields in found.values():
            shown += [(fields[channel], limits, colours), ((fields[channel] - truth[channel]).abs(), (0, worst), WRONG)]
        for offset, (image, bounds, colour) in enumerate(shown):
            drawn = _show(axes[row + offset, channel], image, inside, bounds, colour)
            if offset in (0, len(shown) - 1):
                picture.colorbar(drawn, ax=axes[row + offset, channel], fraction=0.03, pad=0.02).ax.tick_params(
                    labelsize=7
                )
        axes[row, channel].set_title(data.channels[channel], fontsize=10)
    for axis, label in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(label, fontsize=8)
    return picture


def draw_rollouts(methods: "Mapping[str, FieldSimulator]", data: Fields) -> list[Figure]:
    """The error along rollouts through all of the data, and the first method's rollout of the first item beside the
    truth, which moves."""
    from matplotlib.figure import Figure as Picture

    from pathline.simulate.fields import variance

    found = {name: method.filled(data) for name, method in methods.items()}
    any_found = next(iter(found.values()))
    steps = any_found.values.shape[1]
    truth = data.values[:, :: data.span][:, :steps]
    assert data.inside is not None
    scale = variance(data) * data.inside.sum()
    picture = Picture(figsize=(6.5, 3.6), layout="constrained")
    axes = picture.subplots()
    for (name, fields), colour in zip(found.items(), COLOURS * len(found), strict=False):
        error = ((fields.values - truth).double().square().sum((0, 3, 4)) / scale).mean(-1)
        axes.semilogy(any_found.interval * torch.arange(1, steps), error[1:], label=name, color=colour, lw=1.6)
    axes.set_xlabel(f"time since the start ({data.unit})" if data.unit else "time since the start")
    axes.set_ylabel("squared error / variance")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    grows = Figure(
        "How the error grows",
        "Mean squared error over the cells inside and all items, in units of each field's variance, along rollouts "
        "from the first frame that are fed with their own predictions.",
        picture,
    )
    name = next(iter(found))
    last = truth[0, -1], found[name].values[0, -1]

    def draw(k: int) -> "Picture":
        frame = round(k * (steps - 1) / max(1, min(STEPS, steps) - 1))
        shown = panels(data, truth[0, frame], {name: found[name].values[0, frame]}, _inside(data, 0))
        shown.suptitle(f"frame {frame}", fontsize=9)
        return shown

    moving = Figure(
        "A rollout beside the truth",
        f"The first item: the true fields and those that {name} predicts from the first frame alone.",
        panels(data, last[0], {name: last[1]}, _inside(data, 0)),
        Animation(draw, min(STEPS, steps), rate=8.0),
    )
    return [grows, moving]


def _inside(data: Fields, item: int) -> Tensor:
    assert data.inside is not None
    return data.inside[item]


def _given(data: Fields, item: int) -> Tensor | None:
    assert data.inputs is not None
    return data.inputs[item, 0] if data.inputs.shape[1] else None


def _show(axes: "Axes", image: Tensor, inside: Tensor | None, limits: tuple[float, float], colours: str) -> Any:
    """One field, grey where it does not live."""
    from matplotlib import colormaps

    shown = image.float().numpy() if inside is None else torch.where(inside, image, torch.nan).float().numpy()
    drawn = axes.imshow(
        shown, origin="lower", vmin=limits[0], vmax=limits[1], cmap=colormaps[colours].with_extremes(bad="#9a9a9a")
    )
    axes.set_xticks([])
    axes.set_yticks([])
    return drawn
