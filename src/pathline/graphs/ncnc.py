"""Neural Common Neighbour with Completion: a link is judged by what its two ends share, and by what they may share.

    h      = encoder(X, A)                                             one network on the whole graph
    x_ij   = pair(h_i o h_j),   x_cn = common(sum_u P_u h'_u),   h' = h + extra(h)
    logit  = out(beta x_cn + x_ij)                                     NCN: P_u = 1 for u in N(i) and N(j), else 0
NCNC also counts neighbours of one end only, as far as the missing link is likely: for u in N(i) without N(j)
    P_u    = alpha p_t q / (p_t q + 1 - q) = alpha sigmoid(scale (l_ju - offset) + log p_t)
    q      = sigmoid(scale (l_ju - offset))
where l_ju is NCN's own logit of (j, u), without a gradient; likewise in N(j) without N(i). Deeper completion judges
those pairs by completed neighbours, too. While training, the links that a step asks for leave the graph, in both
directions, before nodes are encoded and neighbours compared: else every link would be seen, as none is that is asked
for later.
Wang, Yang, Zhang, 2024, "Neural Common Neighbor with Completion for Link Prediction", ICLR, arXiv:2302.00890.
Use it where linked nodes have neighbours in common. Where they have none, or all nodes have many, it says little more
than the product of both encodings. Every step encodes the whole graph.
Departs: completion judges (j, u) from h as any other pair, where the authors' code hands h' on to itself; neighbours
are drawn without replacement; a step hides a quarter of the links at most, so that small graphs do not vanish.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.data.links import Links
from pathline.graph.common_neighbours import Neighbourhoods, Rows, joined
from pathline.graph.links import keys_of
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.graph_encoder import CONVOLUTIONS, GraphEncoder
from pathline.nn.link_predictors import HadamardPredictor, stack

PREDICTORS = ("ncn", "hadamard")
AT_ONCE = 1 << 14  # pairs that are judged together when nothing is learned from them


class CommonNeighbourPredictor(HadamardPredictor):
    """NCN (depth 0) and NCNC (depth 1 and more). See the module for the equations.

    alpha, scale, offset, certainty: of completion, certainty being p_t; `learn_certainty` reads it off h_i o h_j
    drawn:      neighbours of one end that completion looks at, in training and otherwise
    most_common: common neighbours that are looked at, or None: all
    """

    alpha: Tensor
    scale: Tensor
    offset: Tensor
    certainty: Tensor

    def __init__(
        self,
        width: int,
        dropout: float = 0.0,
        norm: bool = True,
        deep: bool = False,
        extra: bool = True,
        depth: int = 1,
        alpha: float = 1.0,
        scale: float = 5.0,
        offset: float = 3.0,
        certainty: float = 0.5,
        learn_certainty: bool = False,
        drawn: tuple[int, int] = (8, 128),
        most_common: int | None = None,
    ) -> None:
        super().__init__(width, dropout, norm, deep)
        self.depth, self.drawn, self.most_common = depth, drawn, most_common
        self.common = stack(width, (False, norm), dropout)
        self.extra = stack(width, (False, norm), dropout) if extra else None
        self.beta = nn.Parameter(torch.ones(()))
        self.certain = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.certain.requires_grad_(learn_certainty)
        self.learn_certainty = learn_certainty
        for name, value in {"alpha": alpha, "scale": scale, "offset": offset, "certainty": certainty}.items():
            self.register_buffer(name, torch.tensor(float(value)))

    def forward(self, h: Tensor, near: Neighbourhoods, pairs: Tensor, depth: int | None = None) -> Tensor:
        product = h[pairs[0]] * h[pairs[1]]
        rows = self.neighbours(h, near, pairs, product, self.depth if depth is None else depth)
        found = self.common(rows.times(h if self.extra is None else h + self.extra(h)))
        logits: Tensor = self.out(self.beta * found + self.pair(product))[:, 0]
        return logits

    def neighbours(self, h: Tensor, near: Neighbourhoods, pairs: Tensor, product: Tensor, depth: int) -> Rows:
        """P: which neighbours of the pairs (2, m) count, and how much."""
        if depth < 1:
            return near.common(pairs).sampled(self.most_common)
        most = self.drawn[0 if self.training else 1]
        overlap = near.overlap(pairs)
        first, second = overlap.first.sampled(most), overlap.second.sampled(most)
        missing = torch.stack(
            [
                torch.cat([pairs[1][first.pair], pairs[0][second.pair]]),
                torch.cat([first.node, second.node]),
            ]
        )
        logits = self.judged(h, near, missing, depth - 1)
        chance = self.probability(logits, product, torch.cat([first.pair, second.pair]))
        begin, end = chance.split([len(first), len(second)])
        return joined([overlap.common.sampled(self.most_common), first.scaled(begin), second.scaled(end)])

    @torch.no_grad()
    def judged(self, h: Tensor, near: Neighbourhoods, pairs: Tensor, depth: int) -> Tensor:
        """Logits of pairs (2, m), each different one judged once."""
        ends = near.nodes
        keys, place = torch.unique(keys_of(pairs, ends), return_inverse=True)
        each = torch.stack([keys // ends, keys % ends])
        parts = [self(h, near, part, depth).float() for part in each.split(AT_ONCE, 1)]
        return torch.cat(parts)[place]

    def probability(self, logits: Tensor, product: Tensor, pair: Tensor) -> Tensor:
        """P of missing links with `logits` (m,), each for the pair of its number (m,) in `product` (pairs, width)."""
        if self.learn_certainty:
            log_certainty = F.logsigmoid(self.certain(product)[:, 0].to(logits.dtype))[pair]
        else:
            log_certainty = self.certainty.log()
        return self.alpha * torch.sigmoid(self.scale * (logits - self.offset) + log_certainty)


class NCNC(LearnedGraphModel):
    """Links from common neighbours that are there and that may be missing; `depth=0` is NCN.

    predictor:  "ncn", or "hadamard": the graph autoencoder, which neighbours do not help
    conv, layers, residual, jumping, norm: of the encoder, see `GraphEncoder`
    dropout, edge_dropout: of the encoder;  feature_dropout: of the features that came with the nodes, if any did
    predictor_dropout: of the predictor
    neighbour_dropout: share of edges that neighbourhoods do without while training
    remove_targets: whether links that a step asks for leave the graph;  most_hidden: share of all links, at most
    depth, alpha, scale, offset, certainty, learn_certainty, drawn, most_common, extra, deep: of the predictor
    predictor_rate: its learning rate in units of the encoder's
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=300, batch_size=1024, lr=4e-3, schedule="constant", clip=None, validations=30
    )
    tasks: ClassVar[tuple[str, ...]] = ("predict-links",)

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        predictor: str = "ncn",
        depth: int = 1,
        conv: str = "puregcn",
        layers: int = 1,
        width: int = 64,
        residual: bool = False,
        jumping: bool = True,
        norm: bool = True,
        dropout: float = 0.05,
        feature_dropout: float = 0.5,
        edge_dropout: float = 0.0,
        predictor_dropout: float = 0.05,
        neighbour_dropout: float = 0.0,
        extra: bool = True,
        deep: bool = False,
        alpha: float = 1.0,
        scale: float = 5.0,
        offset: float = 3.0,
        certainty: float = 0.5,
        learn_certainty: bool = False,
        drawn: tuple[int, int] = (8, 128),
        most_common: int | None = None,
        remove_targets: bool = True,
        most_hidden: float = 0.25,
        predictor_rate: float = 0.5,
    ) -> None:
        super().__init__(task, inputs, answers, width)
        if predictor not in PREDICTORS:
            raise MethodError(f"there is no predictor '{predictor}'; choose {' or '.join(PREDICTORS)}")
        if conv not in CONVOLUTIONS:
            raise MethodError(f"there is no layer '{conv}'; choose one of {', '.join(CONVOLUTIONS)}")
        shares = (dropout, feature_dropout, edge_dropout, predictor_dropout, neighbour_dropout)
        if not all(0 <= share < 1 for share in shares):
            raise MethodError(f"shares that are dropped must be at least 0 and below 1, but they are {shares}")
        if not 0 < most_hidden <= 1:
            raise MethodError(f"most_hidden is {most_hidden}; it is a share of the links, above 0 and at most 1")
        self.remove_targets, self.most_hidden = remove_targets, most_hidden
        self.neighbour_dropout = neighbour_dropout
        dropped = feature_dropout if inputs else 0.0
        self.encoder = GraphEncoder(
            self.described, width, conv, layers, residual, jumping, norm, dropout, dropped, edge_dropout
        )
        if predictor == "hadamard":
            self.head = HadamardPredictor(width, predictor_dropout, norm, deep)
        else:
            completion = (alpha, scale, offset, certainty, learn_certainty, (drawn[0], drawn[1]), most_common)
            self.head = CommonNeighbourPredictor(width, predictor_dropout, norm, deep, extra, depth, *completion)
        self.__dict__["rates"] = {"head": predictor_rate}

    def visible(self, batch: GraphBatch) -> GraphBatch:
        """`batch` without the links it asks for, while training; later nothing is taken away."""
        if not (self.training and self.remove_targets) or batch.pairs is None or batch.labels is None:
            return batch
        hidden = keys_of(batch.pairs[:, batch.labels > 0.5], batch.nodes)
        kept = ~torch.isin(keys_of(batch.edge_index, batch.nodes), hidden)
        weight = None if batch.weight is None else batch.weight[kept]
        return replace(batch, edge_index=batch.edge_index[:, kept], weight=weight, memo={})

    def neighbourhoods(self, batch: GraphBatch) -> Neighbourhoods:
        """Who is next to whom; while training some edges are left out."""
        if not (self.training and self.neighbour_dropout):
            return batch.remembered("neighbourhoods", lambda: Neighbourhoods(batch.edge_index, batch.nodes))
        kept = torch.rand(batch.edge_index.shape[1], device=batch.edge_index.device) >= self.neighbour_dropout
        return Neighbourhoods(batch.edge_index[:, kept], batch.nodes)

    def features(self, batch: GraphBatch) -> Tensor:
        """As everywhere in the room, but rows of 0 and 1 stay what they are: products of encodings need their size."""
        return batch.features if bool(self.rows) and self.inputs else super().features(batch)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        encoded: Tensor = self.encoder(x, batch.edges, batch.weight)
        return encoded

    def readout(self, h: Tensor, batch: GraphBatch) -> Tensor:
        assert batch.pairs is not None
        near, pairs = self.neighbourhoods(batch), batch.pairs.sort(0).values
        parts = [pairs] if self.training else pairs.split(AT_ONCE, 1)
        return torch.cat([self.head(h, near, part) for part in parts])

    def forward(self, batch: GraphBatch) -> Tensor:
        """Logits (m,) of the pairs in question."""
        return super().forward(self.visible(batch))

    def loss(self, batch: GraphBatch) -> Tensor | dict[str, Tensor]:
        """- mean log sigmoid(logit) of links - mean log sigmoid(-logit) of the other pairs."""
        assert batch.labels is not None
        logits, true = self(batch).float(), batch.labels.float()
        links = (F.softplus(-logits) * true).sum() / true.sum().clamp(min=1)
        return links + (F.softplus(logits) * (1 - true)).sum() / (1 - true).sum().clamp(min=1)

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train with Adam at the recipe's rate unless other settings are given."""
        return super().fit(data, budget, seed, validation, **({"lr": self.recipe.lr, "weight_decay": 0.0} | options))

    def links_at_once(self, data: Links, size: int) -> int:
        """Links in a batch: `size`, or the share that a step may hide."""
        return max(1, min(size, int(self.most_hidden * len(data))))

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[GraphBatch]:
        """Links in a random order, each with one pair that is none, drawn afresh."""
        yield from self.prepared(data).batches(self.links_at_once(data, size), generator, least=1)

    def epoch_length(self, data: Any, size: int) -> int:
        count: int = data.batch_count(self.links_at_once(data, size), least=1)
        return count
