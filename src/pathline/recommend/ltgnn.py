"""LTGNN: graph smoothing of infinitely many hops for a cost per epoch that is linear in the interactions.

    Z* = (1 - alpha) A Z* + alpha E,        score(u, i) = <z_u, z_i>        A = D^-1/2 (users + items graph) D^-1/2

A training step moves the fixed point, and that of its gradient, by one iteration at the users and items of its batch,
from memories of both, over a few sampled neighbours whose noise a snapshot of the memory takes away once per epoch:

    agg_i = deg_i / |S_i| sum_{j in S_i} A_ij (Z_j - M_j) + (A M)_i        z_i = (1 - alpha) agg_i + alpha e_i
    g_i = (1 - alpha) deg_i / |S_i| sum_{j in S_i} A_ij G_j + alpha dL/dz_i

So a step touches (neighbours + 1) * batch entries of A, and an epoch adds all of them once; a full graph network
touches all of them in every layer of every step. What a step does not touch, its optimiser leaves alone (`LazyAdam`).

When to use it: large tables of interactions, where a full pass over the graph for every batch is too slow. On small
ones LightGCN is as fast and needs no memories.

Zhang, Xue, Fan, Xu, Li, Pei, Liu, 2024, "Linear-time graph neural networks for scalable recommendations", WWW,
arXiv:2402.13973.
Departs: `adjust` is off by default, where the authors' program takes 0.2 of the zeroth hop away; with adjustments the
remembered gradient is not scaled by 1 - sum(adjust), so that it stays the fixed point's; the infinite-hop term is held
fixed within an epoch. Sampled neighbours, whose gradient is 0, stay where they are; the authors' optimiser lets them
drift on with their momentum. Neighbours are sampled by our own routine.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.core.schedule import rate_groups
from pathline.data import Interactions
from pathline.graph import ImplicitMemory, NeighbourBlock, personalised_pagerank, sample_block
from pathline.nn.lazy_adam import LazyAdam
from pathline.recommend.pairwise import Pairwise, Triples

WARM_UP = 7  # exact iterations that fill the memory at first


class LTGNN(Pairwise):
    """alpha:      share of a node's own row in its fixed point, above 0; 1 is matrix factorisation
    neighbours: sampled per node and step; None takes all
    hops:       exact iterations, from the learned rows, that recommendations are made of; 0 takes the memory
    mix:        share of the incoming gradient in what the backward iteration starts from, beside its memory
    adjust:     shares c of hop 0, hop 1 and the infinite hop that are taken out:
                (z - c0 E - c1 A E - c2 P E) / (1 - sum c)

    Other settings as in `Pairwise`. `edges_touched` counts the entries of A that training read in forward passes.
    """

    projection: Tensor

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        alpha: float = 0.45,
        neighbours: int | None = 15,
        hops: int = 3,
        mix: float = 0.0,
        adjust: tuple[float, float, float] | list[float] = (0.0, 0.0, 0.0),
        l2: float = 4e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives, edges)
        if not 0 < alpha <= 1:
            raise MethodError(f"LTGNN: alpha is {alpha:g}; give a number above 0, and at most 1")
        if len(adjust) != 3 or sum(adjust) >= 1:
            raise MethodError(f"LTGNN: adjust is {list(adjust)}; give three shares whose sum is below 1")
        self.alpha, self.neighbours, self.hops, self.mix = alpha, neighbours, hops, mix
        self.adjust = tuple(adjust)
        self.memory = ImplicitMemory(users + items, width)
        self.register_buffer("projection", torch.zeros(width))
        self.edges_touched = 0

    def read(self, data: Interactions) -> None:
        """Also warms the memory up."""
        super().read(data)
        table = self.embedding.detach()
        self.memory.values.copy_(personalised_pagerank(self.adjacency, table, self.alpha, WARM_UP))
        self.refresh()

    def begin_epoch(self) -> None:
        self.refresh()
        self.edges_touched += len(self.adjacency)

    @torch.no_grad()
    def refresh(self) -> None:
        """The snapshot, and the infinite hop: P E = sqrt(d_i) / sum d * sum_j sqrt(d_j) e_j."""
        self.memory.refresh(self.adjacency)
        degree = self.adjacency.pointer.diff().to(self.embedding)
        self.projection.copy_(degree.sqrt() @ self.embedding.detach() / degree.sum())

    def optimizer(self, recipe: Recipe) -> torch.optim.Optimizer:
        """Adam of the rows of a batch; what pulls rows towards 0 is `l2`, for decay would touch all of them."""
        if recipe.weight_decay:
            raise MethodError("LTGNN has no weight_decay, which would touch every row in every step; set l2 instead")
        return LazyAdam(rate_groups(self), lr=recipe.lr, betas=recipe.betas)

    def loss(self, batch: Triples) -> dict[str, Tensor]:
        nodes = torch.cat([batch.user, batch.liked + self.users, batch.other + self.users])
        targets, place = nodes.unique(return_inverse=True)
        block = sample_block(self.adjacency, targets, self.neighbours)
        self.edges_touched += len(block.neighbour) + len(targets)
        learned = F.embedding(targets, self.embedding, sparse=True)
        z = self.adjusted(self.memory.step(learned, block, self.alpha, self.mix), learned, block)
        return self.compared(z, learned, *place.chunk(3))

    def adjusted(self, z: Tensor, learned: Tensor, block: NeighbourBlock) -> Tensor:
        """z (targets, width) without the shares `adjust` of hop 0, 1 and infinity."""
        zeroth, first, infinite = self.adjust
        if zeroth:
            z = z - zeroth * learned
        if first:
            weight = block.weight.to(self.embedding.dtype)
            neighbours = F.embedding_bag(
                block.neighbour, self.embedding, block.pointer, mode="sum", sparse=True, per_sample_weights=weight,
                include_last_offset=True,
            )  # fmt: skip
            z = z - first * neighbours
        if infinite:
            degree = self.adjacency.pointer.diff()[block.targets].to(z)
            z = z - infinite * degree.sqrt()[:, None] * self.projection
        return z / (1 - sum(self.adjust))

    def factors(self) -> Tensor:
        table, matrix = self.embedding, self.adjacency
        z = self.memory.values if self.hops == 0 else personalised_pagerank(matrix, table, self.alpha, self.hops)
        zeroth, first, infinite = self.adjust
        if zeroth:
            z = z - zeroth * table
        if first:
            z = z - first * (matrix @ table)
        if infinite:
            root = matrix.pointer.diff().to(table).sqrt()
            z = z - infinite * root[:, None] * (root @ table / root.square().sum())
        return z / (1 - sum(self.adjust))
