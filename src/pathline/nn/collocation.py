"""Where an equation is asked to hold: points of a box, on a grid or drawn."""

import torch
from torch import Tensor

RULES = ("uniform", "latin", "sobol")


def grid_points(counts: list[int], low: list[float], high: list[float], closed: list[bool] | None = None) -> Tensor:
    """Every node of a regular grid: (prod counts, dims); the first coordinate changes slowest.

    closed: per axis, whether `high` is a node too; a periodic axis leaves it out. By default all are.
    """
    lines = []
    for axis, (count, a, b) in enumerate(zip(counts, low, high, strict=True)):
        last = closed is None or closed[axis]
        line = torch.linspace(a, b, count + (not last))
        lines.append(line if last else line[:-1])
    return torch.cartesian_prod(*lines).reshape(-1, len(counts))


def drawn_points(
    count: int, low: list[float], high: list[float], rule: str = "uniform", generator: torch.Generator | None = None
) -> Tensor:
    """`count` points of a box, (count, dims).

    rule: "uniform" draws independently; "latin" puts one point into each of `count` equal slices of every axis; "sobol"
          takes a scrambled low-discrepancy sequence

    Raises:
        ValueError: unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule '{rule}'; choose one of {', '.join(RULES)}")
    dims = len(low)
    start, size = torch.tensor(low), torch.tensor(high) - torch.tensor(low)
    if rule == "sobol":
        seed = int(torch.randint(2**31, (), generator=generator))
        unit = torch.quasirandom.SobolEngine(dims, scramble=True, seed=seed).draw(count)
    else:
        unit = torch.rand(count, dims, generator=generator)
        if rule == "latin":
            slices = torch.stack([torch.randperm(count, generator=generator) for _ in range(dims)], 1)
            unit = (slices + unit) / count
    return start + size * unit
