"""What methods on graphs are measured against: a network that ignores the edges, three that do not, and known labels
that spread along them."""

from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphBatch
from pathline.graphs.base import GraphModel, LearnedGraphModel
from pathline.nn.graph_convolutions import GATConv, GCNConv, GINConv


class _Layered(LearnedGraphModel):
    """Layers with dropout before and ReLU between them; the last one is left to the head.

    layers: of message passing;  dropout: of every layer's input
    pooling: None takes the sum where graphs are classified, which keeps their sizes, and the mean elsewhere
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        width: int = 64,
        layers: int = 2,
        dropout: float = 0.5,
        pooling: str | None = None,
        fanout: list[int] | None = None,
    ) -> None:
        pooling = pooling or ("sum" if task == "classify-graphs" else "mean")
        super().__init__(task, inputs, answers, width, pooling, fanout)
        self.dropout = dropout
        sizes = [self.described] + [width] * layers
        self.layers = nn.ModuleList([self.layer(a, b) for a, b in pairwise(sizes)])

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        """One layer."""
        raise NotImplementedError

    def step(self, layer: nn.Module, x: Tensor, batch: GraphBatch) -> Tensor:
        """x after one layer."""
        raise NotImplementedError

    def dropped(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Described nodes after dropout; of words and the like, which are mostly 0, only what is not 0 is drawn for."""
        if not (self.training and self.dropout and bool(self.rows)):
            return F.dropout(x, self.dropout, self.training)
        entries = batch.remembered("entries", lambda: x.flatten().nonzero()[:, 0])
        values = F.dropout(x.flatten()[entries], self.dropout)
        return torch.zeros_like(x).flatten().index_put((entries,), values).view_as(x)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = F.dropout(F.relu(x), self.dropout, self.training) if place else self.dropped(x, batch)
            x = self.step(layer, x, batch)
        return x


class GraphMLP(_Layered):
    """Every node by its own features; edges do not matter. Graphs and pairs are read off as everywhere in the room."""

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        return nn.Linear(inputs, outputs)

    def step(self, layer: nn.Module, x: Tensor, batch: GraphBatch) -> Tensor:
        done: Tensor = layer(x)
        return done


class GCN(_Layered):
    """X <- ReLU(D^-1/2 (A + I) D^-1/2 X W). Kipf and Welling, 2017, "Semi-Supervised Classification with Graph
    Convolutional Networks", arXiv:1609.02907."""

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        return GCNConv(inputs, outputs)

    def step(self, layer: nn.Module, x: Tensor, batch: GraphBatch) -> Tensor:
        done: Tensor = layer(x, batch.edges, batch.gcn)
        return done


class GAT(_Layered):
    """Four heads of attention among a node and its neighbours. Veličković et al., 2018, "Graph Attention Networks",
    arXiv:1710.10903."""

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        return GATConv(inputs, outputs, heads=4 if outputs % 4 == 0 else 1)

    def step(self, layer: nn.Module, x: Tensor, batch: GraphBatch) -> Tensor:
        done: Tensor = layer(x, batch.looped)
        return done


class GIN(_Layered):
    """X <- MLP((1 + e) X + A X), graphs by the sum of their nodes. Xu, Hu, Leskovec, Jegelka, 2019, "How Powerful are
    Graph Neural Networks?", arXiv:1810.00826."""

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        width: int = 32,
        layers: int = 3,
        dropout: float = 0.1,
        pooling: str | None = "sum",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, width, layers, dropout, pooling, fanout)

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        return GINConv(inputs, outputs)

    def step(self, layer: nn.Module, x: Tensor, batch: GraphBatch) -> Tensor:
        done: Tensor = layer(x, batch.edges, batch.weight)
        return done


class LabelPropagation(GraphModel):
    """F <- a D^-1/2 A D^-1/2 F + (1 - a) Y until it stands still: known classes spread along edges.

    Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, "Learning with Local and Global Consistency". Features do not matter.
    alpha: share that neighbours have;  nodes: of the graph, whose known classes it keeps
    """

    trains = False
    tasks: ClassVar[tuple[str, ...]] = ("classify-nodes",)
    known: Tensor

    def __init__(
        self, task: str, inputs: int, answers: list[str], nodes: int = 1, alpha: float = 0.9, iterations: int = 50
    ) -> None:
        super().__init__(task, inputs, answers)
        self.nodes, self.alpha, self.iterations = nodes, alpha, iterations
        self.register_buffer("known", torch.zeros(nodes, len(answers)))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        return super().for_data(part, **({"nodes": len(part.features)} | config))

    def check(self, data: Any) -> Graph:
        graph: Graph = super().check(data)
        if len(graph.features) != self.nodes:
            raise DataError(
                f"{graph.name}: it has {len(graph.features)} nodes; label propagation knows the classes of another "
                f"graph with {self.nodes}"
            )
        return graph

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Keep the known classes."""
        part = self.check(self.require(data))
        table = torch.tensor([self.answers.index(name) for name in part.classes])
        self.known.zero_()
        self.known[part.known] = F.one_hot(table[part.labels[part.known]], len(self.answers)).to(self.known.dtype)
        return self.eval()

    def scores(self, batch: GraphBatch) -> Tensor:
        edges = batch.edges
        sender, receiver = edges.edge_index
        degree = edges.in_degree.float() if batch.weight is None else edges.weight_sum(batch.weight)
        scale = torch.where(degree > 0, degree, 1.0).rsqrt()
        weight = scale[sender] * scale[receiver] * (1.0 if batch.weight is None else batch.weight)
        spread = self.known
        for _ in range(self.iterations):
            spread = self.alpha * edges.propagate(spread, weight) + (1 - self.alpha) * self.known
        share = spread + 1e-9 * (self.known.sum(0) + 1)  # where nothing arrives, how frequent a class is
        share = share if batch.items is None else share[batch.items]
        return (share / share.sum(1, keepdim=True)).log()

    def loss(self, batch: GraphBatch) -> Tensor:
        """Cross-entropy."""
        assert batch.labels is not None
        return F.cross_entropy(self.scores(batch), batch.labels)
