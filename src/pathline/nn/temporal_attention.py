"""Attention of a node over its last neighbours in a stream of events."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class TemporalAttention(nn.Module):
    """z_u = W_skip s_u + concat_heads sum_k alpha_k W_v x_k,    alpha = softmax_k(q_u . W_k x_k / sqrt d)

    x_k = [s_k, e_k]: the memory of a neighbour and what is known of the event with it. Nobody to attend to gives
    W_skip s_u. Keys and values of neighbours are never made: q . W_k x = (W_k^T q) . x, and what is summed is x itself,
    which is mapped once by W_v. A bias in the keys would not change the softmax.
    Xu et al., 2020, arXiv:2002.07962.
    """

    def __init__(self, width: int, edge_width: int, out: int, heads: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if out % heads:
            raise ValueError(f"the output of {out} numbers does not divide into {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.query, self.skip = nn.Linear(width, out), nn.Linear(width, out)
        bound = math.sqrt(6 / (width + edge_width + out // heads))
        self.key = nn.Parameter(torch.empty(heads, out // heads, width + edge_width).uniform_(-bound, bound))
        self.value = nn.Parameter(torch.empty(heads, out // heads, width + edge_width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, own: Tensor, near: Tensor, exists: Tensor) -> Tensor:
        """own: (batch, width);  near: (batch, K, width + edge_width), the x;  exists: (batch, K) bool.

        Returns (batch, out).
        """
        query = self.query(own).view(len(own), self.heads, -1).transpose(0, 1)
        asked = (query @ self.key / math.sqrt(query.shape[-1])).transpose(0, 1)
        chance = 1 - self.dropout if self.training else 1.0
        kept = exists[:, None].expand(-1, self.heads, -1).to(near.dtype)
        if chance < 1:
            kept = kept * torch.bernoulli(torch.full_like(kept, chance)) / chance
        attended: Tensor = _Attend.apply(asked, near, exists, kept)
        summed = attended.transpose(0, 1)
        value = (summed @ self.value.transpose(1, 2)).transpose(0, 1).reshape(len(own), -1)
        return self.skip(own) + value + self.bias * exists.any(1, keepdim=True)


class _Attend(torch.autograd.Function):
    """sum_k w_k x_k with w = softmax_k(asked . x_k) over what exists, times `kept`: (batch, heads, width).

    The gradient of x has two parts, one from the logits and one from the sum; both are one product here, in the order
    in which x lies in memory, which is several times as fast as what differentiating the two steps gives.
    """

    @staticmethod
    def forward(ctx: Any, asked: Tensor, near: Tensor, exists: Tensor, kept: Tensor) -> Tensor:
        logits = torch.bmm(asked, near.transpose(1, 2))
        weight = logits.masked_fill(~exists[:, None], torch.finfo(logits.dtype).min).softmax(-1)
        ctx.save_for_backward(asked, near, weight, kept)
        return torch.bmm(weight * kept, near)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        asked, near, weight, kept = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_weight = torch.bmm(gradient, near.transpose(1, 2)) * kept
        of_logits = weight * (of_weight - (of_weight * weight).sum(-1, keepdim=True))
        both = torch.cat([of_logits, weight * kept], 1).transpose(1, 2).contiguous()
        of_near = torch.bmm(both, torch.cat([asked, gradient], 1))
        return torch.bmm(of_logits, near), of_near, None, None
