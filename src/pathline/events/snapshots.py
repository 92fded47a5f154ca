"""Models that see a stream as snapshots: a window of graphs in, a vector for every node out, and a head that answers.

A stream of events is cut into equal stretches of time, `snapshots` of which cover the training part. What is learned:
    links    which pairs are linked in the snapshot after the window, against sampled pairs that are not
    edges    of which class the edges of that snapshot are
    nodes    of which class the nodes are, at the window's last snapshot
all by cross-entropy with class weights. Along a stream, the window ends at the present: its stretches are counted back
from the moment that is asked about, and hold nothing but what was observed.

Nodes are described by their degree in the snapshot, one-hot and clipped (of a directed graph by two, out and in),
beside the features that the data have. Ahat takes edges both ways.
Sizes and tasks of Pareja et al., 2020, arXiv:1902.10191; `evolvegcn` and its rivals differ in `encode` alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data.container import Split
from pathline.data.events import Contacts, Events
from pathline.data.evolving_graphs import EvolvingGraph, evolving_graph_of
from pathline.events.base import EventModel
from pathline.events.snapshot_metrics import classification_metrics, link_metrics
from pathline.events.snapshot_windows import Described, Windows
from pathline.graph.snapshots import block_diagonal

Task = Literal["links", "edges", "nodes"]


class SnapshotModel(EventModel):
    """A head on `encode`, which turns a window of snapshots into a vector for every node.

    task:           what is learned, see the module; from a stream of events: links
    snapshots:      how many stretches of time cover the training part of a stream
    window:         how many snapshots are seen
    width, head:    channels of the two layers, and of the head's hidden layer
    largest_degree: clips the degree's one-hot code
    negatives, test_negatives: sampled pairs without an edge for each edge, in training and in evaluation of snapshots
    class_weights:  of the cross-entropy; None: all 1
    skip:           the last snapshot's features are appended to the output
    classes:        read off the data
    batch_size counts windows.
    """

    recipe: ClassVar[Recipe] = Recipe(
        steps=400, batch_size=4, lr=5e-3, schedule="constant", clip=None, validations=10, patience=5
    )
    all_adjacencies: ClassVar[bool] = False
    origin: Tensor
    stretch: Tensor

    def __init__(
        self,
        stream: dict[str, Any],
        task: Task = "links",
        snapshots: int = 60,
        window: int = 5,
        width: int = 32,
        head: int = 32,
        largest_degree: int = 32,
        negatives: int = 1,
        test_negatives: int = 1,
        class_weights: list[float] | None = None,
        skip: bool = False,
        classes: int = 2,
    ) -> None:
        super().__init__(stream)
        if task not in ("links", "edges", "nodes"):
            raise MethodError(f"{type(self).__name__} has no task '{task}'; its tasks are links, edges and nodes")
        if class_weights is not None and len(class_weights) != classes:
            raise MethodError(f"there are {len(class_weights)} class weights for {classes} classes")
        self.task, self.window, self.snapshots, self.skip = task, window, snapshots, skip
        self.width, self.largest_degree, self.classes = width, largest_degree, classes
        self.negatives, self.test_negatives = negatives, test_negatives
        self.inputs = stream["node_features"] + (1 + stream["directed"]) * (largest_degree + 1)
        self.class_weights = None if class_weights is None else torch.tensor(class_weights)
        ends = 1 if task == "nodes" else 2
        outputs = width + (self.inputs if skip else 0)
        self.head = nn.Sequential(nn.Linear(ends * outputs, head), nn.ReLU(), nn.Linear(head, classes))
        self.register_buffer("origin", torch.zeros((), dtype=torch.float64))
        self.register_buffer("stretch", torch.ones((), dtype=torch.float64))  # of time, for one snapshot
        self._described: list[tuple[Any, Described]] = []
        self.reset()

    # -- data ---------------------------------------------------------------------------------------------------------

    @classmethod
    def require(cls, data: Any) -> Any:
        """A stream of events, or an EvolvingGraph."""
        part = data.train if isinstance(data, Split) else data
        if isinstance(part, EvolvingGraph):
            if not len(part):
                raise DataError(
                    f"{part.name}: {part.steps} snapshots with a window of {part.window} hold no question; bring more"
                )
            return part
        return super().require(data)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        if not isinstance(part, EvolvingGraph):
            if config.get("task", "links") != "links":
                raise DataError(
                    f"{part.name}: a stream of events has no classes; the task '{config['task']}' needs them"
                )
            return super().for_data(data, **config)
        stream = {
            "names": [str(node) for node in range(part.nodes)],
            "senders": 0,
            "directed": part.directed,
            "features": 0,
            "node_features": 0 if part.features is None else part.features.shape[2],
        }
        if (task := config.get("task")) in ("edges", "nodes"):
            labels = part.edge_labels if task == "edges" else part.node_labels
            if labels is None or not (labels >= 0).any():
                raise DataError(f"{part.name}: no {task} are labelled, so there is nothing to learn")
            config = {"classes": max(2, int(labels.max()) + 1)} | config
        method = cls(stream, **({"window": part.window} | config))
        assert part.present is not None
        method.seen.copy_(part.present.any(0))
        return method

    def read(self, data: Events) -> None:
        super().read(data)
        if not data.span > 0:
            raise DataError(f"{data.name}: all events happen at one time, so there are no snapshots")
        self.origin.fill_(float(data.clock[data.start]))
        self.stretch.fill_(data.span / self.snapshots * (1 + 1e-9))

    def graph_of(self, data: Any) -> EvolvingGraph:
        """Snapshots of `data`, with this model's window."""
        if isinstance(data, EvolvingGraph):
            features = 0 if data.features is None else data.features.shape[2]
            if features != self.stream["node_features"]:
                raise DataError(
                    f"{data.name} has {features} features of a node, but {type(self).__name__} was built for "
                    f"{self.stream['node_features']}"
                )
            if data.directed != self.stream["directed"]:
                kinds = ["has no direction", "is directed"]
                raise DataError(
                    f"{data.name} {kinds[data.directed]}, but what {type(self).__name__} was built for "
                    f"{kinds[not data.directed]}"
                )
            return replace(data, window=self.window)
        return evolving_graph_of(data, self.stretch.item(), self.origin.item(), window=self.window)

    def described(self, data: Any) -> Described:
        """The snapshots of `data`, made once: those of the last two are kept, for training and validation."""
        for known, made in self._described:
            if known is data:
                return made
        made = Described.of(self.graph_of(data), self.largest_degree)
        self._described = [*self._described[-1:], (data, made)]
        return made

    def windows(self, made: Described, last: Tensor, asked: Tensor, label: Tensor) -> Windows:
        """The windows that end with the snapshots `last` (B,)."""
        steps = [last - back for back in range(self.window - 1, -1, -1)]
        present = made.graph.present
        assert present is not None
        wanted = [self.all_adjacencies] * (self.window - 1) + [True]
        return Windows(
            features=tuple(made.features[step] for step in steps),
            smoothed=tuple(made.smoothed[step] for step in steps),
            present=tuple(present[step] for step in steps),
            adjacency=tuple(
                block_diagonal([made.adjacency[one] for one in step.tolist()]) if need else None
                for step, need in zip(steps, wanted, strict=True)
            ),
            asked=asked,
            label=label,
        )

    def questions(
        self, graph: EvolvingGraph, step: int, negatives: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """What is asked about snapshot `step`: rows of nodes (2, questions), and the true classes."""
        source, target, labels = graph.edges(step)
        if self.task == "edges":
            assert labels is not None
            return torch.stack([source, target]), labels
        if self.task == "nodes":
            assert graph.node_labels is not None and graph.present is not None
            truth = graph.node_labels[step]
            known = ((truth >= 0) & graph.present[step]).nonzero().flatten()
            return known.expand(2, -1), truth[known]
        linked = source * graph.nodes + target
        senders = self.stream["senders"]
        sources, targets = senders or graph.nodes, graph.nodes - senders
        tried = torch.randint(sources * targets, (3 * negatives * len(source) + 16,), generator=generator)
        a, b = tried // targets, senders + tried % targets
        tried = a * graph.nodes + b
        met = torch.isin(tried, linked) | (a == b)
        if not graph.directed:
            met |= torch.isin(b * graph.nodes + a, linked)
        free = tried[~met][: negatives * len(source)]
        pairs = torch.cat([linked, free])
        return torch.stack([pairs // graph.nodes, pairs % graph.nodes]), (torch.arange(len(pairs)) < len(linked)).long()

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[Windows]:  # type: ignore[override]
        made = self.described(data)
        steps = self.answerable(made.graph)
        if not len(steps):
            raise DataError(f"{data.name}: no snapshot after a window of {self.window} has anything to ask about")
        for chosen in steps[torch.randperm(len(steps), generator=generator)].split(size):
            yield self._asked(made, chosen, self.negatives, generator)

    def _asked(self, made: Described, chosen: Tensor, negatives: int, generator: torch.Generator) -> Windows:
        """The windows for questions about the snapshots `chosen`; labels of nodes are asked at the window's end."""
        found = [self.questions(made.graph, step, negatives, generator) for step in chosen.tolist()]
        shift = [asked + place * made.graph.nodes for place, (asked, _) in enumerate(found)]
        last = chosen if self.task == "nodes" else chosen - 1
        return self.windows(made, last, torch.cat(shift, 1), torch.cat([label for _, label in found]))

    def epoch_length(self, data: Any, size: int) -> int:
        return max(1, -(-len(self.answerable(self.described(data).graph)) // size))

    def answerable(self, graph: EvolvingGraph) -> Tensor:
        """The snapshots of `graph.questions` that have edges, or labelled nodes that are there."""
        steps = graph.questions
        if self.task != "nodes":
            return steps[torch.bincount(graph.snapshot, minlength=graph.steps)[steps] > 0]
        assert graph.node_labels is not None and graph.present is not None
        return steps[((graph.node_labels >= 0) & graph.present).any(1)[steps]]

    # -- the model ----------------------------------------------------------------------------------------------------

    def encode(self, windows: Windows) -> Tensor:
        """(B, N, width): what is known of every node at the end of its window."""
        raise NotImplementedError

    def vectors(self, windows: Windows) -> Tensor:
        """`encode`, with the last features appended if `skip`; (B N, channels)."""
        encoded = self.encode(windows)
        if self.skip:
            encoded = torch.cat([encoded, windows.features[-1]], -1)
        return encoded.flatten(0, 1)

    def logits(self, vectors: Tensor, asked: Tensor) -> Tensor:
        """(questions, classes). A pair that has no direction gets the mean of both."""
        if self.task == "nodes":
            out: Tensor = self.head(vectors[asked[0]])
            return out
        ends = vectors[asked]
        out = self.head(torch.cat([ends[0], ends[1]], -1))
        return out if self.stream["directed"] else (out + self.head(torch.cat([ends[1], ends[0]], -1))) / 2

    def loss(self, batch: Windows) -> Tensor:  # type: ignore[override]
        weight = None if self.class_weights is None else self.class_weights.to(self.device)
        return F.cross_entropy(self.logits(self.vectors(batch), batch.asked), batch.label, weight)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """On a stream the room's metrics; on snapshots MAP, AUC and MRR for links, F1 for classes."""
        part = getattr(data, "test", data)
        if not isinstance(part, EvolvingGraph):
            return super().evaluate(part, seed)
        answers = self.answers(part, seed)
        if self.task == "links":
            return link_metrics(answers, self.test_negatives)
        return classification_metrics(answers, self.classes)

    def score(self, data: Any, seed: int = 0) -> float:
        if isinstance(data, EvolvingGraph):
            return next(iter(self.evaluate(data, seed).values()))
        return super().score(data, seed)

    @torch.no_grad()
    def answers(self, graph: EvolvingGraph, seed: int = 0) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For every question of `graph`: rows of nodes (2, questions), logits (questions, classes), true classes."""
        training, generator = self.training, torch.Generator().manual_seed(seed)
        self.eval()
        try:
            made = self.described(self.require(graph))
            found = []
            for step in self.answerable(made.graph).tolist():
                windows = self._asked(made, torch.tensor([step]), self.test_negatives, generator)
                logits = self.logits(self.vectors(windows.to(self.device)), windows.asked.to(self.device))
                found.append((windows.asked, logits.cpu(), windows.label))
            return found
        finally:
            self.train(training)

    # -- a stream -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        self._recent: tuple[Tensor, Tensor, Tensor] | None = None
        self._known: tuple[float, Tensor] | None = None

    def observe(self, contacts: Contacts) -> None:
        """Keep the events that a window can still reach."""
        new = (contacts.source, contacts.target, contacts.time)
        if self._recent is not None:
            new = tuple(torch.cat(parts) for parts in zip(self._recent, new, strict=True))  # type: ignore[assignment]
        reached = new[2] >= new[2][-1] - self.window * self.stretch
        self._recent = tuple(part[reached] for part in new)  # type: ignore[assignment]
        self._known = None

    def present_vectors(self, moment: float) -> Tensor:
        """`vectors` of the window that ends at `moment`, (nodes, channels)."""
        if self._known is None or self._known[0] != moment:
            nothing = torch.zeros(0, dtype=torch.int64)
            source, target, time = self._recent or (nothing, nothing, torch.zeros(0, dtype=torch.float64))
            stream = Events(
                source=source.cpu(),
                target=target.cpu(),
                time=time.cpu(),
                nodes=self.nodes,
                node_features=self.node_features.cpu() if self.node_features.shape[1] else None,
                directed=self.stream["directed"],
                origin=0.0,
            )
            begin = moment - self.window * self.stretch.item()
            graph = evolving_graph_of(stream, self.stretch.item(), begin, self.window + 1, self.window)
            made = Described.of(graph.until(self.window, self.window), self.largest_degree)
            none = torch.zeros(2, 0, dtype=torch.int64)
            windows = self.windows(made, torch.tensor([self.window - 1]), none, none[0])
            self._known = moment, self.vectors(windows.to(self.device))
        return self._known[1]

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        """log odds of a link; all pairs of a batch are seen from its first moment."""
        if self.task != "links":
            raise MethodError(f"{type(self).__name__} was built for the task '{self.task}', not to predict links")
        vectors = self.present_vectors(float(time.min()))
        logits = self.logits(vectors, torch.stack([source[:, None].expand_as(target), target]).flatten(1))
        return (logits[:, 1] - logits[:, 0]).view(target.shape)
