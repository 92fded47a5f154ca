"""Blocks for sets: what they say of a member does not depend on the order in which the set is listed.

    UNP(X)_i  = MLP_2[ x_i || mean_j MLP_1(x_j) ]                              unweighted pooling
    MAB(Q, K) = O + ReLU(W O),  O = q + softmax(q k^T / sqrt(d)) v             heads side by side, d the whole width
    SAB(X)    = MAB(X, X)                                                      every member attends to every other
    ISAB(X)   = MAB(X, MAB(I, X))                                              through a few learned inducing points I
    PMA(X)    = MAB(S, X)                                                      a set as the answers to learned seeds S
Lee, Lee, Kim, Kosiorek, Choi, Teh, 2019, "Set Transformer", arXiv:1810.00825, whose scores are divided by the root of
the whole width; UNP: Wang, Yang, Liu, Wang, Li, 2023, "Equivariant Hypergraph Diffusion Neural Operators", ICLR.

Sets of any size are kept end to end: x (m, width) with `Sets` that names the set of every row. No block pads: means
and attention to a few points are reductions over segments, attention among members takes sets of equal size together.
`padded(x, mask)` is the same block on (sets, size, width) with mask (sets, size), True for members.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.ragged import starts_of
from pathline.graph.segment import Segments, segment_softmax
from pathline.nn.mlp import MLP

BLOCKS = ("UNP", "SAB", "ISAB")


class Sets:
    """Which set every row belongs to, sorted once.

    index: (m,) int64 in 0 .. count-1;  count: how many sets there are; they may be empty
    """

    def __init__(self, index: Tensor, count: int) -> None:
        self.index, self.count = index, count
        self.segments = Segments(index, count)
        self.sizes = torch.bincount(index, minlength=count)

    def spread(self, said: Tensor) -> Tensor:
        """What was said of the sets, at every member: (count, ...) -> (m, ...)."""
        return self.segments.gather(said)

    def mean(self, x: Tensor) -> Tensor:
        """(count, width) the mean of each set; an empty set has 0."""
        return self.segments.sum(x) / self.sizes.clamp(min=1).to(x.dtype)[:, None]

    @cached_property
    def buckets(self) -> list[Tensor]:
        """Sets of equal size together: the rows (sets, size) of their members, smallest sets first."""
        start = starts_of(self.sizes)[:-1]
        return [
            self.segments.order[start[self.sizes == size][:, None] + torch.arange(size, device=start.device)]
            for size in self.sizes.unique().tolist()
            if size
        ]

    @cached_property
    def slots(self) -> tuple[Tensor, Tensor]:
        """Rows (sets, largest) with 0 where a set has fewer members, and the mask that says so; of non-empty sets."""
        start, sizes = starts_of(self.sizes)[:-1][self.sizes > 0], self.sizes[self.sizes > 0]
        place = torch.arange(int(sizes.max()) if len(sizes) else 0, device=sizes.device)
        mask = place < sizes[:, None]
        return self.segments.order[torch.where(mask, start[:, None] + place, 0)] * mask, mask

    def pad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(sets, largest, width) with zeros behind the members, and the mask."""
        rows, mask = self.slots
        return x[rows] * mask[..., None], mask

    def unpad(self, x: Tensor) -> Tensor:
        """`pad` undone: (m, width)."""
        rows, mask = self.slots
        return x.new_zeros(len(self.index), x.shape[-1]).index_put((rows[mask],), x[mask])


class UNP(nn.Module):
    """(m, width) -> (m, width): each member with the mean of its set. norm: layer norms within both networks."""

    def __init__(self, width: int, norm: bool = False) -> None:
        super().__init__()
        self.first = _perceptron(width, width, norm)
        self.second = _perceptron(2 * width, width, norm)

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        mixed: Tensor = self.second(torch.cat([x, sets.spread(sets.mean(self.first(x)))], 1))
        return mixed

    def padded(self, x: Tensor, mask: Tensor) -> Tensor:
        inside = mask[..., None].to(x.dtype)
        mean = (self.first(x) * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1)
        mixed: Tensor = self.second(torch.cat([x, mean.expand_as(x)], -1))
        return mixed


def _perceptron(inputs: int, width: int, norm: bool) -> nn.Sequential:
    if norm:
        return nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.ReLU(), nn.LayerNorm(width), nn.Linear(width, width)
        )
    return MLP([inputs, width, width], nn.ReLU)


