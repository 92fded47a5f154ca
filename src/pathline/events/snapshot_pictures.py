"""How well each snapshot of an evolving graph was foreseen."""

from typing import TYPE_CHECKING

from pathline.data.evolving_graphs import EvolvingGraph
from pathline.events.snapshot_metrics import link_metrics
from pathline.events.snapshots import SnapshotModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

COLOURS = ("#0b6e99", "#66a182", "#d1495b", "#edae49", "#8d5a97", "#5c5c5c")


def over_snapshots(models: dict[str, SnapshotModel], graph: EvolvingGraph, seed: int = 0) -> "Picture":
    """The area under the curve for the edges of each snapshot that is asked about, a line for every model; and how
    often the edges of a snapshot join nodes of one class, where classes of nodes are known."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(8.4, 4.6), layout="constrained")
    labels = graph.node_labels
    rows = (
        picture.subplots(2, 1, height_ratios=(4, 1), sharex=True, squeeze=False)[:, 0] if labels is not None else None
    )
    axes = picture.add_subplot() if rows is None else rows[0]
    steps = next(iter(models.values())).answerable(graph).tolist()
    for (name, model), colour in zip(models.items(), COLOURS, strict=False):
        answers = model.answers(graph, seed)
        areas = [list(link_metrics([answer], model.test_negatives).values())[1] for answer in answers]
        mean = list(link_metrics(answers, model.test_negatives).values())[1]
        axes.plot(steps, areas, "o-", color=colour, ms=4, lw=1.5, label=f"{name}: {mean:.3f}")
    axes.axhline(0.5, color="#9aa7b3", lw=0.8, ls="--")
    axes.set_ylabel("area under the curve")
    axes.legend(frameon=False, ncols=len(models), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    last = axes
    if rows is not None and labels is not None:
        shares = []
        for step in steps:
            source, target, _ = graph.edges(step)
            shares.append((labels[step, source] == labels[step, target]).double().mean().item())
        rows[1].bar(steps, shares, color="#9aa7b3", width=0.6)
        rows[1].set(ylabel="edges within\na class", ylim=(0, 1))
        last = rows[1]
    last.set_xlabel(f"snapshot of {graph.name}, foreseen from the {graph.window} before it")
    for one in (axes, last):
        one.spines[["top", "right"]].set_visible(False)
    return picture
