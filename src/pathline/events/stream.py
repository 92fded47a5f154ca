"""What all models of event streams share: who is who, memories that are emptied and kept, and the walk of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Method, Recipe
from pathline.data.events import BATCH, Contacts, Events


class StreamModel(Method):
    """A method that walks along a stream and remembers.

    What it remembers between batches are buffers, so that a training that was interrupted goes on with the same
    memories.

    stream: what `for_data` reads off the data: names, senders, directed, features, node_features
    seen:   (nodes,) bool, which nodes had an event in training
    node_features: (nodes, D), D may be 0
    """

    room: ClassVar[str] = "events"
    better = "higher"
    precision = "fp32"  # differences of times span more digits than bf16 has
    recipe: ClassVar[Recipe] = Recipe(steps=1500, batch_size=BATCH, lr=1e-3, schedule="constant", validations=5)
    seen: Tensor
    node_features: Tensor

    def __init__(self, stream: dict[str, Any]) -> None:
        super().__init__()
        self.stream = stream
        self.nodes: int = len(stream["names"])
        self.senders: int = stream["senders"]
        self.register_buffer("seen", torch.zeros(self.nodes, dtype=torch.bool))
        self.register_buffer("node_features", torch.zeros(self.nodes, stream["node_features"]))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(facts_of(events_in(part)), **config)
        method.read(part)
        return method

    def read(self, data: Any) -> None:
        """Take what is not learned (who was there) from `data`, the training part."""
        events = events_in(data)
        self.seen.copy_(events.seen)
        if events.node_features is not None:
            self.node_features.copy_(events.node_features)

    def known(self, events: Events) -> Events:
        """`events` with its nodes numbered as this method knows them.

        Raises:
            DataError: a node, or something about the events, that it was not built for.
        """
        assert events.features is not None
        for name, mine, theirs in (
            ("features of an event", self.stream["features"], events.features.shape[1]),
            ("directed events", self.stream["directed"], events.directed),
        ):
            if mine != theirs:
                raise DataError(f"{events.name} has {theirs} for {name}; {type(self).__name__} was built for {mine}")
        return events.aligned(self.stream["names"], self.senders)

    def reset(self) -> None:
        """Forget every event."""

    def observe(self, contacts: Contacts) -> None:
        """Learn that `contacts` happened, the next ones in the order of time. Keeps no gradient."""

    def begin_epoch(self) -> None:
        self.reset()

    @contextmanager
    def walking(self) -> Iterator[None]:
        """Evaluation mode, no gradients, and no memories; afterwards everything is as it was before."""
        training, before = self.training, {name: buffer.clone() for name, buffer in self.named_buffers()}
        self.eval()
        with torch.no_grad():
            self.reset()
            try:
                yield
            finally:
                self.reset()
                for name, buffer in self.named_buffers():
                    buffer.copy_(before[name])
                self.train(training)


def events_in(data: Any) -> Events:
    """The stream itself, or the one that an `Affinities` asks about."""
    events: Events = getattr(data, "events", data)
    return events


def facts_of(data: Events) -> dict[str, Any]:
    """What a model's sizes follow from, as JSON values."""
    assert data.features is not None
    return {
        "names": list(data.names),
        "senders": data.senders,
        "directed": data.directed,
        "features": data.features.shape[1],
        "node_features": 0 if data.node_features is None else data.node_features.shape[1],
    }
