"""Links: one graph whose missing links are to be found."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Split
from pathline.data.errors import DataError
from pathline.data.graph_batch import GraphBatch, GraphData, check_edges, check_rows, describe_graph
from pathline.graph.links import both_ways, keys_of, links_of, sample_non_links, split_links

SHARES = (0.05, 0.1)  # of the links, for validation and test
AT_ONCE = 1024  # links in a batch, at least: the whole graph is read for every one


@dataclass(frozen=True, kw_only=True)
class Links(GraphData):
    """One graph for the task predict-links; links have no direction.

    edge_index: (2, E) int64, every link in both directions: where messages may pass. In the parts of a split these are
                the links of the training part alone, so nothing that is asked for can be seen
    features:   (nodes, width) float32, width 0 where nodes have none
    weight:     (E,) float32 or None
    names:      of the nodes, or () for their numbers
    pairs:      (2, m) int64 pairs in question, or None: every link, and (in training) pairs drawn that are none
    truth:      (m,) bool whether they are links
    published:  parts of published splits, number / train, test / positive, negative: (2, .) each, or none
    shares:     of the links that a drawn split holds out for validation and for test
    """

    edge_index: Tensor
    features: Tensor
    weight: Tensor | None = None
    names: tuple[str, ...] = ()
    pairs: Tensor | None = None
    truth: Tensor | None = None
    published: dict[str, Tensor] | None = None
    shares: tuple[float, float] = SHARES

    def __post_init__(self) -> None:
        nodes = len(self.features)
        if self.features.ndim != 2 or not nodes:
            raise DataError(f"{self.name}: features have shape {tuple(self.features.shape)}; expected (nodes, width)")
        check_edges(self.edge_index, nodes, self.name)
        check_rows(self.features, nodes, "features", "nodes", self.name)
        check_rows(self.weight, self.edge_index.shape[1], "weight", "edges", self.name)
        if self.names and len(self.names) != nodes:
            raise DataError(f"{self.name}: {len(self.names)} names for {nodes} nodes")
        if (self.pairs is None) != (self.truth is None):
            raise DataError(f"{self.name}: pairs and truth go together")
        if self.pairs is not None and self.truth is not None:
            check_edges(self.pairs, nodes, self.name)
            check_rows(self.truth, self.pairs.shape[1], "truth", "pairs", self.name)

    def __len__(self) -> int:
        """Pairs in question, or links."""
        return self.links.shape[1] if self.pairs is None else self.pairs.shape[1]

    @property
    def task(self) -> str:
        return "predict-links"

    @property
    def width(self) -> int:
        return self.features.shape[1]

    @property
    def split_count(self) -> int:
        return 1 if self.published is None else len({key.partition("/")[0] for key in self.published})

    @cached_property
    def links(self) -> Tensor:
        """(2, L) the links among which messages pass, each once."""
        return links_of(self.edge_index)

    @cached_property
    def keys(self) -> Tensor:
        """(L,) one number for each link, in increasing order."""
        return keys_of(self.links, len(self.features)).sort().values

    def split(self, seed: int = 0) -> Split["Links"]:
        """The published split number `seed` (counted round), or one drawn: 85, 5 and 10 percent of the links.

        Validation and test have as many pairs that are no links, drawn uniformly. Messages pass along the links of the
        training part only, in all three parts.
        """
        nodes = len(self.features)
        if self.published is not None:
            return self._published(seed % self.split_count)
        try:
            parts = split_links(self.edge_index, nodes, seed, *self.shares)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from None
        base = self.among(parts.train)
        return Split(
            base,
            base.asked(parts.validation, parts.validation_negative),
            base.asked(parts.test, parts.test_negative),
        )

    def _published(self, number: int) -> Split["Links"]:
        """A tenth of the training links, and of its negatives, is the validation part."""
        assert self.published is not None
        found = {key.partition("/")[2]: value for key, value in self.published.items() if key.startswith(f"{number}/")}
        positive, negative = found["train/positive"], found["train/negative"]
        order = torch.randperm(positive.shape[1], generator=torch.Generator().manual_seed(number))
        held = max(1, len(order) // 10)
        base = self.among(positive[:, order[held:]])
        return Split(
            base,
            base.asked(positive[:, order[:held]], negative[:, order[:held] % negative.shape[1]]),
            base.asked(found["test/positive"], found["test/negative"]),
        )

    def among(self, links: Tensor) -> "Links":
        """The graph with `links` (2, .) alone, each with its weight."""
        edge_index = both_ways(links_of(links))
        weight = self.weight
        if weight is not None:
            nodes = len(self.features)
            key, order = (self.edge_index[0] * nodes + self.edge_index[1]).sort()
            wanted = edge_index[0] * nodes + edge_index[1]
            weight = weight[order[torch.searchsorted(key, wanted).clamp(max=len(key) - 1)]]
        return replace(self, edge_index=edge_index, weight=weight, published=None)

    def seeing(self, links: Tensor) -> "Links":
        """The same question where `links` (2, .) can be seen too, as validation links may be at test time; new ones
        weigh as much as those that are there in the mean."""
        every = both_ways(links_of(torch.cat([self.edge_index, links], 1)))
        known = self.among(every)
        if known.weight is not None and self.weight is not None:
            fresh = ~torch.isin(keys_of(every, len(self.features)), self.keys)
            known.weight[fresh] = self.weight.mean()
        return known

    def asked(self, positive: Tensor, negative: Tensor) -> "Links":
        """The same graph with `positive` and `negative` pairs in question."""
        truth = torch.arange(positive.shape[1] + negative.shape[1]) < positive.shape[1]
        return self.sharing_memo(replace(self, pairs=torch.cat([positive, negative], 1), truth=truth))

    def negatives(self, count: int, generator: torch.Generator) -> Tensor:
        """(2, count) pairs, drawn uniformly, that are no links here. Raises DataError where every pair is one."""
        try:
            return sample_non_links(self.keys, len(self.features), count, generator)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from None

    @cached_property
    def _bare(self) -> GraphBatch:
        return GraphBatch(
            features=self.features,
            edge_index=self.edge_index,
            graph=torch.zeros(len(self.features), dtype=torch.int64),
            weight=self.weight,
            memo=self.memo,
        )

    def about(self, pairs: Tensor, truth: Tensor | None = None) -> GraphBatch:
        """The whole graph, asked about pairs (2, m). What was computed on its edges is kept."""
        return replace(self._bare, pairs=pairs, labels=None if truth is None else truth.float())

    def whole(self) -> GraphBatch:
        pairs, truth = self.pairs, self.truth
        if pairs is None or truth is None:
            pairs, truth = self.links, torch.ones(self.links.shape[1], dtype=torch.bool)
        return self.about(pairs, truth)

    def gather(self, index: Tensor) -> GraphBatch:
        """The whole graph, asked about some pairs."""
        batch = self.whole()
        assert batch.pairs is not None and batch.labels is not None
        return self.about(batch.pairs[:, index], batch.labels[index])

    def batch_count(self, size: int, least: int = AT_ONCE) -> int:
        """Batches in an epoch."""
        return -(-len(self) // max(size, least))

    def batches(
        self, size: int, generator: torch.Generator | None = None, shuffle: bool = True, least: int = AT_ONCE
    ) -> Iterator[GraphBatch]:
        """Links in a random order, at least `least` at a time, with as many pairs that are none, drawn afresh."""
        if self.pairs is not None:
            yield from super().batches(max(size, least), generator, shuffle)  # type: ignore[misc]
            return
        source = generator or torch.Generator().manual_seed(0)
        count = self.links.shape[1]
        order = torch.randperm(count, generator=source) if shuffle else torch.arange(count)
        for index in order.split(max(size, least)):
            pairs = torch.cat([self.links[:, index], self.negatives(len(index), source)], 1)
            yield self.about(pairs, torch.arange(pairs.shape[1]) < len(index))

    def describe(self) -> dict[str, Any]:
        if self.published is not None:
            how = f"published: {self.split_name or 'given pairs'} ({self.split_count} splits, one for each seed)"
        else:
            held, asked = self.shares
            how = f"drawn: {1 - held - asked:.0%}, {held:.0%} and {asked:.0%} of the links".replace("%", " percent")
        return describe_graph(self, len(self.features), self.edge_index.shape[1]) | {
            "links": self.links.shape[1],
            "split": how,
            "negatives": "as many as links, " + ("published" if self.published else "drawn uniformly from all others"),
        }
