"""Pairs of cells drawn from plans between neighbouring snapshots: the training data of velocity matching.

A plan is solved once for each pair of neighbouring snapshots; an epoch then draws as many batches as a pass over the
cells would take, each with as many pairs per interval. Masses are not normalised: a source cell has mass 1 and all
target cells together the mass of the source times the measured ratio of masses, whatever the numbers of cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data import Batch
from pathline.flow import entropic_plan, exact_plan, sample_pairs, squared_distances


@dataclass(frozen=True)
class Pairs(Batch):
    """Cells at the two ends of an interval, in the units inside.

    source, target: (batch, dims); start, duration: (batch,) of the interval; log_growth: (batch,) log of how many
    descendants the source has at the end of it
    """

    source: Tensor
    target: Tensor
    start: Tensor
    duration: Tensor
    log_growth: Tensor


@dataclass(frozen=True)
class Populations(Batch):
    """Whole populations of one interval: `first` (cells, dims) is the very first one, at times[0], `target` the one at
    times[-1]; times: (nodes,) of all snapshots up to it."""

    shared: ClassVar[tuple[str, ...]] = ("target", "times")
    first: Tensor
    target: Tensor
    times: Tensor


@dataclass(frozen=True)
class Plans:
    """populations: scaled cells of each snapshot; times: theirs; plans: one between each two; tau and epsilon of each
    plan in units of squared distance, and the median cost they are relative to."""

    populations: list[Tensor]
    times: list[float]
    plans: list[Tensor]
    epsilons: list[float]
    taus: list[float]
    medians: list[float]

    def descendants(self, k: int) -> Tensor:
        """Row sums of plan k: how many descendants each source cell has."""
        return self.plans[k].sum(1)

    def batches(self, size: int, count: int, generator: torch.Generator, largest_log: float) -> Iterator[Pairs]:
        """`count` batches of `size` pairs for each interval; |log_growth| is at most `largest_log`."""
        cumulated = [self.descendants(k).log().clamp(-largest_log, largest_log).float() for k in range(len(self.plans))]
        for _ in range(count):
            parts = []
            for k, plan in enumerate(self.plans):
                i, j = sample_pairs(plan, size, generator)
                start = torch.full((size,), self.times[k])
                duration = torch.full((size,), self.times[k + 1] - self.times[k])
                parts.append((self.populations[k][i], self.populations[k + 1][j], start, duration, cumulated[k][i]))
            yield Pairs(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def intervals(self) -> Iterator[Populations]:
        """One batch for each interval, in order of time."""
        for k in range(1, len(self.times)):
            yield Populations(self.populations[0], self.populations[k], torch.tensor(self.times[: k + 1]))


def solve_plans(populations: list[Tensor], times: list[float], mass: list[float], epsilon: float, tau: float) -> Plans:
    """Semi-relaxed plans between neighbours; epsilon and tau are relative to the median cost of each pair.

    tau: how dear it is to change a source cell's mass; inf keeps all masses, and then the plan is balanced: masses of
    the target are brought to that of the source. epsilon: 0, with tau = inf alone, gives the exact plan.
    """
    plans, epsilons, taus, medians = [], [], [], []
    for k in range(len(times) - 1):
        x, y = populations[k].double(), populations[k + 1].double()
        cost = squared_distances(x, y)
        median = float(cost.median().clamp(min=1e-12))
        ratio = 1.0 if tau == float("inf") else mass[k + 1] / mass[k]
        a = torch.ones(len(x), dtype=torch.float64)
        b = torch.full((len(y),), ratio * len(x) / len(y), dtype=torch.float64)
        if epsilon == 0:
            plans.append(exact_plan(cost, a, b))
        else:
            plans.append(entropic_plan(cost, a, b, epsilon * median, tau * median, tolerance=1e-5, iterations=2000))
        epsilons.append(epsilon * median)
        taus.append(tau * median)
        medians.append(median)
    return Plans(populations, times, plans, epsilons, taus, medians)
