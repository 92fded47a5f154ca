"""Conditions on a field: hard, built into the formula so that they hold for any weights, or soft, as a penalty.

periodic        u(x) = net(cos kx, sin kx)
initial         u(x, t) = u0(x) + t net(x, t)
on a border     u(x) = g(x) + d(x) net(x),   d = 0 on the border
"""

import math

import torch
from torch import Tensor


def periodic(x: Tensor, period: float = 2 * math.pi) -> Tensor:
    """(cos, sin) of x once around the period: x (batch,) -> (batch, 2)."""
    angle = x * (2 * math.pi / period)
    return torch.stack([angle.cos(), angle.sin()], -1)


def starting_from(start: Tensor, t: Tensor, field: Tensor, scale: float = 1.0) -> Tensor:
    """start + scale t field: equals `start` at t = 0; all (batch,)."""
    return start + scale * t * field


def held_at(border: Tensor, distance: Tensor, field: Tensor) -> Tensor:
    """border + distance field: equals `border` wherever `distance` is 0; all (batch,)."""
    return border + distance * field


def box_distance(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A smooth function that is 0 on the faces of a box and positive inside: x (batch, dims) -> (batch,), the product
    over axes of 4 (x - low)(high - x) / (high - low)^2, which is 1 in the middle."""
    return (4 * (x - low) * (high - x) / (high - low).square()).prod(-1)


def penalty(residual: Tensor, norm: str = "squared") -> Tensor:
    """How far `residual` is from 0: its mean square, or with norm="root" the root of it, which is the L2 norm over a
    grid of as many points but for a factor."""
    squared = residual.square().mean()
    return squared if norm == "squared" else (squared + torch.finfo(squared.dtype).tiny).sqrt()


PENALTIES: tuple[str, ...] = ("squared", "root")
