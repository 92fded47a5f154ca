"""Low-rank adaptation: fine-tune a network through a few numbers per layer.

    W' = W + (alpha / rank) B A        A: (rank, inputs), B: (outputs, rank), B = 0 at first

Only A and B train; a convolution is adapted as the matrix (outputs, inputs x height x width). `merge` adds the product
to W and leaves an ordinary network.
Hu, Shen, Wallis, et al., 2022, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRankUpdate(nn.Module):
    """weight -> weight + (alpha / rank) B A; the identity at first."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, inputs, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(outputs, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class LoRA:
    """Adapts every Linear and Conv2d inside `module`, in place, and freezes everything else until `merge`.

    rank:  of the updates, at least 1
    alpha: their scale, times rank

    Raises ValueError on a rank below 1 or a module without such layers.
    """

    def __init__(self, module: nn.Module, rank: int = 4, alpha: float = 1.0) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        if rank < 1 or not self.layers:
            raise ValueError(f"rank {rank} must be at least 1, and the module must hold a Linear or Conv2d layer")
        self.frozen = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in self.frozen:
            parameter.requires_grad_(False)
        for layer in self.layers:
            parametrize.register_parametrization(layer, "weight", LowRankUpdate(layer.weight, rank, alpha))

    def merge(self) -> None:
        """Add the updates to the weights they belong to; what trained before trains again."""
        for layer in self.layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        for parameter in self.frozen:
            parameter.requires_grad_(True)
