"""Gated graph convolution: every edge has a state, and how much of it opens is how much of its sender is heard.

    e^_ij = W_D x_i + W_E x_j + W_C e_ij,        s_ij = sigmoid(e^_ij)
    x_i  <- x_i + ReLU(BN(W_A x_i + sum_j s_ij * W_B x_j / (sum_j s_ij + 1e-6)))
    e_ij <- e_ij + ReLU(BN(e^_ij))
Bresson, Laurent, 2017, "Residual Gated Graph ConvNets", arXiv:1711.07553, as in Dwivedi et al., 2020, arXiv:2003.00982.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.sparse import Edges


class GatedGCNLayer(nn.Module):
    """x (nodes, width) and e (E, width) -> both anew. last: the state of edges is not needed any more."""

    def __init__(self, width: int, dropout: float = 0.0, last: bool = False) -> None:
        super().__init__()
        self.nodes = nn.Linear(width, 4 * width)
        self.pairs = nn.Linear(width, width)
        self.node_norm = nn.BatchNorm1d(width)
        self.edge_norm = None if last else nn.BatchNorm1d(width)
        self.dropout = dropout

    def forward(self, x: Tensor, e: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        own, sent, at_receiver, at_sender = self.nodes(x).chunk(4, 1)
        sender, receiver = edges.edge_index
        opened = self.pairs(e) + at_receiver[receiver] + at_sender[sender]
        gate = torch.sigmoid(opened)
        heard = edges.weight_sum(gate * sent[sender]) / (edges.weight_sum(gate) + 1e-6)
        x = x + F.dropout(F.relu(self.node_norm(own + heard)), self.dropout, self.training)
        if self.edge_norm is not None and len(e):
            e = e + F.dropout(F.relu(self.edge_norm(opened)), self.dropout, self.training)
        return x, e
