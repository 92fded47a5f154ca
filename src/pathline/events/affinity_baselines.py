"""What a model of affinities has to beat: the same as last time, the mean of some last times, and the popular ones.

Two are computed from the true shares of past periods (labels), two from the events themselves (messages). All remember
in dense tables of nodes by candidates.
"""

from typing import Any

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.data.affinities import turned
from pathline.data.events import Contacts
from pathline.events.affinity import AffinityBaseline
from pathline.graph.temporal import last_writes, ranks

LARGEST = 200_000_000  # numbers in a table


def _table(*shape: int) -> Tensor:
    if torch.Size(shape).numel() > LARGEST:
        raise DataError(
            f"a table of {' x '.join(map(str, shape))} numbers does not fit; choose a shorter window, or fewer nodes"
        )
    return torch.zeros(shape)


class LabelAverage(AffinityBaseline):
    """The mean of a node's last `window` shares, over those periods in which it had an event."""

    def __init__(self, stream: dict[str, Any], period: float, window: int = 7) -> None:
        super().__init__(stream, period)
        self.window = window
        self.reset()

    def reset(self) -> None:
        """shares: (nodes, window, candidates), a ring; total: of the period `number` (nodes,) that is not over."""
        self.shares = _table(self.nodes, self.window - 1, self.candidates)
        self.total = _table(self.nodes, self.candidates)
        self.number = torch.full((self.nodes,), -1, dtype=torch.int64)
        self.rounds = torch.zeros(self.nodes, dtype=torch.int64)

    def observe(self, contacts: Contacts) -> None:
        source, target, weight = turned(contacts, self.stream["directed"])
        number = torch.div(contacts.time, self.period, rounding_mode="floor").long()
        number = number.repeat(len(source) // max(len(number), 1))
        for one in number.unique().tolist():
            now = number == one
            moved = torch.unique(source[now])
            moved = moved[self.number[moved] != one]
            over = moved[self.number[moved] >= 0]
            if self.window > 1 and len(over):
                self.shares[over, self.rounds[over] % (self.window - 1)] = self._shares(over)
            self.rounds[over] += 1
            self.total[moved] = 0
            self.number[moved] = one
            self.total.index_put_((source[now], target[now] - self.senders), weight[now], accumulate=True)

    def _shares(self, node: Tensor) -> Tensor:
        total = self.total[node]
        return total / total.sum(1, keepdim=True).clamp(min=1e-12)

    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        count = (self.rounds[node].clamp(max=self.window - 1) + 1)[:, None]
        return (self.shares[node].sum(1) + self._shares(node)) / count


class LabelPersistence(LabelAverage):
    """A node's shares in the last period in which it had an event, unchanged."""

    def __init__(self, stream: dict[str, Any], period: float) -> None:
        super().__init__(stream, period, window=1)


class MessageAverage(AffinityBaseline):
    """The mean weight of the last `window` events between a node and each candidate; absent ones count as 0."""

    def __init__(self, stream: dict[str, Any], period: float, window: int = 16) -> None:
        super().__init__(stream, period)
        self.window = window
        self.reset()

    def reset(self) -> None:
        """weights: (nodes * candidates, window), a ring; written: (nodes * candidates,)"""
        self.weights = _table(self.nodes * self.candidates, self.window)
        self.written = torch.zeros(self.nodes * self.candidates, dtype=torch.int64)

    def observe(self, contacts: Contacts) -> None:
        source, target, weight = turned(contacts, self.stream["directed"])
        pair = source * self.candidates + target - self.senders
        before, after = ranks(pair)
        late = after < self.window
        slot = (self.written[pair] + before) % self.window
        self.weights[pair[late], slot[late]] = weight[late]
        self.written.index_add_(0, pair, torch.ones_like(pair))

    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        return self.weights.view(self.nodes, self.candidates, self.window)[node].mean(-1)


class MessagePersistence(AffinityBaseline):
    """The weight of the last event between a node and each candidate."""

    def __init__(self, stream: dict[str, Any], period: float) -> None:
        super().__init__(stream, period)
        self.reset()

    def reset(self) -> None:
        self.weight = _table(self.nodes, self.candidates)

    def observe(self, contacts: Contacts) -> None:
        source, target, weight = turned(contacts, self.stream["directed"])
        last = last_writes(source * self.nodes + target, self.nodes**2)
        self.weight[source[last], target[last] - self.senders] = weight[last]

    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        return self.weight[node].clone()


class Popularity(AffinityBaseline):
    """The total weight that each candidate has received so far, whoever asks."""

    def __init__(self, stream: dict[str, Any], period: float) -> None:
        super().__init__(stream, period)
        self.reset()

    def reset(self) -> None:
        self.total = torch.zeros(self.candidates)

    def observe(self, contacts: Contacts) -> None:
        _, target, weight = turned(contacts, self.stream["directed"])
        self.total.index_add_(0, target - self.senders, weight)

    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        return self.total.expand(len(node), -1).clone()
