"""GRIT: attention whose pairs of nodes have a state of their own, begun from random walks between them.

    e^_ij = ReLU( rho((W_Q x_i + W_K x_j) * W_Ew e_ij) + W_Eb e_ij ),         rho(a) = sign(a) sqrt|a|
    a_ij  = softmax_j( w_A . e^_ij ),             y_i = sum_j a_ij (W_V x_j + W_Ev e^_ij)          for every head
    y_i  <- y_i * theta_1 + log(1 + d_i) y_i * theta_2
    x_i  <- BN(x_i + W_O y_i),  x_i <- BN(x_i + FFN(x_i)),      e_ij <- BN(e_ij + W_E0 e^_ij)
Over which j the softmax runs is a choice of its own. Over all nodes of the graph this is GRIT: Ma, Lin, Lim,
Romero-Soriano, Dokania, Coates, Torr, Lim, 2023, "Graph Inductive Biases in Transformers without Message Passing",
arXiv:2305.17589. Over a node and its neighbours it is sparse GRIT, a message passing network with the same update whose
pairs cost O(E): Grötschla, Xie, Wattenhofer, 2024, arXiv:2411.12732.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pathline.graph.wiring import Wired

LIMIT = 5.0  # of the scores before the softmax
TINY = 1e-6


class _SignedSqrt(torch.autograd.Function):
    """y = x r, r = (|x| + TINY)^-1/2; dy/dx = r (1 + TINY r^2) / 2: one tensor is kept and few are made."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        root = x.abs().add_(TINY).rsqrt_()
        ctx.save_for_backward(root)
        return x * root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return root.square().mul_(TINY / 2).add_(0.5).mul_(root).mul_(gradient)


def signed_sqrt(x: Tensor) -> Tensor:
    """rho: sign(x) sqrt|x|, smooth around 0."""
    found: Tensor = _SignedSqrt.apply(x)
    return found


class GritAttention(nn.Module):
    """x (nodes, width), e (M, width) of the pairs -> y (nodes, width) and e^ (M, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = nn.Linear(width, 2 * width)
        self.value = nn.Linear(width, width, bias=False)
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width)
        self.score = nn.Parameter(torch.empty(heads, width // heads))
        self.pair_value = nn.Parameter(torch.empty(heads, width // heads, width // heads))
        for weight in (self.query_key.weight, self.value.weight, self.scale.weight, self.shift.weight, self.score):
            nn.init.xavier_normal_(weight)
        nn.init.normal_(self.pair_value, std=(heads / width) ** 0.5)

    def forward(self, x: Tensor, e: Tensor, wired: Wired) -> tuple[Tensor, Tensor]:
        query, key = self.query_key(x).chunk(2, 1)
        met = wired.ends.add(torch.zeros_like(e), torch.cat([key, query], 1))  # sender's key + receiver's query
        pair = F.relu(signed_sqrt(met * self.scale(e)) + self.shift(e))
        scores = pair @ torch.block_diag(*self.score[:, :, None])
        share = wired.edges.softmax(scores.clamp(-LIMIT, LIMIT))
        of_pairs = wired.arrivals.propagate(pair, share) @ torch.block_diag(*self.pair_value)
        return wired.edges.propagate(self.value(x), share) + of_pairs, pair


class GritLayer(nn.Module):
    """One layer. last: the state of pairs is not needed any more."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, last: bool = False) -> None:
        super().__init__()
        self.attention = GritAttention(width, heads)
        self.theta = nn.Parameter(torch.empty(2, width))
        nn.init.xavier_normal_(self.theta)
        self.out = nn.Linear(width, width)
        self.pair_out = None if last else nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(2)])
        self.pair_norm = None if last else nn.BatchNorm1d(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.dropout = dropout

    def forward(self, x: Tensor, e: Tensor, wired: Wired) -> tuple[Tensor, Tensor]:
        y, pair = self.attention(x, e, wired)
        y = F.dropout(y, self.dropout, self.training)
        y = y * self.theta[0] + wired.log_degree.to(y.dtype) * y * self.theta[1]
        x = self.norms[0](x + self.out(y))
        x = self.norms[1](x + F.dropout(self.feed(x), self.dropout, self.training))
        if self.pair_out is not None and self.pair_norm is not None:
            e = self.pair_norm(e + self.pair_out(F.dropout(pair, self.dropout, self.training)))
        return x, e
