"""The least that a simulator must beat: every body stays where it is, x(t + T) = x(t)."""

from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.method import Computed
from pathline.data import Step
from pathline.simulate.base import Simulator


class Persistence(Computed, Simulator):
    """Nothing moves. Right for bodies that shake around a place of their own, such as atoms over long steps."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        cls.require(data)
        return cls(**config)

    def loss(self, batch: Step) -> Tensor:
        """Mean squared error of the final positions."""
        return (self.step(batch)[0] - batch.target).square().mean()

    def step(self, state: Step) -> tuple[Tensor, Tensor]:
        return state.position, torch.zeros_like(state.velocity)
