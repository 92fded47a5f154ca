"""A run or a leaderboard as one HTML file that needs nothing else: numbers, pictures, and how to make them again."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.core import store
from pathline.core.method import Figure, Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from pathline.core.compare import Leaderboard

DOTS_PER_INCH = 130


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and the spread over seeds in small print."""

    text: str
    spread: str = ""


def number(value: float | None, digits: int = 4) -> str:
    """A number for people: `digits` significant ones, no exponent where avoidable."""
    if value is None:
        return "–"
    if value != value:
        return "nan"
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits + 1) else f"{value:,.0f}"


def board_table(board: "Leaderboard") -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Heads and rows of a leaderboard; a row comes with its kind: "best", "baseline" or ""."""
    from pathline.core import catalog

    over = f" over {catalog.entry(board.naive).key}" if board.naive else ""
    heads = ["method", *board.metrics, f"skill{over}", "seconds", "parameters"]
    rows = []
    for place, arm in enumerate(board.arms):
        kind = "best" if place == 0 else "baseline" if arm.baseline else ""
        cells = [Cell(arm.key)]
        several = len(board.seeds) > 1
        for metric in board.metrics:
            spread = number(board.spread(arm, metric), 2) if arm.metrics and several else ""
            cells.append(Cell(number(board.mean(arm, metric)), spread) if arm.metrics else Cell("failed"))
        skill = board.skill(arm)
        cells.append(Cell("–" if skill is None else f"{100 * skill:.1f} %"))
        cells.append(Cell(f"{sum(arm.seconds) / len(arm.seconds):.1f}" if arm.seconds else "–"))
        cells.append(Cell(f"{arm.parameters:,}"))
        rows.append((kind, cells))
    return heads, rows


def picture_bytes(picture: "Picture") -> bytes:
    """A matplotlib figure as PNG."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _embedded(figure: Figure) -> str:
    """The address of an image that carries its own bytes."""
    kind, content = ("gif", figure.animation.gif()) if figure.animation else ("png", picture_bytes(figure.picture))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def board_picture(board: "Leaderboard") -> "Picture":
    """The leaderboard as a picture: each arm's first metric, a dot for every seed, best on top."""
    from matplotlib.figure import Figure as Picture

    arms = [arm for arm in board.arms if arm.metrics]
    metric = board.metrics[0]
    picture = Picture(figsize=(8, 0.9 + 0.42 * len(arms)), layout="constrained")
    axes = picture.add_subplot()
    for place, arm in enumerate(arms):
        colour = "#9aa7b3" if arm.baseline else "#0b6e99"
        mean = board.mean(arm, metric)
        axes.barh(place, mean, color=colour, height=0.62, alpha=0.85)
        axes.plot(arm.metrics[metric], [place] * len(arm.metrics[metric]), "o", c="#1c2733", ms=3.5, alpha=0.8)
        farthest = max(mean, *arm.metrics[metric])
        axes.annotate(number(mean, 3), (farthest, place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(arms)), [arm.key for arm in arms])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    unit = board.description.get("unit")
    metric += f" ({unit})" if unit else ""
    axes.set_xlabel(f"{metric} on the test part of {board.data}, {board.better} is better")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return picture


def loss_figure(folder: str | Path) -> list[Figure]:
    """Training loss and validation score of a run folder over steps, if it has a metrics.csv."""
    from matplotlib.figure import Figure as Picture

    rows = store.read_metrics(Path(folder))
    if not rows:
        return []
    picture = Picture(figsize=(8, 3), layout="constrained")
    axes = picture.add_subplot()
    trained = [row for row in rows if "validation" not in row]
    axes.plot([row["step"] for row in trained], [row["loss"] for row in trained], lw=1, label="training loss")
    axes.set(xlabel="step", ylabel="loss")
    if len({row["loss"] > 0 for row in trained}) == 1 and trained[0]["loss"] > 0:
        axes.set_yscale("log")
    looks = [row for row in rows if "validation" in row]
    if looks:
        other = axes.twinx()
        other.plot([r["step"] for r in looks], [r["validation"] for r in looks], "o-", c="C1", ms=4, label="validation")
        other.set_ylabel("validation score", color="C1")
    axes.spines[["top"]].set_visible(False)
    return [Figure("Training", "Loss of the training batches and score on the validation part.", picture)]


