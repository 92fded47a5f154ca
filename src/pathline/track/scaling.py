"""Paths in own frames as numbers between -1 and 1, and back."""

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError

KINDS = ("min-max", "root", "standard", "none")


class PathScaling(nn.Module):
    """min-max: y = 2 (x - low) / (high - low) - 1 with one low and one high for all axes and steps, so that circles
    stay circles; root: the same of sign(x) |x|^1/2, which spreads short moves; standard: mean 0 and deviation 1 of each
    step and axis; none: metres as they are. Paths are (..., horizon, dims)."""

    low: Tensor
    high: Tensor

    def __init__(self, kind: str, horizon: int, dims: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise MethodError(f"paths are scaled in one of the ways {', '.join(KINDS)}, not '{kind}'")
        self.kind = kind
        self.register_buffer("low", -torch.ones(horizon, dims))
        self.register_buffer("high", torch.ones(horizon, dims))

    def read(self, paths: Tensor) -> None:
        """Take what `paths` (count, horizon, dims), the training data, span."""
        if self.kind == "none" or not paths.numel():
            return
        if self.kind == "standard":
            mean, deviation = paths.mean(0), paths.std(0, correction=0).clamp(min=1e-3)
            self.low.copy_(mean - deviation)
            self.high.copy_(mean + deviation)
            return
        values = self._bent(paths)
        self.low.copy_(values.min())
        self.high.copy_(values.max().clamp(min=values.min() + 1e-6))

    def forward(self, paths: Tensor) -> Tensor:
        return 2 * (self._bent(paths) - self.low) / (self.high - self.low) - 1

    def inverse(self, scaled: Tensor) -> Tensor:
        values = self.low + (scaled + 1) / 2 * (self.high - self.low)
        return values * values.abs() if self.kind == "root" else values

    def _bent(self, paths: Tensor) -> Tensor:
        return paths.sign() * paths.abs().sqrt() if self.kind == "root" else paths
