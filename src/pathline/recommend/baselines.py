"""What every recommender must beat: what everybody likes, what goes with what one has, and factors without a graph."""

from collections.abc import Callable

import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.core.method import Computed
from pathline.graph import SparseMatrix, entries_of, interaction_matrix
from pathline.recommend.base import BLOCK, Recommender
from pathline.recommend.pairwise import Pairwise


class Solved(Computed, Recommender):
    """A recommender that is read off the data, not trained; while it scores, it may hold a number for each user too."""

    @property
    def held(self) -> int:
        return max(self.users, self.items)


class Popularity(Solved):
    """Everybody is shown what most users liked."""

    def scorer(self) -> Callable[[Tensor], Tensor]:
        count = torch.bincount(self.pairs()[1], minlength=self.items).to(torch.get_default_dtype())
        return lambda users: count.expand(len(users), -1).clone()


class ItemKNN(Solved):
    """An item scores by its likeness to what the user liked.

        score(u, i) = sum over j liked by u of s(i, j),    s(i, j) = c_ij / (sqrt(d_i d_j) + shrinkage)

    c counts users who liked both, d those who liked one; of every item only the `neighbours` largest s are kept, and
    those that equal the last of them: which neighbours an item has does not depend on the order of the items.
    Sarwar, Karypis, Konstan, Riedl, 2001, "Item-based collaborative filtering recommendation algorithms", WWW.
    """

    def __init__(
        self, users: int, items: int, interactions: int, names: int, neighbours: int = 100, shrinkage: float = 10.0
    ) -> None:
        super().__init__(users, items, interactions, names)
        if neighbours < 1 or shrinkage < 0:
            raise MethodError(
                f"ItemKNN: {neighbours} neighbours and a shrinkage of {shrinkage:g}; give at least 1 and 0"
            )
        self.neighbours, self.shrinkage = neighbours, shrinkage

    def likeness(self) -> SparseMatrix:
        """(items, items), row i holding s(i, j) of the items j most like i; found a block of items at a time."""

        def make() -> SparseMatrix:
            liked = interaction_matrix(*self.pairs(), self.users, self.items)
            root = torch.bincount(liked.column, minlength=self.items).to(liked.value.dtype).sqrt()
            kept = min(self.neighbours, self.items)
            rows, columns, values = [], [], []
            for block in torch.arange(self.items, device=self.item.device).split(max(1, BLOCK // self.held)):
                both = (liked.T @ dense_rows(liked.T, block).T).T
                alike = both / (root[block, None] * root + self.shrinkage)
                alike[torch.arange(len(block)), block] = 0
                least = alike.topk(kept, 1).values[:, -1:]
                place, column = ((alike >= least) & (alike > 0)).nonzero(as_tuple=True)
                rows.append(block[place])
                columns.append(column)
                values.append(alike[place, column])
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
    place, entry = entries_of(matrix.pointer, rows)
    dense = torch.zeros(len(rows), matrix.shape[1], dtype=matrix.value.dtype, device=rows.device)
    dense[place, matrix.column[entry]] = matrix.value[entry]
    return dense
