"""Cells that choose between two fates, of which one divides and the other dies: a toggle switch with birth and death.

    dx_1 = (a x_1^n / (k^n + x_1^n) + b k^n / (k^n + x_2^n) - d x_1) dt + sigma dW_1,        dx_2 likewise, 1 <-> 2
    birth at rate alpha x_2^2 / (1 + x_2^2),        death at rate beta x_1^2 / (1 + x_1^2)

Two genes activate themselves and repress each other (Huang, Guo, May, Enver 2007, Developmental Biology 305, 695);
division that depends on x_2 as in Zhang et al. 2025, "Learning stochastic dynamics from snapshots through regularized
unbalanced optimal transport", arXiv:2410.00844. Progenitors begin where both genes are equally active, a saddle, and
fall to either side. Every snapshot is a culture of its own, measured whole at its time: as in the laboratory, no cell
is seen twice. A daughter inherits its mother's state. Time and concentrations have no unit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data import Snapshots, snapshots_of


@dataclass(frozen=True)
class ToggleSwitch:
    """Constants of the equations above; `start` is where progenitors lie, `spread` how far they scatter."""

    activation: float = 0.4
    repression: float = 2.0
    threshold: float = 1.0
    degradation: float = 1.0
    power: int = 4
    noise: float = 0.12
    birth: float = 0.7
    death: float = 0.35
    start: float = 1.08
    spread: float = 0.12

    def drift(self, x: Tensor) -> Tensor:
        """dx/dt without noise, (cells, 2)."""
        k, n = self.threshold, self.power
        up, other = x.clamp(min=0) ** n, x.flip(-1).clamp(min=0) ** n
        return self.activation * up / (k**n + up) + self.repression * k**n / (k**n + other) - self.degradation * x

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Birth and death rate of every cell, (cells,) each."""
        saturated = x.square() / (1 + x.square())
        return self.birth * saturated[..., 1], self.death * saturated[..., 0]

    def growth(self, x: Tensor) -> Tensor:
        """Birth minus death rate: what a population at x grows by, (cells,)."""
        birth, death = self.rates(x)
        return birth - death


def grow(switch: ToggleSwitch, count: int, duration: float, step: float, generator: torch.Generator) -> Tensor:
    """One culture of `count` progenitors after `duration`: (cells, 2) float64, by Euler-Maruyama and, in every step,
    at most one division or death of each cell with probability 1 - exp(-rate step)."""
    x = switch.start + switch.spread * torch.randn(count, 2, generator=generator, dtype=torch.float64)
    x = x.clamp(min=0)
    for _ in range(round(duration / step)):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = (x + step * switch.drift(x) + switch.noise * step**0.5 * noise).clamp(min=0)
        birth, death = switch.rates(x)
        happens = torch.rand(len(x), generator=generator, dtype=torch.float64) < -torch.expm1(-(birth + death) * step)
        dies = torch.rand(len(x), generator=generator, dtype=torch.float64) * (birth + death) < death
        x = torch.cat([x[~(happens & dies)], x[happens & ~dies]])
    return x


def simulated_cells(
    count: int = 400,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0),
    switch: ToggleSwitch | None = None,
    step: float = 0.01,
    seed: int = 0,
) -> Snapshots:
    """A culture of `count` progenitors for each of `times`, measured then."""
    generator = torch.Generator().manual_seed(seed)
    cultures = [grow(switch or ToggleSwitch(), count, time, step, generator) for time in times]
    return snapshots_of(cultures, list(times), columns=("gene 1", "gene 2"), name="simulated-cells")
