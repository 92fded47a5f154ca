"""Events: who met whom and when, a stream of contacts between nodes, in the order of time.

The honest split of a stream is by time, and what a method may know at a moment is everything before it. A part of a
split therefore holds all events up to its end, and `start` says where its own begin: the ones before are history, to be
observed but neither learned from nor measured. Nothing after its end is in it at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split, require_finite
from pathline.data.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import TemporalData

BATCH = 100  # events that are predicted at once, and then observed
TRAIN, VALIDATION = 0.70, 0.15  # shares of the events; the rest is the test part


@dataclass(frozen=True)
class Contacts(Batch):
    """Consecutive events in the order of time.

    source, target: (batch,) int64 nodes
    time:           (batch,) float64, since the stream's `zero`, in its unit
    weight:         (batch,) float32
    features:       (batch, F) float32; F is 0 where the events have none
    position:       (batch,) int64, their places in the stream
    negative:       (batch, K) int64, targets that the source did not meet in this batch; None unless drawn
    """

    source: Tensor
    target: Tensor
    time: Tensor
    weight: Tensor
    features: Tensor
    position: Tensor
    negative: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Events(Container):
    """A stream of events between nodes 0 .. nodes - 1, in the order of time.

    source, target: (events,) int64
    time:           (events,) int64 or float64, never decreasing, as it was recorded: large ones keep every digit
    nodes:          how many there are; also ones without an event count
    weight:         (events,) float32, how much each event counts; ones by default
    features:       (events, F) float32 of the events; F is 0 by default
    node_features:  (nodes, D) float32, or None
    names:          one for each node; by default their numbers
    directed:       whether an event from u to v is another thing than one from v to u
    senders:        in a bipartite stream, nodes 0 .. senders - 1 only send and others only receive; 0: no such parts
    start:          events before this place are history
    origin:         the time that methods count from; None: the time of the first event
    unit:           of time
    batch:          how many events are predicted at once, before any of them is observed
    gaps:           (gaps, 4) float64, or None: rows [u, v, begin, end] on the clock between which it was not recorded
                    whether u and v met, so that no event there says nothing
    """

    source: Tensor
    target: Tensor
    time: Tensor
    nodes: int
    weight: Tensor | None = None
    features: Tensor | None = None
    node_features: Tensor | None = None
    names: tuple[str, ...] = ()
    directed: bool = True
    senders: int = 0
    start: int = 0
    origin: float | None = None
    unit: str = "s"
    batch: int = BATCH
    gaps: Tensor | None = field(default=None, metadata=IF_USED)

    def __post_init__(self) -> None:
        name, count = self.name, len(self.source)
        if not self.names:
            object.__setattr__(self, "names", tuple(map(str, range(self.nodes))))
        if self.weight is None:
            object.__setattr__(self, "weight", torch.ones(count))
        if self.features is None:
            object.__setattr__(self, "features", torch.zeros(count, 0))
        assert self.weight is not None and self.features is not None
        for what, tensor, rank in (
            ("target", self.target, 1),
            ("time", self.time, 1),
            ("weight", self.weight, 1),
            ("features", self.features, 2),
        ):
            if len(tensor) != count or tensor.ndim != rank:
                raise DataError(f"{name}: {what} has shape {tuple(tensor.shape)}, but there are {count} events")
        for what, ends in (("source", self.source), ("target", self.target)):
            if ends.dtype != torch.int64:
                raise DataError(f"{name}: {what} holds {ends.dtype}; nodes are numbered in int64")
            if count and not 0 <= int(ends.min()) <= int(ends.max()) < self.nodes:
                wrong = int(ends.min()) if int(ends.min()) < 0 else int(ends.max())
                raise DataError(f"{name}: {what} names node {wrong}, but there are {self.nodes} nodes, numbered from 0")
        if self.time.dtype not in (torch.int64, torch.float64):
            raise DataError(f"{name}: time holds {self.time.dtype}, which loses digits; use int64 or float64")
        if self.time.dtype == torch.float64:
            require_finite(self.time, "time", name)
        backwards = (self.time.diff() < 0).nonzero()
        if len(backwards):
            place = int(backwards[0]) + 1
            raise DataError(f"{name}: time[{place}] is before time[{place - 1}]; `events_of` sorts events by time")
        require_finite(self.weight, "weight", name)
        require_finite(self.features, "features", name)
        if len(self.names) != self.nodes:
            raise DataError(f"{name}: there are {len(self.names)} names for {self.nodes} nodes; name each node once")
        if self.node_features is not None and len(self.node_features) != self.nodes:
            raise DataError(f"{name}: there are features of {len(self.node_features)} nodes, but {self.nodes} nodes")
        if self.gaps is not None and (self.gaps.ndim != 2 or self.gaps.shape[1] != 4):
            raise DataError(f"{name}: gaps have shape {tuple(self.gaps.shape)}; expected (gaps, 4): u, v, begin, end")
        if self.batch < 1:
            raise DataError(f"{name}: batches of {self.batch} events hold none; choose 1 or more")
        if not 0 <= self.start <= count:
            raise DataError(f"{name}: its own events are said to begin at {self.start}, but there are {count}")
        if self.senders and count and (int(self.source.max()) >= self.senders or int(self.target.min()) < self.senders):
            raise DataError(
                f"{name}: of a bipartite stream, only nodes below {self.senders} send and only others receive"
            )

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def zero(self) -> float:
        """The time that `clock` counts from."""
        if self.origin is not None:
            return self.origin
        return self.time[0].item() if len(self.time) else 0

    @property
    def clock(self) -> Tensor:
        """(events,) float64 time since `zero`."""
        return self._since_zero(self.time)

    def _since_zero(self, time: Tensor) -> Tensor:
        """Whole numbers are subtracted before they are converted, so no digit is lost."""
        return time - self.zero if time.dtype == torch.float64 else (time - int(self.zero)).double()

    @property
    def span(self) -> float:
        """Time from the first of the part's own events to the last."""
        own = self.clock[self.start :]
        return float(own[-1] - own[0]) if len(own) else 0.0

    # -- batches ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many events are the part's own, without its history."""
        return len(self.source) - self.start

    def gather(self, index: Tensor) -> Contacts:
        """Of the part's own events those at `index`."""
        return self._at(index + self.start)

    def _at(self, place: Tensor) -> Contacts:
        assert self.weight is not None and self.features is not None
        return Contacts(
            source=self.source[place],
            target=self.target[place],
            time=self._since_zero(self.time[place]),
            weight=self.weight[place],
            features=self.features[place],
            position=place,
        )

    def cuts(self, size: int, begin: int, end: int) -> Tensor:
        """Places between `begin` and `end` (both included) where batches of about `size` events meet.

        Events of one instant are never parted: a batch that would end among them takes them all, so no prediction is
        made with the knowledge of an event that happens at the same time.
        """
        if begin >= end:
            return torch.tensor([begin])
        places = torch.arange(min(begin + size, end), end, size)
        later = torch.searchsorted(self.time[:end].contiguous(), self.time[places - 1], right=True)
        return torch.unique(torch.cat([torch.tensor([begin]), later, torch.tensor([end])]))

    def batches(self, size: int, generator: torch.Generator | None = None, shuffle: bool = True) -> Iterator[Contacts]:
        """The part's own events in the order of time. A stream has one order: `generator` and `shuffle` change
        nothing."""
        yield from self.between(size, self.start, len(self.source))

    def history(self, size: int) -> Iterator[Contacts]:
        """The events before the part's own, in the order of time."""
        yield from self.between(size, 0, self.start)

    def between(self, size: int, begin: int, end: int) -> Iterator[Contacts]:
        """Batches of about `size` from the events at places `begin` to `end` - 1, see `cuts`."""
        cuts = self.cuts(size, begin, end).tolist()
        for first, last in pairwise(cuts):
            yield self._at(torch.arange(first, last))

    # -- parts --------------------------------------------------------------------------------------------------------

    def split(self, seed: int = 0) -> Split["Events"]:
        """The first 70, the next 15 and the last 15 percent of the events, cut where time moves on."""
        count = len(self)
        wanted = [self.start + round(count * TRAIN), self.start + round(count * (TRAIN + VALIDATION))]
        first, second = (
            int(torch.searchsorted(self.time, self.time[max(place - 1, 0)], right=True)) if count else 0
            for place in wanted
        )
        if not self.start < first < second < len(self.source):
            raise DataError(
                f"{self.name}: its {count} events happen at too few different times to be split into train, validation "
                "and test: bring a longer stream"
            )
        return Split(self.window(self.start, first), self.window(first, second), self.window(second, len(self.source)))

    def window(self, start: int, end: int) -> "Events":
        """The events from place `start` to `end` - 1, with those before as history and nothing after."""
        assert self.weight is not None and self.features is not None
        return replace(
            self,
            source=self.source[:end],
            target=self.target[:end],
            time=self.time[:end],
            weight=self.weight[:end],
            features=self.features[:end],
            start=start,
            origin=self.zero,
        )

    def keep(self, kept: Tensor) -> "Events":
        """Those events (history included) at which `kept` (events,) bool holds."""
        assert self.weight is not None and self.features is not None
        return replace(
            self,
            source=self.source[kept],
            target=self.target[kept],
            time=self.time[kept],
            weight=self.weight[kept],
            features=self.features[kept],
            start=int(kept[: self.start].sum()),
            origin=self.zero,
        )

    def without(self, nodes: Tensor) -> "Events":
        """The stream without any event of `nodes` (int64): how nodes are hidden from training."""
        hidden = torch.zeros(self.nodes, dtype=torch.bool)
        hidden[nodes] = True
        return self.keep(~(hidden[self.source] | hidden[self.target]))

    # -- nodes --------------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> Tensor:
        """(nodes,) bool: which have an event."""
        seen = torch.zeros(self.nodes, dtype=torch.bool)
        seen[self.source] = seen[self.target] = True
        return seen

    @property
    def candidates(self) -> Tensor:
        """(candidates,) int64: the nodes that can be a target."""
        return torch.arange(self.senders, self.nodes)

    def aligned(self, names: Sequence[str], senders: int = 0) -> "Events":
        """The same stream with its nodes numbered as in `names`, the first `senders` of which only send.

        Raises:
            DataError: a node that has an event is not among `names`.
        """
        if tuple(names) == self.names:
            return self
        place = {name: number for number, name in enumerate(names)}
        new = torch.tensor([place.get(name, -1) for name in self.names])
        unknown = (self.seen & (new < 0)).nonzero().flatten()
        if len(unknown):
            raise DataError(
                f"{self.name}: '{self.names[int(unknown[0])]}' (and {len(unknown) - 1} more) is not among the "
                f"{len(names)} nodes that were learned from; fit on a stream that holds every node"
            )
        features = self.node_features
        if features is not None:
            known = new >= 0
            features = torch.zeros(len(names), features.shape[1]).index_copy(0, new[known], features[known])
        gaps = self.gaps
        if gaps is not None:
            gaps = torch.cat([new[gaps[:, :2].long()].to(gaps.dtype), gaps[:, 2:]], 1)
        return replace(
            self,
            gaps=gaps,
            source=new[self.source],
            target=new[self.target],
            nodes=len(names),
            names=tuple(names),
            node_features=features,
            senders=senders,
        )

    # -- PyG ----------------------------------------------------------------------------------------------------------

    def to_temporal_data(self) -> "TemporalData":
        """PyG's TemporalData of the part's own events: src, dst, t as recorded, and msg = [weight, features]."""
        from torch_geometric.data import TemporalData

        assert self.weight is not None and self.features is not None
        own = slice(self.start, None)
        message = torch.cat([self.weight[own, None], self.features[own]], 1)
        return TemporalData(src=self.source[own], dst=self.target[own], t=self.time[own], msg=message)

    def describe(self) -> dict[str, Any]:
        assert self.features is not None
        pairs = self.source * self.nodes + self.target
        return {
            "container": "Events",
            "events": len(self),
            "history": self.start,
            "nodes": self.nodes,
            "pairs": len(pairs.unique()),
            "directed": self.directed,
            "bipartite": bool(self.senders),
            "features": self.features.shape[1],
            "span": self.span,
            "time unit": self.unit,
        }


