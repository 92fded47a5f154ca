"""Layers of message passing on edge lists: x (nodes, inputs) -> (nodes, outputs), differentiable in edge weights.

All sum their messages by `graph.sparse.Edges`, which stores none of them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.sparse import Edges
from pathline.nn.mlp import MLP


class GCNConv(nn.Module):
    """D^-1/2 (A + I) D^-1/2 X W + b. Kipf and Welling, 2017, arXiv:1609.02907.

    The narrower of X and X W is what is propagated. Features of edges are added to what their senders say.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(
        self, x: Tensor, edges: Edges, normalised: tuple[Tensor, Tensor], edge_features: Tensor | None = None
    ) -> Tensor:
        """normalised: of `graph.sparse.gcn_weights`, on the edges and on the diagonal;  edge_features: (E, inputs)."""
        on_edges, on_self = normalised
        if edge_features is not None:
            said = edges.weight_sum(edge_features * on_edges.to(x.dtype)[:, None])
            return self(x, edges, normalised) + said @ self.weight
        first = self.weight.shape[0] <= self.weight.shape[1]
        x = x if first else x @ self.weight
        x = edges.propagate(x, on_edges) + on_self.to(x.dtype)[:, None] * x
        x = x @ self.weight if first else x
        return x if self.bias is None else x + self.bias


class GATConv(nn.Module):
    """sum_j a_ij W x_j, a_ij = softmax_j LeakyReLU(s . W x_i + t . W x_j), side by side for every head.

    Veličković et al., 2018, arXiv:1710.10903. `edges` should hold an edge from every node to itself.
    """

    def __init__(self, inputs: int, outputs: int, heads: int = 4, slope: float = 0.2) -> None:
        super().__init__()
        if outputs % heads:
            raise ValueError(f"{outputs} outputs cannot be shared by {heads} heads equally")
        self.heads, self.slope = heads, slope
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.receive = nn.Parameter(torch.empty(heads, outputs // heads))
        self.send = nn.Parameter(torch.empty(heads, outputs // heads))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for weight in (self.linear.weight, self.receive, self.send):
            nn.init.xavier_uniform_(weight)

    def attention(self, x: Tensor, edges: Edges) -> Tensor:
        """a of W x (nodes, outputs): (E, heads), summing to 1 over the edges into a node."""
        heads = x.unflatten(1, (self.heads, -1))
        sender, receiver = edges.edge_index
        scores = torch.einsum("nhd,hd->nh", heads, self.receive)[receiver]
        scores = scores + torch.einsum("nhd,hd->nh", heads, self.send)[sender]
        return edges.softmax(F.leaky_relu(scores, self.slope))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        x = self.linear(x)
        return edges.propagate(x, self.attention(x, edges)) + self.bias


class GINConv(nn.Module):
    """MLP((1 + e) x_i + sum_j w_ij x_j), e learned. Xu, Hu, Leskovec, Jegelka, 2019, arXiv:1810.00826."""

    def __init__(self, inputs: int, outputs: int, normalised: bool = True) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.first = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs) if normalised else nn.Identity()
        self.second = nn.Linear(outputs, outputs)

    def forward(
        self, x: Tensor, edges: Edges, weight: Tensor | None = None, edge_features: Tensor | None = None
    ) -> Tensor:
        """weight: (E,) or None for 1;  edge_features: (E, inputs), added to what their senders say, or None."""
        x = (1 + self.epsilon) * x + edges.propagate(x, weight)
        if edge_features is not None:
            x = x + edges.weight_sum(edge_features if weight is None else edge_features * weight[:, None])
        mixed: Tensor = self.second(F.relu(self.norm(self.first(x))))
        return mixed


class NeighbourConv(nn.Module):
    """W [x_i || aggregate_j w_ij (x_j + e_ij)]: a part for the node itself and one for its neighbours.

    aggregate:  "sum", or "mean" with the sum divided by
    mean_over:  "kept" = the sum of w_ij (0 where it is 0), or "degree" = the number of edges that arrive, cut or not
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        aggregate: Literal["sum", "mean"] = "mean",
        mean_over: Literal["kept", "degree"] = "kept",
    ) -> None:
        super().__init__()
        self.aggregate, self.mean_over = aggregate, mean_over
        self.linear = nn.Linear(2 * inputs, outputs)

    def forward(
        self, x: Tensor, edges: Edges, weight: Tensor | None = None, edge_features: Tensor | None = None
    ) -> Tensor:
        """weight: (E,) or None for 1;  edge_features: (E, inputs) or None."""
        heard = edges.propagate(x, weight)
        if edge_features is not None:
            said = edge_features if weight is None else edge_features * weight[:, None]
            heard = heard + edges.weight_sum(said)
        if self.aggregate == "mean":
            if weight is None or self.mean_over == "degree":
                count = edges.in_degree.to(x.dtype)
            else:
                count = edges.weight_sum(weight)
            heard = heard / torch.where(count > 0, count, 1.0)[:, None]
        mixed: Tensor = self.linear(torch.cat([x, heard], 1))
        return mixed


class RelationalConv(nn.Module):
    """W_0 x_i + b + sum_r W_r mean_{j -> i of relation r} x_j. Schlichtkrull et al., 2018, arXiv:1703.06103."""

    def __init__(self, inputs: int, outputs: int, relations: int) -> None:
        super().__init__()
        self.itself = nn.Linear(inputs, outputs)
        self.relations = nn.ModuleList([nn.Linear(inputs, outputs, bias=False) for _ in range(relations)])

    def forward(self, x: Tensor, relations: Sequence[Edges]) -> Tensor:
        found: Tensor = self.itself(x)
        for weight, edges in zip(self.relations, relations, strict=True):
            found = found + weight(edges.mean(x))
        return found


def answer_head(task: str, width: int, outputs: int) -> nn.Module:
    """From what was encoded to the answer: linear for nodes, an MLP after an activation for graphs and pairs."""
    if task == "classify-nodes":
        return nn.Linear(width, outputs)
    inputs = 2 * width if task == "label-incidences" else width
    return nn.Sequential(nn.ReLU(), MLP([inputs, width, outputs], nn.ReLU))