def _page(
    title: str,
    lead: str,
    heads: list[str],
    rows: list[tuple[str, list[Cell]]],
    figures: Sequence[Figure],
    facts: dict[str, Any],
    command: str,
    notes: Sequence[str] = (),
) -> str:
    from jinja2 import Environment

    template = files("pathline.core").joinpath("report.html").read_text(encoding="utf-8")
    images = [
        {
            "title": figure.title,
            "caption": figure.caption,
            "image": _embedded(figure),
        }
        for figure in figures
    ]
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            title=title,
            lead=lead,
            heads=heads,
            rows=[{"kind": kind, "cells": cells} for kind, cells in rows],
            figures=images,
            facts=list(facts.items()),
            command=command,
            notes=notes,
        )
    )


def leaderboard_report(board: "Leaderboard") -> str:
    """The page of a comparison."""
    heads, rows = board_table(board)
    trained = [arm for arm in board.arms if not arm.baseline and arm.metrics]
    shown = {arm.key: board.models[arm.key] for arm in board.arms if arm.key in board.models}
    ranking = "Bars are means over seeds, dots single seeds; grey bars are baselines."
    figures = [Figure("Leaderboard", ranking, board_picture(board))]
    kind = type(next(iter(shown.values())))
    if board.asked is not None:
        figures = [*kind.figures(shown, board.asked), *figures]
    figures += kind.figures(shown, board.test)
    best = board.best
    words = "least" if board.better == "lower" else "most"
    lead = (
        f"{best.key} has the {words} {board.metrics[0]} on the test part of {board.data}: "
        f"{number(board.mean(best, board.metrics[0]))}, over {len(board.seeds)} seed{'s' * (len(board.seeds) > 1)}."
    )
    if board.asked is not None:
        lead = (
            f"What the methods find in {board.asked.name} stands beside this page. It has no truth to rank them: {lead}"
        )
    notes = [f"{arm.key} has no numbers: {arm.failure}" for arm in board.arms if arm.failure]
    facts = {
        "data": f"{board.data}, {_sentence(board.description)}",
        "fingerprint": board.fingerprint[:16],
        "budget": f"{board.budget} for the whole comparison" if "minutes" in board.budget else board.budget,
        "seeds": ", ".join(map(str, board.seeds)),
        "steps done": ", ".join(f"{arm.key} {'/'.join(map(str, arm.steps))}" for arm in trained),
        "versions": ", ".join(f"{name} {version}" for name, version in store.versions().items()),
    }
    command = "\n".join(
        f"pathline fit {arm.key} {board.data} --steps {steps} --set validations={looks} --seed {seed}"
        for arm in trained
        for steps, looks, seed in zip(arm.steps, arm.validations, board.seeds, strict=False)
    )
    return _page(f"{board.room}: {board.data}", lead, heads, rows, figures, facts, command, notes)


def run_report(folder: str | Path, method: Method, data: Any, metrics: dict[str, float], record: dict[str, Any]) -> str:
    """The page of one run; `data` is its test part, `record` its config.json."""
    name = record["method"]
    figures = [*type(method).figures({name: method}, data), *loss_figure(folder)]
    training = record.get("training") or {}
    facts = {
        "method": f"{name}, {method.parameter_count():,} parameters",
        "settings": ", ".join(f"{key}={value}" for key, value in record["config"].items()),
        "data": f"{data.name}, test part: {_sentence(data.describe())}",
        "training": ", ".join(f"{k} {v}" for k, v in training.items() if k != "recipe") or "none needed",
        "versions": ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items()),
    }
    rows = [("", [Cell(metric), Cell(number(value))]) for metric, value in metrics.items()]
    lead = f"Measured on the test part of {data.name}, which training did not see."
    command = record.get("command", f"pathline evaluate {folder} {data.name}")
    return _page(f"{name} on {data.name}", lead, ["metric", "value"], rows, figures, facts, command)


def _sentence(description: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in description.items() if value not in ("", None, []))
