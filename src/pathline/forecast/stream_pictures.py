"""Pictures of streams around a failure: the load, the forecasts, and how far each was off."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.data import Series
from pathline.forecast.figures import COLOURS, TRUTH
from pathline.forecast.streaming import rolling_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

BEFORE, SHOWN, SMOOTH, CLOSE = 60, 260, 20, 36


def draw_failure(told: dict[str, Tensor], data: Series, begin: int, usual: Tensor, link: int = 0) -> "Picture":
    """Three panels around step `begin`: one link's load, everybody's forecasts of it right after the failure, and the
    error of all links, rolling over SMOOTH samples.

    told: (time, links) forecasts by name;  usual: (links,) the unit of errors
    """
    from matplotlib.figure import Figure as Picture

    truth = data.values[..., 0]
    time = torch.arange(-BEFORE, SHOWN)
    where = begin + time
    picture = Picture(figsize=(9.0, 7.2), layout="constrained")
    load, near, error = picture.subplots(3, 1, gridspec_kw={"height_ratios": (1, 1.3, 1.5)})
    load.plot(time, truth[where, link], color=TRUTH, lw=1.0)
    load.set_ylabel("utilisation", fontsize=8)
    load.set_title(f"link {data.nodes[link]}: a line fails at 0", fontsize=9, loc="left")
    close = torch.arange(1, CLOSE)
    near.plot(close, truth[begin + close, link], color=TRUTH, lw=1.4, label="measured")
    for (name, forecast), colour in zip(told.items(), COLOURS, strict=False):
        near.plot(close, forecast[begin + close, link], color=colour, lw=1.0, alpha=0.9)
        size = (forecast - truth).abs() / usual
        size[begin] = torch.nan  # the jump
        rolled = rolling_mean(size.nan_to_num(0.0).square().mean(1), SMOOTH).sqrt()
        error.plot(time, rolled[where], color=colour, lw=1.4, label=name)
    span = truth[begin + close, link]
    margin = 0.6 * float(span.max() - span.min())
    near.set_ylim(float(span.min()) - margin, float(span.max()) + margin)
    near.set_title("the hours after it: one step ahead", fontsize=9, loc="left")
    near.set_ylabel("utilisation", fontsize=8)
    error.set_yscale("log")
    error.set_title(f"all links: error over the last {SMOOTH} samples, in usual changes", fontsize=9, loc="left")
    error.set_xlabel("samples of 5 minutes after the failure", fontsize=8)
    error.legend(frameon=False, fontsize=8, ncols=3)
    for axis in (load, near, error):
        axis.axvline(0, color="#999999", lw=0.6, ls=":")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.tick_params(width=0.6, labelsize=8)
    near.set_xlim(0, CLOSE)
    return picture
