"""How sure a forecast is, for methods that give none: bands from the errors that were made before.

fan_q(lead, sensor) = forecast + quantile_q of (truth - forecast) at that lead and sensor, in windows gone by
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure
from pathline.data import Series
from pathline.forecast.base import Errors, Forecaster

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST = 20  # windows gone by, below which quantiles are guesses
BANDS = ((0, 4, "90 %", 0.18), (1, 3, "50 %", 0.32))
COLOUR, TRUTH = "#1f6fb4", "#444444"


def window_errors(method: Forecaster, data: Series) -> Tensor:
    """truth - forecast in every window of `data`: (windows, horizon, nodes, channels), nan at gaps."""
    return torch.cat(
        [
            torch.where(window.future_observed, window.future - forecast.cpu(), torch.nan)
            for window, forecast in method.forecasts(data.with_window(method.history, method.horizon))
        ]
    )


def quantiles(errors: Tensor, levels: tuple[float, ...] = LEVELS) -> Tensor:
    """(windows, horizon, nodes, channels) -> (levels, horizon, nodes, channels).

    A lead and sensor without any observed error takes the quantiles of its lead over all sensors.
    """
    level = torch.tensor(levels, dtype=errors.dtype)
    found = errors.nanquantile(level, dim=0)
    overall = errors.transpose(1, 2).flatten(0, 1).nanquantile(level, dim=0)[:, :, None]  # over windows and sensors
    return torch.where(found.isnan(), overall.nan_to_num(0.0), found)


def fan(method: Forecaster, data: Series, levels: tuple[float, ...] = LEVELS) -> Tensor:
    """What comes after the end of `data`, as quantiles: (levels, horizon, nodes, channels).

    Raises:
        DataError: fewer than 20 windows went before.
    """
    data = data.with_window(method.history, method.horizon)
    if len(data) < FEWEST:
        raise DataError(f"{data.name}: {len(data)} windows are too few for quantiles of errors; bring {FEWEST}")
    return method.forecast(data.last_window()).cpu() + quantiles(window_errors(method, data), levels)


def fans(name: str, method: Forecaster, data: Series, begin: int, end: int, errors_by_lead: Errors) -> Figure | None:
    """Fans between the steps `begin` and `end` of `data` (later, if too little went before), one after the other, at
    some sensors. The bands of each come from windows that were over when it was made. None if there is no such time."""
    from pathline.forecast.figures import clock_of, instructive, label_of, picture_of, tidy

    data = data.with_window(method.history, method.horizon)
    history, horizon, stride = data.history, data.horizon, data.stride
    # window number k is over at step k * stride + history + horizon
    first = max(-(-begin // stride), FEWEST - 1 - (-horizon // stride))
    last = min(len(data), (max(begin, first * stride) + end - begin - history - horizon) // stride + 1)
    chosen = torch.arange(first, max(first, last), -(-horizon // stride))
    if not len(chosen):
        return None
    errors = window_errors(method, data.slice(0, int(chosen[-1]) * stride + history))
    starts = chosen * stride
    forecasts = method.forecast(data.gather(chosen))[..., 0].cpu()
    shown = torch.arange(int(starts[0]), int(starts[-1]) + history + horizon)
    sensors = instructive(data.slice(int(shown[0]), int(shown[-1]) + 1), errors_by_lead)
    picture: Picture = picture_of(1.9 * len(sensors) + 0.5)
    axes = picture.subplots(len(sensors), 1, sharex=True, squeeze=False)[:, 0]
    for axis, sensor in zip(axes, sensors, strict=True):
        truth = torch.where(data.observed[shown, sensor, 0], data.values[shown, sensor, 0], torch.nan)
        axis.plot(clock_of(data, shown), truth.numpy(), color=TRUTH, lw=1.0, label="measured")
        axis.set_title(f"sensor {data.nodes[sensor]}", fontsize=9, loc="left")
        axis.set_ylabel(label_of(data), fontsize=8)
        tidy(axis, data)
    for start, forecast in zip(starts.tolist(), forecasts, strict=True):
        over = max(0, (start - horizon) // stride + 1)  # windows that end where this one's future begins, or before
        bands = quantiles(errors[:over])[..., 0] + forecast
        clock = clock_of(data, start + history + torch.arange(horizon))
        for axis, sensor in zip(axes, sensors, strict=True):
            for low, high, share, depth in BANDS:
                label = f"{share} of past errors" if start == int(starts[0]) else None
                axis.fill_between(
                    clock, bands[low, :, sensor], bands[high, :, sensor], color=COLOUR, alpha=depth, lw=0, label=label
                )
            axis.plot(clock, forecast[:, sensor], color=COLOUR, lw=1.2, label=name if start == int(starts[0]) else None)
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=6, frameon=False, fontsize=8)
    caption = (
        f"Forecasts of {name} with the middle half and nine tenths of the errors it had made before, at the same "
        "sensor and as far ahead. Where truth leaves the bands more often than that, times have changed."
    )
    return Figure("How sure the forecast is", caption, picture)
