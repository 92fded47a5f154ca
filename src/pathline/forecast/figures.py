"""Pictures of forecasters on the same test data: curves, error by lead time, sensors against time, and a map."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data import Series
from pathline.forecast.base import Errors, Forecaster, lead_time
from pathline.forecast.fans import fans
from pathline.forecast.network_map import network_map
from pathline.forecast.scaling import carry_forward

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

TRUTH = "#444444"
COLOURS = ("#1f6fb4", "#d1622b", "#3d8f5f", "#8a5fa8", "#b8902f", "#c04c6d", "#4aa3b5")
CURVES = 4  # methods drawn as curves: more would hide each other
LONGEST = 576  # steps in a picture over time
WIDTH = 9.0  # inches


def draw(methods: dict[str, Forecaster], data: Series) -> list[Figure]:
    """All pictures of `methods` on `data`; channels after the first are left to the table of metrics."""
    first = next(iter(methods.values()))
    data = data.with_window(first.history, first.horizon)
    errors = {name: method.errors(data) for name, method in methods.items()}
    ranked = sorted(methods, key=lambda name: errors[name].mae().item())
    best = ranked[0]
    begin, end = eventful(data)
    part = data.slice(begin, end)
    found = [
        _curves({name: methods[name] for name in ranked[:CURVES]}, part, errors[best]),
        fans(best, methods[best], data, begin, end, errors[best]),
        _by_lead({name: errors[name] for name in ranked[: len(COLOURS)]}, data),
        _heat(best, methods[best], part),
        network_map(best, methods[best], part),
        None if data.positions is None else _map(best, errors[best], data),
    ]
    return [figure for figure in found if figure is not None]


def eventful(data: Series) -> tuple[int, int]:
    """Begin and end of the day (or the longest stretch that a picture holds) in which the sensors change most."""
    length = min(data.steps, max(2 * (data.history + data.horizon), min(data.steps_per_day, LONGEST)))
    both = data.observed[1:] & data.observed[:-1]
    change = torch.where(both, (data.values[1:] - data.values[:-1]).abs(), 0.0)[..., 0].double()
    change = change.sum(1) / both[..., 0].sum(1).clamp(min=1)
    total = torch.cat([change.new_zeros(1), change.cumsum(0)])
    begin = int((total[length - 1 :] - total[: len(total) - length + 1]).argmax()) // data.stride * data.stride
    return begin, begin + length


def instructive(data: Series, errors: Errors) -> list[int]:
    """Three sensors: of middling difficulty, hard (nine in ten are easier), and the one that changes most."""
    observed = data.observed[..., 0]
    mean = data.values[..., 0].sum(0) / observed.sum(0).clamp(min=1)
    spread = torch.where(observed, (data.values[..., 0] - mean).square(), 0.0).sum(0) / observed.sum(0).clamp(min=1)
    share = observed.float().mean(0)
    watched = share >= min(0.5, float(share.max()))  # a curve of gaps teaches nothing
    order = [sensor for sensor in errors.mae((0, 2)).nan_to_num(0.0).argsort().tolist() if watched[sensor]]
    chosen = [order[len(order) // 2], order[len(order) * 9 // 10], int(torch.where(watched, spread, -1.0).argmax())]
    return list(dict.fromkeys(chosen))


def clock_of(data: Series, steps: Tensor | np.ndarray) -> np.ndarray:
    """Local clock of `steps` as numpy times."""
    seconds = np.asarray(steps, dtype="int64") * data.interval + data.start
    return seconds.astype("datetime64[s]")


def picture_of(height: float, width: float = WIDTH) -> "Picture":
    from matplotlib.figure import Figure as Picture

    return Picture(figsize=(width, height), layout="constrained")


def tidy(axis: Any, data: Series | None = None) -> None:
    """Thin spines; the clock on the horizontal axis if `data` is given."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_linewidth(0.6)
    axis.tick_params(width=0.6, labelsize=8)
    if data is not None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=9)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def label_of(data: Series) -> str:
    return f"{data.channels[0]} ({data.unit})" if data.unit else data.channels[0]


