"""A method whose nodes and pairs of nodes come with a positional encoding, among whichever pairs messages pass.

What a subclass gets: graphs prepared once, with pairs as edges and all numbers beside them; the learned part of the
encoding; and, of "gpse", an encoder that is trained first.
"""

from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import unwrap_split
from pathline.data.graph_batch import GraphBatch
from pathline.graph.wiring import EDGE, WIRINGS, Wired, attention_pairs
from pathline.graphs import positional
from pathline.graphs.base import LearnedGraphModel
from pathline.graphs.positional import ENCODINGS, SIGNS, NodeEncoder
from pathline.nn.gpse import EncodingEncoder, encoding_targets
from pathline.nn.positional_encodings import eigenvector_loss

MOST = 20_000_000  # pairs that are listed


class EncodedModel(LearnedGraphModel):
    """See `PEBench` for the settings.

    everywhere: whether messages take all pairs but those of a node with itself; else edges of the graph are `local`
    """

    tasks: ClassVar[tuple[str, ...]] = ("classify-nodes", "classify-graphs", "regress-graphs")
    node_mean: Tensor
    node_scale: Tensor
    edge_mean: Tensor
    edge_scale: Tensor
    pair_mean: Tensor
    pair_scale: Tensor
    pretrained: Tensor

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        encoding: str,
        wiring: str,
        k: int,
        signs: str,
        width: int,
        pooling: str,
        reach: int,
        cycles: int,
        learned_colours: bool,
        walk_loss: float,
        pretraining: int,
        edge_inputs: int,
        everywhere: bool,
    ) -> None:
        super().__init__(task, inputs, answers, width, pooling)
        choices = (("encoding", encoding, ENCODINGS), ("attention_graph", wiring, WIRINGS), ("signs", signs, SIGNS))
        for name, value, known in choices:
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")
        if min(k, reach, cycles, pretraining) < 1:
            raise MethodError(
                f"k, reach, cycles and pretraining are at least 1, but are {k}, {reach}, {cycles} and {pretraining}"
            )
        self.encoding, self.wiring, self.k, self.signs = encoding, wiring, k, signs
        self.reach, self.cycles, self.walk_loss, self.pretraining = reach, cycles, walk_loss, pretraining
        self.edge_inputs, self.everywhere = edge_inputs, everywhere
        self.columns = positional.node_columns(encoding, k, width)
        self.pair_columns = positional.pair_columns(encoding, k)
        self.encoder = NodeEncoder(encoding, signs, self.columns, k, width // 2, learned_colours)
        self.gpse = EncodingEncoder(width, k) if encoding == "gpse" else None
        for name, size in (("node", self.columns), ("edge", edge_inputs), ("pair", self.pair_columns)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.register_buffer("pretrained", torch.zeros((), dtype=torch.bool))
        if encoding == "gckn":
            inner = 1 + min(self.described, positional.PATH_WIDTH)
            for length in positional.PATH_LENGTHS:
                self.register_buffer(f"anchors_{length}", torch.ones(positional.ANCHORS, (length + 1) * inner))

    # -- what is read off the data ------------------------------------------------------------------------------------

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        own = _edge_inputs(part)
        method = super().for_data(part, **({"edge_inputs": 0 if own is None else own.shape[1]} | config))
        described = super(EncodedModel, method).features(part.whole())
        if own is not None and method.edge_inputs and len(own):
            method._scale_by("edge", own)
        if method.encoding == "gckn":
            anchors = positional.path_anchors(part, described)
            for length, found in zip(positional.PATH_LENGTHS, anchors, strict=True):
                method.get_buffer(f"anchors_{length}").copy_(found)
        if method.encoding in positional.SCALED:
            method._scale_by("node", method._numbers(part, described))
        if method.pair_columns:
            pairs, _ = method.pairs(part)
            numbers = positional.pair_numbers(part, method.encoding, method.k, pairs, method.wiring_name)
            method._scale_by("pair", numbers)
        return method

    def _scale_by(self, name: str, numbers: Tensor) -> None:
        """Take mean and deviation of training numbers (.., columns)."""
        spread = numbers.double().std(0, correction=0)
        self.get_buffer(f"{name}_mean").copy_(numbers.double().mean(0))
        self.get_buffer(f"{name}_scale").copy_(torch.where(spread > 1e-6, spread, 1.0))

    @property
    def wiring_name(self) -> str:
        """The graph of attention with its settings."""
        details = {"khop": f" {self.reach}", "expander": f" {self.cycles}"}
        return self.wiring + details.get(self.wiring, "")

    def pairs(self, data: Any) -> tuple[Tensor, Tensor]:
        """(2, M) sender and receiver, and kinds (M,): among whom messages pass."""

        def build() -> tuple[Tensor, Tensor]:
            graph = positional.graph_of(data)
            return attention_pairs(data.edge_index, graph, self.wiring, self.reach, self.cycles, most=MOST)

        try:
            return positional.kept(data, f"pairs {self.wiring_name}", build)
        except ValueError as error:
            raise MethodError(f"{data.name}: {error}; choose attention_graph=edges or expander") from None

    def prepare(self, data: Any) -> Any:
        """The container with pairs as edges, what nodes are described by and their numbers as features, and as features
        of pairs their kind, what comes with the edge, and their numbers."""
        pairs, kind = self.pairs(data)
        precision = data.features.dtype
        described = super().features(data.whole().to(self.device)).cpu().to(precision)
        columns = [kind[:, None].to(precision), self._own_of(data, pairs, kind)]
        columns.append(positional.pair_numbers(data, self.encoding, self.k, pairs, self.wiring_name))
        numbers = self._numbers(data, described)
        changes = {"features": torch.cat([described, numbers], 1), "edge_features": torch.cat(columns, 1)}
        return replace(data, edge_index=pairs, weight=None, **changes)

    def _numbers(self, data: Any, described: Tensor) -> Tensor:
        if self.encoding == "gckn":
            anchors = [self.get_buffer(f"anchors_{length}").cpu() for length in positional.PATH_LENGTHS]
            return positional.path_numbers(data, described, anchors)
        if self.gpse is None:
            return positional.node_numbers(data, self.encoding, self.k, self.signs)
        batch = data.whole()
        if self.__dict__.get("_pretraining"):
            return encoding_targets(data.edge_index, batch.graph, self.k)
        batch = batch.to(self.device)
        return self.gpse.encode(batch.edges, batch.graph, batch.graphs).to(described.dtype).cpu()

    def _own_of(self, data: Any, pairs: Tensor, kind: Tensor) -> Tensor:
        """(M, edge_inputs) scaled features of the pairs that are edges, 0 for the others."""
        found = data.features.new_zeros(pairs.shape[1], self.edge_inputs)
        own = _edge_inputs(data)
        if self.edge_inputs and own is not None:
            nodes = data.node_count
            key, order = (data.edge_index[1] * nodes + data.edge_index[0]).sort(stable=True)
            real = kind == EDGE
            at = torch.searchsorted(key, pairs[1, real] * nodes + pairs[0, real])
            found[real] = ((own - self.edge_mean.cpu()) / self.edge_scale.cpu()).to(found.dtype)[order[at]]
        return found

    # -- what a network sees ------------------------------------------------------------------------------------------

    def features(self, batch: GraphBatch) -> Tensor:
        """As prepared: what nodes are described by, and their numbers."""
        return batch.features

    def wired(self, batch: GraphBatch) -> Wired:
        """The pairs of a prepared batch."""

        def build() -> Wired:
            assert batch.edge_features is not None
            kind = batch.edge_features[:, 0].long()
            return Wired(batch.edge_index, kind, batch.graph, batch.graphs, self.everywhere)

        return batch.remembered("wired", build)

    def encoded(self, x: Tensor, batch: GraphBatch) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """What nodes are described by, their encoding or None, what comes with edges (M, edge_inputs), and the scaled
        numbers of pairs (M, pair_columns)."""
        assert batch.edge_features is not None
        described, numbers = x.split([self.described, self.columns], 1)
        where = None
        if self.encoder.outputs:
            where = self.encoder((numbers - self.node_mean) / self.node_scale, self.wired(batch))
            self.__dict__["_where"] = where
        own, pair = batch.edge_features[:, 1:].split([self.edge_inputs, self.pair_columns], 1)
        return described, where, own.to(x.dtype), ((pair - self.pair_mean) / self.pair_scale).to(x.dtype)

    def loss(self, batch: GraphBatch) -> Tensor | dict[str, Tensor]:
        """That of the task; of "rwdiff", where walk_loss > 0, with how far its numbers are from eigenvectors."""
        loss = super().loss(batch)
        if self.encoding != "rwdiff" or not self.walk_loss or not isinstance(loss, Tensor):
            return loss
        far = eigenvector_loss(self.__dict__["_where"], self.wired(batch).real, batch.graph, batch.graphs)
        return {"loss": loss + self.walk_loss * far, "walk_loss": far}

    # -- the encoder of "gpse", which is trained first ----------------------------------------------------------------

    def encoder_loss(self, batch: GraphBatch) -> Tensor:
        """How well the encoder says the other encodings from noise."""
        assert self.gpse is not None
        return self.gpse.loss(self.wired(batch).real, batch.graph, batch.graphs, batch.features[:, self.described :])

    def pretrain(self, data: Any, seed: int = 0) -> None:
        """Train the encoder alone; what was encoded before is forgotten."""
        from pathline.core.train import train

        assert self.gpse is not None
        self.requires_grad_(False)
        self.gpse.requires_grad_(True)
        self.__dict__["_pretraining"] = True
        self.__dict__["_seen"] = []
        train(self, data, Budget(steps=self.pretraining), seed=seed, loss=self.encoder_loss, lr=2e-3)
        self.__dict__["_pretraining"] = False
        self.__dict__["_seen"] = []
        self.pretrained.fill_(True)
        self.requires_grad_(True)

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        if self.gpse is None:
            return super().fit(data, budget, seed, validation, **options)
        if not bool(self.pretrained):
            self.pretrain(self.require(unwrap_split(data)), seed)
        self.gpse.requires_grad_(False)
        super().fit(data, budget, seed, validation, **options)
        self.requires_grad_(True)
        return self


def _edge_inputs(data: Any) -> Tensor | None:
    """(E, .) weight and features of edges, None where there are none."""
    parts = [] if data.weight is None else [data.weight[:, None]]
    parts += [] if data.edge_features is None else [data.edge_features]
    return torch.cat(parts, 1) if parts else None
