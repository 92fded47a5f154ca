"""What every transporter must beat: standing still, and following the optimal plan between neighbouring snapshots."""

import itertools
from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import unwrap_split
from pathline.data import Snapshots
from pathline.flow import barycentric_map, exact_plan, squared_distances
from pathline.transport.base import Transporter, thinned


class _ClosedForm(Transporter):
    """A transporter that is solved, not trained."""

    trains = False

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        method = super().for_data(data, **config)
        method.solve(cls.require(data))
        return method

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """The closed form; budget, seed and options change nothing."""
        part = self.check(unwrap_split(data))
        self.read_units(part)
        self.solve(part)
        return self.eval()

    def solve(self, data: Snapshots) -> None:
        """Read what is needed off the training part."""


class Identity(_ClosedForm):
    """Every cell stays where it is."""

    def carry(self, x: Tensor, start: float, end: float, **options: Any) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))


class LinearTransport(_ClosedForm):
    """Displacement interpolation along the exact balanced plan of each pair of neighbouring snapshots.

        x(s) = x + s (T(x_i) - x_i),        s from 0 to 1 over the interval, x_i the `neighbours` nearest of the source

    T is the barycentric map of the plan. Cells that were not in the source move like their nearest ones, weighted by
    inverse squared distance. After the last snapshot the last displacement goes on.
    McCann, 1997, "A convexity principle for interacting gases", Advances in Mathematics 128, 153.
    """

    sources: Tensor
    moves: Tensor
    sizes: Tensor

    def __init__(self, dims: int, snapshots: int, cells: int = 0, neighbours: int = 3) -> None:
        super().__init__(dims, snapshots)
        self.neighbours = neighbours
        self.register_buffer("sources", torch.zeros(cells, dims))
        self.register_buffer("moves", torch.zeros(cells, dims))
        self.register_buffer("sizes", torch.zeros(snapshots - 1, dtype=torch.int64))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        cells = sum(len(cells) for cells in _thinned_populations(part)[:-1])
        return super().for_data(data, **{"cells": cells} | config)

    def solve(self, data: Snapshots) -> None:
        populations = [self.scaled(cells.to(self.shift)) for cells in _thinned_populations(data)]
        maps = []
        for x, y in itertools.pairwise(populations):
            plan = exact_plan(squared_distances(x, y), torch.ones(len(x)), torch.full((len(y),), len(x) / len(y)))
            maps.append(barycentric_map(plan, y) - x)
        if sum(map(len, maps)) != len(self.sources):
            raise DataError(f"{data.name}: this LinearTransport was made for {len(self.sources)} cells")
        self.sources.copy_(torch.cat(populations[:-1]))
        self.moves.copy_(torch.cat(maps))
        self.sizes.copy_(torch.tensor([len(part) for part in maps]))

    def carry(self, x: Tensor, start: float, end: float, **options: Any) -> tuple[Tensor, Tensor]:
        if end < start:
            raise DataError("LinearTransport only goes forward in time; fit another method, such as vgfm, to go back")
        nodes = [self.clock(t) for t in self.learned_times.tolist()]
        sources, moves = (part.split(self.sizes.tolist()) for part in (self.sources, self.moves))
        while start < end - 1e-9:
            k = max(0, min(sum(node <= start + 1e-9 for node in nodes) - 1, len(moves) - 1))
            last = k == len(moves) - 1 or start < nodes[0] - 1e-9
            stop = min(end, nodes[0]) if start < nodes[0] - 1e-9 else end if last else min(end, nodes[k + 1])
            # where the source's cells are by now, so that neighbours are sought there
            passed = (start - nodes[k]) / (nodes[k + 1] - nodes[k])
            distance, index = squared_distances(x, sources[k] + passed * moves[k]).topk(
                min(self.neighbours, len(moves[k])), largest=False
            )
            weight = 1 / (distance + 1e-12)
            move = (weight[..., None] * moves[k][index]).sum(1) / weight.sum(1, keepdim=True)
            x = x + (stop - start) / (nodes[k + 1] - nodes[k]) * move
            start = stop
        return x, x.new_zeros(len(x))


def _thinned_populations(data: Snapshots) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [thinned(data.population(k), generator) for k in range(len(data.times))]
