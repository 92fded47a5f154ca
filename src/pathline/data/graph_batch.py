"""What every container of graphs gives to a network, and what the containers of the room `graphs` share."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, require_finite
from pathline.data.errors import DataError
from pathline.graph.sparse import Edges, gcn_weights

C = TypeVar("C", bound="GraphData")
T = TypeVar("T")
TASKS = ("classify-nodes", "classify-graphs", "regress-graphs", "predict-links", "label-incidences")


@dataclass(frozen=True)
class GraphBatch(Batch):
    """One graph, or the disjoint union of several, with what is asked of it.

    features:      (nodes, width), width 0 where nodes have none
    edge_index:    (2, E) int64, sender and receiver: where messages may pass
    graph:         (nodes,) int64 the graph of each node, in increasing order;  graphs: how many
    weight:        (E,) or None;  edge_features: (E, k) or None;  edge_type: (E,) int64 or None
    items:         (m,) int64 what is asked: nodes (classify-nodes) or graphs, or None where pairs are
    pairs:         (2, m) int64: two nodes (predict-links), or node and hyperedge (label-incidences)
    labels:        (m,) int64 classes, or 1.0 and 0.0 (m,) for links;  targets: (m, k)
    roots:         (graphs,) int64 the node that answers for its graph, or None: all of them do
    memo:          what was computed on the edges; the same graph asked about something else keeps it
    """

    features: Tensor
    edge_index: Tensor
    graph: Tensor
    graphs: int = 1
    weight: Tensor | None = None
    edge_features: Tensor | None = None
    edge_type: Tensor | None = None
    items: Tensor | None = None
    pairs: Tensor | None = None
    labels: Tensor | None = None
    targets: Tensor | None = None
    roots: Tensor | None = None
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        if self.pairs is not None:
            return self.pairs.shape[1]
        return self.graphs if self.items is None else len(self.items)

    @property
    def nodes(self) -> int:
        """How many nodes there are, over all graphs."""
        return len(self.features)

    def remembered(self, key: str, build: Callable[[], T]) -> T:
        """What `build` makes of the edges, made once."""
        if key not in self.memo:
            self.memo[key] = build()
        found: T = self.memo[key]
        return found

    @property
    def edges(self) -> Edges:
        """The edges, sorted for sparse products."""
        return self.remembered("edges", lambda: Edges(self.edge_index, self.nodes))

    @property
    def looped(self) -> Edges:
        """The edges and, after them, one from every node to itself."""
        loops = torch.arange(self.nodes, device=self.edge_index.device).expand(2, -1)
        return self.remembered("looped", lambda: Edges(torch.cat([self.edge_index, loops], 1), self.nodes))

    @property
    def gcn(self) -> tuple[Tensor, Tensor]:
        """D^-1/2 (A + I) D^-1/2 on the edges and on the diagonal."""
        return self.remembered("gcn", lambda: gcn_weights(self.edges, self.weight))

    def to(self, device: torch.device | str) -> Self:
        """Itself where it is there already: what was computed on its edges stays."""
        return self if self.features.device == torch.device(device) else replace(super().to(device), memo={})

    def part(self, rank: int, world: int) -> Self:
        """The whole graph with every world-th of what is asked of it."""
        every = slice(rank, None, world)
        items = torch.arange(self.graphs) if self.items is None and self.pairs is None else self.items
        return replace(
            self,
            items=None if items is None else items[every],
            pairs=None if self.pairs is None else self.pairs[:, every],
            labels=None if self.labels is None else self.labels[every],
            targets=None if self.targets is None else self.targets[every],
        )


@dataclass(frozen=True, kw_only=True)
class GraphData(Container):
    """A graph, several, or a hypergraph, with one task.

    split_name: the published split that `split` uses, or "": then it is drawn
    """

    split_name: str = ""

    @property
    def task(self) -> str:
        """One of `TASKS`."""
        raise NotImplementedError

    @property
    def answers(self) -> tuple[str, ...]:
        """Names of the classes or of the targets; none where the answer is a score."""
        return ()

    @property
    def width(self) -> int:
        """Numbers that each node comes with."""
        raise NotImplementedError

    @property
    def node_count(self) -> int:
        """Nodes, over all graphs."""
        features: Tensor = self.features  # type: ignore[attr-defined]
        return len(features)

    @cached_property
    def memo(self) -> dict[str, Any]:
        """What was computed on the edges."""
        return {}

    def sharing_memo(self, part: C) -> C:
        """`part`, which has the same edges, with what was computed on them."""
        part.__dict__["memo"] = self.memo
        return part

    def whole(self) -> GraphBatch:
        """Everything at once."""
        raise NotImplementedError

    def for_task(self, task: str) -> "GraphData":
        """The same graph for another task. Raises DataError where it says nothing about it."""
        if task == self.task:
            return self
        raise DataError(f"{self.name}: these data are for {self.task}; they cannot be used for {task}")


class Classified(GraphData):
    """One graph or hypergraph of whose nodes or memberships some are of known classes; unknown ones are -1."""

    features: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Items of a known class; where none is known, all of them."""
        known = int((self.labels >= 0).sum())
        return known or len(self.labels)

    @property
    def answers(self) -> tuple[str, ...]:
        return self.classes

    @property
    def width(self) -> int:
        return self.features.shape[1]

    @property
    def has_truth(self) -> bool:
        return bool((self.labels >= 0).any())


