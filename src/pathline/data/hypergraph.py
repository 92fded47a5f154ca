"""Hypergraph: nodes in sets of any size, and a class for each membership."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Split
from pathline.data.errors import DataError
from pathline.data.graph_batch import Classified, GraphBatch, check_classes, check_rows, describe_graph, stratified
from pathline.graph.hypergraph import clique_embedding, incidence_orders
from pathline.graph.segment import segment_mean

SHARES = (0.2, 0.2)


@dataclass(frozen=True, kw_only=True)
class Hypergraph(Classified):
    """One hypergraph for the task label-incidences. An incidence is a node in a hyperedge.

    incidence:  (2, m) int64: node, hyperedge
    features:   (nodes, width) float32, width 0 where nodes have none
    labels:     (m,) int64 the class of each incidence, -1 where unknown;  classes: their names
    sets:       how many hyperedges there are
    parts:      (sets,) int64 of a published split: 0 training, 1 validation, 2 test; or None
    edge_features: (sets, k) float32 of the hyperedges, or None;  incidence_features: (m, k) of incidences, or None
    names, set_names: of nodes and hyperedges, or () for their numbers
    """

    incidence: Tensor
    features: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    sets: int
    parts: Tensor | None = None
    edge_features: Tensor | None = None
    names: tuple[str, ...] = ()
    set_names: tuple[str, ...] = ()
    incidence_features: Tensor | None = None

    def __post_init__(self) -> None:
        nodes = len(self.features)
        if self.features.ndim != 2 or not nodes:
            raise DataError(f"{self.name}: features have shape {tuple(self.features.shape)}; expected (nodes, width)")
        if self.incidence.ndim != 2 or self.incidence.shape[0] != 2 or self.incidence.dtype != torch.int64:
            raise DataError(f"{self.name}: incidence has shape {tuple(self.incidence.shape)}; expected (2, m) int64")
        for row, count, noun in zip(self.incidence, (nodes, self.sets), ("nodes", "hyperedges"), strict=True):
            if row.numel() and not 0 <= int(row.min()) <= int(row.max()) < count:
                raise DataError(f"{self.name}: incidences name {noun} {int(row.min())} to {int(row.max())} of {count}")
        check_rows(self.features, nodes, "features", "nodes", self.name)
        check_rows(self.labels, self.incidence.shape[1], "labels", "incidences", self.name)
        check_rows(self.parts, self.sets, "parts", "hyperedges", self.name)
        check_rows(self.edge_features, self.sets, "edge_features", "hyperedges", self.name)
        check_rows(self.incidence_features, self.incidence.shape[1], "incidence_features", "incidences", self.name)
        check_classes(self.labels, self.classes, self.name)

    @property
    def task(self) -> str:
        return "label-incidences"

    def take(self, incidences: Tensor) -> "Hypergraph":
        """The whole hypergraph with the labels of these incidences alone."""
        labels = torch.full_like(self.labels, -1)
        labels[incidences] = self.labels[incidences]
        return self.sharing_memo(replace(self, labels=labels, parts=None))

    def split(self, seed: int = 0) -> Split["Hypergraph"]:
        """The published split of hyperedges, or one drawn: 60, 20 and 20 percent of them; who is in which hyperedge is
        always seen, labels are not."""
        known = self.labels >= 0
        if self.parts is None:
            used = torch.zeros(self.sets, dtype=torch.bool)
            used[self.incidence[1, known]] = True
            members = used.nonzero()[:, 0]
            generator = torch.Generator().manual_seed(seed)
            cut = stratified(torch.zeros_like(members), SHARES, generator, self.name)
            place = torch.full((self.sets,), -1)
            for part, drawn in enumerate(cut):
                place[members[drawn]] = part
        else:
            place = self.parts
        home = place[self.incidence[1]]
        chosen = [(known & (home == part)).nonzero()[:, 0] for part in range(3)]
        for name, index in zip(("training", "validation", "test"), chosen, strict=True):
            if not len(index):
                raise DataError(f"{self.name}: the {name} part holds no membership of a known class")
        return Split(*(self.take(index) for index in chosen))

    @cached_property
    def star(self) -> tuple[Tensor, Tensor]:
        """The star expansion: a graph of nodes and, after them, hyperedges, with an edge both ways for each incidence.

        features (nodes + sets, width): a hyperedge has the mean of its members'; edge_index (2, 2 m).
        """
        node, hyperedge = self.incidence
        own = segment_mean(self.features[node], hyperedge, self.sets)
        both = torch.stack([node, hyperedge + len(self.features)])
        return torch.cat([self.features, own]), torch.cat([both, both.flip(0)], 1)

    def take_sets(self, chosen: Tensor) -> "Hypergraph":
        """The hyperedges `chosen` (k,), numbered in their order, and the nodes that are in them, alone."""
        place = torch.full((self.sets,), -1)
        place[chosen] = torch.arange(len(chosen))
        kept = (place[self.incidence[1]] >= 0).nonzero()[:, 0]
        nodes, number = self.incidence[0, kept].unique(return_inverse=True)
        return replace(
            self,
            incidence=torch.stack([number, place[self.incidence[1, kept]]]),
            features=self.features[nodes],
            labels=self.labels[kept],
            sets=len(chosen),
            parts=None if self.parts is None else self.parts[chosen],
            edge_features=None if self.edge_features is None else self.edge_features[chosen],
            incidence_features=None if self.incidence_features is None else self.incidence_features[kept],
            names=tuple(self.names[k] for k in nodes.tolist()) if self.names else (),
            set_names=tuple(self.set_names[k] for k in chosen.tolist()) if self.set_names else (),
        )

    @cached_property
    def described_incidences(self) -> Tensor | None:
        """(m, k) what incidences and their hyperedges are described by, or None."""
        own = [] if self.incidence_features is None else [self.incidence_features]
        own += [] if self.edge_features is None else [self.edge_features[self.incidence[1]]]
        return torch.cat(own, 1) if own else None

    def with_structure(self, width: int = 16) -> "Hypergraph":
        """With nodes described by where they are: log(1 + degree), and an embedding of the clique expansion."""
        key = f"structure-{width}"
        if key not in self.memo:
            nodes = len(self.features)
            degree = torch.bincount(self.incidence[0], minlength=nodes).double().log1p()[:, None]
            degree = (degree - degree.mean()) / degree.std(correction=0).clamp(min=1e-6)
            self.memo[key] = torch.cat([degree, clique_embedding(self.incidence, nodes, self.sets, width)], 1).float()
        return self.sharing_memo(replace(self, features=self.memo[key]))

    def with_orders(self, kinds: list[str]) -> "Hypergraph":
        """With incidences described by the node's ranks in its hyperedge by these centralities, before all else."""
        key = "orders-" + "-".join(kinds)
        if key not in self.memo:
            self.memo[key] = incidence_orders(kinds, self.incidence, len(self.features), self.sets).float()
        ranks = self.memo[key]
        own = ranks if self.incidence_features is None else torch.cat([ranks, self.incidence_features], 1)
        return self.sharing_memo(replace(self, incidence_features=own))

    @cached_property
    def _whole(self) -> GraphBatch:
        features, edge_index = self.star
        known = self.labels >= 0
        described = self.described_incidences
        return GraphBatch(
            features=features,
            edge_index=edge_index,
            graph=torch.zeros(len(features), dtype=torch.int64),
            edge_features=None if described is None else described.repeat(2, 1),
            pairs=edge_index[:, : self.incidence.shape[1]][:, known],
            labels=self.labels[known],
            memo=self.memo,
        )

    def whole(self) -> GraphBatch:
        """The star expansion, asked about the incidences whose class is known."""
        return self._whole

    def gather(self, index: Tensor) -> GraphBatch:
        """The whole, asked about the `index`-th of the known incidences."""
        whole = self.whole()
        assert whole.pairs is not None and whole.labels is not None
        return replace(whole, pairs=whole.pairs[:, index], labels=whole.labels[index])

    def describe(self) -> dict[str, Any]:
        if self.parts is not None:
            how = f"published: {self.split_name or 'given parts'}"
        else:
            how = self.split_name or "drawn: 60, 20 and 20 percent of the hyperedges"
        return describe_graph(self, len(self.features), self.incidence.shape[1]) | {
            "hyperedges": self.sets,
            "classes": len(self.classes),
            "split": how,
        }
