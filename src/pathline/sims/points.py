"""Laws of points in the plane whose support, and mostly whose density, is known: the field's touchstones for flows.

    two-moons        two half circles of radius 1, the lower one shifted by (1, -1/2), plus normal noise of 0.05
    checkerboard     uniform on the eight dark squares of a 4 x 4 board over [-4, 4]^2        entropy log 32 nats
    eight-gaussians  normal clouds of deviation 0.2 at equal angles on a circle of radius 4, equally likely
    spirals          two interleaved arms r = angle / 2, angle up to 3 pi, plus normal noise of 0.1

Labels name the moon, the square, the cloud or the arm.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pathline.data import Samples

MOON_NOISE, CLOUD_NOISE, ARM_NOISE = 0.05, 0.2, 0.1
CIRCLE = 4.0  # radius on which the eight clouds sit
TURNS = 3 * math.pi  # how far a spiral winds


def points(name: str, count: int, seed: int = 0) -> Samples:
    """`count` independent draws of the law `name` with labels; values (count, 2). The same seed gives the same points.

    Raises ValueError on an unknown name or a count below 1.
    """
    if name not in _LAWS:
        raise ValueError(f"unknown law '{name}'; choose one of {', '.join(_LAWS)}")
    if count < 1:
        raise ValueError(f"a law is sampled at least once, got count {count}")
    draw, classes = _LAWS[name]
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    values = draw(labels, generator)
    return Samples(values=values.float(), labels=labels, columns=("x", "y"), name=name)


def log_density(name: str, x: Tensor) -> Tensor:
    """log p(x) in nats for "checkerboard" (-infinity off its squares) and "eight-gaussians"; (..., 2) -> (...)."""
    if name == "checkerboard":
        cell = torch.floor(x / 2)
        dark = (cell.sum(-1) % 2 == 0) & (x.abs() < 4).all(-1)
        return torch.where(dark, -math.log(32.0), -math.inf).to(x.dtype)
    if name == "eight-gaussians":
        square = (x[..., None, :] - _centres(x.dtype)).square().sum(-1)
        constant = math.log(8 * 2 * math.pi * CLOUD_NOISE**2)
        return torch.logsumexp(-square / (2 * CLOUD_NOISE**2), dim=-1) - constant
    raise ValueError(f"the density of '{name}' has no closed form here; 'checkerboard' and 'eight-gaussians' do")


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _normal(count: int, deviation: float, generator: torch.Generator) -> Tensor:
    return deviation * torch.randn(count, 2, generator=generator, dtype=torch.float64)


def _moons(labels: Tensor, generator: torch.Generator) -> Tensor:
    angle = math.pi * _uniform(len(labels), generator)
    upper = torch.stack([angle.cos(), angle.sin()], dim=-1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=-1)
    return torch.where(labels[:, None] == 0, upper, lower) + _normal(len(labels), MOON_NOISE, generator)


def _checkerboard(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Square k is in row k // 2; its column is even in even rows and odd in odd ones."""
    row = labels // 2
    column = 2 * (labels % 2) + row % 2
    corner = 2.0 * torch.stack([column, row], dim=-1) - 4.0
    inside = torch.stack([_uniform(len(labels), generator), _uniform(len(labels), generator)], dim=-1)
    return corner + 2.0 * inside


def _centres(dtype: torch.dtype) -> Tensor:
    angle = torch.arange(8, dtype=dtype) * math.pi / 4
    return CIRCLE * torch.stack([angle.cos(), angle.sin()], dim=-1)


def _gaussians(labels: Tensor, generator: torch.Generator) -> Tensor:
    return _centres(torch.float64)[labels] + _normal(len(labels), CLOUD_NOISE, generator)


def _spirals(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform along the arm in its angle's square root, which is nearly uniform in arc length."""
    angle = TURNS * _uniform(len(labels), generator).sqrt()
    side = 1.0 - 2.0 * labels
    arm = (side * angle / 2)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return arm + _normal(len(labels), ARM_NOISE, generator)


_LAWS: dict[str, tuple[Callable[[Tensor, torch.Generator], Tensor], int]] = {
    "two-moons": (_moons, 2),
    "checkerboard": (_checkerboard, 8),
    "eight-gaussians": (_gaussians, 8),
    "spirals": (_spirals, 2),
}
