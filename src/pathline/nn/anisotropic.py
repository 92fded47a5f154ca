"""Anisotropic filters: the matrix that an edge applies depends on where, in its receiver's frame, the sender is.

    e_ij = f_ij W_ij,        W_ij = reshape(MLP(place_ij))                        a continuous kernel with a direction
    low rank:                W_ij = A_ij B_ij,  A: (inputs, rank), B: (rank, width)
Kofinas, Nagaraja, Gavves, 2021, arXiv:2110.14961. If the place is given in a frame that turns with the scene, so that
it is invariant, so is the message, although the kernel tells directions apart.
"""

from torch import Tensor, nn

from pathline.nn.mlp import MLP


class AnisotropicFilter(nn.Module):
    """place: columns that say where the sender is; inputs, outputs: widths of what is filtered; rank: None for full."""

    def __init__(self, place: int, inputs: int, outputs: int, width: int, rank: int | None = None) -> None:
        super().__init__()
        self.inputs, self.outputs, self.rank = inputs, outputs, rank
        entries = inputs * outputs if rank is None else rank * (inputs + outputs)
        self.generator = MLP([place, width, entries], nn.ELU)
        for layer in self.generator:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight)

    def weights(self, place: Tensor) -> Tensor:
        """W: (..., inputs, outputs) from (..., place)."""
        entries: Tensor = self.generator(place)
        if self.rank is None:
            return entries.unflatten(-1, (self.inputs, self.outputs))
        left, right = entries.split([self.inputs * self.rank, self.rank * self.outputs], -1)
        return left.unflatten(-1, (self.inputs, self.rank)) @ right.unflatten(-1, (self.rank, self.outputs))

    def forward(self, values: Tensor, place: Tensor) -> Tensor:
        """values: (..., inputs), place: (..., place); returns (..., outputs)."""
        if self.rank is None:
            return (values[..., None, :] @ self.weights(place)).squeeze(-2)
        left, right = self.generator(place).split([self.inputs * self.rank, self.rank * self.outputs], -1)
        inner = values[..., None, :] @ left.unflatten(-1, (self.inputs, self.rank))
        return (inner @ right.unflatten(-1, (self.rank, self.outputs))).squeeze(-2)
