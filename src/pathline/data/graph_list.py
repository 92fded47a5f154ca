"""Graphs: many graphs, each with a class or with numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Split
from pathline.data.errors import DataError
from pathline.data.graph_batch import (
    GraphBatch,
    GraphData,
    check_classes,
    check_edges,
    check_rows,
    describe_graph,
)
from pathline.graph.ragged import places_of, starts_of

FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Graphs(GraphData):
    """Graphs for the task classify-graphs (where they have labels) or regress-graphs (where they have targets).

    They are kept as their disjoint union: the nodes of graph 0, then those of graph 1, and so on, with edges between
    numbers in the union.

    sizes:         (count,) int64 nodes of each graph, at least 1
    edge_index:    (2, E) int64, row 0 the sender; an undirected edge stands there in both directions
    features:      (nodes, width) float32, width 0 where nodes have none
    labels:        (count,) int64 classes, -1 where unknown, or None;  classes: their names
    targets:       (count, k) float32, not a number where unknown, or None;  target_names: with units
    weight:        (E,) float32 or None;  edge_features: (E, k) float32 or None;  edge_type: (E,) int64 or None
    roots:         (count,) int64 the node, in the union, that answers for its graph, or None
    parts:         (count,) int64 of a published split: 0 training, 1 validation, 2 test; or None
    names:         of the graphs, or () for their numbers
    """

    sizes: Tensor
    edge_index: Tensor
    features: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    targets: Tensor | None = None
    target_names: tuple[str, ...] = ()
    weight: Tensor | None = None
    edge_features: Tensor | None = None
    edge_type: Tensor | None = None
    roots: Tensor | None = None
    parts: Tensor | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        nodes, count = len(self.features), len(self.sizes)
        if self.features.ndim != 2 or int(self.sizes.sum()) != nodes:
            raise DataError(
                f"{self.name}: features have shape {tuple(self.features.shape)}; expected one row for each of the "
                f"{int(self.sizes.sum())} nodes"
            )
        if count and int(self.sizes.min()) < 1:
            raise DataError(f"{self.name}: graph {int(self.sizes.argmin())} has no node; leave it out")
        check_edges(self.edge_index, nodes, self.name)
        home = self.graph[self.edge_index]
        if bool((home[0] != home[1]).any()):
            edge = int((home[0] != home[1]).nonzero()[0])
            raise DataError(f"{self.name}: edge {edge} joins graph {int(home[0, edge])} and {int(home[1, edge])}")
        if bool((home[0].diff() < 0).any()):
            order = home[0].argsort(stable=True)
            for field in ("weight", "edge_features", "edge_type"):
                if (value := getattr(self, field)) is not None:
                    object.__setattr__(self, field, value[order])
            object.__setattr__(self, "edge_index", self.edge_index[:, order])
        if self.labels is not None and self.targets is not None:
            raise DataError(f"{self.name}: graphs have either labels or targets, not both")
        edges = self.edge_index.shape[1]
        check_rows(self.features, nodes, "features", "nodes", self.name)
        check_rows(self.labels, count, "labels", "graphs", self.name)
        if self.targets is not None and (self.targets.ndim != 2 or len(self.targets) != count):
            raise DataError(f"{self.name}: targets have shape {tuple(self.targets.shape)}; expected ({count}, numbers)")
        for field in ("weight", "edge_features", "edge_type"):
            check_rows(getattr(self, field), edges, field, "edges", self.name)
        check_rows(self.parts, count, "parts", "graphs", self.name)
        check_classes(self.labels, self.classes, self.name)
        if self.roots is not None and bool((self.graph[self.roots] != torch.arange(count)).any()):
            raise DataError(f"{self.name}: each root must be a node of its own graph")

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def graph(self) -> Tensor:
        """(nodes,) int64 the graph of each node."""
        return torch.arange(len(self.sizes)).repeat_interleave(self.sizes)

    @cached_property
    def _node_starts(self) -> Tensor:
        return starts_of(self.sizes)

    @cached_property
    def _edge_counts(self) -> Tensor:
        return torch.bincount(self.graph[self.edge_index[0]], minlength=len(self.sizes))

    @cached_property
    def _edge_starts(self) -> Tensor:
        return starts_of(self._edge_counts)

    @property
    def task(self) -> str:
        return "classify-graphs" if self.targets is None else "regress-graphs"

    @property
    def answers(self) -> tuple[str, ...]:
        if self.targets is None:
            return self.classes
        return self.target_names or tuple(f"target_{k}" for k in range(self.targets.shape[1]))

    @property
    def width(self) -> int:
        return self.features.shape[1]

    @property
    def known(self) -> Tensor:
        """(m,) int64 the graphs whose answer is known."""
        if self.targets is not None:
            return torch.isfinite(self.targets).all(1).nonzero()[:, 0]
        return torch.zeros(0, dtype=torch.int64) if self.labels is None else (self.labels >= 0).nonzero()[:, 0]

    @property
    def has_truth(self) -> bool:
        return bool(len(self.known))

    @property
    def split_count(self) -> int:
        return 1 if self.parts is not None else FOLDS

    def take(self, index: Tensor) -> "Graphs":
        """The graphs `index`, in that order."""
        count, edges = self.sizes[index], self._edge_counts[index]
        nodes = places_of(self._node_starts[index], count)
        edge = places_of(self._edge_starts[index], edges)
        moved = starts_of(count)[:-1] - self._node_starts[index]

        def rows(tensor: Tensor | None, at: Tensor) -> Tensor | None:
            return None if tensor is None else tensor[at]

        return replace(
            self,
            sizes=count,
            edge_index=self.edge_index[:, edge] + moved.repeat_interleave(edges),
            features=self.features[nodes],
            labels=rows(self.labels, index),
            targets=rows(self.targets, index),
            weight=rows(self.weight, edge),
            edge_features=rows(self.edge_features, edge),
            edge_type=rows(self.edge_type, edge),
            roots=None if self.roots is None else self.roots[index] + moved,
            parts=rows(self.parts, index),
            names=tuple(self.names[k] for k in index.tolist()) if self.names else (),
        )

    def split(self, seed: int = 0) -> Split["Graphs"]:
        """The published split, or the usual cross-validation: ten folds, each with the same share of every class, drawn
        once for all; fold `seed` (counted round) is the test part, the next one the validation part. Fewer than ten
        known graphs have fewer folds."""
        known = self.known
        if self.parts is not None:
            chosen = [known[self.parts[known] == part] for part in range(3)]
        else:
            if len(known) < 3:
                raise DataError(
                    f"{self.name}: {len(known)} graphs have a known answer; three parts need at least 3 of them"
                )
            folds = min(FOLDS, len(known))
            order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))
            if self.targets is None and self.labels is not None:
                order = order[self.labels[known[order]].argsort(stable=True)]
            fold = torch.empty(len(known), dtype=torch.int64)
            fold[order] = torch.arange(len(known)) % folds
            test, validation = fold == seed % folds, fold == (seed + 1) % folds
            chosen = [known[~test & ~validation], known[validation], known[test]]
        for part, index in zip(("training", "validation", "test"), chosen, strict=True):
            if not len(index):
                raise DataError(f"{self.name}: the {part} part holds no graph with a known answer")
        return Split(*(replace(self.take(index), parts=None) for index in chosen))

    def gather(self, index: Tensor) -> GraphBatch:
        """Some graphs as their disjoint union."""
        return self.take(index).whole()

    def whole(self) -> GraphBatch:
        return GraphBatch(
            features=self.features,
            edge_index=self.edge_index,
            graph=self.graph,
            graphs=len(self.sizes),
            weight=self.weight,
            edge_features=self.edge_features,
            edge_type=self.edge_type,
            labels=self.labels,
            targets=self.targets,
            roots=self.roots,
        )

    def with_edges(self, edge_index: Tensor, edge_type: Tensor) -> "Graphs":
        """The same graphs with other edges (2, E), each of a type (E,); weights and features of edges are left out."""
        return replace(self, edge_index=edge_index, edge_type=edge_type, weight=None, edge_features=None)

    def describe(self) -> dict[str, Any]:
        if self.parts is not None:
            how = f"published: {self.split_name or 'given parts'}"
        else:
            shares = " with equal shares of every class" if self.targets is None else ""
            how = self.split_name or f"ten folds{shares}, one for each seed"
        asked = {"classes": len(self.classes)} if self.targets is None else {"targets": len(self.answers)}
        base = describe_graph(self, len(self.features), self.edge_index.shape[1])
        return base | {"graphs": len(self.sizes), **asked, "split": how}


def graphs_of(edge_indices: Sequence[Tensor], features: Sequence[Tensor], **facts: Any) -> Graphs:
    """Graphs one by one as one container: edges (2, E_g) among numbers 0 .. n_g - 1, features (n_g, width)."""
    sizes = torch.tensor([len(rows) for rows in features], dtype=torch.int64)
    edges = torch.tensor([one.shape[1] for one in edge_indices], dtype=torch.int64)
    shift = starts_of(sizes)[:-1].repeat_interleave(edges)
    return Graphs(
        sizes=sizes, edge_index=torch.cat(list(edge_indices), 1) + shift, features=torch.cat(list(features)), **facts
    )
