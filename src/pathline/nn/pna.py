"""Principal neighbourhood aggregation: several summaries of what neighbours say, each scaled by how many there are.

    m_ij = W [x_i || x_j || e_ij]
    h_i  = [mean, max, min, std]_j m_ij  x  [1, log(d_i + 1) / delta, delta / log(d_i + 1)]
    x_i <- U [x_i || h_i]                            delta: mean of log(d + 1) over the training nodes
Corso, Cavalleri, Beaini, Liò, Veličković, 2020, arXiv:2004.05718, with one tower.
"""

import torch
from torch import Tensor, nn

from pathline.graph.segment import segment_max
from pathline.graph.sparse import Edges

SUMMARIES, SCALES = 4, 3


class PNAConv(nn.Module):
    """x (nodes, width), e (E, width) -> (nodes, width). delta: (1,) set from the training graphs."""

    delta: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.message = nn.Linear(3 * width, width)
        self.update = nn.Linear((1 + SUMMARIES * SCALES) * width, width)
        self.register_buffer("delta", torch.ones(1))

    def summaries(self, messages: Tensor, edges: Edges) -> Tensor:
        """(nodes, 4 width) mean, max, min and standard deviation of (E, width); 0 where none arrives."""
        receiver, nodes = edges.edge_index[1], edges.receivers
        count = edges.in_degree.clamp(min=1).to(messages.dtype)[:, None]
        mean = edges.weight_sum(messages) / count
        square = edges.weight_sum(messages.square()) / count
        spread = ((square - mean.square()).clamp(min=0) + 1e-5).sqrt()
        largest = segment_max(messages, receiver, nodes)
        return torch.cat([mean, largest, -segment_max(-messages, receiver, nodes), spread], 1)

    def forward(self, x: Tensor, e: Tensor, edges: Edges) -> Tensor:
        sender, receiver = edges.edge_index
        summary = self.summaries(self.message(torch.cat([x[receiver], x[sender], e], 1)), edges)
        amount = edges.in_degree.to(x.dtype).log1p()[:, None]
        thin = self.delta / torch.where(amount > 0, amount, self.delta)
        scaled = [x, summary, summary * (amount / self.delta), summary * thin]
        updated: Tensor = self.update(torch.cat(scaled, 1))
        return updated
