"""Multi-head attention that can be differentiated forwards.

    softmax(Q K^T / sqrt(d)) V        Vaswani et al., 2017, arXiv:1706.03762

Fused attention kernels are fast but have no forward-mode rule, and mean flows take a Jacobian-vector product
through the network: `set_math_attention(net)` switches every attention layer of a module tree to plain
matrix products.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Attention of `queries` tokens to `context` tokens, or to themselves.

    width:              of the tokens, divisible by `heads`
    context_width:      of the context's tokens, if another
    use_math_attention: plain matrix products, with every kind of derivative, instead of the fused kernel
    """

    def __init__(self, width: int, heads: int = 4, context_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        context_width = width if context_width is None else context_width
        self.heads = heads
        self.use_math_attention = False
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (batch, queries, width); context: (batch, keys, context_width) -> (batch, queries, width).

        mask: bool, True where attention is allowed, broadcast to (batch, heads, queries, keys); every query
              needs a key
        """
        context = x if context is None else context
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.query(x), self.key(context), self.value(context))
        )
        attend = math_attention if self.use_math_attention else F.scaled_dot_product_attention
        heads = attend(query, key, value, None if mask is None else torch.atleast_2d(mask))
        output: Tensor = self.output(heads.transpose(1, 2).flatten(2))
        return output


def math_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V over the last two axes (tokens, d), with the softmax in at least float32."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return weights.to(value.dtype) @ value


def set_math_attention(module: nn.Module, enabled: bool = True) -> None:
    """Switch every `MultiHeadAttention` inside a module to plain matrix products (or back to the fused
    kernel).
    """
    for layer in module.modules():
        if isinstance(layer, MultiHeadAttention):
            layer.use_math_attention = enabled
