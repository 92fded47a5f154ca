"""The room of graphs: given a graph, say what its nodes are, what it is itself, or what is missing in it.

The verb is `predict(graph)`. The task follows from the data: classes of nodes from a `Graph`, links from `Links`, a
class or numbers for each of `Graphs`, a class for each membership from a `Hypergraph`. A method says which tasks it is
for; methods are compared within a task only. Parts of a split carry the answers of their own part alone, and the graph
of `Links` holds no link that is asked for.

Features of nodes are scaled by the training part: rows of 0 and 1 to sum to 1, others to mean 0 and deviation 1. Where
nodes have none, a node is described by 1, log(1 + degree) and the mean of that over its neighbours.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.method import Figure, Method, Recipe
from pathline.data.graph import Graph
from pathline.data.graph_batch import TASKS, GraphBatch, GraphData
from pathline.data.graph_list import Graphs
from pathline.data.links import Links
from pathline.graph.sampling import incoming, sample_neighbours
from pathline.graph.segment import segment_mean, segment_sum
from pathline.graphs.metrics import class_metrics, link_metrics, number_metrics
from pathline.nn.graph_convolutions import answer_head

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 256  # graphs that are answered together
STRUCTURE = 3  # numbers that describe a node without features
BY_TASK: dict[str, dict[str, Any]] = {
    "classify-nodes": {"lr": 1e-2, "weight_decay": 5e-2},
    "label-incidences": {"lr": 5e-3, "weight_decay": 1e-3},
    "predict-links": {"lr": 5e-3, "weight_decay": 1e-3},
    "classify-graphs": {"lr": 2e-3, "weight_decay": 1e-2},
    "regress-graphs": {"lr": 2e-3, "weight_decay": 1e-3},
}


class GraphModel(Method):
    """What all methods of the room share. A subclass writes `scores`.

    task: of the data it was built for;  inputs: features of a node;  answers: names of the classes or targets
    tasks: those that the method is for
    """

    room = "graphs"
    container = GraphData
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    tasks: ClassVar[tuple[str, ...]] = TASKS

    def __init__(self, task: str, inputs: int, answers: list[str]) -> None:
        super().__init__()
        if task not in self.tasks:
            raise MethodError(f"{type(self).__name__} is for {', '.join(self.tasks)}, not for '{task}'")
        self.task, self.inputs, self.answers = task, inputs, list(answers)

    @property
    def wants(self) -> Literal["lower", "higher"]:
        return "lower" if self.task == "regress-graphs" else "higher"

    @classmethod
    def require(cls, data: Any) -> Any:
        part = super().require(data)
        if part.task not in cls.tasks:
            raise DataError(
                f"{part.name}: these data are for {part.task}, but {cls.__name__} is for {' or '.join(cls.tasks)}"
                + ("; give --task predict-links" if isinstance(part, Graph) and "predict-links" in cls.tasks else "")
            )
        if part is not data:
            cls._tell_apart(part)
        return part

    @staticmethod
    def _tell_apart(part: Any) -> None:
        """Raise a `DataError` for classes of which there is one alone."""
        if part.task not in ("predict-links", "regress-graphs") and len(part.answers) == 1:
            raise DataError(f"{part.name}: everything is of class '{part.answers[0]}'; there is nothing to tell apart")

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        cls._tell_apart(part)
        return cls(**({"task": part.task, "inputs": part.width, "answers": list(part.answers)} | config))

    def check(self, data: Any) -> Any:
        """`data`, if it has the task, the features and the classes that were learned."""
        part = self.require(data)
        who = type(self).__name__
        if part.task != self.task:
            raise DataError(f"{part.name}: it is for {part.task}, but this {who} was built for {self.task}")
        if part.width != self.inputs:
            raise DataError(f"{part.name}: its nodes have {part.width} features; {who} learned from {self.inputs}")
        unknown = [name for name in part.answers if name not in self.answers]
        if unknown and part.has_truth:
            raise DataError(
                f"{part.name}: '{unknown[0]}' is not among what {who} learned to answer: {', '.join(self.answers)}"
            )
        return part

    def scores(self, batch: GraphBatch) -> Tensor:
        """What the method says of `batch`: logits (m, classes), targets (m, k) in units of the data, or, for links,
        (m,) scores that are higher the likelier the link."""
        raise NotImplementedError

    def prepare(self, data: Any) -> Any:
        """`data` as the method works on it, such as with edges added. Called once for every container."""
        return data

    def prepared(self, data: Any) -> Any:
        """`prepare`, remembered for the containers that were seen last."""
        seen: list[tuple[Any, Any]] = self.__dict__.setdefault("_seen", [])
        for known, ready in seen:
            if known is data:
                return ready
        ready = self.prepare(data)
        seen.append((data, ready))
        del seen[:-4]
        return ready

    def asked(self, data: Any) -> list[GraphBatch]:
        """All that is asked of `data`, graphs some at a time."""
        ready = self.prepared(data)
        if isinstance(ready, Graphs):
            return [ready.gather(part) for part in torch.arange(len(ready)).split(AT_ONCE)]
        return [ready.whole()]

    @torch.no_grad()
    def said(self, data: Any, seed: int = 0) -> Tensor:
        """`scores` of all that is asked, one after another. Draws follow from `seed`."""
        was = self.training
        self.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = torch.cat([self.scores(batch.to(self.device)).cpu() for batch in self.asked(data)])
        self.train(was)
        return found.float() if found.dtype != torch.float64 else found

    def truth(self, data: Any) -> Tensor:
        """What `said` should have been, in the order of the learned answers."""
        if isinstance(data, Graphs) and data.targets is not None:
            return data.targets
        batch = self.prepared(data).whole()
        labels: Tensor = batch.labels
        if self.task == "predict-links":
            return labels.bool()
        table = torch.tensor([self.answers.index(name) for name in data.answers])
        return table[labels]

    # -- the verb and its measures ------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """By task: accuracy and macro_f1; mae, rmse and r2; hits@K, ap, auc and mrr (see `metrics`).

        Whole `Links` are measured on the test part of their own split, since what can be seen cannot be asked for.
        """
        part = self.check(data)
        if isinstance(part, Links) and part.pairs is None:
            part = part.split(seed).test
        if not part.has_truth:
            raise DataError(f"{part.name}: nothing in it says what the answer should be; it can be predicted only")
        if isinstance(part, Graphs) and len(part.known) < len(part):
            part = part.take(part.known)
        found, truth = self.said(part, seed), self.truth(part)
        if self.task == "predict-links":
            return link_metrics(found, truth)
        if self.task == "regress-graphs":
            return number_metrics(found, truth)
        return class_metrics(found.argmax(-1), truth, len(self.answers))

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """A row per node, graph, pair or membership with its answer; of whole `Links` the likeliest missing ones."""
        from pathline.graphs.answers import answer_table

        return answer_table(self, self.check(data), seed)

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        """By task: confusion, said against true, or how links and other pairs score."""
        from pathline.graphs.pictures import draw_answers

        return draw_answers({name: m for name, m in methods.items() if isinstance(m, GraphModel)}, data)

    # -- training -----------------------------------------------------------------------------------------------------

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[GraphBatch]:
        """Graphs or pairs some at a time; of one graph, all its nodes at once."""
        ready = self.prepared(data)
        if isinstance(ready, Graphs):
            yield from ready.take(ready.known).batches(size, generator)  # type: ignore[misc]
        elif isinstance(ready, Links):
            yield from ready.batches(size, generator)
        else:
            yield ready.whole()

    def epoch_length(self, data: Any, size: int) -> int:
        if isinstance(data, Graphs):
            return -(-len(data.known) // size)
        return data.batch_count(size) if isinstance(data, Links) else 1


class LearnedGraphModel(GraphModel):
    """A method that encodes nodes and reads its answers off them. A subclass writes `encode`.

    width:   of the encoding
    pooling: of a graph's nodes, "mean", "sum" or "max"
    fanout:  neighbours drawn per layer while training on one graph that is too large to be read at once; None reads it
    """

    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=64, lr=5e-3, schedule="constant", clip=None, validations=30)
    feature_mean: Tensor
    feature_scale: Tensor
    rows: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        width: int = 64,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers)
        if pooling not in ("mean", "sum", "max"):
            raise MethodError(f"pooling is '{pooling}'; choose mean, sum or max")
        if width < 1:
            raise MethodError(f"width is {width}; it must be at least 1")
        self.width, self.pooling, self.fanout = width, pooling, fanout
        self.head: nn.Module = answer_head(task, width, max(1, len(answers)))
        self.register_buffer("feature_mean", torch.zeros(inputs))
        self.register_buffer("feature_scale", torch.ones(inputs))
        self.register_buffer("rows", torch.zeros((), dtype=torch.bool))
        self.register_buffer("target_mean", torch.zeros(len(answers)))
        self.register_buffer("target_scale", torch.ones(len(answers)))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = super().for_data(part, **config)
        if part.width:
            features = part.features.double()
            method.rows.fill_(bool(((features == 0) | (features == 1)).all()))
            method.feature_mean.copy_(features.mean(0))
            method.feature_scale.copy_(features.std(0, correction=0).clamp(min=1e-6))
        if isinstance(part, Graphs) and part.targets is not None:
            targets = part.targets[part.known].double()
            method.target_mean.copy_(targets.mean(0))
            method.target_scale.copy_(targets.std(0, correction=0).clamp(min=1e-6))
        return method

    @property
    def described(self) -> int:
        """Numbers that `features` gives for each node."""
        return self.inputs or STRUCTURE

    def features(self, batch: GraphBatch) -> Tensor:
        """What each node is described by, scaled: (nodes, described)."""
        x = batch.features
        if not self.inputs:
            degree = batch.edges.in_degree.to(x.dtype).log1p()[:, None]
            return torch.cat([torch.ones_like(degree), degree, batch.edges.mean(degree)], 1)
        if bool(self.rows):
            return x / x.sum(1, keepdim=True).clamp(min=1)
        return (x - self.feature_mean) / self.feature_scale

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """(nodes, width) of described nodes x (nodes, described)."""
        raise NotImplementedError

    def pooled(self, h: Tensor, batch: GraphBatch) -> Tensor:
        """A row per graph: of its root where it has one, else of all its nodes together."""
        if batch.roots is not None:
            return h[batch.roots]
        if self.pooling == "max":
            return torch.segment_reduce(h, "max", lengths=torch.bincount(batch.graph, minlength=batch.graphs))
        reduce = segment_sum if self.pooling == "sum" else segment_mean
        return reduce(h, batch.graph, batch.graphs)

    def readout(self, h: Tensor, batch: GraphBatch) -> Tensor:
        """Answers of encoded nodes: (m, answers), or (m,) for links; targets are standardised."""
        if self.task == "classify-nodes":
            answer: Tensor = self.head(h if batch.items is None else h[batch.items])
        elif self.task == "predict-links":
            assert batch.pairs is not None
            answer = self.head(h[batch.pairs[0]] * h[batch.pairs[1]])[:, 0]
        elif self.task == "label-incidences":
            assert batch.pairs is not None
            answer = self.head(torch.cat([h[batch.pairs[0]], h[batch.pairs[1]]], 1))
        else:
            pooled = self.pooled(h, batch)
            answer = self.head(pooled if batch.items is None else pooled[batch.items])
        return answer

    def forward(self, batch: GraphBatch) -> Tensor:
        """`readout` of what was encoded."""
        return self.readout(self.encode(self.features(batch), batch), batch)

    def scores(self, batch: GraphBatch) -> Tensor:
        answer: Tensor = self(batch)
        return answer * self.target_scale + self.target_mean if self.task == "regress-graphs" else answer

    def loss(self, batch: GraphBatch) -> Tensor | dict[str, Tensor]:
        """Cross-entropy; the absolute error of standardised targets; for links, that of the logistic model."""
        answer: Tensor = self(batch).float()
        if self.task == "regress-graphs":
            assert batch.targets is not None
            return F.l1_loss(answer, ((batch.targets - self.target_mean) / self.target_scale).float())
        assert batch.labels is not None
        if self.task == "predict-links":
            return F.binary_cross_entropy_with_logits(answer, batch.labels.float())
        return F.cross_entropy(answer, batch.labels)

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train with the task's rate and decay unless others are given."""
        return super().fit(data, budget, seed, validation, **(BY_TASK[self.task] | options))

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[GraphBatch]:
        if not (self.fanout and isinstance(data, Graph)):
            yield from super().batches(data, size, generator)
            return
        ready: Graph = self.prepared(data)
        near = self.__dict__.setdefault("_near", {})
        if near.get("of") is not ready:
            near.update(of=ready, incoming=incoming(ready.edge_index, len(ready.features)))
        known = ready.known
        for seeds in known[torch.randperm(len(known), generator=generator)].split(size):
            drawn = sample_neighbours(near["incoming"], seeds, self.fanout, generator)
            yield GraphBatch(
                features=ready.features[drawn.nodes],
                edge_index=drawn.edge_index,
                graph=torch.zeros(len(drawn.nodes), dtype=torch.int64),
                weight=None if ready.weight is None else ready.weight[drawn.edge],
                edge_features=None if ready.edge_features is None else ready.edge_features[drawn.edge],
                items=torch.arange(len(seeds)),
                labels=ready.labels[seeds],
            )

    def epoch_length(self, data: Any, size: int) -> int:
        if self.fanout and isinstance(data, Graph):
            return -(-len(data.known) // size)
        return super().epoch_length(data, size)