def events_of(
    source: Sequence[Any] | Tensor, target: Sequence[Any] | Tensor, time: Tensor, name: str = "events", **fields: Any
) -> Events:
    """Events in any order, between nodes of any names.

    Nodes are numbered in the order of their names (numbers as numbers); if nobody who sends ever receives, senders come
    first and the stream is bipartite. Sorting is stable: events of one instant keep their order.

    Args:
        source, target: (events,) names of any kind, or int64 tensors whose entries are then the names.
        time: (events,) int64 or float64.
        fields: weight, features (events, F), directed, node_features (in the order of the names), unit, ...
    """
    ends = [one.tolist() if isinstance(one, Tensor) else list(one) for one in (source, target)]
    senders, receivers = ({*one} for one in ends)
    bipartite = bool(senders) and fields.get("directed", True) and not senders & receivers
    parts = [senders, receivers] if bipartite else [senders | receivers]
    names = [node for part in parts for node in _sorted(part)]
    place = {node: number for number, node in enumerate(names)}
    order = torch.sort(time, stable=True).indices
    for key in ("weight", "features"):
        if fields.get(key) is not None:
            fields[key] = fields[key][order].float()
    return Events(
        name=name,
        source=torch.tensor([place[node] for node in ends[0]], dtype=torch.int64)[order],
        target=torch.tensor([place[node] for node in ends[1]], dtype=torch.int64)[order],
        time=time[order],
        nodes=len(names),
        names=tuple(str(node) for node in names),
        senders=len(senders) if bipartite else 0,
        **fields,
    )


def _sorted(names: set[Any]) -> list[Any]:
    """Numbers in their order, text in that of the alphabet, and numbers before text."""
    return sorted(names, key=lambda name: (isinstance(name, str), name))


def events_from_temporal_data(data: "TemporalData", name: str = "events", **fields: Any) -> Events:
    """A PyG TemporalData as Events: src, dst, t, and msg as features; nodes keep their numbers."""
    missing = [key for key in ("src", "dst", "t") if getattr(data, key, None) is None]
    if missing:
        raise DataError(f"{name}: the TemporalData has no {missing[0]}; it needs src, dst and t")
    time = data.t if data.t.dtype in (torch.int64, torch.float64) else data.t.double()
    order = torch.sort(time, stable=True).indices
    source, target = data.src.long()[order], data.dst.long()[order]
    message = getattr(data, "msg", None)
    if message is not None:
        fields["features"] = message.reshape(len(source), -1)[order].float()
    fields.setdefault("nodes", int(torch.stack([source, target]).max()) + 1 if len(source) else 0)
    return Events(name=name, source=source, target=target, time=time[order], **fields)
