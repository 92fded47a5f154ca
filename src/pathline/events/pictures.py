"""Pictures of predicted links: how well contacts are told from negatives, when, and who is expected to meet next."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.method import Figure
from pathline.data.events import Events

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.events.base import EventModel, Replay

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")  # Okabe and Ito
KINDS = ("random", "historical", "inductive")
WINDOWS, FEWEST = 24, 40  # stretches of the test part in the picture over time, and contacts in each
SHOWN = 40  # nodes in the matrix of expected contacts
DRAWN = 4000  # contacts whose scores are drawn at most


def figures(methods: "dict[str, EventModel]", data: Events) -> list[Figure]:
    """AP against each kind of negatives, the chance to be right over time, and whom the best arm expects to meet."""
    data = data.window(data.start, min(len(data.source), data.start + DRAWN))
    replays = {name: method.replay(data, 0, dict.fromkeys(KINDS, 1)) for name, method in methods.items()}
    best = max(replays, key=lambda name: replays[name].average_precision("random"))
    return [
        Figure(
            "By kind of negatives",
            "Average precision against targets that are random, that the source met before, and that it first met "
            "in the test part. A method that only remembers pairs does well against the first kind alone.",
            bars(replays),
        ),
        Figure(
            "Over time",
            "Above: events per unit of time, history in grey and the test part in blue. Below: how often a contact "
            "of the test part scores above its random negative; ties count a half.",
            over_time(replays, data),
        ),
        Figure(
            "Expected contacts",
            f"What {best} says at the end of the data of the nodes that were active last, and what it was told: "
            "pairs that met in the test part are circled.",
            matrix(methods[best], data, best),
        ),
    ]


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def bars(replays: "dict[str, Replay]") -> "Picture":
    """AP of each arm against each kind of negatives."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(8, 3.4), layout="constrained")
    axes = picture.add_subplot()
    width = 0.8 / len(replays)
    for place, (name, replay) in enumerate(replays.items()):
        values = [replay.average_precision(kind) for kind in KINDS]
        at = [kind + (place - (len(replays) - 1) / 2) * width for kind in range(len(KINDS))]
        axes.bar(at, values, width * 0.92, label=name, color=COLOURS[place % len(COLOURS)])
    axes.axhline(0.5, color="#9a9a9a", lw=0.8, ls=":")
    axes.set_xticks(range(len(KINDS)), [f"{kind} negatives" for kind in KINDS])
    axes.set(ylabel="average precision", ylim=(0, 1))
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain(axes)
    return picture


def over_time(replays: "dict[str, Replay]", data: Events) -> "Picture":
    """Events over time, and how often each arm prefers a contact to its negative."""
    from matplotlib.figure import Figure as Picture

    clock = data.clock
    picture = Picture(figsize=(8, 4.4), layout="constrained")
    above, below = picture.subplots(2, 1, height_ratios=(1, 2))
    edges = torch.linspace(float(clock[0]), float(clock[-1]) + 1e-9, 120).tolist()
    above.hist(clock[: data.start].tolist(), bins=edges, color="#b5b5b5")
    above.hist(clock[data.start :].tolist(), bins=edges, color=COLOURS[0])
    above.set_ylabel("events", fontsize=8)
    own = clock[data.start :]
    stretches = torch.arange(len(own)).tensor_split(min(WINDOWS, max(1, len(own) // FEWEST)))
    middle = [float(own[some].mean()) for some in stretches]
    for place, (name, replay) in enumerate(replays.items()):
        right = _right(replay)
        values = [float(right[some].mean()) for some in stretches]
        below.plot(middle, values, marker="o", ms=2.5, lw=1.2, label=name, color=COLOURS[place % len(COLOURS)])
    below.axhline(0.5, color="#9a9a9a", lw=0.8, ls=":")
    below.set(xlabel=f"time since the first event ({data.unit}), test part", ylabel="contact above negative")
    below.legend(fontsize=7, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain(above)
    _plain(below)
    return picture


def _right(replay: "Replay") -> Tensor:
    happened, against = replay.happened, replay.against["random"][:, 0]
    return (happened > against).double() + 0.5 * (happened == against).double()


def matrix(method: "EventModel", data: Events, name: str) -> "Picture":
    """Scores between the nodes that were active last, after the end of the data, with the pairs of the test part."""
    from matplotlib.figure import Figure as Picture

    stream = method.check(data)
    clock = stream.clock
    last = torch.full((stream.nodes,), -1.0, dtype=torch.float64)
    last = last.scatter_reduce(0, stream.source, clock, "amax").scatter_reduce(0, stream.target, clock, "amax")
    active = last.argsort(descending=True, stable=True)[: int((last >= 0).sum())]
    rows = (active if not stream.senders else active[active < stream.senders])[:SHOWN].sort().values
    columns = (active if not stream.senders else active[active >= stream.senders])[:SHOWN].sort().values
    with method.walking():
        for contacts in stream.between(stream.batch, 0, len(stream.source)):
            method.observe(contacts.to(method.device))
        moment = clock[-1].expand(len(rows)).to(method.device)
        scores = method.score_pairs(
            rows.to(method.device), columns.expand(len(rows), -1).to(method.device), moment
        ).cpu()
    share = scores.double().argsort(1).argsort(1).double() / max(len(columns) - 1, 1)
    share[rows[:, None] == columns] = torch.nan
    picture = Picture(figsize=(7.2, 6.4), layout="constrained")
    axes = picture.add_subplot()
    image = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    met = torch.zeros(stream.nodes, stream.nodes, dtype=torch.bool)
    met[stream.source[stream.start :], stream.target[stream.start :]] = True
    met = met if stream.directed else met | met.T
    place = met[rows][:, columns].nonzero()
    axes.plot(place[:, 1].numpy(), place[:, 0].numpy(), "o", mfc="none", mec=COLOURS[1], ms=4, mew=0.9)
    axes.set_xticks(range(len(columns)), [stream.names[k] for k in columns.tolist()], rotation=90, fontsize=6)
    axes.set_yticks(range(len(rows)), [stream.names[k] for k in rows.tolist()], fontsize=6)
    axes.set(xlabel="target", ylabel="source", title=f"{name}: rank of each target, from last (white) to first (blue)")
    axes.title.set_fontsize(9)
    picture.colorbar(image, ax=axes, shrink=0.7)
    return picture


def precision_curves(curves: dict[str, dict[str, tuple[Tensor, Tensor]]]) -> "Picture":
    """Precision over recall of several arms, a panel for each stream; curves: stream -> arm -> (happened,
    negatives)."""
    from matplotlib.figure import Figure as Picture
    from sklearn.metrics import average_precision_score, precision_recall_curve

    picture = Picture(figsize=(4.2 * len(curves), 3.6), layout="constrained")
    for axes, (stream, arms) in zip(picture.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for place, (arm, (happened, against)) in enumerate(arms.items()):
            truth = torch.cat([torch.ones(len(happened)), torch.zeros(len(against))]).numpy()
            scores = torch.cat([happened, against]).numpy()
            precision, recall, _ = precision_recall_curve(truth, scores)
            label = f"{arm}: AP {average_precision_score(truth, scores):.3f}"
            axes.plot(recall, precision, lw=1.6, color=COLOURS[place % len(COLOURS)], label=label)
        axes.set(xlabel="recall", ylabel="precision", title=stream, xlim=(0, 1), ylim=(0.45, 1.01))
        axes.title.set_fontsize(10)
        axes.legend(fontsize=7.5, frameon=False, loc="lower left")
        _plain(axes)
    return picture
