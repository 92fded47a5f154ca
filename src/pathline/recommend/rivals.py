"""Networks that claims compare with, beside the room's baselines: a graph network with weights, one whose neighbours
are sampled, and the exact fixed point's truncation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pathline.graph import personalised_pagerank, polynomial, sample_block
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.pairwise import Pairwise, Triples


class NGCF(Pairwise):
    """x^(l+1) = LeakyReLU((A x + x) W1 + (A x * x) W2), the outputs of all layers side by side, normalised.

    layers: of propagation;  dropout: of what a layer puts out
    Wang, He, Wang, Feng, Chua, 2019, "Neural graph collaborative filtering", arXiv:1905.08108.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        layers: int = 3,
        dropout: float = 0.1,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives, edges)
        self.dropout = dropout
        self.plain = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.paired = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def factors(self) -> Tensor:
        x: Tensor = self.embedding
        outputs = [x]
        for plain, paired in zip(self.plain, self.paired, strict=True):
            heard = self.adjacency @ x
            x = F.leaky_relu(plain(heard + x) + paired(heard * x), 0.2)
            x = F.dropout(x, self.dropout, self.training)
            outputs.append(F.normalize(x))
        return torch.cat(outputs, 1)


class APPNP(Pairwise):
    """`layers` iterations of z = (1 - alpha) A z + alpha E over the whole graph: what LTGNN's memory stands for.

    Gasteiger, Bojchevski, Günnemann, 2019, "Predict then propagate", arXiv:1810.05997.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        alpha: float = 0.45,
        layers: int = 3,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives, edges)
        decays = [alpha * (1 - alpha) ** power for power in range(layers)]
        self.coefficients = [*decays, (1 - alpha) ** layers]

    def factors(self) -> Tensor:
        return polynomial(self.adjacency, self.embedding, self.coefficients)


class SampledLightGCN(LightGCN):
    """LightGCN whose training steps see `neighbours` sampled neighbours of each node, hop after hop; it recommends from
    the whole graph."""

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        layers: int = 3,
        neighbours: int = 15,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, layers, l2, negatives, edges)
        self.neighbours = neighbours

    def loss(self, batch: Triples) -> dict[str, Tensor]:
        nodes = torch.cat([batch.user, batch.liked + self.users, batch.other + self.users])
        targets, place = nodes.unique(return_inverse=True)
        around = [targets]
        blocks = []
        for _ in range(self.layers):  # from the targets outwards
            blocks.append(sample_block(self.adjacency, around[-1], self.neighbours))
            around.append(torch.cat([around[-1], blocks[-1].neighbour]).unique())
            self.edges_touched += len(blocks[-1].neighbour)
        x = F.embedding(around[-1], self.embedding)
        kept = [F.embedding(targets, self.embedding)]
        for block, inner, outer in zip(reversed(blocks), reversed(around[:-1]), reversed(around[1:]), strict=True):
            local = torch.searchsorted(outer, block.neighbour)
            x = F.embedding_bag(
                local, x, block.pointer, mode="sum", per_sample_weights=block.weight, include_last_offset=True
            )
            kept.append(F.embedding(torch.searchsorted(inner, targets), x))
        table = torch.stack(kept).mean(0)
        return self.compared(table, F.embedding(targets, self.embedding), *place.chunk(3))


def exact_fixed_point(method: Pairwise, alpha: float, steps: int = 60) -> Tensor:
    """alpha (I - (1 - alpha) A)^-1 E, to (1 - alpha)^steps."""
    return personalised_pagerank(method.adjacency, method.embedding, alpha, steps)
