"""A network that encodes the nodes of one graph: layers of one kind, with or without weights, and what goes with them.

    gcn   D^-1/2 (A + I) D^-1/2 X      mean, sum, max   of the neighbours' X, without the node itself

With weights X is X W, and b is added; a "pure" layer has none, and one linear map stands before all of them. Dropped
edges are drawn afresh in every layer, and those that stay weigh 1 / (1 - p).
"""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.segment import segment_max
from pathline.graph.sparse import Edges, gcn_weights
from pathline.nn.sparse_input import SparseInput

AGGREGATES = ("gcn", "mean", "max", "sum")
CONVOLUTIONS = (*AGGREGATES, *("pure" + kind for kind in AGGREGATES))


def aggregate(kind: str, x: Tensor, edges: Edges, weight: Tensor | None = None) -> Tensor:
    """What arrives at each node from x (nodes, width); weight: (E,) or None. The maximum is over edges above 0."""
    if kind == "gcn":
        on_edges, on_self = gcn_weights(edges, weight)
        return edges.propagate(x, on_edges) + on_self.to(x.dtype)[:, None] * x
    if kind == "max":
        sender, receiver = edges.edge_index if weight is None else edges.edge_index[:, weight > 0]
        return segment_max(x[sender], receiver, edges.receivers)
    heard = edges.propagate(x, weight)
    return heard if kind == "sum" else heard / edges.in_degree.clamp(min=1).to(x.dtype)[:, None]


class GraphConvolution(nn.Module):
    """aggregate(X W) + b, or aggregate(X) where `kind` begins with "pure"."""

    def __init__(self, kind: str, inputs: int, outputs: int) -> None:
        super().__init__()
        pure = kind.startswith("pure")
        self.kind = kind.removeprefix("pure")
        self.linear = nn.Identity() if pure else nn.Linear(inputs, outputs, bias=False)
        self.bias = None if pure else nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edges: Edges, weight: Tensor | None) -> Tensor:
        return self.heard(self.linear(x), edges, weight)

    def heard(self, x: Tensor, edges: Edges, weight: Tensor | None) -> Tensor:
        """What comes after the linear map."""
        x = aggregate(self.kind, x, edges, weight)
        return x if self.bias is None else x + self.bias


class GraphEncoder(nn.Module):
    """x (nodes, inputs) -> (nodes, width).

    kind:            of the layers, one of `CONVOLUTIONS`;  layers: how many, 0 for a linear map of each node alone
    residual:        whether a layer adds to what it got, where widths agree
    jumping:         the answer is the sum of what all layers gave, each by a learned number
    norm:            layer normalisation after every layer but the last; after the only one, too
    dropout:         of hidden numbers;  feature_dropout: of the inputs;  edge_dropout: of edges, for each layer
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        kind: str = "gcn",
        layers: int = 1,
        residual: bool = False,
        jumping: bool = False,
        norm: bool = False,
        dropout: float = 0.0,
        feature_dropout: float = 0.0,
        edge_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if kind not in CONVOLUTIONS:
            raise ValueError(f"there is no layer '{kind}'; choose one of {', '.join(CONVOLUTIONS)}")
        self.residual, self.dropout = residual, dropout
        self.feature_dropout, self.edge_dropout = feature_dropout, edge_dropout
        self.read_in = SparseInput()
        self.pure = kind.startswith("pure")
        self.before = nn.Linear(inputs, width) if self.pure or not layers else None
        sizes = [width if self.pure else inputs] + [width] * layers
        self.layers = nn.ModuleList([GraphConvolution(kind, a, b) for a, b in pairwise(sizes)])
        activated = 0 if self.pure else max(min(layers, 1), layers - 1)
        self.norms = nn.ModuleList([nn.LayerNorm(width) if norm else nn.Identity() for _ in range(activated)])
        self.jumping = nn.Parameter(torch.full((layers,), 1 / layers)) if jumping and layers else None

    def kept_edges(self, edges: Edges, weight: Tensor | None) -> Tensor | None:
        """(E,) weights while training: 0 for dropped edges, and the others' larger."""
        if not (self.training and self.edge_dropout):
            return weight
        keep = torch.full(edges.edge_index.shape[1:], 1 - self.edge_dropout, device=edges.edge_index.device)
        kept = torch.bernoulli(keep) / (1 - self.edge_dropout)
        return kept if weight is None else weight * kept

    def lifted(self, x: Tensor) -> Tensor:
        """The first linear map of x, some of which is dropped."""
        linear = cast("nn.Linear", self.layers[0].linear if self.before is None else self.before)
        return self.read_in(linear, x, self.feature_dropout, self.training)

    def forward(self, x: Tensor, edges: Edges, weight: Tensor | None = None) -> Tensor:
        lifted = self.lifted(x)
        if self.before is not None:
            x = F.dropout(lifted, self.dropout, self.training)
        given = []
        for place, layer in enumerate(self.layers):
            kept = self.kept_edges(edges, weight)
            if self.before is None and not place:
                out = cast("GraphConvolution", layer).heard(lifted, edges, kept)
            else:
                out = layer(x, edges, kept)
            if place < len(self.norms):
                out = F.relu(F.dropout(self.norms[place](out), self.dropout, self.training))
            x = out + x if self.residual and out.shape == x.shape else out
            given.append(x)
        if self.jumping is not None:
            x = torch.einsum("l,lnd->nd", self.jumping.to(x.dtype), torch.stack(given))
        return x
