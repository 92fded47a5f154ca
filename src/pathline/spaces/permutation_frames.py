"""Frames of graphs: nodes sorted by what the spectrum says about them, with all orders of those that it cannot tell.

    S_i = (P_1[i, i], P_2[i, i], ..)      P_m the projection onto the m-th eigenspace of I - D^-1/2 A D^-1/2
    F(A, Y) = all permutations that sort the rows [S_i, Y_i] lexicographically
S depends neither on the order of the nodes nor on the choice of a basis within an eigenspace. If F is too large, an
average over permutations drawn from it is unbiased, and invariant in expectation.
Puny et al., 2022, arXiv:2110.03336, whose code rounds S to two decimals; here values join by their distance.

A network on sorted graphs may use the places of nodes, which message passing may not: so it tells graphs apart that
message passing confuses (two triangles and a hexagon).
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pathline.spaces.frames import Frame

TOLERANCE = 1e-4  # eigenvalues, and entries of S, that are closer than this are equal


def spectral_signature(adjacency: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """S: (nodes, eigenspaces) float64 from a symmetric (nodes, nodes) matrix of weights >= 0."""
    weights = adjacency.detach().cpu().double()
    degree = weights.sum(1)
    scale = torch.where(degree > 0, degree, 1.0).rsqrt()
    laplacian = torch.diag((degree > 0).double()) - scale[:, None] * weights * scale
    values, vectors = torch.linalg.eigh(laplacian)
    space = torch.cat([values.new_zeros(1), (values.diff() > tolerance).double().cumsum(0)]).long()
    return torch.zeros(len(values), int(space[-1]) + 1, dtype=torch.float64).index_add(1, space, vectors.square())


def _ranks(columns: Tensor, tolerance: float) -> Tensor:
    """Values of each column by their place among its different values: (rows, columns) int64. Sorted neighbours that
    are within the tolerance share a place."""
    values, order = columns.sort(dim=0)
    place = torch.cat([values.new_zeros(1, values.shape[1]), (values.diff(dim=0) > tolerance).double().cumsum(0)])
    return torch.empty_like(order).scatter_(0, order, place.long())


def tied_groups(signature: Tensor, tolerance: float = TOLERANCE) -> list[Tensor]:
    """Nodes with equal rows, the groups in lexicographic order of the rows."""
    _, group = _ranks(signature, tolerance).unique(dim=0, return_inverse=True)
    return [(group == number).nonzero().flatten() for number in range(int(group.max()) + 1)]


class PermutationFrame(Frame):
    """Orders of nodes that sort their spectral signatures.

    limit:   up to so many permutations, all are used
    samples: of larger frames, so many are drawn, from torch's global generator unless a `generator` is given

    Kinds: "pair" (nodes, nodes), such as the adjacency, "node" (nodes, features), and "scalar". The first input is the
    adjacency; "node" inputs among the others help to sort. One graph at a time: frames of graphs differ in size.
    """

    def __init__(
        self,
        limit: int = 1000,
        samples: int = 64,
        tolerance: float = TOLERANCE,
        generator: torch.Generator | None = None,
    ) -> None:
        self.limit, self.samples, self.tolerance, self.generator = limit, samples, tolerance, generator

    def groups(self, adjacency: Tensor, *features: Tensor) -> list[Tensor]:
        columns = [spectral_signature(adjacency, self.tolerance), *(y.detach().cpu().double() for y in features)]
        return tied_groups(torch.cat(columns, 1), self.tolerance)

    def size(self, adjacency: Tensor, *features: Tensor) -> int:
        """How many permutations the whole frame has."""
        return math.prod(math.factorial(len(group)) for group in self.groups(adjacency, *features))

    def elements(self, *inputs: Tensor, kinds: Sequence[str] = ("pair", "node"), mask: Tensor | None = None) -> Tensor:
        """(permutations, nodes) int64: entry i of a row is the node that comes at place i."""
        adjacency = inputs[0]
        if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
            raise ValueError(f"the first input is one graph's adjacency (nodes, nodes), got {tuple(adjacency.shape)}")
        features = [x for x, kind in zip(inputs, kinds, strict=False) if kind == "node"]
        groups = self.groups(adjacency, *features)
        if math.prod(math.factorial(len(group)) for group in groups) <= self.limit:
            orders = [torch.tensor(list(itertools.permutations(group.tolist()))) for group in groups]
            chosen = torch.cartesian_prod(*(torch.arange(len(order)) for order in orders)).view(-1, len(orders))
            parts = [order[chosen[:, place]] for place, order in enumerate(orders)]
        else:
            noise = torch.rand(self.samples, len(adjacency), generator=self.generator)
            parts = [group[noise[:, group].argsort(1)] for group in groups]
        return torch.cat(parts, 1).to(adjacency.device)

    def act(self, elements: Tensor, x: Tensor, kind: str) -> Tensor:
        if kind == "scalar":
            return x
        return self._taken(elements.argsort(1), x, kind)

    def act_inverse(self, elements: Tensor, x: Tensor, kind: str) -> Tensor:
        x = x.expand(len(elements), *x.shape)
        return x if kind == "scalar" else self._taken(elements, x, kind)

    @staticmethod
    def _taken(order: Tensor, x: Tensor, kind: str) -> Tensor:
        copy = torch.arange(len(order), device=order.device)[:, None]
        if kind == "pair":
            return x[copy[..., None], order[:, :, None], order[:, None, :]]
        return x[copy, order]

    def lead(self, x: Tensor, kind: str) -> int:
        return 0
