"""Networks that claims compare with, beside the room's baselines: a graph network with weights, one whose neighbours
are sampled, one that contrasts two noisy views of itself, and the exact fixed point's truncation."""

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


class SimGCL(LightGCN):
    """LightGCN without hop 0, which is also to tell every node of a batch, seen twice under noise, from all others.

        x^(l+1) = A x^(l) + noise * sign(A x^(l)) * u / |u|,    u uniform in (0, 1)^width
        loss = that of the pairs, without noise, + contrast * (of the users + of the items)
        -log softmax over the nodes m of cos(x'_n, x''_m) / temperature, at m = n

    Yu, Yin, Xia, Chen, Cui, Nguyen, 2022, "Are graph augmentations necessary? Simple graph contrastive learning for
    recommendation", arXiv:2112.08679.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        layers: int = 3,
        noise: float = 0.1,
        contrast: float = 0.2,
        temperature: float = 0.2,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, layers, l2, negatives, edges)
        self.noise, self.contrast, self.temperature = noise, contrast, temperature

    def factors(self) -> Tensor:
        return polynomial(self.adjacency, self.embedding, [0.0, *[1 / self.layers] * self.layers])

    def view(self) -> Tensor:
        """The factors under noise of the global generator: (users + items, width)."""
        x: Tensor = self.embedding
        total = torch.zeros_like(x)
        for _ in range(self.layers):
            x = self.adjacency @ x
            x = x + self.noise * x.detach().sign() * F.normalize(torch.rand_like(x))
            total = total + x
        return total / self.layers

    def loss(self, batch: Triples) -> dict[str, Tensor]:
        found = super().loss(batch)
        self.edges_touched += 2 * self.layers * len(self.adjacency)
        views = self.view(), self.view()
        groups = batch.user.unique(), batch.liked.unique() + self.users
        contrast = sum((self.told_apart(*(view[nodes] for view in views)) for nodes in groups), torch.zeros(()))
        return found | {"loss": found["loss"] + self.contrast * contrast, "contrast": contrast}

    def told_apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The cross-entropy of finding each row's other view (n, width) among all of them."""
        likeness = F.normalize(one) @ F.normalize(other).T / self.temperature
        return F.cross_entropy(likeness, torch.arange(len(one), device=one.device))


def exact_fixed_point(method: Pairwise, alpha: float, steps: int = 60) -> Tensor:
    """alpha (I - (1 - alpha) A)^-1 E, to (1 - alpha)^steps."""
    return personalised_pagerank(method.adjacency, method.embedding, alpha, steps)
