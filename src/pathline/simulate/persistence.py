"""The least that a simulator must beat: every body stays where it is, x(t + T) = x(t)."""

import torch
from torch import Tensor

from pathline.data import Step
from pathline.simulate.baselines import ConstantVelocity


class Persistence(ConstantVelocity):
    """Nothing moves. Right for bodies that shake around a place of their own, such as atoms over long steps."""

    def step(self, state: Step) -> tuple[Tensor, Tensor]:
        return state.position, torch.zeros_like(state.velocity)
