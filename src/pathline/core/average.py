"""Exponential moving average of weights: what is evaluated and kept while the raw weights go on training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averages w' <- d w' + (1 - d) w with d = min(decay, (1 + n) / (10 + n)) at step n; decay None does nothing."""

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.names = [name for name, p in module.named_parameters() if p.requires_grad]
        self.weights: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        """Start again from the weights as they are now."""
        self.mean = [] if self.decay is None else [w.detach().clone() for w in self.weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (1-based) steps."""
        if self.decay is not None:
            torch._foreach_lerp_(self.mean, self.weights, 1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def keep(self) -> None:
        """Overwrite the weights with their average."""
        for weight, mean in zip(self.weights, self.mean, strict=False):
            weight.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in place of the weights while the block runs."""
        raw = [w.detach().clone() for w in self.weights] if self.mean else []
        self.keep()
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, kept in zip(self.weights, raw, strict=False):
                    weight.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.mean, strict=False))

    def load(self, state: dict[str, Tensor]) -> None:
        for mean, name in zip(self.mean, self.names, strict=False):
            mean.copy_(state[name])
