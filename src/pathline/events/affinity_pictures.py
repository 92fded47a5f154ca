"""Pictures of predicted affinities: how good the ranks are over time, and predicted beside true shares."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from pathline.core.method import Figure
from pathline.data.affinities import Affinities

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from pathline.events.affinity import AffinityModel

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")  # Okabe and Ito
ROWS = 40  # rows of a matrix that are drawn
PANELS = 3  # arms in the picture of shares


def figures(methods: "dict[str, AffinityModel]", data: Affinities) -> list[Figure]:
    """NDCG@10 of every moment of the test part, and predicted beside true shares at the first moments."""
    from pathline.events.affinity import ndcg

    said = {name: method.answers(data) for name, method in methods.items()}
    true = next(iter(said.values()))[1]
    order = sorted(said, key=lambda name: -float(ndcg(*said[name]).mean()))
    shown: dict[str, Any] = {name: said[name][0] for name in order[:PANELS]} | {"true": true}
    return [
        Figure(
            "Over time",
            "NDCG@10, the mean over the nodes that are asked at each moment of the test part.",
            over_time({name: ndcg(*answer) for name, answer in said.items()}, data),
        ),
        Figure(
            "Predicted and true shares",
            "Each row is a node that is asked, each column a candidate. Predictions are drawn by rank: the darkest "
            "are the ten that count.",
            shares(shown),
        ),
    ]


def over_time(found: dict[str, Tensor], data: Affinities) -> "Picture":
    """found: arm -> (asked,) NDCG of everybody at all moments."""
    from matplotlib.figure import Figure as Picture

    counts = [len(question) for question in data.batches(1)]
    moments = (data.moments * data.period).tolist()
    picture = Picture(figsize=(8, 3.4), layout="constrained")
    axes = picture.add_subplot()
    for place, (name, values) in enumerate(found.items()):
        means = [float(some.mean()) for some in values.split(counts)]
        axes.plot(moments, means, marker="o", ms=3, lw=1.3, color=COLOURS[place % len(COLOURS)], label=name)
    axes.set(xlabel=f"time since the first event ({data.events.unit})", ylabel="NDCG@10")
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return picture


def shares(answers: dict[str, Tensor]) -> "Picture":
    """answers: "true" and arms -> (asked, candidates); the first rows of each as a matrix, predictions by rank."""
    from matplotlib.figure import Figure as Picture

    true = answers["true"][:ROWS]
    names = [name for name in answers if name != "true"][:PANELS]
    picture = Picture(figsize=(2.6 * (len(names) + 1), 3.6), layout="constrained")
    panels = picture.subplots(1, len(names) + 1, sharey=True)
    panels[0].imshow(true.sqrt().numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    panels[0].set_title("true shares", fontsize=9)
    panels[0].set_ylabel("nodes that are asked", fontsize=8)
    for axes, name in zip(panels[1:], names, strict=True):
        rank = answers[name][:ROWS].double().argsort(1, descending=True).argsort(1)
        said = answers[name][:ROWS]
        weight = (1 - rank.double() / 10).clamp(min=0) * (said > said.amin(1, keepdim=True))
        axes.imshow(weight.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        hit = (true > 0).nonzero()
        axes.plot(hit[:, 1].numpy(), hit[:, 0].numpy(), ".", color=COLOURS[1], ms=2.5)
        axes.set_title(f"{name}: ten likeliest", fontsize=9)
    for axes in panels:
        axes.set_xlabel("candidates", fontsize=8)
        axes.tick_params(labelsize=7)
    return picture


__all__ = ["figures", "over_time", "shares"]
