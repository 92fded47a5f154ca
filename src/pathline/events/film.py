"""Pictures of PiVeM: nodes on their paths, contacts as lines between them, as some moments or as a film.

Colours are the classes that node features name (their greatest entry), or else the communities of the prior.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data.events import Events

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from pathline.events.pivem import PiVeM

FRAMES, RATE = 72, 12.0
MOMENTS = 6
TRAIL = 0.04  # of the whole time, behind every node
COLOURS = ("#0b6e99", "#d1495b", "#edae49", "#66a182", "#8d5a97", "#5c5c5c")


class Film:
    """What is drawn of a model and the stream that it was fitted to; the same limits and colours at all times."""

    def __init__(self, model: "PiVeM", data: Events) -> None:
        with torch.no_grad():
            self.paths = model.paths()
            self.kind = model.prior_membership.argmax(1).cpu()
        if data.node_features is not None and data.node_features.shape[1] > 1:
            self.kind = data.node_features.argmax(1)
        self.share = model.own_time(data.clock).cpu()
        inside = (self.share >= 0) & (self.share <= 1)
        self.share, self.pairs = self.share[inside], torch.stack([data.source, data.target])[:, inside]
        self.seen, self.width = data.seen.nonzero().flatten(), 1 / model.bins
        corners = flat(self.paths.corners().cpu())[:, self.seen].flatten(0, 1)
        self.limits = (1.15 * corners.abs().quantile(0.98, 0)).clamp(min=0.5).tolist()
        self.days = model.length.item() / 86_400 if data.unit == "s" else 0.0
        self.counts = torch.histc(self.share, 120, 0, 1)

    def places(self, moments: Tensor) -> Tensor:
        """(moments, nodes that met somebody, 2)."""
        node = self.seen.expand(len(moments), -1)
        return flat(self.paths.at(moments[:, None].expand_as(node), node).cpu())

    def draw(self, axes: "Axes", moment: float) -> None:
        """The nodes at `moment` (0 to 1), where they came from, and who meets about then."""
        trail = torch.linspace(max(0.0, moment - TRAIL), moment, 8, dtype=torch.float64)
        way = self.places(trail)
        now = torch.full((int(self.seen.max()) + 1, 2), torch.nan)
        now[self.seen] = way[-1]
        near = (self.share - moment).abs() < self.width / 4
        met, often = torch.unique(self.pairs[:, near], dim=1, return_counts=True)
        for (u, v), count in zip(met.T.tolist(), often.tolist(), strict=True):
            axes.plot(*now[[u, v]].T.tolist(), color="#1c2733", lw=0.5, alpha=min(0.9, 0.15 + 0.03 * count), zorder=1)
        axes.plot(way[..., 0].numpy(), way[..., 1].numpy(), color="#9aa7b3", lw=0.7, alpha=0.5, zorder=0)
        colours = [COLOURS[kind % len(COLOURS)] for kind in self.kind[self.seen].tolist()]
        axes.scatter(way[-1, :, 0], way[-1, :, 1], c=colours, s=18, edgecolors="white", linewidths=0.4, zorder=2)
        across, up = self.limits
        axes.set(xlim=(-across, across), ylim=(-up, up), xticks=[], yticks=[])
        axes.set_title(self.label(moment), fontsize=9)

    def label(self, moment: float) -> str:
        if not self.days:
            return f"t = {moment:.2f}"
        hours = moment * self.days * 24
        return f"{hours / 24:.1f} days" if self.days > 2 else f"{hours:.1f} h"

    def strip(self, axes: "Axes", moments: list[float]) -> None:
        """How many contacts there are over time, and the moments that are shown."""
        edges = torch.linspace(0, 1, len(self.counts) + 1)
        axes.stairs(self.counts.numpy(), edges.numpy(), fill=True, color="#9aa7b3")
        for moment in moments:
            axes.axvline(moment, color="#d1495b", lw=1)
        axes.set(xlim=(0, 1), yticks=[], xticks=[])
        axes.set_xlabel("contacts over time", fontsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)

    def frame(self, k: int) -> "Picture":
        """Frame k of `FRAMES`."""
        from matplotlib.figure import Figure as Picture

        moment = k / (FRAMES - 1)
        picture = Picture(figsize=(5.2, 5.6), layout="constrained")
        above, below = picture.subplots(2, 1, height_ratios=(9, 1))
        self.draw(above, moment)
        self.strip(below, [moment])
        return picture

    def moments(self) -> list[float]:
        """Moments at which something happens: where the cumulated contacts pass equal shares."""
        share = (torch.arange(MOMENTS) + 0.5) / MOMENTS
        return self.share[(share * len(self.share)).long()].tolist()


def flat(places: Tensor) -> Tensor:
    """The first two dimensions, or one and zero."""
    return places[..., :2] if places.shape[-1] > 1 else torch.cat([places, torch.zeros_like(places)], -1)


def still(model: "PiVeM", data: Events) -> "Picture":
    """Some moments side by side over the number of contacts."""
    from matplotlib.figure import Figure as Picture

    film = Film(model, data)
    moments = film.moments()
    picture = Picture(figsize=(9.6, 7.0), layout="constrained")
    grid = picture.add_gridspec(3, MOMENTS // 2, height_ratios=(5, 5, 1))
    for k, moment in enumerate(moments):
        film.draw(picture.add_subplot(grid[k // (MOMENTS // 2), k % (MOMENTS // 2)]), moment)
    film.strip(picture.add_subplot(grid[2, :]), moments)
    return picture


def film_figure(name: str, model: "PiVeM", data: Events) -> Figure:
    """For reports: the film, and some of its moments where pages do not move."""
    caption = "Every dot is a node on its path, with the way that it came; lines join who meets about now."
    animation = Animation(Film(model, data).frame, FRAMES, RATE)
    return Figure(f"{name}: who is near whom", caption, still(model, data), animation)
