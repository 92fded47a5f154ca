"""Networks with a vector per node and one per hyperedge, which CoNHD is measured against; a label is read off both.

    HGNN       Z_v <- ReLU( D^-1/2 B W_e^-1 B^T D^-1/2 Z_v W ),  z_e = mean_{v in e} z_v
    AllSet     z_e <- MLP(mean_{v in e} z_v);   z_v <- z_v + MLP(mean_{e of v} z_e)
    ED-HNN     z_e <- mean_{v in e} MLP_1(z_v);  z_v <- MLP_3( (1 - a) mean_{e of v} MLP_2[z_v || z_e] + a z_v^0 )
with D and W_e how many hyperedges a node and how many members a hyperedge has. The answer is read off
[z_v || z_e || orders of the incidence, if any]: two incidences with the same z_v, z_e and orders get the same answer.
Feng, You, Zhang, Ji, Gao, 2019, "Hypergraph Neural Networks", arXiv:1809.09401. Chien, Pan, Peng, Milenkovic, 2022,
"You are AllSet", arXiv:2106.13264 (means for multiset functions; with the node added to what it hears). Wang, Yang,
Liu, Wang, Li, 2023, "Equivariant Hypergraph Diffusion Neural Operators", arXiv:2207.06680.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.data.graph_batch import GraphBatch
from pathline.graphs.hypergraph_model import HypergraphModel, Incidences
from pathline.nn.mlp import MLP


class TwoSided(HypergraphModel):
    """What they share. A subclass writes `build` and `both`. layers: each hears from hyperedges and back."""

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        layers: int = 2,
        width: int = 64,
        dropout: float = 0.6,
        input_dropout: float = 0.0,
        orders: list[str] | None = None,
        edge_inputs: int = 0,
        per_node: int | None = None,
        head_layers: int = 2,
    ) -> None:
        super().__init__(task, inputs, answers, width, dropout, orders, edge_inputs, per_node, head_layers)
        self.layers, self.input_dropout = layers, input_dropout
        self.lift = nn.Linear(self.described, width)
        self.head = self.read_off(2 * width + len(self.orders) + edge_inputs)
        self.build()

    def build(self) -> None:
        """What is learned in the layers."""
        raise NotImplementedError

    @property
    def turns(self) -> int:
        return 2 * self.layers + 1

    def both(self, z: Tensor, incidences: Incidences) -> tuple[Tensor, Tensor]:
        """z_v and z_e, (vertices, width) each, in the rows of nodes and of hyperedges."""
        raise NotImplementedError

    def dropped(self, z: Tensor) -> Tensor:
        return F.dropout(z, self.dropout, self.training)

    def told(self, batch: GraphBatch) -> Tensor:
        """[z_v || z_e || orders] of the incidences that are asked."""
        assert batch.pairs is not None
        incidences = Incidences.of(batch)
        z = F.dropout(F.relu(self.lift(self.features(batch))), self.input_dropout, self.training)
        of_nodes, of_hyperedges = self.both(z, incidences)
        read = [of_nodes[batch.pairs[0]], of_hyperedges[batch.pairs[1]]]
        if batch.edge_features is not None:
            read.append(batch.edge_features[incidences.places(batch.pairs)])
        return torch.cat(read, 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        answer: Tensor = self.head(self.told(batch))
        return answer


class HGNN(TwoSided):
    """Means with the normalisation of hypergraph convolution."""

    def build(self) -> None:
        self.weights = nn.ModuleList([nn.Linear(self.width, self.width) for _ in range(self.layers)])

    def both(self, z: Tensor, incidences: Incidences) -> tuple[Tensor, Tensor]:
        members, home = incidences.by_hyperedge, incidences.by_node
        scale = home.sizes.clamp(min=1).to(z.dtype).rsqrt()[:, None]
        for weight in self.weights:
            heard = members.mean(home.spread(scale * weight(z)))
            z = self.dropped(F.relu(scale * home.segments.sum(members.spread(heard))))
        return z, members.mean(home.spread(z))


class AllSetMean(TwoSided):
    """Means from nodes to hyperedges and back, with an MLP after each."""

    def build(self) -> None:
        sizes = [self.width] * 3
        self.up = nn.ModuleList([MLP(sizes, nn.ReLU) for _ in range(self.layers)])
        self.down = nn.ModuleList([MLP(sizes, nn.ReLU) for _ in range(self.layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(self.width) for _ in range(self.layers)])

    def both(self, z: Tensor, incidences: Incidences) -> tuple[Tensor, Tensor]:
        members, home = incidences.by_hyperedge, incidences.by_node
        said = z
        for up, down, norm in zip(self.up, self.down, self.norms, strict=True):
            said = self.dropped(up(members.mean(home.spread(z))))
            z = norm(z + self.dropped(down(home.mean(members.spread(said)))))
        return z, said


class EDHNN(TwoSided):
    """Messages that differ by hyperedge, from a node and the hyperedge together; all layers have the same weights."""

    alpha = 0.5

    def build(self) -> None:
        sizes = [self.width] * 3
        self.send, self.update = MLP(sizes, nn.ReLU), MLP(sizes, nn.ReLU)
        self.answer = MLP([2 * self.width, *sizes[1:]], nn.ReLU)
        self.norm = nn.LayerNorm(self.width)

    def both(self, z: Tensor, incidences: Incidences) -> tuple[Tensor, Tensor]:
        members, home = incidences.by_hyperedge, incidences.by_node
        first = said = z
        for _ in range(self.layers):
            said = members.mean(home.spread(self.send(z)))
            heard = home.mean(self.answer(torch.cat([home.spread(z), members.spread(said)], 1)))
            z = self.norm(self.dropped(self.update((1 - self.alpha) * heard + self.alpha * first)))
        return z, said