def _curves(methods: dict[str, Forecaster], part: Series, errors: Errors) -> Figure:
    """Forecasts made one after the other, each from where the last one ended."""
    history, horizon = part.history, part.horizon
    chosen = torch.arange(0, len(part), -(-horizon // part.stride))
    starts, windows = chosen * part.stride, part.gather(chosen)
    forecasts = {name: method.forecast(windows)[..., 0].cpu() for name, method in methods.items()}
    sensors = instructive(part, errors)
    picture = picture_of(1.9 * len(sensors) + 0.5)
    axes = picture.subplots(len(sensors), 1, sharex=True, squeeze=False)[:, 0]
    # one nan between forecasts breaks the line where a new one begins
    ahead = starts[:, None] + history + torch.arange(horizon + 1)
    clock = clock_of(part, ahead.flatten())
    for axis, sensor in zip(axes, sensors, strict=True):
        truth = torch.where(part.observed[:, sensor, 0], part.values[:, sensor, 0], torch.nan)
        axis.plot(clock_of(part, torch.arange(part.steps)), truth.numpy(), color=TRUTH, lw=1.0, label="measured")
        for (name, forecast), colour in zip(forecasts.items(), COLOURS, strict=False):
            line = torch.cat([forecast[..., sensor], torch.full((len(starts), 1), torch.nan)], dim=1)
            axis.plot(clock, line.flatten().numpy(), color=colour, lw=1.3, alpha=0.9, label=name)
        axis.set_title(f"sensor {part.nodes[sensor]}", fontsize=9, loc="left")
        axis.set_ylabel(label_of(part), fontsize=8)
        tidy(axis, part)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=6, frameon=False, fontsize=8)
    span = lead_time(horizon, horizon, part.interval)
    caption = (
        f"A new forecast of {span} starts every {span} and sees only what lies to its left. The day is the one in "
        "which the sensors change most; the sensors are one of middling difficulty, a hard one, and the liveliest."
    )
    return Figure("Forecasts and what came", caption, picture)


def _by_lead(errors: dict[str, Errors], data: Series) -> Figure:
    """MAE, RMSE and, where values are not all next to nothing, MAPE."""
    measures = [
        ("mean absolute error", label_of(data), Errors.mae),
        ("root mean squared error", label_of(data), Errors.rmse),
        ("mean absolute error", "%", Errors.mape),
    ]
    if not all(error.large[..., 0].any() for error in errors.values()):
        measures = measures[:2]
    picture = picture_of(3.4, width=3.6 * len(measures))
    axes = picture.subplots(1, len(measures))
    unit = lead_time(1, data.horizon, data.interval).split()[1]
    ahead = [float(lead_time(step, data.horizon, data.interval).split()[0]) for step in range(1, data.horizon + 1)]
    for axis, (what, of, measure) in zip(axes, measures, strict=True):
        for (name, error), colour in zip(errors.items(), COLOURS, strict=False):
            curve = measure(error, (1,))[:, 0]
            axis.plot(ahead, curve.numpy(), color=colour, lw=1.6, marker="o", ms=3, label=name)
        axis.set_xlabel(f"ahead ({unit})", fontsize=9)
        axis.set_title(f"{what}, {of}", fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", lw=0.3, alpha=0.6)
        tidy(axis)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    caption = (
        "Over all sensors and all windows of the test part; lower is better. Percentages leave out values closer to 0 "
        "than a tenth of a standard deviation."
    )
    return Figure("Error by lead time", caption, picture)


def _heat(name: str, method: Forecaster, part: Series) -> Figure:
    """Sensors against time: what was measured, and how far the longest forecasts were off."""
    from matplotlib.dates import date2num

    forecasts = torch.cat([prediction[:, -1, :, 0].cpu() for _, prediction in method.forecasts(part)])
    first = part.history + part.horizon - 1
    seen = slice(first, None, part.stride)
    truth, observed = part.values[seen, :, 0], part.observed[seen, :, 0]
    error = torch.where(observed, (forecasts - truth).abs(), torch.nan)
    filled = carry_forward(part.values[None], part.observed[None], method.scaling.mean.cpu())[0, seen, :, 0]
    order = filled.mean(0).argsort()
    picture = picture_of(5.2)
    panels = (
        ("measured", torch.where(observed, truth, torch.nan), "viridis", None),
        (f"|error| of {name}, {lead_time(part.horizon, part.horizon, part.interval)} ahead", error, "magma_r", 0.0),
    )
    ends = clock_of(part, np.array([first, part.steps]))
    for axis, (title, values, colours, low) in zip(picture.subplots(2, 1, sharex=True), panels, strict=True):
        shown = values[:, order].T.numpy()
        low = np.nanquantile(shown, 0.01) if low is None else low
        image = axis.imshow(
            shown, aspect="auto", cmap=colours, vmin=low, vmax=np.nanquantile(shown, 0.99), interpolation="nearest",
            extent=(*date2num(ends), len(order), 0),
        )  # fmt: skip
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_ylabel("sensors, low to high mean", fontsize=8)
        axis.set_yticks([])
        axis.xaxis_date()
        tidy(axis, part)
        bar = picture.colorbar(image, ax=axis, pad=0.01)
        bar.set_label(label_of(part), fontsize=8)
        bar.ax.tick_params(labelsize=8, width=0.6)
        bar.outline.set_linewidth(0.4)
    caption = "The day in which the sensors change most. White: nothing was measured. The method with the least MAE."
    return Figure("All sensors over a day", caption, picture)


def _map(name: str, errors: Errors, data: Series) -> Figure:
    assert data.positions is not None
    mae = errors.mae((0, 2))
    known = mae.isfinite()
    x, y = data.positions[known].T.numpy()
    picture = picture_of(5.0, width=6.0)
    axis = picture.subplots()
    if data.graph is not None:
        from matplotlib.collections import LineCollection

        sender, receiver = (data.graph.triu(1) + data.graph.tril(-1).T).nonzero().T
        ends = data.positions[torch.stack([sender, receiver], dim=1)]
        axis.add_collection(LineCollection(list(ends.numpy()), colors="#bbbbbb", linewidths=0.4, zorder=0))
    size = max(8.0, min(60.0, 6000 / math.sqrt(len(x)) / 10))
    dots = axis.scatter(
        x, y, c=mae[known].numpy(), s=size, cmap="magma_r", vmin=0, edgecolors="#444444", linewidths=0.4
    )
    axis.set_aspect("equal")
    axis.set_axis_off()
    bar = picture.colorbar(dots, ax=axis, pad=0.01, shrink=0.8)
    bar.set_label(f"mean absolute error of {label_of(data)}", fontsize=8)
    bar.ax.tick_params(labelsize=8, width=0.6)
    bar.outline.set_linewidth(0.4)
    return Figure(
        "Where it is hard", f"Error of {name} at each sensor, over the whole horizon; lines: the graph.", picture
    )
