"""Pictures of recommendations: how good lists are at every length, whom they serve, and how much they show."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data import Interactions
from pathline.graph import entries_of
from pathline.recommend.top import ranking_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.recommend.base import Recommender

LENGTHS = (1, 2, 5, 10, 20, 50)
SHOWN = 5000  # users at most whose lists are drawn
GROUPS = 4  # of users, by how much they have
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")  # Okabe and Ito


def figures(methods: "dict[str, Recommender]", data: Interactions) -> list[Figure]:
    """Quality by length and by user, and how far recommendations go beyond the best sellers."""
    lists = {name: Lists(method, data) for name, method in methods.items()}
    return [
        Figure(
            "How good the lists are",
            "Left: mean NDCG of lists of each length. Right: NDCG@20 of users grouped by how many items they have in "
            "the training part; each group holds about a quarter of the users. Of more than 5000 users 5000 are drawn.",
            quality_picture(lists),
        ),
        Figure(
            "What is shown",
            "How the places of all lists of 20 are shared out: items from the most to the least often shown, against "
            "the share of all places that they and those before them take. A method that shows everybody the same "
            "reaches 1 at once; the dashed line shows every item equally often.",
            exposure_picture(lists),
        ),
    ]


class Lists:
    """Lists of one method for the users of one test part (5000 of them if there are more), ranked once."""

    def __init__(self, method: "Recommender", data: Interactions) -> None:
        self.users, self.start, self.truth, known = method.asked(data, SHOWN)
        self.items = method.items
        self.ranked = method.rank(self.users, max(LENGTHS), exclude=known).items.cpu()
        self.had = torch.bincount(method.user.cpu(), minlength=method.users)[self.users]

    def ndcg(self, k: int, users: Tensor | None = None) -> float:
        """Mean NDCG@k, of some of the users (places in `users`) or of all."""
        if users is None:
            return ranking_metrics(self.ranked[:, :k], self.start, self.truth, self.items)[f"ndcg@{k}"]
        count = self.start.diff()[users]
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])
        truth = self.truth[entries_of(self.start, users)[1]]
        return ranking_metrics(self.ranked[users, :k], start, truth, self.items)[f"ndcg@{k}"]

    def groups(self) -> list[Tensor]:
        """Users (their places) by how many items they have: quarters, as far as equal numbers can be parted."""
        had = self.had.double()
        bounds = had.quantile(torch.arange(1, GROUPS, dtype=torch.float64) / GROUPS).unique()
        group = torch.searchsorted(bounds, had)
        return [(group == number).nonzero().flatten() for number in group.unique().tolist()]

    def exposure(self) -> Tensor:
        """(items,) share of the places of lists of 20 that go to the items shown most often, cumulated."""
        shown = self.ranked[:, :20]
        count = torch.bincount(shown[shown >= 0], minlength=self.items).sort(descending=True).values
        return count.cumsum(0) / count.sum().clamp(min=1)


def quality_picture(lists: "Mapping[str, Lists]") -> "Picture":
    """NDCG by length of the list, and by how much a user has."""
    picture, (left, right) = _panels(2)
    for place, (name, made) in enumerate(lists.items()):
        colour = COLOURS[place % len(COLOURS)]
        lengths = [k for k in LENGTHS if k <= made.items]
        left.plot(lengths, [made.ndcg(k) for k in lengths], "o-", color=colour, ms=3.5, lw=1.5, label=name)
        groups = made.groups()
        values = [made.ndcg(min(20, made.items), group) for group in groups]
        right.plot(range(len(groups)), values, "o-", color=colour, ms=3.5, lw=1.5)
        spans = [f"{int(made.had[group].min())} to {int(made.had[group].max())}" for group in groups]
        right.set_xticks(range(len(groups)), spans)
    left.set_xscale("log")
    left.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
    left.minorticks_off()
    left.set(xlabel="length of the list", ylabel="NDCG", title="by length")
    right.set(xlabel="items that the users have", ylabel="NDCG@20", title="by user")
    left.set_ylim(bottom=0)
    right.set_ylim(bottom=0)
    picture.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return picture


def exposure_picture(lists: "Mapping[str, Lists]") -> "Picture":
    """The share of all places that the most shown items take."""
    picture, (axes,) = _panels(1)
    for place, (name, made) in enumerate(lists.items()):
        share = made.exposure()
        axes.plot(
            torch.arange(1, len(share) + 1) / len(share), share, color=COLOURS[place % len(COLOURS)], lw=1.5, label=name
        )
    axes.plot([0, 1], [0, 1], "--", color="#b5b5b5", lw=1)
    axes.set(xlabel="share of the items", ylabel="share of all places in lists", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize=8, frameon=False)
    return picture


def _panels(count: int) -> "tuple[Picture, list[Axes]]":
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(4.6 * count + 0.6, 3.6), layout="constrained")
    axes = [picture.add_subplot(1, count, place + 1) for place in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return picture, axes


def quality_by_set(sets: "Mapping[str, Mapping[str, Lists]]") -> "Picture":
    """NDCG by length of the list, a panel for each set of data."""
    picture, panels = _panels(len(sets))
    for axes, (title, lists) in zip(panels, sets.items(), strict=True):
        for place, (name, made) in enumerate(lists.items()):
            lengths = [k for k in LENGTHS if k <= made.items]
            axes.plot(lengths, [made.ndcg(k) for k in lengths], "o-", color=COLOURS[place], ms=3.5, lw=1.5, label=name)
        axes.set_xscale("log")
        axes.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
        axes.minorticks_off()
        axes.set(xlabel="length of the list", ylabel="NDCG", title=title)
        axes.set_ylim(bottom=0)
    picture.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    return picture


def growth_picture(
    methods: "Mapping[str, Recommender]",
    data: Interactions,
    edges: "Sequence[int]",
    seconds: "Mapping[str, Sequence[float]]",
) -> "Picture":
    """NDCG by length of the list, and seconds per epoch over the number of interactions on logarithmic axes."""
    picture, (left, right) = _panels(2)
    for place, (name, method) in enumerate(methods.items()):
        made, colour = Lists(method, data), COLOURS[place]
        lengths = [k for k in LENGTHS if k <= made.items]
        left.plot(lengths, [made.ndcg(k) for k in lengths], "o-", color=colour, ms=3.5, lw=1.5, label=name)
        if name in seconds:
            right.loglog(edges, seconds[name], "o-", color=colour, ms=3.5, lw=1.5)
            last = f"{seconds[name][-1]:.2g} s"
            right.annotate(last, (edges[-1], seconds[name][-1]), (5, 0), textcoords="offset points", fontsize=8)
    first = min(values[0] for values in seconds.values())
    right.loglog(edges, [first * count / edges[0] for count in edges], "--", color="#b5b5b5", lw=1)
    left.set_xscale("log")
    left.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
    left.minorticks_off()
    left.set(xlabel="length of the list", ylabel="NDCG", title=f"lists, {data.name}")
    left.set_ylim(bottom=0)
    right.set(xlabel="interactions", ylabel="seconds per epoch", title="time of an epoch (dashed: proportional)")
    right.set_xticks(list(edges), [f"{count // 1000}k" for count in edges])
    right.minorticks_off()
    right.margins(x=0.15)
    picture.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return picture


def bars_and_lists(
    values: "Mapping[str, float]", axis: str, title: str, methods: "Mapping[str, Recommender]", data: Interactions
) -> "Picture":
    """A bar for each arm, and NDCG by length of the list."""
    picture, (left, right) = _panels(2)
    for place, value in enumerate(values.values()):
        left.bar(place, value, color=COLOURS[place], width=0.6)
        left.annotate(f"{value:.3f}", (place, value), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    left.set_xticks(range(len(values)), list(values))
    left.set(ylabel=axis, title=title, ylim=(0, 1.05 * max(*values.values(), 0.5)))
    left.axhline(0.5, color="#b5b5b5", ls="--", lw=1)
    for place, (name, method) in enumerate(methods.items()):
        made = Lists(method, data)
        lengths = [k for k in LENGTHS if k <= made.items]
        right.plot(lengths, [made.ndcg(k) for k in lengths], "o-", color=COLOURS[place], ms=3.5, lw=1.5, label=name)
    right.set_xscale("log")
    right.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
    right.minorticks_off()
    right.set(xlabel="length of the list", ylabel="NDCG", title=f"lists, {data.name}")
    right.set_ylim(bottom=0)
    right.legend(fontsize=8, frameon=False)
    return picture
