"""GTE: recommend by counting walks, with nothing to learn.

Items begin with one vector each, users with none; both add what their neighbours hold, k times at once:

    item_0 = I, user_0 = 0        user_{l+1} = A item_l + user_l        item_{l+1} = A^T user_l + item_l
    score(u, i) = user_k[u, i] = sum over odd j <= k of C(k, j) A (A^T A)^((j-1)/2)

A is the 0/1 matrix of who liked what. The score counts the walks of k steps from u to i of which each may also stay
where it is: their topological closeness. With k = 3 that is A A^T A + 3 A: off the training set, how many users who
share an item with u like i, counted once for every shared item. Only products of sparse A with blocks of users occur.

When to use it: sparse data (shops), where it is on a par with trained networks in seconds. On dense data walks count
popularity; `normalised=True`, our option, weighs them by D_u^-1/2 A D_i^-1/2, which helps there and hurts on sparse
data.

Cai, Xia, Ren, Huang, 2023, "How expressive are graph neural networks in recommendation?", CIKM, arXiv:2308.11127.
Departs: what a user has is never shown, where the authors' program sets its score to 0, equal to that of all items out
of reach; equal scores go to the item named first (or, with `rank(..., ties=seed)`, to a random one).
"""

import warnings
from collections.abc import Callable
from math import comb

import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.graph import SparseMatrix, entries_of, interaction_matrix
from pathline.graph.ragged import starts_of
from pathline.recommend.baselines import Solved, dense_rows

EXACT = 1 << 24  # whole numbers below this are exact in float32
FOLLOWING = 10.0  # what following a walk costs, in multiplications of a dense product
TAGS = ("none", "random", "unique")


class GTE(Solved):
    """hops: k;  normalised: weigh walks by degrees, which the paper does not."""

    def __init__(
        self, users: int, items: int, interactions: int, names: int, hops: int = 3, normalised: bool = False
    ) -> None:
        super().__init__(users, items, interactions, names)
        if hops < 1:
            raise MethodError(f"GTE: hops is {hops}; give at least 1")
        self.hops, self.normalised = hops, normalised

    @property
    def matrix(self) -> SparseMatrix:
        """A, or its normalised form: (users, items)."""
        matrix: SparseMatrix = self.made(
            "matrix", lambda: interaction_matrix(*self.pairs(), self.users, self.items, self.normalised)
        )
        return matrix

    def scorer(self) -> Callable[[Tensor], Tensor]:
        matrix, weights = self.matrix, walk_weights(self.hops)
        dtype = torch.float32 if self.normalised or largest_count(matrix, weights) < EXACT else torch.float64
        if matrix.value.device.type == "cpu" and few_walks(matrix, weights):
            return self.made("neighbours", lambda: walks_by_neighbours(matrix, weights, dtype))
        return lambda users: walks(matrix, users, weights, dtype)

    def propagate(self, tags: str = "none", seed: int = 0) -> tuple[Tensor, Tensor]:
        """The rule as it is written: all of user_k (users, columns) and item_k (items, columns); for small data.

        tags: what users begin with beside nothing: "random" numbers, or a "unique" vector each, in columns of their
        own, so that users can be told apart too; scores, the first columns, do not change.
        """
        if tags not in TAGS:
            raise MethodError(f"GTE: tags is '{tags}'; choose {', '.join(TAGS)}")
        dense = dense_rows(self.matrix, torch.arange(self.users, device=self.item.device)).double()
        extra = {"none": 0, "random": 1, "unique": self.users}[tags]
        user = dense.new_zeros(self.users, self.items + extra)
        item = torch.eye(self.items, self.items + extra, dtype=dense.dtype, device=dense.device)
        if tags == "random":
            user[:, self.items] = torch.rand(self.users, generator=torch.Generator().manual_seed(seed))
        if tags == "unique":
            user[:, self.items :] = torch.eye(self.users)
        for _ in range(self.hops):
            user, item = dense @ item + user, dense.T @ user + item
        return user, item


def walk_weights(hops: int) -> list[float]:
    """C(k, 1), C(k, 3), ...: how many of the walks of k steps that may stay have j moves in given order."""
    return [float(comb(hops, moves)) for moves in range(1, hops + 1, 2)]


def walks(matrix: SparseMatrix, users: Tensor, weights: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    """sum_m weights[m] A_B (A^T A)^m for the rows B of A: (len(users), items). Memory is of that shape and its like."""
    start = dense_rows(matrix, users).T.contiguous().to(dtype)
    total = weights[-1] * start
    for weight in reversed(weights[:-1]):
        total = torch.add(matrix.T @ (matrix @ total), start, alpha=weight)
    return total.T.contiguous()


def walks_by_neighbours(matrix: SparseMatrix, weights: list[float], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A function that does the same for k = 3 or 4 as the sparse product (A_B A^T) A: walk by walk, where few are."""
    single, triple = weights
    forward, backward = sparse_rows(matrix, dtype), sparse_rows(matrix.T, dtype)

    def score(users: Tensor) -> Tensor:
        near = sparse_rows(matrix, dtype, users) @ backward
        scores = torch.zeros(len(users), matrix.shape[1], dtype=dtype)
        torch.addmm(scores, near, forward, beta=0.0, alpha=triple, out=scores)
        place, entry = entries_of(matrix.pointer, users)
        scores[place, matrix.column[entry]] += (single * matrix.value[entry]).to(dtype)
        return scores

    return score


def sparse_rows(matrix: SparseMatrix, dtype: torch.dtype, rows: Tensor | None = None) -> Tensor:
    """Some rows of a matrix, or all, as a tensor in the compressed form of torch: (len(rows), columns)."""
    pointer, column, value = matrix.pointer, matrix.column, matrix.value
    if rows is not None:
        _, entry = entries_of(pointer, rows)
        pointer, column, value = starts_of(pointer.diff()[rows]), column[entry], value[entry]
    shape = len(pointer) - 1, matrix.shape[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
        return torch.sparse_csr_tensor(pointer.int(), column.int(), value.to(dtype), shape)


def few_walks(matrix: SparseMatrix, weights: list[float]) -> bool:
    """Whether following single walks of three moves costs less than multiplying blocks of dense columns; only MKL's
    sparse products do."""
    if len(weights) != 2 or not torch.backends.mkl.is_available():
        return False
    ones = torch.ones(matrix.shape[1], 1, dtype=torch.float64)
    moves = matrix.propagate(matrix.T.propagate(matrix.propagate(ones))).sum()
    return float(moves) * FOLLOWING < 2.0 * len(matrix) * matrix.shape[0]


def largest_count(matrix: SparseMatrix, weights: list[float]) -> float:
    """A bound of every number that counting walks meets: each two moves multiply it by the largest two degrees."""
    most = float(matrix.pointer.diff().max()) * float(matrix.T.pointer.diff().max())
    return sum(weight * most**power for power, weight in enumerate(weights))
