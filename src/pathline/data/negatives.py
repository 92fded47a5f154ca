"""Negatives of an event stream: contacts that did not happen, drawn in a way that a metric's name can state.

For an event from u to v the source is kept and another target is drawn:

    random      any node that can be a target, but u and v
    historical  a node that u met before this batch; every past partner is equally likely
    inductive   a node that u met before this batch, but for the first time since the part being evaluated began
    active      a node of the last 20 events before this batch, each as likely as it is often in them

What happens in the same batch is avoided, in up to four draws, and where there is no such node the target is a random
one. All of it is
read off the events before the batch and the batch itself: what comes later can change nothing.
Poursafaei, Huang, Pelrine, Rabbany, 2022, "Towards Better Evaluation for Dynamic Link Prediction", arXiv:2207.10128.
Departs: the paper's historical and inductive negatives change the source as well; a kept source can also be ranked.
"""

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.events import Contacts, Events

KINDS = ("random", "historical", "inductive", "active")
ACTIVE = 20  # last events whose nodes are active
TRIES = 4  # draws for one negative until it is none of the batch's own events; the last one stays


class Negatives:
    """Draws negatives of each kind for the batches of one stream.

    The distinct pairs lie sorted by (source, place of their first event), so that the partners that a source had at any
    moment are a range, found by bisection.
    """

    def __init__(self, data: Events) -> None:
        self.nodes, self.first_target, self.since, self.directed = data.nodes, data.senders, data.start, data.directed
        self.name, self.places = data.name, len(data.source) + 1
        self.ends = torch.stack([data.target if data.senders else data.source, data.target], 1).flatten()
        source, target, place = data.source, data.target, torch.arange(len(data.source))
        if not data.directed:
            source, target, place = torch.cat([source, target]), torch.cat([target, source]), place.repeat(2)
        pairs, group = torch.unique(source * self.nodes + target, return_inverse=True)
        first = torch.full((len(pairs),), self.places).scatter_reduce(0, group, place, "amin")
        self.order, sorting = torch.sort(pairs // max(self.nodes, 1) * self.places + first)
        self.partner = (pairs % max(self.nodes, 1))[sorting]

    def draw(self, kind: str, batch: Contacts, count: int, generator: torch.Generator) -> Tensor:
        """(batch, count) int64 targets that are negatives of this `kind`; always the same number of random numbers."""
        if kind not in KINDS:
            raise DataError(f"{self.name}: there are no '{kind}' negatives; they are {', '.join(KINDS)}")
        shape = (len(batch), count, TRIES)
        chance = torch.rand(shape, generator=generator, dtype=torch.float64)
        tried = self._random(batch, chance)
        if kind != "random":
            chance = torch.rand(shape, generator=generator, dtype=torch.float64)
            begin = int(batch.position.min()) if len(batch) else 0
            drawn, some = self._active(begin, chance) if kind == "active" else self._met(kind, batch, begin, chance)
            fits = some & (drawn != batch.source[:, None, None]) & ~self._happens(batch, drawn)
            tried = torch.where(fits.any(2, keepdim=True), torch.where(fits, drawn, -1), tried)
        fits = (tried >= 0) & ~self._happens(batch, tried)
        fits[..., -1] |= ~fits.any(2)
        first = fits.int().argmax(2, keepdim=True)
        return tried.gather(2, first).squeeze(2)

    def _active(self, begin: int, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Ends of the last events before place `begin`, and whether there is one."""
        count = 2 * min(begin, ACTIVE)
        place = 2 * begin - count + (chance * count).long()
        return self.ends[place.clamp(max=len(self.ends) - 1)], torch.tensor(count > 0)

    def _met(self, kind: str, batch: Contacts, begin: int, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Partners that each source met before place `begin`, and whether there is one."""
        low, high = (
            torch.searchsorted(self.order, batch.source * self.places + place)
            for place in (0 if kind == "historical" else self.since, begin)
        )
        many = (high - low).clamp(min=0)[:, None, None]
        place = (low[:, None, None] + (chance * many).long()).clamp(max=len(self.partner) - 1)
        return self.partner[place], many > 0

    def _random(self, batch: Contacts, chance: Tensor) -> Tensor:
        """Uniform over all that can be a target but the batch's source and target."""
        ends = torch.stack([batch.source, batch.target])
        low, high = (end[:, None, None] for end in (ends.amin(0), ends.amax(0)))
        source_counts = low >= self.first_target
        left = self.nodes - self.first_target - 1 - (source_counts & (low != high)).long()
        if len(batch) and int(left.min()) < 1:
            raise DataError(f"{self.name}: there is no third node that could have been a target; bring more nodes")
        drawn = self.first_target + (chance * left).long()
        drawn = drawn + (source_counts & (low != high) & (drawn >= low)).long()
        return drawn + (drawn >= high).long()

    def _happens(self, batch: Contacts, target: Tensor) -> Tensor:
        """Whether each (batch, ...) target is met by its source within the batch."""
        now = batch.source * self.nodes + batch.target
        if not self.directed:
            now = torch.cat([now, batch.target * self.nodes + batch.source])
        asked = batch.source.view(-1, *[1] * (target.ndim - 1)) * self.nodes + target
        return torch.isin(asked, now)
