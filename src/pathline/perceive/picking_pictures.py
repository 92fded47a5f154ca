"""Pictures of arrivals: a record with what was found on it, and how far found arrivals are from true ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data.waveforms import COMPONENTS, PHASES, Waveforms
from pathline.perceive.arrivals import Arrivals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pathline.perceive.picking import Picker

PANELS = 4  # methods drawn
COLOURS = ("#0072b2", "#d55e00")  # of P and S
INK = "#30363d"
LONGEST = 6000  # samples drawn of a record
SPREAD = 0.5  # seconds of residuals shown


def figures(methods: "Mapping[str, Picker]", data: Waveforms) -> list[Figure]:
    """The record whose arrivals tell most; and, where there is truth, the residuals of every method."""
    if not data.has_truth:
        return [draw_record(methods, data)]
    return [draw_record(methods, data), draw_residuals(methods, data)]


def draw_record(methods: "Mapping[str, Picker]", data: Waveforms, which: int | None = None) -> Figure:
    """Three components over each method's curves, true arrivals as lines, found ones as marks."""
    from matplotlib.figure import Figure as Picture

    chosen = dict(list(methods.items())[:PANELS])
    record = _telling_record(data) if which is None else which
    begin, end = _stretch(data, record, next(iter(chosen.values())))
    signal = data.signals[record, :, begin:end]
    time = torch.arange(begin, end) / data.rate
    where, phase, sample = data.pick_table
    own = where == record
    true = [(int(p), float(s) / data.rate) for p, s in zip(phase[own], sample[own], strict=True)]

    rows = 3 + len(chosen)
    picture = Picture(figsize=(10, 1.05 * rows + 1.2), layout="constrained")
    panels = picture.subplots(rows, 1, sharex=True)
    largest = float(torch.nan_to_num(signal).abs().amax()) or 1.0
    for panel, letter, trace in zip(panels, COMPONENTS, signal, strict=False):
        trace = trace - trace[torch.isfinite(trace)].mean() if torch.isfinite(trace).any() else trace
        panel.plot(time, trace / largest, color=INK, lw=0.6)
        panel.set_ylabel(letter, rotation=0, ha="right", va="center")
        panel.set_yticks([])
        _true_lines(panel, true)
    for panel, (name, method) in zip(panels[3:], chosen.items(), strict=True):
        _curves(panel, name, method, signal, time)
        _true_lines(panel, true)
    panels[-1].set_xlabel(f"seconds after the beginning of the record of {data.station_of(record)}")
    panels[-1].set_xlim(float(time[0]), float(time[-1]))
    handles = [
        *(
            panels[3].plot([], [], color=c, lw=1.6, label=f"{p}, found")[0]
            for c, p in zip(COLOURS, PHASES, strict=True)
        ),
        *(
            panels[0].plot([], [], color=c, lw=1.2, ls=":", label=f"{p}, true")[0]
            for c, p in zip(COLOURS, PHASES, strict=True)
            if true
        ),
    ]
    picture.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    left_out = f" {len(methods) - len(chosen)} more methods are not drawn." if len(methods) > len(chosen) else ""
    truth = "dotted lines are the analyst's arrivals, " if true else ""
    caption = (
        f"Components of one record of {data.name} (drawn to one scale), and below, for each method, how much every "
        f"moment looks like the arrival of P and of S, from 0 to 1; {truth}triangles what was found.{left_out}"
    )
    return Figure("Arrivals on a record", caption, picture)


def draw_residuals(methods: "Mapping[str, Picker]", data: Waveforms, seed: int = 0) -> Figure:
    """Found minus true arrival of every method, P and S side by side."""
    from matplotlib.figure import Figure as Picture

    chosen = dict(list(methods.items())[:PANELS])
    picture = Picture(figsize=(10, 1.3 * len(chosen) + 1.0), layout="constrained")
    panels = picture.subplots(len(chosen), 2, sharex=True, sharey="col", squeeze=False)
    edges = torch.linspace(-SPREAD, SPREAD, 41).numpy()
    for row, (name, method) in zip(panels, chosen.items(), strict=True):
        result = method.scores(data, seed)
        for phase, panel in enumerate(row):
            wide, narrow = result[phase, SPREAD], result[phase, 0.1]
            panel.hist(wide.residuals.numpy(), edges, color=COLOURS[phase])
            panel.axvspan(-0.1, 0.1, color=INK, alpha=0.07, lw=0)
            panel.set_title(f"{name}, {PHASES[phase]}: F1 {wide.f1:.2f} ({narrow.f1:.2f} within 0.1 s)", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel("found minus true arrival, seconds")
    caption = (
        f"Found arrivals within {SPREAD} s of a true one, on windows cut at random out of {data.name}; the shaded band "
        "is 0.1 s wide to each side."
    )
    return Figure("Residuals", caption, picture)


def _curves(panel: "Axes", name: str, method: "Picker", signal: Tensor, time: Tensor) -> None:
    with torch.no_grad():
        curves = method.curves(signal[None])[0].cpu()
        found: Arrivals = method.pick(signal[None])
    for phase, colour in enumerate(COLOURS):
        panel.plot(time, curves[phase], color=colour, lw=0.9)
        mine = found.of(phase)
        at = time[mine.sample.round().long().clamp(0, len(time) - 1)]
        if len(at):  # an empty line would claim the corner of the picture
            panel.plot(at, torch.full((len(at),), 1.12), "v", color=colour, ms=6, clip_on=False)
    panel.set_ylim(0, 1.2)
    panel.set_yticks([0, 0.5, 1])
    panel.set_ylabel(name, rotation=0, ha="right", va="center")


def _true_lines(panel: "Axes", true: list[tuple[int, float]]) -> None:
    for phase, second in true:
        panel.axvline(second, color=COLOURS[phase], lw=1.2, ls=":")
    panel.spines[["top", "right"]].set_visible(False)


def _telling_record(data: Waveforms) -> int:
    """A record with three components and the median time from P to S, if there is one; else the first."""
    where, phase, sample = data.pick_table
    first = torch.full((2, len(data.signals)), torch.nan, dtype=torch.float64)
    first[phase, where] = sample
    gap = torch.where(data.vertical_only, torch.nan, first[1] - first[0])
    known = torch.nonzero(torch.isfinite(gap)).flatten()
    if not len(known):
        return 0
    return int(known[gap[known].argsort()[len(known) // 2]])


def _stretch(data: Waveforms, record: int, method: "Picker") -> tuple[int, int]:
    """The samples drawn: all of a short record, else a window that holds its first arrival, true or found."""
    size = int(data.sizes[record])
    if size <= method.window:
        return 0, size
    where, _, sample = data.pick_table
    own = sample[where == record]
    if not len(own):
        own = method.perceive(data.take(torch.tensor([record]))).arrivals.sample.double()
    if not len(own):
        return 0, min(size, LONGEST)
    begin = int(min(max(float(own.min()) - method.window / 3, 0), size - method.window))
    return begin, begin + method.window