def check_edges(edge_index: Tensor, nodes: int, name: str) -> None:
    """Raise a `DataError` unless edge_index is (2, E) int64 among `nodes` nodes."""
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise DataError(
            f"{name}: edge_index has shape {tuple(edge_index.shape)} and type {edge_index.dtype}; expected (2, edges) "
            "int64"
        )
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < nodes:
        raise DataError(
            f"{name}: edges name nodes {int(edge_index.min())} to {int(edge_index.max())}, but nodes are numbered 0 to "
            f"{nodes - 1}"
        )


def check_rows(tensor: Tensor | None, rows: int, what: str, per: str, name: str) -> None:
    """Raise a `DataError` unless `tensor` is None or has one finite row for each of `rows`."""
    if tensor is None:
        return
    if len(tensor) != rows:
        raise DataError(f"{name}: {what} has {len(tensor)} rows; there are {rows} {per}")
    if tensor.is_floating_point():
        require_finite(tensor, what, name)


def check_classes(labels: Tensor | None, classes: tuple[str, ...], name: str) -> None:
    """Raise a `DataError` unless labels lie among the classes, or are -1 for unknown."""
    if labels is None or not labels.numel():
        return
    if labels.dtype != torch.int64 or not -1 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"{name}: labels of type {labels.dtype} go from {labels.min().item()} to {labels.max().item()}; expected "
            f"int64, 0 to {len(classes) - 1} for the {len(classes)} classes or -1 for unknown"
        )


def simple_edges(
    edge_index: Tensor, directed: bool, weight: Tensor | None = None, edge_features: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Edges without repetitions and without edges from a node to itself; both directions unless `directed`.

    Of repeated edges the first one's weight and features are kept.
    """
    ends = edge_index if directed else edge_index.sort(0).values
    nodes = int(edge_index.max()) + 1 if edge_index.numel() else 1
    proper = (ends[0] != ends[1]).nonzero()[:, 0]
    key, order = (ends[1, proper] * nodes + ends[0, proper]).sort(stable=True)
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    place = proper[order[first]]
    kept = ends[:, place]
    if not directed:
        kept, place = torch.cat([kept, kept.flip(0)], 1), place.repeat(2)
        order = (kept[1] * nodes + kept[0]).argsort()
        kept, place = kept[:, order], place[order]
    return (
        kept,
        None if weight is None else weight[place],
        None if edge_features is None else edge_features[place],
    )


def stratified(
    labels: Tensor, shares: tuple[float, float], generator: torch.Generator, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Items 0 .. len(labels) - 1 as training, validation and test part, `shares` of each class for the latter two."""
    count = len(labels)
    if count < 5:
        raise DataError(f"{name}: {count} labelled items cannot be split into three parts: bring at least 5")
    order = torch.randperm(count, generator=generator)
    order = order[labels[order].argsort(stable=True)]
    held = [max(1, round(share * count)) for share in shares]
    spread = torch.arange(count, dtype=torch.float64)  # every stretch of a class goes to the parts in turn
    validation = (spread * held[0] / count).long().diff(prepend=torch.tensor([-1])) > 0
    rest = (~validation).nonzero()[:, 0]
    chosen = (torch.arange(len(rest), dtype=torch.float64) * held[1] / len(rest)).long()
    test = rest[chosen.diff(prepend=torch.tensor([-1])) > 0]
    taken = validation.clone()
    taken[test] = True
    return order[~taken].sort().values, order[validation].sort().values, order[test].sort().values


def describe_graph(data: Any, nodes: int, edges: int) -> dict[str, Any]:
    """What descriptions of all containers of the room begin with."""
    return {
        "container": type(data).__name__,
        "task": data.task,
        "nodes": nodes,
        "edges": edges,
        "features": data.width,
    }
