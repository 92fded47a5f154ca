"""Graph: one graph, some of whose nodes are of known classes."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.data.container import Split
from pathline.data.errors import DataError
from pathline.data.graph_batch import (
    Classified,
    GraphBatch,
    GraphData,
    check_classes,
    check_edges,
    check_rows,
    describe_graph,
    stratified,
)

if TYPE_CHECKING:
    from pathline.data.links import Links

SHARES = (0.2, 0.2)  # of the labelled nodes, for validation and test, where no split was published


@dataclass(frozen=True, kw_only=True)
class Graph(Classified):
    """One graph for the task classify-nodes. Parts of a split are the same graph with the labels of their nodes alone.

    edge_index:    (2, E) int64, row 0 the sender; an undirected edge stands there in both directions
    features:      (nodes, width) float32, width 0 where nodes have none
    labels:        (nodes,) int64 classes, -1 where unknown
    classes:       their names
    weight:        (E,) float32 or None;  edge_features: (E, k) float32 or None
    names:         of the nodes, or () for their numbers
    masks:         published parts, "train", "validation" and "test": (splits, nodes) bool each, or none
    directed:      whether edges were given with a direction
    """

    edge_index: Tensor
    features: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    weight: Tensor | None = None
    edge_features: Tensor | None = None
    names: tuple[str, ...] = ()
    masks: dict[str, Tensor] | None = None
    directed: bool = False

    def __post_init__(self) -> None:
        nodes = len(self.features)
        if self.features.ndim != 2 or not nodes:
            raise DataError(f"{self.name}: features have shape {tuple(self.features.shape)}; expected (nodes, width)")
        check_edges(self.edge_index, nodes, self.name)
        check_rows(self.features, nodes, "features", "nodes", self.name)
        check_rows(self.labels, nodes, "labels", "nodes", self.name)
        check_rows(self.weight, self.edge_index.shape[1], "weight", "edges", self.name)
        check_rows(self.edge_features, self.edge_index.shape[1], "edge_features", "edges", self.name)
        check_classes(self.labels, self.classes, self.name)
        if self.names and len(self.names) != nodes:
            raise DataError(f"{self.name}: {len(self.names)} names for {nodes} nodes")
        if self.masks is not None:
            for part in ("train", "validation", "test"):
                if part not in self.masks or self.masks[part].shape[1:] != (nodes,):
                    raise DataError(f"{self.name}: masks['{part}'] must be (splits, {nodes}) bool")

    @property
    def task(self) -> str:
        return "classify-nodes"

    @property
    def split_count(self) -> int:
        return 1 if self.masks is None else len(self.masks["train"])

    @property
    def known(self) -> Tensor:
        """(m,) int64 the nodes whose class is known."""
        return (self.labels >= 0).nonzero()[:, 0]

    def take(self, nodes: Tensor) -> "Graph":
        """The whole graph with the labels of `nodes` alone."""
        labels = torch.full_like(self.labels, -1)
        labels[nodes] = self.labels[nodes]
        return self.sharing_memo(replace(self, labels=labels, masks=None))

    def split(self, seed: int = 0) -> Split["Graph"]:
        """The published split number `seed` (counted round), or 60, 20 and 20 percent of each class at random."""
        if self.masks is not None:
            row = seed % self.split_count
            known = self.labels >= 0
            parts = (self.masks[part][row] & known for part in ("train", "validation", "test"))
            split = Split(*(self.take(part.nonzero()[:, 0]) for part in parts))
            for part in ("train", "validation", "test"):
                if not getattr(split, part).has_truth:
                    raise DataError(f"{self.name}: no node of the published {part} part has a known class")
            return split
        if len(self.labels.unique()) == 1 and not self.has_truth:
            raise DataError(f"{self.name}: no node has a known class; give a column of labels, or --task predict-links")
        generator = torch.Generator().manual_seed(seed)
        known = self.known
        return Split(*(self.take(known[part]) for part in stratified(self.labels[known], SHARES, generator, self.name)))

    @cached_property
    def _whole(self) -> GraphBatch:
        known = self.known
        return GraphBatch(
            features=self.features,
            edge_index=self.edge_index,
            graph=torch.zeros(len(self.features), dtype=torch.int64),
            weight=self.weight,
            edge_features=self.edge_features,
            items=known,
            labels=self.labels[known],
            memo=self.memo,
        )

    def whole(self) -> GraphBatch:
        return self._whole

    def gather(self, index: Tensor) -> GraphBatch:
        """The whole graph, asked about the `index`-th of the known nodes."""
        items = self.known[index]
        return replace(self.whole(), items=items, labels=self.labels[items])

    def for_task(self, task: str) -> "GraphData":
        if task == "predict-links":
            return self.links()
        return super().for_task(task)

    def links(self) -> "Links":
        """The same graph for predicting its links; labels are left out."""
        from pathline.data.links import Links

        return Links(
            edge_index=self.edge_index,
            features=self.features,
            weight=self.weight,
            names=self.names,
            name=self.name,
        )

    def describe(self) -> dict[str, Any]:
        known = self.labels[self.labels >= 0]
        if self.masks is not None:
            how = f"published: {self.split_name or 'given masks'}"
            how += f" ({self.split_count} splits, one for each seed)" if self.split_count > 1 else ""
        else:
            how = self.split_name or "drawn: 60, 20 and 20 percent of each class"
        return describe_graph(self, len(self.labels), self.edge_index.shape[1]) | {
            "classes": len(self.classes),
            "labelled": len(known),
            "split": how,
        }
