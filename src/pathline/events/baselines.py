"""What a model of links has to beat: pairs that met will meet again, and popular nodes are met.

They are exact whatever the size of the batches, and remember numbers of pairs in sorted tables (`PairTable`).
Poursafaei et al., 2022, "Towards Better Evaluation for Dynamic Link Prediction", arXiv:2207.10128 (EdgeBank).
"""

from typing import Any

import torch
from torch import Tensor

from pathline.data.events import TRAIN, VALIDATION, Contacts, Events
from pathline.events.base import Baseline
from pathline.graph.temporal import PairTable


class PairBaseline(Baseline):
    """Remembers numbers of pairs; a pair without direction is one pair.

    window: the time that the last part of the training events took, as long as the validation part will be
    """

    window: Tensor

    def __init__(self, stream: dict[str, Any]) -> None:
        super().__init__(stream)
        self.register_buffer("window", torch.tensor(1.0, dtype=torch.float64))
        self.reset()

    def read(self, data: Events) -> None:
        super().read(data)
        late = data.clock[data.start :]
        if len(late):
            begin = late[-max(1, round(len(late) * VALIDATION / TRAIN))]
            self.window.fill_(max(float(late[-1] - begin), 1e-9))

    def reset(self) -> None:
        self.table = PairTable()

    def pairs(self, source: Tensor, target: Tensor) -> Tensor:
        """A key for each pair."""
        if not self.stream["directed"]:
            source, target = torch.minimum(source, target), torch.maximum(source, target)
        return source * self.nodes + target

    def observe(self, contacts: Contacts) -> None:
        """The time of the pair's last event."""
        self.table.write(self.pairs(contacts.source, contacts.target), contacts.time[:, None])

    def age(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        """(batch, candidates) time since the pairs' last event, infinite if there was none."""
        last, found = self.table.find(self.pairs(source[:, None], target))
        return torch.where(found, time[:, None] - last[..., 0], torch.inf)


class LastContact(PairBaseline):
    """Persistence: who met last will meet next, 1 / (1 + age)."""

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        return 1 / (1 + self.age(source, target, time))


class EdgeBank(PairBaseline):
    """1 for a pair that has met, 0 for any other."""

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        return self.age(source, target, time).isfinite().double()


class EdgeBankWindow(PairBaseline):
    """1 for a pair that has met within the window, 0 for any other."""

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        return (self.age(source, target, time) <= self.window).double()


class ContactAverage(PairBaseline):
    """Moving average: the number of a pair's events, each counting half as much for every window that went by."""

    def reset(self) -> None:
        """The number, and the time at which it was that much."""
        self.table = PairTable(width=2)

    def faded(self, time: Tensor) -> Tensor:
        return torch.exp2(-time / self.window)

    def observe(self, contacts: Contacts) -> None:
        pair, place = torch.unique(self.pairs(contacts.source, contacts.target), return_inverse=True)
        now = contacts.time[-1] if len(contacts) else contacts.time.new_zeros(())
        before, _ = self.table.find(pair)
        count = before[:, 0] * self.faded(now - before[:, 1])
        count = count.index_add(0, place, self.faded(now - contacts.time))
        self.table.write(pair, torch.stack([count, now.expand(len(pair))], 1))

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        before, _ = self.table.find(self.pairs(source[:, None], target))
        return before[..., 0] * self.faded(time[:, None] - before[..., 1])


class TargetPopularity(PairBaseline):
    """The number of a target's events, each counting half as much for every window that went by."""

    def reset(self) -> None:
        self.count = torch.zeros(self.nodes, dtype=torch.float64)
        self.now = torch.zeros((), dtype=torch.float64)

    def observe(self, contacts: Contacts) -> None:
        if not len(contacts):
            return
        now = contacts.time[-1]
        share = torch.exp2(-(now - contacts.time) / self.window)
        self.count *= torch.exp2(-(now - self.now) / self.window)
        self.count.index_add_(0, contacts.target, share)
        if not self.stream["directed"]:
            self.count.index_add_(0, contacts.source, share)
        self.now = now

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        return self.count[target]
