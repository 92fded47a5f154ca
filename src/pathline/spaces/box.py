"""Boxes [l, u]^d: reflection is a fold, exact for any number of bounces.

fold(y) = l + W - |((y - l) mod 2W) - W|        W = u - l
"""

from typing import ClassVar

import torch
from torch import Tensor

from pathline.ode import Moved
from pathline.spaces.base import Space


class Box(Space):
    """All x with lower <= x <= upper, which are numbers or tensors of one sample's shape."""

    exactness: ClassVar[float] = 0.0

    def __init__(self, lower: float | Tensor, upper: float | Tensor, shape: tuple[int, ...] | None = None) -> None:
        low, high = torch.broadcast_tensors(
            torch.as_tensor(lower, dtype=torch.float64), torch.as_tensor(upper, dtype=torch.float64)
        )
        self.shape = tuple(low.shape) if shape is None else tuple(shape)
        try:
            self.lower, self.upper = low.expand(self.shape), high.expand(self.shape)
        except RuntimeError:
            raise ValueError(f"walls of shape {tuple(low.shape)} do not fit samples of shape {self.shape}") from None
        if not bool((torch.isfinite(high - low) & (low < high)).all()):
            raise ValueError("a box needs finite walls with lower < upper everywhere")

    def walls(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper walls in the type of x, rounded inwards by nothing: the type's own nearest numbers."""
        return self.lower.to(x), self.upper.to(x)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(count, *self.shape, generator=generator, dtype=torch.float64)
        return self.lower + (self.upper - self.lower) * uniform

    def truncated_normal(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal under the condition of being inside: each coordinate by its inverse distribution function.

        float64 (count, *shape). Levels are kept off 0 and 1, and rounding inside.
        """
        low, high = torch.special.ndtr(self.lower), torch.special.ndtr(self.upper)
        uniform = torch.rand(count, *self.shape, generator=generator, dtype=torch.float64)
        level = (low + (high - low) * uniform).clamp(1e-12, 1 - 1e-12)
        return self.project(torch.special.ndtri(level))

    def excess(self, x: Tensor) -> Tensor:
        lower, upper = self.walls(x)
        return torch.maximum(lower - x, x - upper).flatten(1).amax(1)

    def fold(self, y: Tensor) -> Tensor:
        """Mirror y at the walls until it is inside; points inside are returned as they are, to the last bit."""
        lower, upper = self.walls(y)
        width = upper - lower
        folded = lower + width - (torch.remainder(y - lower, 2 * width) - width).abs()
        inside = (y >= lower) & (y <= upper)
        return torch.where(inside, y, torch.minimum(torch.maximum(folded, lower), upper))

    def sign(self, y: Tensor) -> Tensor:
        """-1 where an odd number of folds leads inside, else 1: the slope of `fold`."""
        lower, upper = self.walls(y)
        folds = torch.floor((y - lower) / (upper - lower))
        odd = (torch.remainder(folds, 2) == 1) & (y != upper)
        return torch.where(odd, -1.0, 1.0).to(y)

    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        sign = self.sign(new)
        return Moved(self.fold(new), lambda slope: sign * slope)

    def project(self, x: Tensor) -> Tensor:
        lower, upper = self.walls(x)
        return torch.minimum(torch.maximum(x, lower), upper)
