"""Node affinity: with whom, and how much, will a node have to do in the next period?

The verb is `affinity(node, time)`: for each node one number per candidate, which ranks them. Measured is NDCG@k against
the true shares of the period that follows, after every event before it was observed; ties share their places.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from pathline.core.errors import DataError
from pathline.core.method import Computed, Figure, Method
from pathline.data.affinities import Affinities, Question
from pathline.data.events import Contacts
from pathline.events.stream import BATCH, StreamModel
from pathline.graph.segment import segment_mean

if TYPE_CHECKING:
    import pandas as pd

LIKELIEST = 3  # partners of a node in the table of predictions


def ndcg(score: Tensor, gain: Tensor, k: int = 10) -> Tensor:
    """(rows,) normalised discounted cumulative gain at k of rows that are ranked by `score`, both (rows, candidates):

        DCG = sum_{place <= k} gain / log2(place + 1), divided by that of the best order

    Candidates of equal score share the mean of their gains, which is the mean over all orders of them.
    """
    rows, candidates = score.shape
    discount = torch.zeros(candidates, dtype=torch.float64)
    discount[:k] = 1 / torch.log2(torch.arange(2, min(k, candidates) + 2, dtype=torch.float64))
    ranked, order = score.double().sort(dim=1, descending=True)
    begins = torch.ones(rows, candidates, dtype=torch.int64)
    begins[:, 1:] = ranked.diff(dim=1) != 0
    tie = begins.flatten().cumsum(0) - 1
    gained = gain.double().gather(1, order).flatten()
    shared = segment_mean(gained, tie, int(tie[-1]) + 1 if rows else 0)[tie].view(rows, candidates)
    ideal = gain.double().sort(dim=1, descending=True).values
    return (shared * discount).sum(1) / (ideal * discount).sum(1)


class AffinityModel(StreamModel):
    """A method that predicts whom nodes turn to. A subclass writes `affinity`, and `reset` and `observe`.

    period: of the moments, read off the data
    asks:   how many times in a period training asks
    """

    asks = 1
    container: ClassVar[type[Affinities]] = Affinities

    def __init__(self, stream: dict[str, Any], period: float) -> None:
        super().__init__(stream)
        self.period = period
        self.candidates = self.nodes - self.senders

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        return super().for_data(data, **{"period": cls.require(data).period} | config)

    def check(self, data: Any) -> Affinities:
        part = self.require(getattr(data, "test", data))
        if part.period != self.period:
            raise DataError(
                f"{part.name} asks every {part.period:g}, but {type(self).__name__} was built for {self.period:g}; "
                f"read it with --period {self.period:g}"
            )
        checked: Affinities = replace(part, events=self.known(part.events))
        return checked

    @abstractmethod
    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        """How much each node will turn to every candidate in the period after `time`: (asked, candidates).

        node: (asked,) int64;  time: (asked,) float64. What a method trains by the default `loss` are logits.
        """

    # -- training -----------------------------------------------------------------------------------------------------

    def batches(self, data: Affinities, size: int, generator: torch.Generator) -> Iterator[Question]:
        """One moment after the other, `asks` in a period, which begin at another time in every epoch."""
        offset = float(torch.rand((), generator=generator, dtype=torch.float64)) if self.asks > 1 else 0.0
        return data.often(self.asks, offset).batches(size)

    def epoch_length(self, data: Affinities, size: int) -> int:
        return len(data.often(self.asks, 0.0))

    def loss(self, batch: Question) -> Tensor | dict[str, Tensor]:
        """What happened is observed, then -sum_v y_v log softmax(logits)_v is asked of the nodes."""
        with torch.no_grad():
            self.observe_all(batch.contacts)
        return functional.cross_entropy(self.affinity(batch.node, batch.time), batch.affinity)

    def observe_all(self, contacts: Contacts) -> None:
        """Observe any number of contacts, batch by batch."""
        for place in torch.arange(len(contacts), device=contacts.source.device).split(BATCH):
            self.observe(contacts.map(lambda tensor, place=place: tensor[place]))

    # -- metrics ------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """NDCG over all nodes at all moments. Nothing is drawn: `seed` changes nothing."""
        answers, truth = self.answers(data)
        return {f"NDCG@{k}": float(ndcg(answers, truth, k).mean()) for k in (10, 3)}

    def answers(self, data: Any) -> tuple[Tensor, Tensor]:
        """What the model says, and what was true, of every node that is asked: both (asked, candidates)."""
        said, true = [], []
        with self.walking():
            for question in self.check(data).batches(1):
                question = question.to(self.device)
                self.observe_all(question.contacts)
                said.append(self.affinity(question.node, question.time).cpu())
                true.append(question.affinity.cpu())
        return torch.cat(said), torch.cat(true)

    # -- tables and pictures ------------------------------------------------------------------------------------------

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """Whom every node that has an event will turn to most in the period after the end of `data`: columns source,
        target, rank, score."""
        import pandas as pd

        part = self.check(data)
        events = part.events
        node = events.source.unique() if events.directed else torch.cat([events.source, events.target]).unique()
        with self.walking():
            self.observe_all(part.contacts(0.0, float("inf")).to(self.device))
            time = events.clock[-1].expand(len(node))
            score = self.affinity(node.to(self.device), time.to(self.device)).cpu().double()
        best, place = score.topk(min(LIKELIEST, self.candidates), dim=1)
        count = best.shape[1]
        return pd.DataFrame(
            {
                "source": [events.names[one] for one in node.repeat_interleave(count).tolist()],
                "target": [events.names[self.senders + one] for one in place.flatten().tolist()],
                "rank": list(range(1, count + 1)) * len(node),
                "score": best.flatten().numpy(),
            }
        )

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.events.affinity_pictures import figures

        models = {name: method for name, method in methods.items() if isinstance(method, AffinityModel)}
        return figures(models, getattr(data, "test", data)) if models else []


class AffinityBaseline(Computed, AffinityModel):
    """A model of affinities that is computed, not trained."""
