"""What networks on hypergraphs share: how nodes and incidences are described, and batches drawn from the whole.

A batch is some hyperedges with all their members, at most `per_node` drawn hyperedges of each of these, all members of
these, and so on as far as the network hears. Without `per_node` the hypergraph is read at once.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.data.hypergraph import Hypergraph
from pathline.graph.hypergraph import CENTRALITIES, grouped, sample_incidences
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.mlp import MLP
from pathline.nn.set_blocks import Sets

SPECTRAL = 16  # numbers that embed a node without features


class Incidences:
    """The incidences (node, hyperedge) of a batch, grouped either way.

    node, hyperedge: (m,) both numbered among the vertices of the star expansion
    """

    def __init__(self, batch: GraphBatch) -> None:
        self.node, self.hyperedge = batch.edge_index[:, : batch.edge_index.shape[1] // 2]
        self.vertices = batch.nodes
        self.by_hyperedge = Sets(self.hyperedge, self.vertices)
        self.by_node = Sets(self.node, self.vertices)
        self.sorted_keys, self.order = (self.node * self.vertices + self.hyperedge).sort(stable=True)

    @classmethod
    def of(cls, batch: GraphBatch) -> "Incidences":
        """Those of `batch`, remembered with it."""
        return batch.remembered("incidences", lambda: cls(batch))

    def places(self, pairs: Tensor) -> Tensor:
        """(k,) which incidence each pair (2, k) is; of one that is listed twice, the first."""
        return self.order[torch.searchsorted(self.sorted_keys, pairs[0] * self.vertices + pairs[1])]


class HypergraphModel(LearnedGraphModel):
    """A network that labels incidences. A subclass writes `forward`.

    width, dropout: of its layers
    orders:      centralities by which a node's rank in a hyperedge is told: degree, eigenvector, pagerank, kcore
    edge_inputs: numbers that incidences and hyperedges come with, read off the data
    head_layers: of the network that reads the answer off, 1 for a linear map
    per_node:    hyperedges drawn of each node while training on some hyperedges at a time; None reads all at once
    """

    tasks: ClassVar[tuple[str, ...]] = ("label-incidences",)
    recipe: ClassVar[Recipe] = Recipe(
        steps=400, batch_size=64, lr=1e-3, weight_decay=0.0, schedule="constant", clip=1.0, validations=20
    )

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        width: int = 64,
        dropout: float = 0.6,
        orders: list[str] | None = None,
        edge_inputs: int = 0,
        per_node: int | None = None,
        head_layers: int = 1,
    ) -> None:
        super().__init__(task, inputs, answers, width)
        self.orders = list(orders or [])
        for kind in self.orders:
            if kind not in CENTRALITIES:
                raise MethodError(f"there is no centrality '{kind}'; choose from {', '.join(CENTRALITIES)}")
        self.dropout, self.edge_inputs, self.per_node, self.head_layers = dropout, edge_inputs, per_node, head_layers

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        own = part.described_incidences
        return super().for_data(part, **({"edge_inputs": 0 if own is None else own.shape[1]} | config))

    def read_off(self, inputs: int) -> nn.Module:
        """From what represents an incidence to the answer."""
        return MLP([inputs, *[self.width] * (self.head_layers - 1), len(self.answers)], nn.ReLU)

    @property
    def turns(self) -> int:
        """How often a batch grows: from hyperedges to members, from these to their hyperedges, and so on."""
        raise NotImplementedError

    @property
    def described(self) -> int:
        return self.inputs or 1 + SPECTRAL

    def prepare(self, data: Any) -> Any:
        """With orders, and with nodes described by structure where nothing else describes them."""
        data = data if self.inputs else data.with_structure(SPECTRAL)
        return data.with_orders(self.orders) if self.orders else data

    def features(self, batch: GraphBatch) -> Tensor:
        return super().features(batch) if self.inputs else batch.features

    def incidence_features(self, batch: GraphBatch) -> tuple[Tensor | None, Tensor | None]:
        """Orders (m, len(orders)) and what else incidences are described by (m, edge_inputs), or None."""
        if batch.edge_features is None:
            return None, None
        own = batch.edge_features[: batch.edge_index.shape[1] // 2]
        ranks, rest = own[:, : len(self.orders)], own[:, len(self.orders) :]
        return (ranks if self.orders else None), (rest if self.edge_inputs else None)

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train with the recipe's rate and decay unless others are given."""
        own = {"lr": self.recipe.lr, "weight_decay": self.recipe.weight_decay}
        return super().fit(data, budget, seed, validation, **(own | options))

    # -- some hyperedges at a time ------------------------------------------------------------------------------------

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[GraphBatch]:
        if self.per_node is None:
            yield from super().batches(data, size, generator)
            return
        ready: Hypergraph = self.prepared(data)
        asked = ready.incidence[1, ready.labels >= 0].unique()
        for chosen in asked[torch.randperm(len(asked), generator=generator)].split(size):
            yield drawn_batch(ready, chosen, self.turns, self.per_node, generator)

    def epoch_length(self, data: Any, size: int) -> int:
        if self.per_node is None:
            return super().epoch_length(data, size)
        return -(-len(data.incidence[1, data.labels >= 0].unique()) // size)


def drawn_batch(
    data: Hypergraph, hyperedges: Tensor, turns: int, per_node: int, generator: torch.Generator
) -> GraphBatch:
    """The known incidences of `hyperedges`, with what `turns` turns of drawing find around them."""
    nodes, whole = len(data.features), data.whole()
    star = whole.edge_index[:, : data.incidence.shape[1]]
    both = whole.remembered("grouped", lambda: grouped(star, whole.nodes))
    place = sample_incidences(both, hyperedges + nodes, turns, per_node, generator)
    kept, numbers = star[:, place].unique(return_inverse=True)
    wanted = torch.zeros(data.sets, dtype=torch.bool)
    wanted[hyperedges] = True
    labels = data.labels[place]
    asked = wanted[star[1, place] - nodes] & (labels >= 0)
    described = data.described_incidences
    return GraphBatch(
        features=whole.features[kept],
        edge_index=torch.cat([numbers, numbers.flip(0)], 1),
        graph=torch.zeros(len(kept), dtype=torch.int64),
        edge_features=None if described is None else described[place].repeat(2, 1),
        pairs=numbers[:, asked],
        labels=labels[asked],
    )