class MAB(nn.Module):
    """Attention of queries to the members of a set, and a layer after it. width must be divisible by heads."""

    def __init__(self, width: int, heads: int = 4, norm: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.before: nn.Module = nn.LayerNorm(width) if norm else nn.Identity()
        self.after: nn.Module = nn.LayerNorm(width) if norm else nn.Identity()

    def split(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., heads, width / heads)."""
        return x.unflatten(-1, (self.heads, -1))

    def finish(self, query: Tensor, read: Tensor) -> Tensor:
        """O + ReLU(W O) of projected queries and what they read."""
        said = self.before(query + read)
        finished: Tensor = self.after(said + F.relu(self.output(said)))
        return finished

    def dense(self, queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """queries (b, q, width) read keys (b, k, width); mask (b, k): True where there is one."""
        query, key, value = self.query(queries), self.split(self.key(keys)), self.split(self.value(keys))
        scores = torch.einsum("bqhd,bkhd->bhqk", self.split(query), key) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
        read = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value)
        return self.finish(query, read.flatten(2))

    def into(self, points: Tensor, x: Tensor, sets: Sets) -> Tensor:
        """Points (p, width), the same for all sets, read the members of each: (count, p, width)."""
        query, key, value = self.query(points), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.einsum("phd,mhd->mph", self.split(query), key) / query.shape[-1] ** 0.5
        weight = segment_softmax(scores, sets.index, sets.count)
        read = sets.segments.sum((weight[..., None] * value[:, None]).flatten(2))
        return self.finish(query, read)


class SAB(nn.Module):
    """(m, width) -> (m, width): the members of a set attend to one another."""

    def __init__(self, width: int, heads: int = 4, norm: bool = False) -> None:
        super().__init__()
        self.attend = MAB(width, heads, norm)

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        if not sets.buckets:
            return x
        said = [self.attend.dense(x[rows], x[rows]).flatten(0, 1) for rows in sets.buckets]
        return torch.cat(said)[torch.cat([rows.flatten() for rows in sets.buckets]).argsort()]

    def padded(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend.dense(x, x, mask)


class ISAB(nn.Module):
    """(m, width) -> (m, width): members attend to `points` learned points that have read the set."""

    def __init__(self, width: int, heads: int = 4, points: int = 4, norm: bool = False) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(points, width))
        nn.init.xavier_uniform_(self.points)
        self.read, self.attend = MAB(width, heads, norm), MAB(width, heads, norm)

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        return self.attend.dense(x[:, None], sets.spread(self.read.into(self.points, x, sets)))[:, 0]

    def padded(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend.dense(x, self.read.dense(self.points.expand(len(x), -1, -1), x, mask))


class PMA(nn.Module):
    """(m, width) -> (count, seeds, width): each set as what learned seeds read in it."""

    def __init__(self, width: int, heads: int = 4, seeds: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.empty(seeds, width))
        nn.init.xavier_uniform_(self.seeds)
        self.attend = MAB(width, heads, norm)

    def forward(self, x: Tensor, sets: Sets) -> Tensor:
        return self.attend.into(self.seeds, x, sets)

    def padded(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attend.dense(self.seeds.expand(len(x), -1, -1), x, mask)


class SetNetwork(nn.Module):
    """`depth` equivariant blocks of one kind, one after another. kind: UNP, SAB or ISAB."""

    def __init__(
        self, kind: str, width: int, depth: int = 2, heads: int = 4, points: int = 4, norm: bool = False
    ) -> None:
        super().__init__()
        if kind not in BLOCKS:
            raise ValueError(f"there is no set block '{kind}'; choose one of {', '.join(BLOCKS)}")
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            if kind == "UNP":
                self.blocks.append(UNP(width, norm))
            elif kind == "SAB":
                self.blocks.append(SAB(width, heads, norm))
            else:
                self.blocks.append(ISAB(width, heads, points, norm))

    def forward(self, x: Tensor, sets: Sets, pad: bool = False) -> Tensor:
        """(m, width) -> (m, width); with `pad` on padded sets, which says the same."""
        if pad:
            y, mask = sets.pad(x)
            for block in self.blocks:
                y = block.padded(y, mask)  # type: ignore[operator]
            return sets.unpad(y)
        for block in self.blocks:
            x = block(x, sets)
        return x
