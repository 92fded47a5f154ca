"""Rivals in the claims on links that are not systems of their own: a plain memory network, and joint neighbourhoods
that are collected anew for every question."""

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from pathline.data.events import Contacts, Events
from pathline.events.base import EventModel
from pathline.events.memory_network import MemoryNetwork
from pathline.events.nat import JointScore
from pathline.graph.joint_neighbourhood import HOPS, Members, members_of
from pathline.graph.neighbour_cache import fates
from pathline.nn.time_encoding import TimeEncoding


class LinkTGN(EventModel):
    """TGN for links: MLP([z_u, z_v]) of the embeddings of a memory network."""

    def __init__(
        self,
        stream: dict[str, Any],
        memory: int = 32,
        time: int = 16,
        embed: int = 32,
        neighbours: int = 10,
        dropout: float = 0.1,
        hold: bool = True,
    ) -> None:
        super().__init__(stream)
        self.network = MemoryNetwork(stream, memory, time, embed, neighbours=neighbours, dropout=dropout, hold=hold)
        self.decoder = nn.Sequential(nn.Linear(2 * embed, embed), nn.ReLU(), nn.Linear(embed, 1))

    def read(self, data: Events) -> None:
        super().read(data)
        self.network.read(data)

    def reset(self) -> None:
        self.network.reset()

    def observe(self, contacts: Contacts) -> None:
        self.network.observe(contacts)

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        batch, count = target.shape
        node = torch.cat([source, target.flatten()])
        embedded = self.network(node, torch.cat([time, time.repeat_interleave(count)]))
        own, other = embedded[:batch, None].expand(-1, count, -1), embedded[batch:].view(batch, count, -1)
        logits: Tensor = self.decoder(torch.cat([own, other], -1))[..., 0]
        return logits


class OnlineJoint(EventModel):
    """The joint neighbourhoods of NAT, scored by the same network, but collected from past events for every question.

    For each pair, walks of two steps start from both ends, over the last `near` partners of each, and are looked up in
    lists of events, one question after the other, as methods do that keep no caches. What NAT carries along in vectors
    is here computed from the events: z = W [e, phi(t)], s_u from the last event of u alone.
    """

    def __init__(
        self,
        stream: dict[str, Any],
        self_dim: int = 32,
        ngh_dim: int = 4,
        pos_dim: int = 16,
        near: int = 16,
        time: int = 8,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(stream)
        self.near, raw = near, 1 + stream["features"]
        self.phi = TimeEncoding(time)
        self.to_slot, self.to_self = nn.Linear(raw + time, ngh_dim), nn.Linear(raw + time, self_dim)
        self.joint = JointScore(stream["node_features"] + ngh_dim, pos_dim, self_dim, heads, dropout)
        self.register_buffer("gap", torch.tensor(1.0, dtype=torch.float64))
        self.reset()

    def read(self, data: Events) -> None:
        super().read(data)
        self.gap.fill_((data.span or 1.0) / max(len(data), 1))  # type: ignore[operator]

    def reset(self) -> None:
        """past: for each node its last events, the newest first: partner, time in gaps, numbers of the event"""
        self.past: list[deque[tuple[int, float, list[float]]]] = [deque(maxlen=self.near) for _ in range(self.nodes)]
        self.asked = 0

    def observe(self, contacts: Contacts) -> None:
        event = torch.cat([contacts.weight[:, None], contacts.features], 1).tolist()
        times = (contacts.time / self.gap).tolist()  # type: ignore[operator]
        for u, v, time, numbers in zip(contacts.source.tolist(), contacts.target.tolist(), times, event, strict=True):
            self.past[u].appendleft((v, time, numbers))
            self.past[v].appendleft((u, time, numbers))

    def side(self, node: int, draw: list[float]) -> list[tuple[int, int, float, list[float]]]:
        """(node, hop, time, event) of everybody on the walks from `node`: one step to each of its last partners, and a
        second one from there to one of theirs from before, drawn at random."""
        found: dict[tuple[int, int], tuple[float, list[float]]] = {}
        for (partner, time, numbers), chance in zip(self.past[node], draw, strict=False):
            found.setdefault((partner, 1), (time, numbers))
            earlier = [one for one in self.past[partner] if one[1] < time]
            if earlier:
                far, then, what = earlier[int(chance * len(earlier))]
                found.setdefault((far, 2), (then, what))
        nothing = (float("nan"), [0.0] * (1 + self.stream["features"]))
        return [(node, 0, *nothing), *((a, hop, *what) for (a, hop), what in found.items())]

    def members(self, source: Tensor, target: Tensor, time: Tensor) -> Members:
        pairs, keys, bits, times, events = [], [], [], [], []
        count = target.shape[1]
        draws = fates(torch.arange(target.numel() * 2 * self.near), torch.tensor(self.asked), 1)
        chances = draws.view(-1, 2, self.near).tolist()
        self.asked += 1
        whom = target.flatten().tolist()
        for pair, (u, v) in enumerate(zip(source.repeat_interleave(count).tolist(), whom, strict=True)):
            for shift, node in enumerate((u, v)):
                for a, hop, when, numbers in self.side(node, chances[pair][shift]):
                    pairs.append(pair)
                    keys.append(a)
                    bits.append(1 << hop + HOPS * shift)
                    times.append(when)
                    events.append(numbers)
        row, key = torch.tensor(pairs), torch.tensor(keys)
        known = torch.tensor(times, dtype=torch.float64)
        age = torch.where(known.isnan(), 0.0, time.repeat_interleave(count)[row] - known)
        vector = self.to_slot(torch.cat([torch.tensor(events), self.phi(age)], 1)) * ~known.isnan()[:, None]
        features = torch.cat([self.node_features[key], vector], 1)
        return members_of(row, key, torch.tensor(bits), features, self.nodes)

    def own_vector(self, node: Tensor, time: Tensor) -> Tensor:
        nothing = (0, float("nan"), [0.0] * (1 + self.stream["features"]))
        last = [self.past[one][0] if self.past[one] else nothing for one in node.tolist()]
        known = torch.tensor([time for _, time, _ in last], dtype=torch.float64)
        age = torch.where(known.isnan(), 0.0, time - known)
        numbers = torch.tensor([numbers for _, _, numbers in last])
        return self.to_self(torch.cat([numbers, self.phi(age)], 1)) * ~known.isnan()[:, None]

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        when, count = time / self.gap, target.shape[1]  # type: ignore[operator]
        members = self.members(source, target, when)
        ends = self.own_vector(source, when).repeat_interleave(count, 0)
        others = self.own_vector(target.flatten(), when.repeat_interleave(count))
        return self.joint(members, ends, others).view_as(target)
