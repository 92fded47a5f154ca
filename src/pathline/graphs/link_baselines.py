"""What link prediction is measured against: what two nodes' neighbourhoods and the walks between them say. Nothing is
trained; the graph that is seen holds no link that is asked for."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.data.graph_batch import GraphBatch
from pathline.graph import links
from pathline.graphs.base import GraphModel


class _Heuristic(GraphModel):
    trains = False
    tasks: ClassVar[tuple[str, ...]] = ("predict-links",)

    def fit(self, data: object, *args: object, **options: object) -> "_Heuristic":
        """There is nothing to learn."""
        self.check(self.require(data))
        return self.eval()

    def loss(self, batch: GraphBatch) -> Tensor:
        """That of the logistic model on the bare score."""
        assert batch.labels is not None
        return F.binary_cross_entropy_with_logits(self.scores(batch), batch.labels)

    def scores(self, batch: GraphBatch) -> Tensor:
        assert batch.pairs is not None
        return self.weigh(batch.edge_index, batch.nodes, batch.pairs).to(batch.features.dtype)

    def weigh(self, edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
        """(m,) of pairs (2, m)."""
        raise NotImplementedError


class CommonNeighbours(_Heuristic):
    """How many neighbours both have."""

    def weigh(self, edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
        return links.common_neighbours(edge_index, nodes, pairs)


class AdamicAdar(_Heuristic):
    """Common neighbours, each by 1 / log of its degree. Adamic and Adar, 2003, "Friends and neighbors on the Web"."""

    def weigh(self, edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
        return links.adamic_adar(edge_index, nodes, pairs)


class ResourceAllocation(_Heuristic):
    """Common neighbours, each by 1 / its degree. Zhou, Lü, Zhang, 2009, "Predicting missing links via local
    information"."""

    def weigh(self, edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
        return links.resource_allocation(edge_index, nodes, pairs)


class Katz(_Heuristic):
    """Walks between both, of up to `longest` steps, each by beta^length. Katz, 1953, "A new status index"."""

    def __init__(self, task: str, inputs: int, answers: list[str], beta: float = 0.005, longest: int = 4) -> None:
        super().__init__(task, inputs, answers)
        self.beta, self.longest = beta, longest

    def weigh(self, edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
        return links.katz(edge_index, nodes, pairs, self.beta, self.longest).to(torch.float64) / self.beta
