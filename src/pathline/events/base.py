"""The room of event streams: who will meet whom next, given all contacts until now.

A model walks along the stream. `observe(contacts)` tells it what happened, `score_pairs(source, target, time)` asks how
likely pairs are to meet at a time, and the protocol of every evaluation is predict, then observe: a batch is scored
with what was observed before it, and only then observed itself. Events of one instant are never parted (`Events.cuts`).

A metric's name says against which contacts that did not happen it was measured (`pathline.data.negatives`).
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pathline.core.method import Computed, Figure, Method
from pathline.data.events import Contacts, Events
from pathline.data.negatives import KINDS, Negatives
from pathline.events.stream import StreamModel

if TYPE_CHECKING:
    import pandas as pd

RANKED = 20  # random negatives that a contact is ranked among
LIKELIEST = 3  # next contacts of a node in the table of predictions
ASKED = 200_000  # pairs that are scored for that table at most


@dataclass(frozen=True)
class Replay:
    """What a model said along the part's own events, each before it was observed.

    happened: (events,) scores of what happened
    against:  kind of negatives -> (events, K) scores of what did not
    negative: kind -> (events, K) int64, whom those were about
    new:      (events,) bool, whether an end of it had no event in training
    """

    happened: Tensor
    against: dict[str, Tensor]
    negative: dict[str, Tensor]
    new: Tensor

    def average_precision(self, kind: str = "random", where: Tensor | None = None) -> float:
        """Of all contacts and one negative for each, pooled over the part; where: (events,) bool, which count."""
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(*self._labelled(kind, where)))

    def area_under_curve(self, kind: str = "random", where: Tensor | None = None) -> float:
        """The chance that a contact scores above a negative; a tie counts a half."""
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(*self._labelled(kind, where)))

    def reciprocal_rank(self, kind: str = "random", where: Tensor | None = None) -> float:
        """Mean of 1 / rank of the contact among its own negatives; ties share the mean of their ranks."""
        happened, against = self.happened[:, None], self.against[kind]
        rank = 1 + (against > happened).sum(1) + 0.5 * (against == happened).sum(1)
        return float((1 / (rank if where is None else rank[where])).mean())

    def _labelled(self, kind: str, where: Tensor | None) -> tuple[Any, Any]:
        happened, against = self.happened, self.against[kind][:, 0]
        if where is not None:
            happened, against = happened[where], against[where]
        labels = torch.cat([torch.ones(len(happened)), torch.zeros(len(against))])
        return labels.numpy(), torch.cat([happened, against]).numpy()


class EventModel(StreamModel):
    """A method that predicts the next contacts of a stream.

    A subclass writes `score_pairs`, and `reset` and `observe` if it remembers. What must survive an evaluation in
    the middle of an epoch are buffers; what is kept elsewhere is empty afterwards.

    against: the kind of negatives that it learns to tell contacts from
    """

    container: ClassVar[type[Events]] = Events
    against = "random"

    def check(self, data: Any) -> Events:
        """`data` (of a `Split` the test part) with its nodes numbered as this method knows them."""
        return self.known(self.require(getattr(data, "test", data)))

    # -- the verbs ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        """How likely each source is to meet each of its candidates; more is likelier, and only the order counts.

        Args:
            source: (batch,) int64.
            target: (batch, candidates) int64.
            time: (batch,) float64 since the stream's `zero`, not before anything that was observed.

        Returns: (batch, candidates). What a method trains by the default `loss` are logits.
        """

    # -- training -----------------------------------------------------------------------------------------------------

    def batches(self, data: Events, size: int, generator: torch.Generator) -> Iterator[Contacts]:
        """The stream in its order, each event with one negative, in batches of at most those of a test."""
        negatives = Negatives(data)
        for contacts in data.batches(min(size, data.batch)):
            yield replace(contacts, negative=negatives.draw(self.against, contacts, 1, generator))

    def epoch_length(self, data: Events, size: int) -> int:
        return len(data.cuts(min(size, data.batch), data.start, len(data.source))) - 1

    def loss(self, batch: Contacts) -> Tensor | dict[str, Tensor]:
        """Cross-entropy of what happened against one negative for each; then the batch is observed."""
        assert batch.negative is not None
        logits = self.score_pairs(batch.source, torch.cat([batch.target[:, None], batch.negative], 1), batch.time)
        truth = torch.zeros_like(logits)
        truth[:, 0] = 1
        with torch.no_grad():
            self.observe(batch)
        return functional.binary_cross_entropy_with_logits(logits, truth)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """AP, AUC and MRR with the negatives stated; if there are nodes without an event in training, also on
        theirs."""
        replay = self.replay(data, seed)
        metrics = {"AP, random negatives": replay.average_precision("random")}
        if replay.new.any():
            metrics["AP, random negatives, new nodes"] = replay.average_precision("random", replay.new)
        for kind in KINDS[1:3]:
            metrics[f"AP, {kind} negatives"] = replay.average_precision(kind)
        metrics |= {f"AUC, {kind} negatives": replay.area_under_curve(kind) for kind in KINDS[:3]}
        metrics[f"MRR, {RANKED} random negatives"] = replay.reciprocal_rank("random")
        return metrics

    def score(self, data: Any, seed: int = 0) -> float:
        """AP against one random negative for each contact: what training watches."""
        return self.replay(data, seed, {"random": 1}).average_precision("random")

    def replay(self, data: Any, seed: int = 0, drawn: dict[str, int] | None = None) -> Replay:
        """Walk along `data`: observe its history, then score each batch of its own events before observing it.

        drawn: how many negatives of each kind there are for an event. `seed` decides which.
        """
        stream = self.check(data)
        drawn = {"random": RANKED} | dict.fromkeys(KINDS[1:3], 1) if drawn is None else drawn
        negatives, generator = Negatives(stream), torch.Generator().manual_seed(seed)
        happened: list[Tensor] = []
        against: dict[str, list[Tensor]] = {kind: [] for kind in drawn}
        negative: dict[str, list[Tensor]] = {kind: [] for kind in drawn}
        with self.walking():
            for contacts in stream.history(stream.batch):
                self.observe(contacts.to(self.device))
            for contacts in stream.batches(stream.batch):
                found = {kind: negatives.draw(kind, contacts, count, generator) for kind, count in drawn.items()}
                asked = torch.cat([contacts.target[:, None], *found.values()], 1)
                contacts = contacts.to(self.device)
                scores = self.score_pairs(contacts.source, asked.to(self.device), contacts.time).cpu()
                happened.append(scores[:, 0])
                parts = scores[:, 1:].split(list(drawn.values()), 1)
                for (kind, targets), part in zip(found.items(), parts, strict=True):
                    negative[kind].append(targets)
                    against[kind].append(part)
                self.observe(contacts)
        own = slice(stream.start, None)
        seen = self.seen.cpu()
        return Replay(
            happened=torch.cat(happened),
            against={kind: torch.cat(parts) for kind, parts in against.items()},
            negative={kind: torch.cat(parts) for kind, parts in negative.items()},
            new=~(seen[stream.source[own]] & seen[stream.target[own]]),
        )

    # -- tables and pictures ------------------------------------------------------------------------------------------

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """Whom each node will most likely meet next, after the end of `data`: columns source, target, rank, score.

        The time asked about is one median gap between events after the last one. In large streams, rows are for the
        nodes that were active last.
        """
        import pandas as pd

        stream = self.check(data)
        names, candidates, clock = stream.names, stream.candidates, stream.clock
        moment = clock[-1] + (clock.unique().diff().median() if len(clock.unique()) > 1 else 0)
        last = torch.full((stream.nodes,), -1.0, dtype=torch.float64).scatter_reduce(0, stream.source, clock, "amax")
        if not stream.directed:
            last = last.scatter_reduce(0, stream.target, clock, "amax")
        active = last.argsort(descending=True, stable=True)[: int((last >= 0).sum())]
        sources = active[: max(1, ASKED // len(candidates))]
        rows = max(1, 20_000 // len(candidates))
        with self.walking():
            for contacts in stream.between(stream.batch, 0, len(stream.source)):
                self.observe(contacts.to(self.device))
            scores = torch.cat(
                [
                    self.score_pairs(
                        some.to(self.device),
                        candidates.expand(len(some), -1).to(self.device),
                        moment.expand(len(some)).to(self.device),
                    ).cpu()
                    for some in sources.split(rows)
                ]
            ).double()
        scores = scores.masked_fill(candidates == sources[:, None], -torch.inf)
        best, place = scores.topk(min(LIKELIEST, len(candidates) - (not stream.senders)), dim=1)
        count = best.shape[1]
        return pd.DataFrame(
            {
                "source": [names[node] for node in sources.repeat_interleave(count).tolist()],
                "target": [names[node] for node in candidates[place.flatten()].tolist()],
                "rank": list(range(1, count + 1)) * len(sources),
                "score": best.flatten().numpy(),
            }
        )

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.events.pictures import figures

        models = {name: method for name, method in methods.items() if isinstance(method, EventModel)}
        part = getattr(data, "test", data)
        own = [figure for name, model in models.items() for figure in model.own_figures(name, part)]
        return [*figures(models, part), *own] if models else []

    def own_figures(self, name: str, data: Events) -> list[Figure]:
        """Pictures that only this model can draw of `data` and of what it learned."""
        return []


class Baseline(Computed, EventModel):
    """A model of links that is computed, not trained."""
