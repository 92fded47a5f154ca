"""What a simulator must beat: bodies that fly straight on, and the best straight line.

    constant velocity   x(t + T) = x(t) + T v(t)
    linear dynamics     x(t + T) = x(t) + A v(t),   A a number or a matrix, by least squares over the training steps
The second is "Linear" of Satorras et al. 2021, arXiv:2102.09844, there by gradient descent on a number.
"""

from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Computed
from pathline.data import Rollouts, Step
from pathline.simulate.base import Simulator

_BATCH = 4096  # steps looked at together


class ConstantVelocity(Computed, Simulator):
    """Every body keeps its velocity."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        cls.require(data)
        return cls(**config)

    def loss(self, batch: Step) -> Tensor:
        """Mean squared error of the final positions."""
        return (self.step(batch)[0] - batch.target).square().mean()

    def step(self, state: Step) -> tuple[Tensor, Tensor]:
        return state.position + state.duration * state.velocity, state.velocity


class LinearDynamics(Computed, Simulator):
    """x + A v with the A that fits the training steps best in the least-squares sense.

    dims:   dimensions of space
    matrix: A is a (dims, dims) matrix, which can bend motion but depends on the axes; otherwise a number times identity
    """

    gain: Tensor

    def __init__(self, dims: int, matrix: bool = False) -> None:
        super().__init__()
        self.matrix = matrix
        self.register_buffer("gain", torch.eye(dims))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**({"dims": part.positions.shape[3]} | config))
        method.gain.mul_(part.interval * part.span)
        return method

    def read(self, data: Rollouts) -> None:
        """Solve the normal equations, summed up in float64 over all supervised steps of the training part."""
        dims = self.gain.shape[0]
        square, product = torch.zeros(2, dims, dims, dtype=torch.float64)
        for step in data.batches(_BATCH, shuffle=False):
            assert isinstance(step, Step)
            velocity, moved = (v.double().flatten(0, 1) for v in (step.velocity, step.target - step.position))
            square += velocity.T @ velocity
            product += velocity.T @ moved
        if self.matrix:
            gain = (torch.linalg.pinv(square) @ product).T
        else:
            gain = torch.eye(dims) * (product.trace() / square.trace().clamp(min=torch.finfo(torch.float64).tiny))
        self.gain.copy_(gain)

    def checked(self, state: Any) -> Step:
        state = super().checked(state)
        if state.position.shape[2] != self.gain.shape[0]:
            raise DataError(
                f"LinearDynamics learned in {self.gain.shape[0]} dimensions, the state has {state.position.shape[2]}"
            )
        return state

    def loss(self, batch: Step) -> Tensor:
        """Mean squared error of the final positions."""
        return (self.step(batch)[0] - batch.target).square().mean()

    def step(self, state: Step) -> tuple[Tensor, None]:
        return state.position + state.velocity @ self.gain.T, None
