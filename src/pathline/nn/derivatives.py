"""Derivatives of fields, in forward mode: for functions that act on each row by itself, such as networks on points.

A field is a function of coordinates, each (batch,), whose value in row i depends on row i alone. Its derivative along
one coordinate is then one Jacobian-vector product with ones, whatever the batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

Field = Callable[..., Tensor]


def along(field: Field, axis: int, *coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """The value and its derivative along coordinate `axis`, each of the value's shape (batch, ...)."""

    def line(moved: Tensor) -> Tensor:
        return field(*coordinates[:axis], moved, *coordinates[axis + 1 :])

    value, slope, *_ = jvp(line, (coordinates[axis],), (torch.ones_like(coordinates[axis]),))
    return value, slope


def twice_along(field: Field, axis: int, *coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The value, its first and its second derivative along coordinate `axis`."""

    def line(moved: Tensor) -> Tensor:
        value, slope = along(field, axis, *coordinates[:axis], moved, *coordinates[axis + 1 :])
        return torch.stack([value, slope])

    both, change, *_ = jvp(line, (coordinates[axis],), (torch.ones_like(coordinates[axis]),))
    return both[0], both[1], change[1]
