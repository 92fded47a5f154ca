"""Affinities: at regular moments of a stream, whom will each node turn to in the period that follows, and how much?

At the moments t_k = k period, every node u that has an event in [t_k, t_k + period) is asked for the vector

    y_u(t_k) = weights of its events in that period, summed by partner and divided by their total

What may be known is every event before t_k. Nodes without an event in the period have no such vector and are not asked.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split
from pathline.data.errors import DataError
from pathline.data.events import TRAIN, VALIDATION, Contacts, Events


@dataclass(frozen=True)
class Question(Batch):
    """What happened since the last moment, and who is asked at this one.

    node:     (asked,) int64
    time:     (asked,) float64, the moment, since the stream's `zero`
    affinity: (asked, candidates) float32, rows that sum to 1: the answer
    contacts: the events since the previous moment, all before this one
    """

    node: Tensor
    time: Tensor
    affinity: Tensor
    contacts: Contacts
    shared: ClassVar[tuple[str, ...]] = ("contacts",)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Question":
        return replace(super().map(function), contacts=self.contacts.map(function))


@dataclass(frozen=True, kw_only=True)
class Affinities(Container):
    """A stream of events with the moments at which nodes are asked.

    events: the whole stream up to the end of the last period; its own `start` plays no role
    period: time from one moment to the next, in the unit of the stream
    first, last: numbers k of the first and the last moment of this part; None: all that the stream holds
    asks, offset: training may ask `asks` times in a period, at the times (k + offset) period / asks; the answers are
        still those of a whole period
    """

    events: Events
    period: float
    first: int = 1
    last: int | None = None
    asks: int = 1
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise DataError(f"{self.name}: the period is {self.period:g}; it must be longer than 0 (--period)")
        assert self.events.weight is not None
        if bool((self.events.weight < 0).any()):
            place = int((self.events.weight < 0).nonzero()[0])
            raise DataError(
                f"{self.name}: event {place} has the weight {self.events.weight[place]:g}; shares of a total need "
                "weights that are not negative"
            )

    @property
    def moments(self) -> Tensor:
        """(moments,) int64: the numbers k of those at which anybody is asked."""
        clock = self.events.clock
        if not len(clock):
            return torch.zeros(0, dtype=torch.int64)
        last = int(clock[-1] // self.period) - 1 if self.last is None else self.last
        number = torch.arange((self.first - 1) * self.asks + 1, last * self.asks + 1)
        times = (number.double() + self.offset) * self.step
        begin, end = torch.searchsorted(clock, times), torch.searchsorted(clock, times + self.period)
        whole = times + self.period <= (last + 1) * self.period
        return number[(end > begin) & whole]

    @property
    def step(self) -> float:
        """Time from one moment to the next."""
        return self.period / self.asks

    def often(self, asks: int, offset: float) -> "Affinities":
        """The same part, asked `asks` times in a period, the times shifted by `offset` of a step, from 0 to 1."""
        return replace(self, asks=asks, offset=offset)

    def __len__(self) -> int:
        """How many moments there are."""
        return len(self.moments)

    def gather(self, index: Tensor) -> Question:
        """The moment `index` (one entry), with all that happened since the one before."""
        moments = self.moments
        place = int(index)
        return self._ask(self._time(int(moments[place - 1])) if place else 0.0, self._time(int(moments[place])))

    def batches(self, size: int, generator: torch.Generator | None = None, shuffle: bool = True) -> Iterator[Question]:
        """The moments in their order, one in each batch; the first has the whole history in its contacts."""
        before = 0.0
        for moment in self.moments.tolist():
            now = self._time(moment)
            yield self._ask(before, now)
            before = now

    def _time(self, moment: int) -> float:
        return (moment + self.offset) * self.step

    def contacts(self, begin: float, end: float) -> Contacts:
        """The events at times in [begin, end), since the stream's `zero`."""
        clock = self.events.clock
        first, last = torch.searchsorted(clock, torch.tensor([begin, end], dtype=torch.float64)).tolist()
        return self.events._at(torch.arange(first, last))

    def _ask(self, before: float, now: float) -> Question:
        node, total = self.sums(self.contacts(now, now + self.period))
        return Question(
            node=node,
            time=torch.full((len(node),), now, dtype=torch.float64),
            affinity=total / total.sum(1, keepdim=True),
            contacts=self.contacts(before, now),
        )

    def sums(self, contacts: Contacts) -> tuple[Tensor, Tensor]:
        """Nodes with a positive total, (asked,), and the weights of their events by candidate, (asked, candidates)."""
        source, target, weight = turned(contacts, self.events.directed)
        node, row = torch.unique(source, return_inverse=True)
        first = self.events.senders
        total = torch.zeros(len(node), self.events.nodes - first)
        total = total.index_put((row, target - first), weight, accumulate=True)
        some = total.sum(1) > 0
        return node[some], total[some]

    def split(self, seed: int = 0) -> Split["Affinities"]:
        """The first 70, the next 15 and the last 15 percent of the moments, with all earlier events as history."""
        moments = self.moments
        count = len(moments)
        cuts = [round(count * TRAIN), round(count * (TRAIN + VALIDATION))]
        if not 0 < cuts[0] < cuts[1] < count:
            raise DataError(
                f"{self.name}: there are {count} moments at which somebody could be asked, too few to be split into "
                f"train, validation and test; choose a period shorter than {self.period:g} (--period)"
            )
        bounds = [self.first, int(moments[cuts[0]]), int(moments[cuts[1]]), int(moments[-1]) + 1]
        return Split(*(self._part(bounds[k], bounds[k + 1] - 1) for k in range(3)))

    def _part(self, first: int, last: int) -> "Affinities":
        end = torch.searchsorted(self.events.clock, torch.tensor((last + 1) * self.period, dtype=torch.float64))
        return replace(self, events=self.events.window(0, int(end)), first=first, last=last)

    def fingerprint(self) -> str:
        """sha256 over the events and the moments."""
        own = f"{self.events.fingerprint()}/{self.period}/{self.first}/{self.last}/{self.asks}/{self.offset}"
        return hashlib.sha256(own.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        return self.events.describe() | {"container": "Affinities", "moments": len(self), "period": self.period}


def turned(contacts: Contacts, directed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Who turned to whom, and by how much: the events, and turned around too where they have no direction."""
    if directed:
        return contacts.source, contacts.target, contacts.weight
    return (
        torch.cat([contacts.source, contacts.target]),
        torch.cat([contacts.target, contacts.source]),
        contacts.weight.repeat(2),
    )
