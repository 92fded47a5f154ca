"""A small diffusion transformer: patches of an image as tokens, conditioned by adaptive layer norm.

    h <- h + gate * f((1 + scale) LayerNorm(h) + shift)        f: attention, then an MLP

gate, scale and shift are linear in SiLU(c) and start at zero (adaLN-zero): a fresh block is the identity.
Peebles, Xie, 2023, "Scalable Diffusion Models with Transformers", arXiv:2212.09748.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.nn.attention import MultiHeadAttention
from pathline.nn.embeddings import Conditioning
from pathline.nn.mlp import MLP


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that is 0 at initialisation."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class TransformerBlock(nn.Module):
    """adaLN-zero: the identity at initialisation. h: (batch, tokens, width), c: (batch, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = MultiHeadAttention(width, heads)
        self.mlp = MLP((width, 4 * width, width), activation=nn.GELU)
        self.modulation = zero_linear(width, 6 * width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        modulation = self.modulation(F.silu(condition))[:, None].chunk(6, dim=-1)
        shift, scale, gate = modulation[:3]
        h = h + gate * self.attention((1 + scale) * self.norm(h) + shift)
        shift, scale, gate = modulation[3:]
        return h + gate * self.mlp((1 + scale) * self.norm(h) + shift)


class DiT(nn.Module):
    """A velocity network for images; its output is 0 at initialisation.

    shape: (channels, height, width) of the images; patch divides height and width
    width: of the tokens; depth: number of blocks
    num_classes, interval: see `Conditioning`
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: int = 2,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        num_classes: int | None = None,
        interval: bool = False,
    ) -> None:
        super().__init__()
        channels, height, columns = shape
        if height % patch or columns % patch:
            raise ValueError(f"patches of {patch} do not tile an image of {height} x {columns}")
        self.shape, self.patch, self.num_classes = tuple(shape), patch, num_classes
        tokens = (height // patch) * (columns // patch)
        self.condition = Conditioning(width, num_classes, interval)
        self.lift = nn.Linear(channels * patch * patch, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zero_linear(width, 2 * width)
        self.head = zero_linear(width, channels * patch * patch)

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """x: (batch, *shape); t, r: (batch,); label: (batch,) int64 -> (batch, *shape)."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected images of shape {self.shape}, got {tuple(x.shape[1:])}")
        condition = self.condition(t, r, label)
        h = self.lift(F.unfold(x, self.patch, stride=self.patch).transpose(1, 2)) + self.position
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(F.silu(condition))[:, None].chunk(2, dim=-1)
        patches = self.head((1 + scale) * self.norm(h) + shift).transpose(1, 2)
        return F.fold(patches, x.shape[2:], self.patch, stride=self.patch)
