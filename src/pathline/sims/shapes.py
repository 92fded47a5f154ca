"""Obstacles of random kind, size and place: circles, squares, triangles that point up- or down-stream, and rhombi.

The five primitive shapes of Ribeiro, Rehman, Ahmed, Dengel, 2020, arXiv:2004.08826. In coordinates u, v from the
middle of a shape, in units of its half length and half height, each but the circle is where four half-planes meet.
"""

from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("circle", "square", "triangle to the left", "triangle to the right", "rhombus")
# n such that n.(u, v) <= 1 for every half-plane of the kind; a circle has none, a triangle three.
_PLANES = torch.tensor(
    [
        [[0, 0], [0, 0], [0, 0], [0, 0]],
        [[1, 0], [-1, 0], [0, 1], [0, -1]],
        [[1, 0], [1, 0], [-1, 2], [-1, -2]],
        [[-1, 0], [-1, 0], [1, 2], [1, -2]],
        [[1, 1], [1, -1], [-1, 1], [-1, -1]],
    ],
    dtype=torch.float64,
)
LONG = torch.tensor([[1, 1], [1, 1], [0.7, 1.2], [0.7, 1.2], [0.7, 1.4]], dtype=torch.float64)  # length / height
HIGH = (0.2, 0.4)  # least and largest height of a shape, in heights of the grid
ALONG, ACROSS = (0.2, 0.4), (0.375, 0.625)  # where its middle lies, in widths and heights of the grid


class Shapes(NamedTuple):
    """kind: (items,) int64, see KINDS;  middle, half: (items, 2) float64, along and across, in cells."""

    kind: Tensor
    middle: Tensor
    half: Tensor


def random_shapes(count: int, height: int, width: int, seed: int = 0) -> Shapes:
    """`count` shapes for a grid, every kind equally often; the first ones do not depend on how many there are."""
    draw = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def between(column: int, low: Tensor | float, high: Tensor | float) -> Tensor:
        return low + (high - low) * draw[:, column]

    kind = torch.arange(count) % len(KINDS)
    across = between(0, *HIGH) * height / 2
    along = across * between(1, *LONG[kind].T)
    middle = torch.stack([between(2, *ALONG) * width, between(3, *ACROSS) * height], 1) - 0.5
    return Shapes(kind, middle, torch.stack([along, across], 1))


def cover(shapes: Shapes, height: int, width: int) -> Tensor:
    """(items, height, width) bool: the cells whose centres lie inside the shapes."""
    cells = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).double()
    place = (cells - shapes.middle[:, None, None]) / shapes.half[:, None, None]
    planes = torch.einsum("nyxd,npd->nyxp", place, _PLANES[shapes.kind]).amax(-1)
    return torch.where((shapes.kind == 0)[:, None, None], place.square().sum(-1), planes) <= 1
