"""Objectives that learn a velocity field, and the field as a solver wants it.

    flow matching     E |v(psi_t(x0), t) - d psi_t / dt|^2
    noise matching    E |eps(psi_t(x0), t) - x0|^2

Lipman et al., 2023, arXiv:2210.02747. Errors are means over the dimensions of a sample, everywhere in this
library: a sum would change the effective learning rate with the size of the data.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pathline.flow.paths import GaussianPath

Velocity = Callable[[Tensor, Tensor], Tensor]


class VelocityNetwork(Protocol):
    """net(x, t, r, label): x (batch, ...), t and r (batch,), label (batch,) int64 -> the shape of x."""

    def __call__(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor: ...


def uniform_times(count: int, path: GaussianPath | None = None, generator: torch.Generator | None = None) -> Tensor:
    """t ~ U[0, last], shape (count,) float32; `last` is 1 unless the path's velocity is unbounded there."""
    return torch.rand(count, generator=generator) * (1.0 if path is None else path.last)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over the dimensions of each sample: (batch, ...) -> (batch,)."""
    return (prediction - target).square().flatten(1).mean(dim=1)


def flow_matching_loss(
    net: VelocityNetwork, path: GaussianPath, x0: Tensor, x1: Tensor, t: Tensor, label: Tensor | None = None
) -> Tensor:
    """E |net(psi_t(x0), t) - d psi_t / dt|^2, a scalar; x0 noise and x1 data (batch, ...), t (batch,)."""
    prediction = net(path.sample(x0, x1, t), t, label=label)
    return squared_error(prediction, path.target(x0, x1, t)).mean()


def noise_matching_loss(
    net: VelocityNetwork, path: GaussianPath, x0: Tensor, x1: Tensor, t: Tensor, label: Tensor | None = None
) -> Tensor:
    """E |net(psi_t(x0), t) - x0|^2, a scalar: the objective of diffusion models on the same path."""
    return squared_error(net(path.sample(x0, x1, t), t, label=label), x0).mean()


def velocity_of_noise_network(net: VelocityNetwork, path: GaussianPath) -> VelocityNetwork:
    """v = alpha'/alpha (x - sigma eps) + sigma' eps: a noise network seen as a velocity network."""

    def velocity(x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        return path.velocity_from_noise(x, net(x, t, r, label), t)

    return velocity


def as_velocity(net: VelocityNetwork, label: Tensor | None = None) -> Velocity:
    """v(x, t) for a solver, whose t has no dimension. A mean-velocity network is asked at r = t."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return net(x, t.expand(len(x)), label=label)

    return velocity
