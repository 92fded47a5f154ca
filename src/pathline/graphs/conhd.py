"""CoNHD: a hypergraph network with a vector for each node in each hyperedge, so that a node may play several parts.

Let h_{v,e} be the vector of node v in hyperedge e (a co-representation), all of them the rows of H. They diffuse to
    min_H  sum_e Omega_e({h_{v,e}}_{v in e}) + sum_v Omega_v({h_{v,e}}_{e of v}) + mu/2 |H - H0|^2,
    H0 = ReLU(W x_v)  (with what hyperedges and incidences are described by added before ReLU)
and neither regulariser is known: networks that are equivariant to permutations of a set, phi among the members of a
hyperedge and rho among the hyperedges of a node, are learned in their place, the same in every layer.
    GD    H  <- LN( W [H || phi(H) || rho(H) || H0] )                                   a step along the gradients
    ADMM  M_i <- F_i(2H - M_i) + M_i - H  for F_1 = phi, F_2 = rho;  H <- LN( U [M_1 || M_2 || H0] )   from M_i = H0
phi and rho stand for gradients in the first, for proximal operators in the second: with those of given quadratics and
the matching U the second is Douglas-Rachford splitting and ends in their minimum. phi, rho: `depth` blocks UNP
(mean), ISAB or SAB (attention); an order vector, the node's ranks in the hyperedge by centrality, may be added to
their input through a linear map. The answer is a linear map of h_{v,e}, or of its mean over a node or a hyperedge.
Zheng, Worring, 2025, "Modeling Edge-Specific Node Features through Co-Representation Neural Hypergraph Diffusion",
CIKM, arXiv:2405.14286. Use it where a node's label depends on the hyperedge it is in. It keeps as many vectors as there
are incidences; where a label belongs to the node alone, networks on nodes and hyperedges need less.
Departs: dropout of H0 is drawn once for both families (the authors' code draws it twice for one and never for the
other). Nodes without features are described by log-degree and a spectral embedding instead of random walks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.graph_batch import GraphBatch
from pathline.graphs.hypergraph_model import HypergraphModel, Incidences
from pathline.nn.set_blocks import BLOCKS, SetNetwork, Sets

VARIANTS = ("ADMM", "GD")
LEVELS = ("incidence", "node", "hyperedge")
Operator = Callable[[Tensor], Tensor]


def gradient_step(h: Tensor, h0: Tensor, operators: Sequence[Operator], update: Operator) -> Tensor:
    """update([H || phi(H) || rho(H) || H0]): (m, width)."""
    return update(torch.cat([h, *(operator(h) for operator in operators), h0], 1))


def splitting_step(
    h: Tensor, messages: Sequence[Tensor], h0: Tensor, operators: Sequence[Operator], update: Operator
) -> tuple[Tensor, list[Tensor]]:
    """The new H (m, width) and the new message of each family, each from its own."""
    messages = [operator(2 * h - m) + m - h for operator, m in zip(operators, messages, strict=True)]
    return update(torch.cat([*messages, h0], 1)), messages


class Family(nn.Module):
    """phi or rho: orders added, equivariant blocks, and dropout after them."""

    def __init__(self, network: SetNetwork, width: int, orders: int, dropout: float, pad: bool) -> None:
        super().__init__()
        self.network, self.dropout, self.pad = network, dropout, pad
        self.order = nn.Linear(orders, width) if orders else None

    def forward(self, h: Tensor, sets: Sets, ranks: Tensor | None) -> Tensor:
        if self.order is not None and ranks is not None:
            h = h + self.order(ranks)
        return F.dropout(self.network(h, sets, self.pad), self.dropout, self.training)


class CoNHD(HypergraphModel):
    """CoNHD(ADMM or GD; UNP, ISAB or SAB).

    variant, block: as above;  layers: of diffusion, in each of which every incidence hears those it shares a node or
        a hyperedge with;  depth: blocks within phi and within rho;  heads, points: of attention
    dropout:        after phi and rho;  input_dropout: of H0
    norm:           a layer norm after each update;  block_norm: layer norms within blocks too
    level:          "incidence", or "node" or "hyperedge" where all incidences of one have the same answer
    pad:            blocks work on padded sets instead of segments; the numbers are the same
    orders, edge_inputs, per_node, head_layers: see `HypergraphModel`
    """

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        variant: str = "ADMM",
        block: str = "UNP",
        layers: int = 2,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        points: int = 4,
        dropout: float = 0.6,
        input_dropout: float = 0.0,
        norm: bool = True,
        block_norm: bool = False,
        level: str = "incidence",
        orders: list[str] | None = None,
        edge_inputs: int = 0,
        per_node: int | None = None,
        head_layers: int = 1,
        pad: bool = False,
    ) -> None:
        super().__init__(task, inputs, answers, width, dropout, orders, edge_inputs, per_node, head_layers)
        for what, said, known in (("variant", variant, VARIANTS), ("block", block, BLOCKS), ("level", level, LEVELS)):
            if said not in known:
                raise MethodError(f"there is no {what} '{said}'; choose one of {', '.join(known)}")
        if block != "UNP" and width % heads:
            raise MethodError(f"a width of {width} cannot be shared by {heads} heads; choose a multiple of {heads}")
        self.variant, self.layers, self.input_dropout, self.level = variant, layers, input_dropout, level
        self.lift = nn.Linear(self.described, width)
        self.lift_edges = nn.Linear(edge_inputs, width, bias=False) if edge_inputs else None
        self.within_hyperedges, self.within_nodes = (
            Family(SetNetwork(block, width, depth, heads, points, block_norm), width, len(self.orders), dropout, pad)
            for _ in range(2)
        )
        mixed = nn.Linear((3 if variant == "ADMM" else 4) * width, width)
        self.update = nn.Sequential(mixed, nn.LayerNorm(width)) if norm else mixed
        self.head = self.read_off(width)

    @property
    def turns(self) -> int:
        return self.layers + 1

    def initial(self, x: Tensor, batch: GraphBatch, rest: Tensor | None) -> Tensor:
        """H0 (m, width)."""
        h = Incidences.of(batch).by_node.spread(self.lift(x))
        if self.lift_edges is not None and rest is not None:
            h = h + self.lift_edges(rest)
        return F.dropout(F.relu(h), self.input_dropout, self.training)

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """H (m, width), a row for each incidence, in their order in the batch."""
        incidences = Incidences.of(batch)
        ranks, rest = self.incidence_features(batch)
        operators: list[Operator] = [
            lambda h: self.within_hyperedges(h, incidences.by_hyperedge, ranks),
            lambda h: self.within_nodes(h, incidences.by_node, ranks),
        ]
        h0 = self.initial(x, batch, rest)
        h, messages = h0, [h0, h0]
        for _ in range(self.layers):
            if self.variant == "GD":
                h = gradient_step(h, h0, operators, self.update)
            else:
                h, messages = splitting_step(h, messages, h0, operators, self.update)
        return h

    def pooled_over(self, h: Tensor, batch: GraphBatch, level: str) -> Tensor:
        """(m, width) rows of H, or their means over the node or the hyperedge each belongs to."""
        incidences = Incidences.of(batch)
        if level == "incidence":
            return h
        sets = incidences.by_node if level == "node" else incidences.by_hyperedge
        return sets.spread(sets.mean(h))

    def readout(self, h: Tensor, batch: GraphBatch) -> Tensor:
        assert batch.pairs is not None
        rows = self.pooled_over(h, batch, self.level)[Incidences.of(batch).places(batch.pairs)]
        answer: Tensor = self.head(rows)
        return answer

    @torch.no_grad()
    def co_representations(self, data: Any) -> Tensor:
        """(m, width) the vectors of all incidences of `data`, in its order."""
        was = self.training
        self.eval()
        batch = self.prepared(self.check(data)).whole().to(self.device)
        found = self.encode(self.features(batch), batch)
        self.train(was)
        return found
