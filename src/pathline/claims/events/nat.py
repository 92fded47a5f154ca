"""The claim of NAT: joint neighbourhoods that are kept up to date beat a memory of single nodes, and cost a lookup.

On the simulator, seven of ten contacts close a triangle of the last 20 contacts, so both ends are nodes that were just
active. Against a uniform negative among 200 nodes, knowing who was just active is nearly all there is to know: on a
pilot seed TGN, NAT and the online rival all had an AP of about 0.92, and no margin could be measured. There the
negatives are therefore active nodes as well ("active" in `pathline.data.negatives`), for all arms and in
training too; and events are predicted 5 at once, or the contacts that make a triangle would not be known yet. On the
hospital's contacts negatives are uniform. A tenth of the nodes is hidden: nobody learns from a contact of theirs.

All arms see the same contacts, in the same order, with the same negatives, equally often; LinkTGN is as wide as fits in
NAT's number of parameters. Speed is that of scoring and observing the simulator's contacts in batches of
100 (the predictions above are made 5 at once), in processor time of one thread; the rival loops over pairs in Python.
"""

import time
from typing import TYPE_CHECKING

import torch

from pathline.core.budget import epochs
from pathline.core.claim import Claim, at_least, widest_within
from pathline.data.events import Events
from pathline.data.sets import load
from pathline.events.base import EventModel
from pathline.events.link_rivals import LinkTGN, OnlineJoint
from pathline.events.nat import NAT
from pathline.events.stream import facts_of
from pathline.sims.event_streams import triangle_closing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, RATE = 3, 2e-3
HIDDEN = 0.1  # share of the nodes that training does not see
TIMED = 30  # batches of 100 contacts that are timed
KEPT, MEMORY, ONLINE = "NAT", "TGN", "joint neighbourhoods collected online"


class KeptNeighbourhoods(Claim):
    """On contacts that close triangles NAT has an AP (active negatives) at least 0.03 above that of a TGN with as many
    parameters and epochs, and at least 0.02 above it on contacts of nodes hidden in training; it scores and observes at
    least 3 times as many events a second as the same network on neighbourhoods that are collected anew for every
    question."""

    system = "nat"
    paper = (
        "seven networks: on average +1.2% transductive and +4.2% inductive over the best baselines; 4.1 to 76.7 times "
        "faster than methods that build joint structure online"
    )
    metric, better = "average precision", "higher"
    seeds = (6, 7, 8)  # 0 and 3 to 5 were seen with tables of which a quarter was used
    require = (
        at_least(f"{KEPT}, triangles", 1, f"{MEMORY}, triangles", plus=0.03),
        at_least(f"{KEPT}, triangles, hidden nodes", 1, f"{MEMORY}, triangles, hidden nodes", plus=0.02),
        at_least(f"{KEPT}, events a second", 3, f"{ONLINE}, events a second"),
    )

    tried = (
        "On seed 0 with dropout and half the rate, against an online rival that drew four samples of the second "
        "hop: AP 0.882 against 0.856, for hidden nodes 0.898 against 0.894, and 1.5 times the events a second; "
        "stopped there. The rival then walked two steps from each of 16 partners, which is slower, so the speed "
        "asked for depends on that choice. On seeds 3 to 5 with these options the margins of AP were 0.049 and "
        "0.035, and the speed 2.87 times and, after slots were read faster, 3.26 times that of the rival; but an "
        "even seed of the hash reached only 4 of the 16 places of the near tables. With all places in use, on fresh "
        "seeds, tables hold more and reading them takes longer: 2.4 to 2.5 times. On the hospital's contacts the "
        "online rival has the better AP."
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        self.curves: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
        for name, data, kind in (
            ("triangles", triangle_closing(seed=seed), "active"),
            ("hospital", self.uses(load("events-hospital")), "random"),
        ):
            arms = self.fitted(data, seed, kind)
            test, self.curves[name] = data.split().test, {}
            for arm, model in arms.items():
                said = model.replay(test, seed, {kind: 1})
                found[f"{arm}, {name}"] = said.average_precision(kind)
                if said.new.any():
                    found[f"{arm}, {name}, hidden nodes"] = said.average_precision(kind, said.new)
                self.curves[name][arm] = said.happened, said.against[kind][:, 0]
                if name == "triangles" and arm != MEMORY:
                    found[f"{arm}, events a second"] = events_a_second(model, data)
        return found

    def fitted(self, data: Events, seed: int, kind: str) -> dict[str, EventModel]:
        """The arms, fitted on the training part without the contacts of the hidden nodes."""
        order = torch.randperm(data.nodes, generator=torch.Generator().manual_seed(seed))
        train = data.split().train.without(order[: int(HIDDEN * data.nodes)])
        size = NAT.for_data(train).parameter_count()
        width = widest_within(size, lambda w: LinkTGN(facts_of(train), memory=w, embed=2 * (w // 2)))
        arms: dict[str, EventModel] = {
            KEPT: NAT.seeded(train, seed, dropout=0.0),
            MEMORY: LinkTGN.seeded(train, seed, memory=width, embed=2 * (width // 2), dropout=0.0),
            ONLINE: OnlineJoint.seeded(train, seed, dropout=0.0),
        }
        for model in arms.values():
            model.against = kind
            model.fit(train, epochs(EPOCHS), seed=seed, precision="fp32", lr=RATE)
        return arms

    def picture(self) -> "Figure":
        from pathline.events.pictures import precision_curves

        return precision_curves(self.curves)


def events_a_second(model: EventModel, data: Events) -> float:
    """Contacts scored, with one negative each, and then observed, in a second of processor time; the best of three."""
    best = 0.0
    for _ in range(3):
        with model.walking():
            for contacts in data.between(100, 0, 3000):
                model.observe(contacts)
            began, count = time.process_time(), 0
            for contacts in data.between(100, 3000, 3000 + 100 * TIMED):
                asked = torch.stack([contacts.target, contacts.target.flip(0)], 1)
                model.score_pairs(contacts.source, asked, contacts.time)
                model.observe(contacts)
                count += len(contacts)
            best = max(best, count / (time.process_time() - began))
    return best
