"""Recommenders of two tables of factors that learn from pairs: what a user liked shall score above what it lacks.

    score(u, i) = <x_u, y_i>
    loss = mean softplus(score(u, j) - score(u, i)) + l2 / (2 batch) (|e_u|^2 + |e_i|^2 + |e_j|^2)

i was liked, j is a negative drawn by the rule named in `negatives` (pathline.data.unseen), and e are the rows that are
learned, of which x and y may be made by a graph network. Rendle, Freudenthaler, Gantner, Schmidt-Thieme, 2009, "BPR:
Bayesian personalized ranking from implicit feedback", arXiv:1205.2618.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Batch, Interactions
from pathline.data.unseen import NEGATIVES, Unseen
from pathline.graph import Segments, SparseMatrix, bipartite_adjacency
from pathline.recommend.base import Recommender

EDGES = ("liked", "rated")


@dataclass(frozen=True)
class Triples(Batch):
    """user, liked, other: (batch,) int64; the user liked the one item and does not have the other."""

    user: Tensor
    liked: Tensor
    other: Tensor


class Pairwise(Recommender):
    """Factors of users and items, learned from pairs.

    width:     of the factors
    l2:        pull of the learned rows of a batch towards 0
    negatives: how the items that a user does not have are drawn: "uniform" or "popularity"
    edges:     the graph has the "liked" pairs, or all that were "rated"; where a method has a graph
    """

    recipe = Recipe(steps=1500, batch_size=2048, lr=0.02, clip=None, validations=10, schedule="cosine", final=0.2)

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        l2: float = 1e-4,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names)
        for name, value, allowed in (("negatives", negatives, NEGATIVES), ("edges", edges, EDGES)):
            if value not in allowed:
                raise MethodError(f"{type(self).__name__}: {name} is '{value}'; choose {' or '.join(allowed)}")
        if width < 1:
            raise MethodError(f"{type(self).__name__}: width is {width}; give at least 1")
        self.l2, self.negatives, self.edges = l2, negatives, edges
        self.embedding = nn.Parameter(0.1 * torch.randn(users + items, width))

    @property
    def adjacency(self) -> SparseMatrix:
        """D^-1/2 A D^-1/2 of the training part, users first."""

        def make() -> SparseMatrix:
            return bipartite_adjacency(*self.pairs(self.edges == "rated"), self.users, self.items)

        matrix: SparseMatrix = self.made("adjacency", make)
        return matrix

    @abstractmethod
    def factors(self) -> Tensor:
        """(users + items, width): x of the users, then y of the items."""

    def scorer(self) -> Callable[[Tensor], Tensor]:
        x, y = self.factors().split([self.users, self.items])
        return lambda users: x[users] @ y.T

    def batches(self, data: Interactions, size: int, generator: torch.Generator) -> Iterator[Triples]:
        """Every liked row once, in random order, each with a negative of its own."""
        owner, unseen = self.made("unseen", lambda: (data, unseen_of(data)))
        if owner is not data:
            unseen = unseen_of(data)
        rows = data.positive.nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        user, liked = data.user[rows], data.item[rows]
        other = unseen.draw(user, generator, self.negatives)
        for part in zip(user.split(size), liked.split(size), other.split(size), strict=True):
            yield Triples(*part)

    def epoch_length(self, data: Interactions, size: int) -> int:
        return -(-int(data.positive.sum()) // size)

    def loss(self, batch: Triples) -> dict[str, Tensor]:
        table = self.factors()
        user, liked, other = batch.user, batch.liked + self.users, batch.other + self.users
        return self.compared(table, self.embedding, user, liked, other)

    def compared(self, table: Tensor, learned: Tensor, user: Tensor, liked: Tensor, other: Tensor) -> dict[str, Tensor]:
        """The loss of rows `user`, `liked` and `other` of a table of factors and one of what is learned."""
        index = torch.cat([user, liked, other])
        x, y, z = Rows.apply(table, index).chunk(3)
        ranking = F.softplus((x * (z - y)).sum(1)).mean()
        penalty = Rows.apply(learned, index).square().sum() / (2 * len(user))
        return {"loss": ranking + self.l2 * penalty, "ranking": ranking}


def unseen_of(data: Interactions) -> Unseen:
    """What each user of `data` does not have."""
    return Unseen(data.user, data.item, len(data.users), len(data.items))


class Rows(torch.autograd.Function):
    """table[index], whose gradient is summed by sorted segments."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(table)
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return Segments(index, ctx.rows).sum(gradient), None
