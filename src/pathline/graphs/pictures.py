"""Pictures of answers: which classes are mistaken, said against true, and how links and other pairs score."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from pathline.core.method import Figure

if TYPE_CHECKING:
    from pathline.graphs.base import GraphModel

PANELS = 4


def draw_answers(methods: "Mapping[str, GraphModel]", data: Any) -> list[Figure]:
    """One picture, a panel per method, of the kind that fits the task of `data`."""
    chosen = dict(list(methods.items())[:PANELS])
    if not chosen or not data.has_truth:
        return []
    task = next(iter(chosen.values())).task
    if task == "regress-graphs":
        return [_said_against_true(chosen, data)]
    return [_score_curves(chosen, data) if task == "predict-links" else _confusions(chosen, data)]


def _confusions(methods: "Mapping[str, GraphModel]", data: Any) -> Figure:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(3.4 * len(methods) + 0.6, 3.9), layout="constrained")
    panels = picture.subplots(1, len(methods), squeeze=False)[0]
    for panel, (name, method) in zip(panels, methods.items(), strict=True):
        said, true = method.said(data).argmax(-1), method.truth(data)
        count = len(method.answers)
        table = torch.bincount(true * count + said, minlength=count * count).view(count, count).double()
        share = table / table.sum(1, keepdim=True).clamp(min=1)
        image = panel.imshow(share.numpy(), vmin=0, vmax=1, cmap="Blues")
        panel.set_title(f"{name}: {100 * float(table.diagonal().sum() / table.sum()):.1f} %", fontsize=10)
        panel.set_xticks(range(count), method.answers, rotation=90, fontsize=7)
        panel.set_yticks(range(count), method.answers, fontsize=7)
        panel.set_xlabel("said")
    panels[0].set_ylabel("true")
    picture.colorbar(image, ax=panels, shrink=0.8, label="share of the true class")
    return Figure("Which classes are mistaken", f"Test part of {data.name}.", picture)


def _said_against_true(methods: "Mapping[str, GraphModel]", data: Any) -> Figure:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(3.2 * len(methods) + 0.4, 3.5), layout="constrained")
    panels = picture.subplots(1, len(methods), squeeze=False, sharey=True)[0]
    known = data.take(data.known)
    for panel, (name, method) in zip(panels, methods.items(), strict=True):
        said, true = method.said(known), method.truth(known)
        for k, target in enumerate(method.answers[:6]):
            panel.scatter(true[:, k], said[:, k], s=8, alpha=0.5, label=target)
        ends = [float(true.min()), float(true.max())]
        panel.plot(ends, ends, color="0.5", lw=0.8)
        panel.set_title(f"{name}: MAE {float((said - true).abs().mean()):.3g}", fontsize=10)
        panel.set_xlabel("true")
    panels[0].set_ylabel("said")
    panels[0].legend(fontsize=7)
    return Figure("Said against true", f"Test part of {data.name}; on the line is right.", picture)


def _score_curves(methods: "Mapping[str, GraphModel]", data: Any) -> Figure:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5.4, 3.9), layout="constrained")
    panel = picture.subplots()
    part = data if data.pairs is not None else data.split().test
    for name, method in methods.items():
        score, truth = method.said(part), method.truth(part)
        order = score.argsort(descending=True, stable=True)
        links = truth[order].double().cumsum(0)
        others = (~truth[order]).double().cumsum(0)
        panel.plot(others / others[-1], links / links[-1], label=name)
    panel.set_xlabel("share of the other pairs that score higher")
    panel.set_ylabel("share of the links found")
    panel.legend(fontsize=8)
    return Figure("Links found before other pairs", f"{part.pairs.shape[1]} pairs of {data.name}.", picture)
