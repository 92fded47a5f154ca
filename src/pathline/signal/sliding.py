"""Long records: their running normalisation, and a function of short windows slid over them."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

DEAD = 1e-6  # a deviation below this share of the largest value is rounding, not signal


def running_normalise(signals: Tensor, window: int) -> Tensor:
    """Zero mean and unit deviation in a window that runs along: (..., samples) to the same shape.

    Mean and deviation are taken over `window` samples around every half window, only of what lies inside the record
    and is a number, and interpolated linearly between; a record of one window or less is normalised as a whole. Gaps
    (NaN) and dead stretches become 0, and so does a component without any signal.
    """
    samples = signals.shape[-1]
    known = torch.isfinite(signals)
    whole = bool(known.all())
    raw = signals if whole else torch.where(known, signals, 0.0)
    count = known.sum(-1, keepdim=True).clamp(min=1)
    centre = (raw.sum(-1, keepdim=True, dtype=torch.float64) / count).to(raw.dtype)
    values = raw - centre if whole else (raw - centre) * known
    least = DEAD * torch.linalg.vector_norm(raw, torch.inf, -1, keepdim=True)
    if samples <= window:
        mean = values.sum(-1, keepdim=True, dtype=torch.float64) / count
        square = values.square().sum(-1, keepdim=True, dtype=torch.float64) / count
    else:
        mean, square, lengths, share = _along(values, known, window)
    deviation = (square - mean.square()).clamp(min=0).sqrt().to(raw.dtype)
    mean = mean.to(raw.dtype)
    if samples > window:
        mean, deviation = (_between(x, lengths, share) for x in (mean, deviation))
    alive = deviation > least
    scale = torch.where(alive, 1 / torch.where(alive, deviation, 1.0), 0.0)
    normal = (values - mean).mul_(scale)
    return normal if whole else normal.masked_fill_(~known, 0.0)


def _along(values: Tensor, known: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and mean square (..., nodes) float64 in the windows around the nodes, which stand every half window and
    where the last window fits; samples from node to node, beginning and end included; and each sample's share of the
    way to the next node."""
    samples, half = values.shape[-1], window // 2
    blocks = samples // half

    def totals(x: Tensor) -> Tensor:
        parts = x[..., : blocks * half].unflatten(-1, (blocks, half)).sum(-1, dtype=torch.float64)
        last = x[..., samples - 2 * half :].sum(-1, keepdim=True, dtype=torch.float64)
        return torch.cat([parts[..., 1:] + parts[..., :-1], last], dim=-1)

    count = totals(known)
    place = torch.arange(blocks, device=values.device)
    seen = torch.where(count > 0, place, -1).cummax(-1).values
    seen = torch.where(
        seen < 0, (count > 0).long().argmax(-1, keepdim=True), seen
    )  # the nearest node that saw anything
    mean, square = ((totals(x) / count.clamp(min=1)).gather(-1, seen) for x in (values, values.square()))
    rest = samples - half - (blocks - 1) * half  # from the last regular node to the last one
    lengths = torch.tensor([half, *[half] * (blocks - 2), rest, half], device=values.device)
    ramps = [torch.zeros(half), *[torch.arange(half) / half] * (blocks - 2), torch.arange(rest) / max(rest, 1)]
    share = torch.cat([*ramps, torch.zeros(half)]).to(values)
    return mean, square, lengths, share


def _between(nodes: Tensor, lengths: Tensor, share: Tensor) -> Tensor:
    """Values at nodes as values at samples, straight from node to node and level outside."""
    left = torch.cat([nodes[..., :1], nodes], dim=-1)
    rise = torch.nn.functional.pad(nodes.diff(dim=-1), (1, 1))
    at = torch.repeat_interleave(torch.arange(len(lengths), device=nodes.device), lengths)
    return left[..., at] + share * rise[..., at]


def window_starts(samples: int, window: int, overlap: float) -> Tensor:
    """Where windows begin that cover `samples`, each sharing `overlap` of itself with the next; the last one ends with
    the record."""
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; choose from 0 up to, not including, 1")
    step = max(1, round(window * (1 - overlap)))
    last = max(samples - window, 0)
    starts = torch.arange(0, last + 1, step)
    return starts if int(starts[-1]) == last else torch.cat([starts, torch.tensor([last])])


def slide(
    function: Callable[[Tensor], Tensor],
    signals: Tensor,
    window: int,
    overlap: float = 0.5,
    combine: Literal["max", "mean"] = "max",
    size: int = 64,
) -> Tensor:
    """`function` of windows (batch, components, window) over whole records: (records, components, samples) to (records,
    outputs, samples), where windows overlap the largest or the mean value of each output.

    Records shorter than a window are filled up with zeros; `size` windows go through `function` together.
    """
    if combine not in ("max", "mean"):
        raise ValueError(f"combine is '{combine}'; choose max or mean")
    records, components, samples = signals.shape
    if samples < window:
        signals = torch.nn.functional.pad(signals, (0, window - samples))
    starts = window_starts(samples, window, overlap).to(signals.device)
    # (records, components, windows, window), without a copy
    cut = signals.unfold(-1, window, 1)[:, :, starts]
    windows = cut.transpose(1, 2).reshape(-1, components, window)
    outputs = torch.cat([function(part) for part in windows.split(size)])
    outputs = outputs.view(records, len(starts), -1, window)
    if len(starts) == 1:
        return outputs[:, 0, :, :samples]
    total = torch.full((records, outputs.shape[2], signals.shape[-1]), -torch.inf if combine == "max" else 0.0)
    total = total.to(outputs)
    for k, start in enumerate(starts.tolist()):
        place = total[..., start : start + window]
        if combine == "max":
            torch.maximum(place, outputs[:, k], out=place)
        else:
            place += outputs[:, k]
    if combine == "mean":
        ones = torch.zeros(signals.shape[-1], device=outputs.device)
        for start in starts.tolist():
            ones[start : start + window] += 1
        total = total / ones
    return total
