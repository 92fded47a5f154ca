"""What every recommender must beat: what everybody likes, what goes with what one has, and factors without a graph."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.method import unwrap_split
from pathline.data import Interactions
from pathline.graph import SparseMatrix, interaction_matrix
from pathline.recommend.base import Recommender
from pathline.recommend.pairwise import Pairwise


class Solved(Recommender):
    """A recommender that is read off the data, not trained."""

    trains = False

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Budget, seed and options change nothing."""
        part: Interactions = self.check(unwrap_split(data))
        self.read(part)
        return self.eval()


class Popularity(Solved):
    """Everybody is shown what most users liked."""

    def scorer(self) -> Callable[[Tensor], Tensor]:
        count = torch.bincount(self.pairs()[1], minlength=self.items).float()
        return lambda users: count.expand(len(users), -1).clone()


class ItemKNN(Solved):
    """An item scores by its likeness to what the user liked.

        score(u, i) = sum over j liked by u of s(i, j),    s(i, j) = c_ij / (sqrt(d_i d_j) + shrinkage)

    c counts users who liked both, d those who liked one; of every item only the `neighbours` largest s are kept.
    Sarwar, Karypis, Konstan, Riedl, 2001, "Item-based collaborative filtering recommendation algorithms", WWW.
    """

    def __init__(
        self, users: int, items: int, interactions: int, names: int, neighbours: int = 100, shrinkage: float = 10.0
    ) -> None:
        super().__init__(users, items, interactions, names)
        self.neighbours, self.shrinkage = neighbours, shrinkage

    def likeness(self) -> SparseMatrix:
        """(items, items), row i holding s(i, j) of the items j most like i; found a block of items at a time."""

        def make() -> SparseMatrix:
            liked = interaction_matrix(*self.pairs(), self.users, self.items)
            degree = torch.bincount(liked.column, minlength=self.items).float()
            root, kept = degree.sqrt(), min(self.neighbours, self.items)
            rows, columns, values = [], [], []
            for block in torch.arange(self.items, device=self.item.device).split(max(1, (1 << 24) // self.items)):
                chosen = torch.zeros(self.items, len(block), device=self.item.device)
                chosen[block, torch.arange(len(block), device=self.item.device)] = 1
                both = (liked.T @ (liked @ chosen)).T
                alike = both / (root[block, None] * root + self.shrinkage)
                alike[torch.arange(len(block)), block] = 0
                value, column = alike.topk(kept, 1)
                there = value > 0
                rows.append(block[:, None].expand_as(column)[there])
                columns.append(column[there])
                values.append(value[there])
            return SparseMatrix(torch.cat(rows), torch.cat(columns), torch.cat(values), (self.items, self.items))

        matrix: SparseMatrix = self.made("likeness", make)
        return matrix

    def scorer(self) -> Callable[[Tensor], Tensor]:
        likeness, liked = self.likeness(), interaction_matrix(*self.pairs(), self.users, self.items)
        return lambda users: (likeness @ dense_rows(liked, users).T).T.contiguous()


class MatrixFactorization(Pairwise):
    """The factors are what is learned, without a graph. Settings as in `Pairwise`.

    Koren, Bell, Volinsky, 2009, "Matrix factorization techniques for recommender systems", Computer 42(8), 30.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        l2: float = 2e-2,
        negatives: str = "uniform",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives)

    def factors(self) -> Tensor:
        return self.embedding


def dense_rows(matrix: SparseMatrix, rows: Tensor) -> Tensor:
    """Some rows of a sparse matrix: (len(rows), columns)."""
    from pathline.graph import entries_of

    place, entry = entries_of(matrix.pointer, rows)
    dense = torch.zeros(len(rows), matrix.shape[1], dtype=matrix.value.dtype, device=rows.device)
    dense[place, matrix.column[entry]] = matrix.value[entry]
    return dense
