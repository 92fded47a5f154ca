"""Pictures of joint futures: what was seen in black, what came in green, answers in colours, one colour per agent."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.data.tracks import Encounters
from pathline.track.agents import known_futures
from pathline.track.figures import COLOURS, PAST, TRUTH

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

MARGIN = 0.6  # metres around what is shown


def show_answers(
    figure: "FigureBase", window: Encounters, answers: dict[str, Tensor], target_only: bool = False
) -> None:
    """A row per window, a column per method; answers: (windows, k, agents, horizon, dims) each."""
    whose = "answers for the target" if target_only else "answers, a colour for each agent"
    figure.suptitle(f"black: seen (bold: the target); green: what came; coloured: {whose}", fontsize=8)
    axes: Any = figure.subplots(len(window), len(answers), squeeze=False)
    for number, row in enumerate(axes):
        for axis, (name, paths) in zip(row, answers.items(), strict=True):
            agents = [0] if target_only else known_futures(window)[number].nonzero().flatten().tolist()
            for agent in agents:
                for path in paths[number, :, agent]:
                    whole = _joined(window.past[number, agent, -1:], path)
                    axis.plot(*whole.T.numpy(), color=COLOURS[agent % len(COLOURS)], linewidth=1.1, alpha=0.75)
                    axis.plot(*path[-1, :, None].numpy(), "o", color=COLOURS[agent % len(COLOURS)], markersize=2.5)
            _context(axis, window, number)
            _frame(axis, window, number, paths[number][:, agents])
            if number == 0:
                axis.set_title(name, fontsize=9)


def show_steering(figure: "FigureBase", futures: dict[str, tuple[Tensor, Encounters]], shown: int = 1) -> None:
    """The same future as it was drawn, steered and moved afterwards; dots every other step, to compare times."""
    figure.suptitle("one drawn future in which agents come too near; a dot every other step", fontsize=8)
    axes: Any = figure.subplots(shown, len(futures), squeeze=False)
    for number, row in enumerate(axes):
        for axis, (name, (paths, window)) in zip(row, futures.items(), strict=True):
            for agent in known_futures(window)[number].nonzero().flatten().tolist():
                path = paths[number, agent]
                axis.plot(*path.T.numpy(), "-o", markevery=2, color=COLOURS[agent], linewidth=1.1, markersize=3)
            _context(axis, window, number, truth=False)
            _frame(axis, window, number, paths[number][None])
            if number == 0:
                axis.set_title(name, fontsize=9)


def _context(axis: Any, window: Encounters, number: int, truth: bool = True) -> None:
    for agent, seen in enumerate(window.past_observed[number]):
        past = window.past[number, agent][seen]
        axis.plot(*past.T.numpy()[:2], color=PAST, linewidth=1.6 if agent == 0 else 0.8)
        if truth:
            future = window.future[number, agent][window.future_observed[number, agent]]
            axis.plot(*future.T.numpy()[:2], color=TRUTH, linewidth=1.6, linestyle=(0, (2, 1)))


def _frame(axis: Any, window: Encounters, number: int, paths: Tensor) -> None:
    """The target's past, its future and all answers fit in."""
    points = torch.cat([window.past[number, 0], window.future[number, 0], paths.flatten(0, -2)])[:, :2]
    low, high = points.amin(0), points.amax(0)
    half = float((high - low).max()) / 2 + MARGIN
    (x, y) = ((low + high) / 2).tolist()
    axis.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[], aspect="equal")


def _joined(start: Tensor, path: Tensor) -> Tensor:
    return torch.cat([start, path])[:, :2]
