"""GTR: edges are added where they lower the total effective resistance of a graph most, then a network reads the graph.

    R_uv = (1_u - 1_v)^T L^+ (1_u - 1_v),   R_tot = sum_{u<v} R_uv = n tr L^+         L = D - A
    an edge (u, v) lowers R_tot by n B_uv^2 / (1 + R_uv),   B_uv^2 = (1_u - 1_v)^T (L^+)^2 (1_u - 1_v)
    GTR: add the best edge, update L^+ by its rank-one term, and again, k times
    network: X <- ReLU(W_0 X + sum_r W_r mean_r X), relations r: edges of the graph, and added ones
What a node says reaches another the less, the larger the effective resistance between them: R_tot measures how much a
graph squashes. `jacobian_vs_resistance` shows how far that holds for a network and data.
Black, Wan, Nayyeri, Wang, 2023, "Understanding Oversquashing in GNNs through the Lens of Effective Resistance", ICML,
arXiv:2302.06835. Use it where graphs have bottlenecks and answers depend on what lies beyond; the edges are added once,
before training. It needs dense matrices of each graph, so graphs of up to some thousand nodes. Other rewirings at an
equal number of edges stand under the same name: rewiring="fosr", "sdrf", "random", "none", or "full" (the last layer
hears every node of its graph).
Edges are added within components only, as the resistance between components is infinite. Weights of edges are not used.
Of edges that lower the total equally, the first in the order of nodes is added.
Departs: where a graph has several components, a gain counts n of its own component, so that the edge that lowers the
sum of their resistances most is taken; the authors' code compares B^2 / (1 + R) without n.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.data.graph_list import Graphs, graphs_of
from pathline.graph.ragged import starts_of
from pathline.graph.resistance import laplacian_pseudoinverse, resistance_matrix
from pathline.graph.rewiring import REWIRINGS, rewire
from pathline.graph.segment import segment_mean
from pathline.graph.sparse import Edges, gcn_weights
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.graph_convolutions import GCNConv, RelationalConv

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 4000  # nodes of a graph that dense matrices are made of


class EffRes(LearnedGraphModel):
    """Rewiring by total effective resistance before an R-GCN or GCN.

    rewiring: "gtr", "fosr", "sdrf", "random", "full" or "none";  added: links added to every graph
    typed:    whether added edges are a relation of their own (R-GCN), or edges like all others (GCN)
    pooling:  None takes the sum where graphs are classified, the mean elsewhere
    """

    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=64, lr=3e-3, schedule="constant", clip=1.0, validations=30)

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        rewiring: str = "gtr",
        added: int = 10,
        typed: bool = True,
        layers: int = 3,
        width: int = 32,
        dropout: float = 0.2,
        pooling: str | None = None,
    ) -> None:
        pooling = pooling or ("sum" if task == "classify-graphs" else "mean")
        super().__init__(task, inputs, answers, width, pooling)
        if rewiring not in (*REWIRINGS, "full", "none"):
            raise MethodError(f"there is no rewiring '{rewiring}'; choose {', '.join(REWIRINGS)}, full or none")
        if added < 0 or layers < 1:
            raise MethodError(f"added is {added} and layers {layers}; they must be at least 0 and 1")
        self.rewiring, self.added, self.typed, self.dropout = rewiring, added, typed, dropout
        sizes = [self.described] + [width] * layers
        pairs = list(pairwise(sizes))
        self.layers = nn.ModuleList(
            [RelationalConv(a, b, 2 if self.rewires else 1) if typed else GCNConv(a, b) for a, b in pairs]
        )
        self.full = nn.Linear(sizes[-2], width, bias=False) if rewiring == "full" else None

    @property
    def rewires(self) -> bool:
        """Whether edges are added at all."""
        return self.rewiring in REWIRINGS and self.added > 0

    def rewired(self, edge_index: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        """The edges with the added ones after them, and which those are: (2, E'), (E',) int64."""
        if nodes > LARGEST:
            raise MethodError(
                f"a graph of {nodes} nodes is too large to be rewired by dense matrices; up to {LARGEST} are, or set "
                "rewiring=none"
            )
        return rewire(edge_index, nodes, self.added, self.rewiring)

    def prepare(self, data: Any) -> Any:
        """Every graph with its added edges, once; graphs whose edges have types are taken as rewired already."""
        if not isinstance(data, Graphs) or not self.rewires or data.edge_type is not None:
            return data
        start = starts_of(data.sizes)
        edges = starts_of(torch.bincount(data.graph[data.edge_index[0]], minlength=len(data)))
        made = [
            self.rewired(data.edge_index[:, a:b] - begin, size)
            for begin, size, a, b in zip(
                start.tolist(), data.sizes.tolist(), edges.tolist(), edges[1:].tolist(), strict=False
            )
        ]
        union = graphs_of([one[0] for one in made], data.features.split(data.sizes.tolist()))
        return data.with_edges(union.edge_index, torch.cat([one[1] for one in made]))

    def relations(self, batch: GraphBatch) -> list[Edges]:
        """The edges of the graph, and the added ones."""

        def build() -> list[Edges]:
            if not self.rewires:
                return [batch.edges]
            if batch.edge_type is None:
                edge_index, kind = self.rewired(batch.edge_index, batch.nodes)
            else:
                edge_index, kind = batch.edge_index, batch.edge_type
            return [Edges(edge_index[:, kind == k], batch.nodes) for k in range(2)]

        return batch.remembered(f"{self.rewiring}, {self.added}", build)

    def _together(self, batch: GraphBatch) -> tuple[Edges, tuple[Tensor, Tensor]]:
        """All edges alike, and the weights of a GCN on them."""

        def build() -> tuple[Edges, tuple[Tensor, Tensor]]:
            edges = Edges(torch.cat([one.edge_index for one in self.relations(batch)], 1), batch.nodes)
            return edges, gcn_weights(edges)

        return batch.remembered(f"{self.rewiring}, {self.added}, together", build)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = F.dropout(F.relu(x) if place else x, self.dropout, self.training)
            heard = layer(x, self.relations(batch)) if self.typed else layer(x, *self._together(batch))
            if self.full is not None and place == len(self.layers) - 1:
                heard = heard + self.full(segment_mean(x, batch.graph, batch.graphs))[batch.graph]
            x = heard
        return x


def pair_jacobians(model: LearnedGraphModel, batch: GraphBatch) -> Tensor:
    """(nodes, nodes) spectral norms of d h_u / d x_v: h the encoding of a graph, x what describes its nodes."""
    model.eval()
    x = model.features(batch).detach()
    jacobian = torch.autograd.functional.jacobian(lambda inputs: model.encode(inputs, batch), x)
    return torch.linalg.matrix_norm(jacobian.movedim(1, 2).double(), ord=2)


def jacobian_vs_resistance(model: LearnedGraphModel, data: Graphs) -> "tuple[pd.DataFrame, float]":
    """How strongly the nodes of each graph hear each other, beside its total effective resistance.

    Returns a row per graph with columns total_resistance, jacobian (the sum over pairs u < v of |d h_u / d x_v| and
    |d h_v / d x_u|) and pairs (the Spearman correlation of a pair's Jacobian and resistance within the graph), and the
    Spearman correlation of the first two over graphs: the paper's statement is that it is below 0. The resistance is
    that of the graph as the network hears it, added edges included. Graphs must be connected.
    """
    import pandas as pd
    from scipy.stats import spearmanr

    ready = model.prepared(data)
    rows = []
    for k in range(len(ready)):
        batch = ready.gather(torch.tensor([k]))
        resistance = resistance_matrix(laplacian_pseudoinverse(batch.edge_index, batch.nodes))
        heard = pair_jacobians(model, batch)
        heard = heard + heard.T
        u, v = torch.triu_indices(batch.nodes, batch.nodes, 1)
        level = float(resistance[u, v].max() - resistance[u, v].min()) < 1e-9  # of a complete graph
        within = float("nan") if level else spearmanr(heard[u, v].numpy(), resistance[u, v].numpy()).statistic
        rows.append((k, float(resistance[u, v].sum()), float(heard[u, v].sum()), float(within)))
    table = pd.DataFrame(rows, columns=["graph", "total_resistance", "jacobian", "pairs"])
    if len(table) < 3:
        return table, float("nan")
    return table, float(spearmanr(table["total_resistance"], table["jacobian"]).statistic)
