"""Cellular sheaves on graphs: nodes and edges carry spaces R^s, and restriction maps say what ends must agree on.

    (delta x)_e = F_{v<e} x_v - F_{u<e} x_u        for an edge e = {u, v}: how much its ends disagree
    L = delta^T delta                              block diagonal D_v = sum_e F_{v<e}^T F_{v<e},
                                                   off-diagonal -F_{v<e}^T F_{u<e}: symmetric, positive semidefinite

The matrix is never assembled: x is (nodes, s, features), and L x is two block-diagonal products around one sparse
product whose entries are learned. Hansen and Gebhart, 2020, "Sheaf neural networks", arXiv:2012.06333.
"""

from typing import Any

import torch
from torch import Tensor

from pathline.graph.segment import Segments
from pathline.graph.sparse import SparseMatrix

FAMILIES = ("diagonal", "general", "orthogonal")


def map_parameters(family: str, stalk: int) -> int:
    """How many numbers a restriction map of a family has."""
    return {"diagonal": stalk, "general": stalk**2, "orthogonal": stalk * (stalk - 1) // 2}[family]


def restriction_maps(raw: Tensor, family: str, stalk: int) -> Tensor:
    """(E, map_parameters) numbers as maps: (E, s) for "diagonal", (E, s, s) for the others.

    "orthogonal" is Cayley's transform (I - S)^-1 (I + S) of the skew S that the numbers fill.
    """
    if family == "diagonal":
        return raw
    if family == "general":
        return raw.view(-1, stalk, stalk)
    eye = torch.eye(stalk, dtype=raw.dtype, device=raw.device)
    upper = torch.triu_indices(stalk, stalk, 1, device=raw.device)
    row = torch.arange(len(raw), device=raw.device)[:, None]
    skew = raw.new_zeros(len(raw), stalk, stalk).index_put((row, upper[0], upper[1]), raw)
    skew = skew - skew.transpose(1, 2)
    return torch.linalg.solve(eye - skew, eye + skew)


class SheafLaplacian:
    """The pattern of a graph on which sheaves live, for maps that change from call to call.

    edge_index: (2, E) int64 with both directions of every edge, each once; own end first. Maps (E, ...) are given in
    the order of `edges` (2, E), sorted by own end and then the other one; map e belongs to the end edges[0, e].
    """

    def __init__(self, edge_index: Tensor, nodes: int, stalk: int = 1, family: str = "diagonal") -> None:
        if family not in FAMILIES:
            raise ValueError(f"there are no '{family}' maps; choose {', '.join(FAMILIES)}")
        self.nodes, self.stalk, self.family = nodes, stalk, family
        plain = SparseMatrix(edge_index[0], edge_index[1], None, (nodes, nodes))
        self.edges = torch.stack([plain.row, plain.column])
        key = plain.row * nodes + plain.column
        if bool((key.diff() == 0).any()):
            raise ValueError("an edge is there twice, and then its other end has no one map: remove duplicates")
        self.reverse = plain.transposed
        if not torch.equal(plain.row[self.reverse], plain.column):
            raise ValueError("an edge lacks its reverse: give both directions of every edge")
        self.own = Segments(plain.row, nodes)
        rows, columns = self._places()
        # stable sorting keeps entries (edge, i, j) as they are: own node, row of the block, other node, column of it
        self.pattern = SparseMatrix(rows.flatten(), columns.flatten(), None, (nodes * stalk, nodes * stalk))

    def _places(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the scalars that the blocks of all edges hold: (E, s) or (E, s * s)."""
        s, (own, other) = self.stalk, self.edges
        place = torch.arange(s, device=own.device)
        if self.family == "diagonal":
            return own[:, None] * s + place, other[:, None] * s + place
        return own[:, None] * s + place.repeat_interleave(s), other[:, None] * s + place.repeat(s)

    def blocks(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """D (nodes, s) or (nodes, s, s), and F_own^T F_other of every edge in the same form."""
        other = _Reverse.apply(maps, self.reverse)
        if self.family == "diagonal":
            return self.own.sum(maps * maps), maps * other
        own = maps.transpose(1, 2)
        return self.own.sum(own @ maps), own @ other

    def apply(self, maps: Tensor, x: Tensor, normalised: bool = False, ridge: float = 1.0) -> Tensor:
        """L x for x (nodes, s, features); normalised: C^-1 L C^-T x, where C C^T = D + ridge I.

        For "diagonal" and "orthogonal" maps C is (D + ridge I)^1/2; for "general" ones Cholesky's factor, which differs
        from the root by a rotation of each stalk and, unlike it, has a gradient where eigenvalues coincide.
        """
        diagonal, off = self.blocks(maps)
        if not normalised:
            return _times(diagonal, x) - self._spread(off, x)
        if self.family == "diagonal":
            root = (diagonal + ridge).clamp(min=torch.finfo(x.dtype).tiny).rsqrt()[..., None]
            inner = root * x
            return root * (_times(diagonal, inner) - self._spread(off, inner))
        eye = torch.eye(self.stalk, dtype=x.dtype, device=x.device)
        factor = torch.linalg.cholesky(diagonal + ridge * eye)
        inner = torch.linalg.solve_triangular(factor.transpose(1, 2), x, upper=True)
        outer = _times(diagonal, inner) - self._spread(off, inner)
        return torch.linalg.solve_triangular(factor, outer, upper=False)

    def _spread(self, off: Tensor, x: Tensor) -> Tensor:
        """sum over edges of the off-diagonal blocks (without their minus) times x."""
        entries = off.flatten()
        if self.stalk > 1:  # scalars of one edge go to different rows
            entries = entries[self.pattern.order]
        return self.pattern.propagate(x.flatten(0, 1), entries).view_as(x)

    def coboundary(self, maps: Tensor, x: Tensor) -> Tensor:
        """F_own x_own - F_other x_other of every edge, from both of its ends: (E, s, features)."""
        own = _times(maps, x[self.edges[0]])
        return own - own[self.reverse]


def _times(blocks: Tensor, x: Tensor) -> Tensor:
    """Blocks (n, s) or (n, s, s) times x (n, s, features)."""
    return blocks[..., None] * x if blocks.ndim == 2 else blocks @ x


class _Reverse(torch.autograd.Function):
    """rows[reverse] for a permutation that is its own inverse, and so its own gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, reverse: Tensor) -> Tensor:
        ctx.reverse = reverse
        if rows.numel() == len(rows):
            return rows.reshape(-1).index_select(0, reverse).view_as(rows)
        return rows.index_select(0, reverse)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Reverse.apply(gradient, ctx.reverse), None
