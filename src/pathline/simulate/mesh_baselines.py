"""What a simulator on meshes must beat: nothing changes, or everything goes on changing as it does.

    persistence         q(t+1) = q(t)
    constant velocity   q(t+1) = q(t) + (q(t) - q(t-1))
Both are also where MeshGraphNets begins: an untrained network of first order gives the one, of second order the other.
"""

from typing import Any, Self

from torch import Tensor

from pathline.core.method import Computed
from pathline.data.meshes import MeshStep
from pathline.simulate.meshes import MeshSimulator


class MeshPersistence(Computed, MeshSimulator):
    """The state stays as it is."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        cls.require(data)
        return cls(**config)

    def loss(self, batch: MeshStep) -> Tensor:
        """Mean squared error of the next state."""
        return (self.step(batch)[0] - batch.target)[:, batch.free].square().mean()

    def step(self, state: MeshStep) -> tuple[Tensor, None]:
        return state.state, None


class MeshConstantVelocity(MeshPersistence):
    """The state goes on changing as it did over the last step."""

    def step(self, state: MeshStep) -> tuple[Tensor, None]:
        return 2 * state.state - state.previous, None
