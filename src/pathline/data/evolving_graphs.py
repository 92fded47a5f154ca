"""EvolvingGraph: a graph that is seen again and again, each time with other edges, and perhaps with other nodes.

Item t is a question about snapshot t that is asked with the `window` snapshots before it (for labels of nodes: up to
and with it). The split is by time. A part holds the snapshots before its first question as well, because they are
known when it is asked, and none after its last.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError
from pathline.data.events import Events

TRAIN, VALIDATION = 0.70, 0.10  # shares of the questions; the rest is the test part


@dataclass(frozen=True)
class Questions(Batch):
    """Which snapshots are asked about: snapshot (batch,) int64."""

    snapshot: Tensor


@dataclass(frozen=True, kw_only=True)
class EvolvingGraph(Container):
    """Snapshots 0 .. steps - 1 of a graph of nodes 0 .. nodes - 1.

    source, target: (edges,) int64;  snapshot: (edges,) int64, never decreasing
    features:       (steps, nodes, F) float32 of the nodes, or None
    present:        (steps, nodes) bool, which nodes are there; by default those that have an edge
    edge_labels:    (edges,) int64, a class for each edge, or None
    node_labels:    (steps, nodes) int64, a class for each node, -1 where it is not known, or None
    window:         how many snapshots are seen before an answer
    first:          the first snapshot that is asked about
    directed:       whether an edge from u to v is another thing than one from v to u
    """

    source: Tensor
    target: Tensor
    snapshot: Tensor
    nodes: int
    steps: int
    features: Tensor | None = None
    present: Tensor | None = None
    edge_labels: Tensor | None = None
    node_labels: Tensor | None = None
    window: int = 5
    first: int = 0
    directed: bool = False

    def __post_init__(self) -> None:
        name, edges = self.name, len(self.source)
        for what, tensor in (("target", self.target), ("snapshot", self.snapshot), ("edge_labels", self.edge_labels)):
            if tensor is not None and len(tensor) != edges:
                raise DataError(f"{name}: there are {len(tensor)} entries of {what} for {edges} edges")
        for what, ends in (("source", self.source), ("target", self.target)):
            if edges and not 0 <= int(ends.min()) <= int(ends.max()) < self.nodes:
                wrong = int(ends.min()) if int(ends.min()) < 0 else int(ends.max())
                raise DataError(f"{name}: {what} names node {wrong}, but there are {self.nodes} nodes, numbered from 0")
        if edges and (bool((self.snapshot.diff() < 0).any()) or not 0 <= self.snapshot[0] <= self.snapshot[-1]):
            raise DataError(f"{name}: the edges are not in the order of their snapshots; sort them")
        if edges and int(self.snapshot[-1]) >= self.steps:
            raise DataError(f"{name}: an edge is in snapshot {int(self.snapshot[-1])}, but there are {self.steps}")
        shape = (self.steps, self.nodes)
        for what, tensor in (
            ("features", self.features),
            ("present", self.present),
            ("node_labels", self.node_labels),
        ):
            if tensor is not None and tuple(tensor.shape[:2]) != shape:
                raise DataError(f"{name}: {what} have shape {tuple(tensor.shape)}; expected (steps, nodes) = {shape}")
        if self.features is not None:
            require_finite(self.features, "feature", name)
        if self.window < 1:
            raise DataError(f"{name}: a window of {self.window} snapshots sees nothing; choose 1 or more")
        if self.present is None:
            seen = torch.zeros(shape, dtype=torch.bool)
            seen[self.snapshot, self.source] = seen[self.snapshot, self.target] = True
            object.__setattr__(self, "present", seen)

    @property
    def questions(self) -> Tensor:
        """The snapshots that are asked about, int64: those with a whole window before them."""
        return torch.arange(max(self.first, self.window), self.steps)

    def __len__(self) -> int:
        return max(0, self.steps - max(self.first, self.window))

    def gather(self, index: Tensor) -> Questions:
        return Questions(self.questions[index])

    def edges(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Source, target and label (None without labels) of the edges of one snapshot."""
        begin, end = torch.searchsorted(self.snapshot, torch.tensor([step, step + 1])).tolist()
        labels = None if self.edge_labels is None else self.edge_labels[begin:end]
        return self.source[begin:end], self.target[begin:end], labels

    def split(self, seed: int = 0) -> Split["EvolvingGraph"]:
        """The first 70, the next 10 and the last 20 percent of the questions."""
        count, begin = len(self), max(self.first, self.window)
        ends = [begin + round(count * TRAIN), begin + round(count * (TRAIN + VALIDATION)), self.steps]
        if not begin < ends[0] < ends[1] < ends[2]:
            raise DataError(
                f"{self.name}: {self.steps} snapshots with a window of {self.window} cannot be split into train, "
                "validation and test: bring more snapshots or choose a shorter window"
            )
        return Split(*(self.until(end, start) for start, end in zip([begin, *ends[:2]], ends, strict=True)))

    def until(self, end: int, first: int) -> "EvolvingGraph":
        """Snapshots 0 .. end - 1, of which those from `first` on are asked about."""
        edges = int(torch.searchsorted(self.snapshot, torch.tensor(end)))
        return replace(
            self,
            source=self.source[:edges],
            target=self.target[:edges],
            snapshot=self.snapshot[:edges],
            steps=end,
            first=first,
            features=None if self.features is None else self.features[:end],
            present=None if self.present is None else self.present[:end],
            edge_labels=None if self.edge_labels is None else self.edge_labels[:edges],
            node_labels=None if self.node_labels is None else self.node_labels[:end],
        )

    def describe(self) -> dict[str, Any]:
        return {
            "container": "EvolvingGraph",
            "snapshots": self.steps,
            "questions": len(self),
            "nodes": self.nodes,
            "edges": len(self.source),
            "features": 0 if self.features is None else self.features.shape[2],
            "window": self.window,
        }


def evolving_graph_of(
    data: Events, width: float, origin: float = 0.0, steps: int | None = None, window: int = 5
) -> EvolvingGraph:
    """The distinct pairs of a stream in stretches of `width` from `origin` of its clock on, as snapshots.

    steps: how many; by default up to the last event. Events before the first or after the last are left out, and so are
    loops. What is asked about begins with the first snapshot that lies wholly in the part's own events.
    """
    snapshot = torch.floor((data.clock - origin) / width).long()
    last = int(snapshot[-1]) if len(snapshot) else -1
    steps = last + 1 if steps is None else steps
    kept = (snapshot >= 0) & (snapshot < steps) & (data.source != data.target)
    source, target = data.source[kept], data.target[kept]
    if not data.directed:
        source, target = torch.minimum(source, target), torch.maximum(source, target)
    pairs = torch.unique((snapshot[kept] * data.nodes + source) * data.nodes + target)
    own = data.clock[data.start].item() if data.start else origin
    features = data.node_features
    return EvolvingGraph(
        source=pairs // data.nodes % data.nodes,
        target=pairs % data.nodes,
        snapshot=pairs // data.nodes**2,
        nodes=data.nodes,
        steps=steps,
        features=None if features is None else features.expand(steps, -1, -1),
        window=window,
        first=math.ceil((own - origin) / width - 1e-9),
        directed=data.directed,
        name=data.name,
    )
