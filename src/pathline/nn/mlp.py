"""Multilayer perceptrons: a plain one as a building block, and a residual one as a velocity network."""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from pathline.nn.embeddings import Conditioning


class MLP(nn.Sequential):
    """Linear layers with an activation between them: (..., sizes[0]) -> (..., sizes[-1]).

    sizes:            widths from input to output, at least two
    activation:       a module class
    final_activation: whether the output is activated too
    """

    def __init__(
        self, sizes: Sequence[int], activation: type[nn.Module] = nn.SiLU, final_activation: bool = False
    ) -> None:
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs at least an input and an output width, got {list(sizes)}")
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        super().__init__(*(layers if final_activation else layers[:-1]))


class ResidualBlock(nn.Module):
    """h + W2 dropout(SiLU(W1 LayerNorm(h) + c)), h and c: (batch, width)."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.activation = nn.SiLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        update: Tensor = self.outer(self.dropout(self.activation(self.inner(self.norm(h)) + condition)))
        return h + update


class ResidualMLP(nn.Module):
    """A velocity network for vectors and small flattened images; time, interval and class enter every block.

    shape:       of one sample without the batch: 2, (64,) or (1, 8, 8); the output has the shape of the input
    width:       of the hidden layers; 4 blocks of 256 are the field's habit for data of up to 64 dimensions
    num_classes, interval: see `Conditioning`
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 256,
        blocks: int = 4,
        num_classes: int | None = None,
        interval: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.num_classes = num_classes
        size = math.prod(self.shape)
        self.condition = Conditioning(width, num_classes, interval)
        self.lift = nn.Linear(size, width)
        self.blocks = nn.ModuleList(ResidualBlock(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """x: (batch, *shape); t, r: (batch,); label: (batch,) int64 -> (batch, *shape)."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected samples of shape {self.shape}, got {tuple(x.shape[1:])}")
        condition = self.condition(t, r, label)
        h = self.lift(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        output: Tensor = self.head(self.norm(h))
        return output.reshape(x.shape)
