"""Neighbour sampling over a sparse matrix in row order: for graphs of which only a part can be touched at a time.

Of every target at most `size` neighbours are drawn, uniformly and without replacement, by Floyd's algorithm for all
targets at once: for j = d - size .. d - 1 draw t from 0 .. j, and take t, or j where t was taken already (Bentley and
Floyd, 1987, "A sample of brilliance", Communications of the ACM 30, 754). The cost is that of the sample alone, however
many neighbours a node has. Sums over a sample, times degree / sampled, are unbiased for sums over all neighbours.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pathline.graph.bipartite import entries_of
from pathline.graph.sparse_matrix import SparseMatrix


class NeighbourBlock(NamedTuple):
    """targets: (t,) nodes, increasing;  pointer: (t + 1,) where the neighbours of each begin;  neighbour: (m,) nodes;
    weight: (m,) float, entry of the matrix times degree / sampled."""

    targets: Tensor
    pointer: Tensor
    neighbour: Tensor
    weight: Tensor

    def sum(self, rows: Tensor) -> Tensor:
        """Weighted sums of the rows (nodes, width) of the neighbours of each target: (t, width)."""
        if not len(self.neighbour):
            return rows.new_zeros(len(self.targets), rows.shape[1])
        weight = self.weight.to(rows.dtype)
        return torch.embedding_bag(rows, self.neighbour, self.pointer, False, 0, False, weight, True)[0]

    def sum_at_targets(self, rows: Tensor) -> Tensor:
        """The same for rows (t, width) that only the targets have, all others being 0."""
        if not len(self.neighbour):
            return torch.zeros_like(rows)
        local = torch.searchsorted(self.targets, self.neighbour).clamp(max=len(self.targets) - 1)
        weight = (self.weight * (self.targets[local] == self.neighbour)).to(rows.dtype)
        return torch.embedding_bag(rows.contiguous(), local, self.pointer, False, 0, False, weight, True)[0]


def sample_block(
    matrix: SparseMatrix, targets: Tensor, size: int | None, generator: torch.Generator | None = None
) -> NeighbourBlock:
    """At most `size` neighbours of each target, all if size is None; drawn from torch's global generator by default."""
    degree = matrix.pointer[targets + 1] - matrix.pointer[targets]
    if size is None:
        size = int(degree.max()) if len(degree) else 0
    taken = degree.clamp(max=size)
    place, entry = entries_of(matrix.pointer, targets[degree <= size])
    few, many = (degree <= size).nonzero().flatten(), (degree > size).nonzero().flatten()
    chosen = _floyd(degree[many], size, generator) + matrix.pointer[targets[many]][:, None]
    owner = torch.cat([few[place], many.repeat_interleave(size)])
    picked = torch.cat([entry, chosen.flatten()])
    order = owner.argsort(stable=True)
    owner, picked = owner[order], picked[order]
    weight = matrix.value[picked] * (degree[owner].float() / taken[owner].float())
    pointer = torch.cat([taken.new_zeros(1), taken.cumsum(0)])
    return NeighbourBlock(targets, pointer, matrix.column[picked], weight)


def _floyd(degree: Tensor, size: int, generator: torch.Generator | None) -> Tensor:
    """(rows, size) different numbers from 0 .. degree - 1 in every row; every degree is above `size`."""
    draws = torch.rand(len(degree), size, generator=generator, dtype=torch.float64).to(degree.device)
    last = degree[:, None] - size + torch.arange(size, device=degree.device)
    tried = (draws * (last + 1)).long().minimum(last)
    chosen = torch.full_like(tried, -1)
    for k in range(size):
        taken = (chosen[:, :k] == tried[:, k : k + 1]).any(1)
        chosen[:, k] = torch.where(taken, last[:, k], tried[:, k])
    return chosen
