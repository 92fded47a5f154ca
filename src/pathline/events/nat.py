"""NAT: link prediction from small tables of neighbours that every node keeps.

Whether two nodes will meet is told by whom both of them know, and collecting that from all past events for every
question is slow. NAT keeps for every node u, and for hops 0, 1 and 2, a hash table of nodes (an N-cache) whose slots
hold a node a, the event (e, t) through which it came, and a vector z of a few numbers. A slot is brought up to date
when it is read, and so is the node's own vector s:

    z' = GRU(W [s_a, e, phi(t)], z),        s_u' = GRU(W' [s_partner, e, phi(t)], s_u)

For a pair (u, v), the slots of both are joined by node. A node that occurs gets the sum of its z', and a learned vector
of the set of {u0, u1, u2, v0, v1, v2} in which it was found (`pathline.graph.joint_neighbourhood`). Attention over the
nodes of the pair pools them into p, and the logit is MLP([p, s_u', s_v']). When u and v have met, u's hop-1 table gets
v (and v's gets u), and u's hop-2 table gets what v had in its hop-1 table: one parallel write for a whole batch.
Luo, Li, 2022, "Neighborhood-aware Scalable Temporal Network Representation Learning", arXiv:2209.01084.

Use it where contacts close triangles or come again: what it needs to know it looks up. It knows nodes by their tables
only, so it works on nodes that were never seen in training, and cannot learn habits of single nodes.
Departs: phi is given the time since an event, in mean gaps between events, where the authors' code gives it the time of
day; a slot is empty when it has no key and not when its time is 0; attention uses its scores, which the authors' code
computes no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.events import Contacts, Events
from pathline.events.base import EventModel
from pathline.events.stream import BATCH
from pathline.graph.joint_neighbourhood import CODES, HOPS, Members, members_of
from pathline.graph.neighbour_cache import NeighbourCache
from pathline.graph.segment import segment_softmax, segment_sum
from pathline.graph.temporal import last_writes
from pathline.nn.time_encoding import TimeEncoding


class AttentionPooling(nn.Module):
    """p = mean over heads of sum_i alpha_i W x_i,  alpha = softmax over the members i of a pair of LeakyReLU(a . W
    x_i)."""

    def __init__(self, width: int, out: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.out = heads, out
        self.project = nn.Linear(width, heads * out, bias=False)
        self.attend = nn.Parameter(torch.empty(heads, out))
        self.bias = nn.Parameter(torch.zeros(out))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.attend)

    def forward(self, features: Tensor, pair: Tensor, pairs: int) -> Tensor:
        """features: (members, width);  pair: (members,) int64 in 0 .. pairs - 1.  Returns (pairs, out)."""
        projected = self.project(self.dropout(features)).view(-1, self.heads, self.out)
        score = functional.leaky_relu((projected * self.attend).sum(-1), 0.2)
        weight = segment_softmax(score, pair, pairs)
        return segment_sum((projected * weight[..., None]).mean(1), pair, pairs) + self.bias


class JointScore(nn.Module):
    """The logits of pairs from the members of their joint neighbourhoods and from both ends' own vectors."""

    def __init__(self, feature: int, code: int, own: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.codes = nn.Embedding(CODES, code)
        self.pool = AttentionPooling(feature + code, own, heads, dropout)
        self.out = nn.Sequential(nn.Linear(3 * own, 3 * own), nn.ReLU(), nn.Linear(3 * own, 1))

    def forward(self, members: Members, source: Tensor, target: Tensor) -> Tensor:
        """source, target: (pairs, own).  Returns (pairs,)."""
        features = torch.cat([members.features, self.codes(members.code)], 1)
        pooled = self.pool(features, members.pair, len(source))
        logits: Tensor = self.out(torch.cat([pooled, source, target], 1))[:, 0]
        return logits


@dataclass(frozen=True)
class Slots:
    """Tables side by side: key and time (count, slots), event (count, slots, raw), and z' (count, slots, width), 0
    where a slot is empty."""

    key: Tensor
    time: Tensor
    event: Tensor
    vector: Tensor


class NAT(EventModel):
    """Scores a pair by the joint neighbourhood that both ends' tables hold.

    self_dim, ngh_dim, pos_dim: numbers of a node's own vector, of a slot's, and of a code's
    near, far:  slots of the tables of hop 1 and of hop 2; powers of two, or primes
    alpha:      probability that a slot with another key is overwritten
    time, heads: width of the encoding of time, and heads of the pooling
    hash_seed:  of the hash function
    """

    recipe: ClassVar[Recipe] = Recipe(steps=1500, batch_size=BATCH, lr=1e-3, schedule="constant", validations=5)
    caches: Sequence[NeighbourCache]
    own: Tensor
    partner: Tensor
    event: Tensor
    last: Tensor
    gap: Tensor
    scale: Tensor

    def __init__(
        self,
        stream: dict[str, Any],
        self_dim: int = 32,
        ngh_dim: int = 4,
        pos_dim: int = 16,
        near: int = 16,
        far: int = 4,
        alpha: float = 0.9,
        time: int = 8,
        heads: int = 2,
        dropout: float = 0.1,
        hash_seed: int = 1,
    ) -> None:
        super().__init__(stream)
        if not 0 <= alpha <= 1:
            raise MethodError(f"NAT: alpha is {alpha:g}, but it is a probability; choose 0 to 1")
        raw = 1 + stream["features"]
        self.caches = nn.ModuleList(  # type: ignore[assignment]
            NeighbourCache(self.nodes, slots, raw, ngh_dim, alpha, hash_seed + hop)
            for hop, slots in enumerate((1, near, far))
        )
        self.phi = TimeEncoding(time)
        self.to_self = nn.Linear(self_dim + raw + time, self_dim, bias=False)
        self.to_slot = nn.Linear(self_dim + raw + time, ngh_dim, bias=False)
        self.update_self, self.update_slot = nn.GRUCell(self_dim, self_dim), nn.GRUCell(ngh_dim, ngh_dim)
        self.joint = JointScore(stream["node_features"] + ngh_dim, pos_dim, self_dim, heads, dropout)
        self.register_buffer("own", torch.zeros(self.nodes, self_dim))
        self.register_buffer("partner", torch.full((self.nodes,), -1))
        self.register_buffer("event", torch.zeros(self.nodes, raw))
        self.register_buffer("last", torch.zeros(self.nodes, dtype=torch.float64))
        self.register_buffer("gap", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(1.0))

    def read(self, data: Events) -> None:
        """The mean time between events, and the mean size of a weight, are the units of the network."""
        super().read(data)
        assert data.weight is not None
        self.gap.fill_((data.span or 1.0) / max(len(data), 1))
        self.scale.fill_(float(data.weight.abs().mean()) or 1.0)

    def reset(self) -> None:
        for cache in self.caches:
            cache.reset()
        self.own.zero_()
        self.partner.fill_(-1)
        self.event.zero_()
        self.last.zero_()

    # -- reading ------------------------------------------------------------------------------------------------------

    def own_vector(self, node: Tensor, time: Tensor) -> Tensor:
        """s' of `node` (count,) at `time` (count,), in gaps: (count, self_dim); unchanged where nothing happened."""
        partner = self.partner[node]
        given = torch.cat([self.own[partner.clamp(min=0)], self.event[node], self.phi(time - self.last[node])], 1)
        before = self.own[node]
        return torch.where((partner >= 0)[:, None], self.update_self(self.to_self(given), before), before)

    def slots(self, node: Tensor, time: Tensor, hops: Sequence[int]) -> Slots:
        """The tables of `node` (count,) at these hops, side by side, brought up to date at `time` (count,), in gaps."""
        tables = [(self.caches[hop], self.caches[hop].places(node)) for hop in hops]
        key = torch.cat([table.key[place] for table, place in tables], 1)
        when = torch.cat([table.time[place] for table, place in tables], 1)
        event = torch.cat([table.event[place] for table, place in tables], 1)
        before = torch.cat([table.vector[place] for table, place in tables], 1).flatten(0, 1)
        whose, sizes = (key - 1).clamp(min=0), [self.own.shape[1], event.shape[2], self.phi.width]
        of_own, of_event, of_time = self.to_slot.weight.split(sizes, 1)  # W [s_a, e, phi] part by part
        few = self.nodes < whose.numel()
        said = functional.linear(self.own.clone(), of_own)[whose] if few else functional.linear(self.own[whose], of_own)
        said = said + event @ of_event.T + self.phi(time[:, None] - when) @ of_time.T
        vector = self.update_slot(said.flatten(0, 1), before).view(*key.shape, -1)
        return Slots(key, when, event, vector * (key > 0)[..., None])

    def members(self, source: Tensor, target: Tensor, time: Tensor) -> Members:
        """The joint neighbourhoods of each source (batch,) with each candidate (batch, K) at `time` (batch,), in gaps.

        In hop 0 a node finds itself, also before its first event.
        """
        batch, count = target.shape
        node = torch.cat([source, target.flatten()])
        found = self.slots(node, torch.cat([time, time.repeat_interleave(count)]), range(HOPS))
        key = torch.cat([node[:, None] + 1, found.key[:, 1:]], 1)
        width = [self.caches[hop].slots for hop in range(HOPS)]
        bit = torch.repeat_interleave(1 << torch.arange(HOPS), torch.tensor(width)).to(node.device)
        pair = torch.arange(batch * count, device=node.device)
        row = torch.cat([pair // count, batch + pair])  # the source's tables once for each of its candidates
        filled, slot = (key[row] > 0).nonzero(as_tuple=True)
        whose = row[filled]
        member = key[whose, slot] - 1
        bits = bit[slot] << HOPS * (filled >= len(pair)).long()
        features = torch.cat([self.node_features[member], found.vector[whose, slot]], 1)
        return members_of(filled % len(pair), member, bits, features, self.nodes)

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        when = time / self.gap
        count = target.shape[1]
        members = self.members(source, target, when)
        ends = self.own_vector(source, when).repeat_interleave(count, 0)
        others = self.own_vector(target.flatten(), when.repeat_interleave(count))
        return self.joint(members, ends, others).view_as(target)

    # -- writing ------------------------------------------------------------------------------------------------------

    def observe(self, contacts: Contacts) -> None:
        """Write s', the tables of hops 0, 1 and 2, and the events; all are read as they were before this batch."""
        if not len(contacts):
            return
        node = torch.stack([contacts.source, contacts.target], 1).flatten()
        other = torch.stack([contacts.target, contacts.source], 1).flatten()
        time = (contacts.time / self.gap).repeat_interleave(2)
        number = contacts.position.repeat_interleave(2)
        event = torch.cat([contacts.weight[:, None] / self.scale, contacts.features], 1).repeat_interleave(2, 0)
        own = self.own_vector(node, time)
        itself, near, far = self.caches
        now = self.slots(node, time, (0, 1))
        key, vector = now.key[:, 1:], now.vector[:, 1:]
        which = near.number[near.places(node)]
        far.write(  # what this end has near is far from the other end
            other.repeat_interleave(near.slots),
            key.flatten(),
            which.flatten(),
            now.time[:, 1:].flatten(),
            now.event[:, 1:].flatten(0, 1),
            vector.flatten(0, 1),
            occasion=number.repeat_interleave(near.slots),
        )
        slot = near.place(node, other + 1) - node * near.slots
        row = torch.arange(len(node), device=node.device)
        known = (key[row, slot] == other + 1)[:, None]
        near.write(node, other + 1, number, time, event, vector[row, slot] * known)
        itself.write(node, node + 1, number, time, event, now.vector[:, 0])
        last = last_writes(node, self.nodes)
        whom = node[last]
        self.own[whom] = own[last]
        self.partner[whom], self.last[whom], self.event[whom] = other[last], time[last], event[last]
