"""Graphs that a network is given, learns, or is given in part: what a backbone asks for an adjacency.

    fixed       A = D^-1 W, the geography; a node without edges keeps to itself
    adaptive    A = M = softmax(ReLU(E1 E2^T)) with node embeddings E1, E2: Graph WaveNet, arXiv:1906.00121, eq. 5
    semi        [ (1 - a) A_rr   a A_rv ]    real nodes keep the geography A_rr among themselves and give a share
                [      A_vr        A_vv ]    a_i = sigmoid(g_i) of their attention to learnable virtual nodes
A_rv, A_vr, A_vv come from M, real rows of A_rv made to sum to 1. Cao, Zhuang, Zhao, Wang, 2025, "Virtual Nodes Improve
Long-term Traffic Prediction", arXiv:2501.10048; how the paper joins the blocks is not public, the gate is ours: without
it a hub gets a share of about virtual / nodes at the start, next to nothing. Rows of every A sum to 1.
Without virtual nodes "semi" IS "fixed".
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.adjacency import random_walk

Kind = Literal["fixed", "adaptive", "semi"]
OPENING = 0.2  # of the gate at the start


class GraphProvider(nn.Module):
    """nodes: real ones;  virtual: further ones, behind them, in kind "semi" only;  embedding: length of E1's rows

    Called without arguments, it returns A (nodes + virtual, nodes + virtual).
    """

    fixed: Tensor

    def __init__(self, nodes: int, kind: Kind = "semi", virtual: int = 0, embedding: int = 8) -> None:
        super().__init__()
        if kind not in ("fixed", "adaptive", "semi"):
            raise ValueError(f"a graph is 'fixed', 'adaptive' or 'semi', not {kind!r}")
        if virtual < 0 or (virtual and kind != "semi"):
            raise ValueError(f"{virtual} virtual nodes do not go with kind {kind!r}")
        self.nodes, self.kind, self.virtual = nodes, kind, virtual
        self.register_buffer("fixed", torch.eye(nodes))
        learned = kind == "adaptive" or virtual > 0
        self.sender = nn.Parameter(torch.randn(nodes + virtual, embedding)) if learned else None
        self.receiver = nn.Parameter(torch.randn(nodes + virtual, embedding)) if learned else None
        opening = torch.full((nodes,), OPENING).logit()
        self.gate = nn.Parameter(opening) if virtual else None

    def read(self, adjacency: Tensor) -> None:
        """Take the geography: (nodes, nodes) weights >= 0."""
        lonely = adjacency.sum(1) == 0
        self.fixed.copy_(random_walk(adjacency + torch.diag(lonely.to(adjacency.dtype))))

    def forward(self) -> Tensor:
        if self.sender is None or self.receiver is None:
            return self.fixed
        scores = F.relu(self.sender @ self.receiver.T)
        if self.gate is None:
            return F.softmax(scores, dim=1)
        share, real = self.gate.sigmoid()[:, None], self.nodes
        top = torch.cat([(1 - share) * self.fixed, share * F.softmax(scores[:real, real:], dim=1)], dim=1)
        return torch.cat([top, F.softmax(scores[real:], dim=1)])

    def importance(self) -> tuple[Tensor, Tensor]:
        """How much the virtual nodes listen to each real node (mean of A_vr), and each real node to them (sum of A_rv):
        two (nodes,) tensors."""
        matrix, real = self.forward().detach(), self.nodes
        if not self.virtual:
            return matrix.new_zeros(real), matrix.new_zeros(real)
        return matrix[real:, :real].mean(0), matrix[:real, real:].sum(1)
