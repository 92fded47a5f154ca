"""A temporal graph network: a memory for every node, and attention over its last neighbours.

    z_u(t) = attention(s_u, { (s_v, [phi(t - t_v), e_v]) : v among the last K neighbours of u })

s is the memory (`pathline.nn.node_memory`), t_v and e_v are the time and the weight and features of the event with v.
Rossi et al., 2020, "Temporal Graph Networks for Deep Learning on Dynamic Graphs", arXiv:2006.10637.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pathline.data.events import Contacts, Events
from pathline.graph.temporal import Recent
from pathline.nn.node_memory import NodeMemory
from pathline.nn.temporal_attention import TemporalAttention
from pathline.nn.time_encoding import NodeEncoding, OneHotNode, TimeEncoding

DECADES = 4.0  # from the fastest wave, one radian in a gap, to the slowest


class MemoryNetwork(nn.Module):
    """Embeds nodes at a time, from what they went through before it.

    stream:     facts of the data (`facts_of`)
    idx_dim:    numbers that say who sent and who received in every message; -1: nobody says so, which is a plain TGN
    identify:   "cosine" encodes the node's number in waves, "onehot" as a unit vector
    neighbours: how many last neighbours are attended to
    aggregate:  "last" message of a batch, or the "mean" of up to 8
    hold:       see `NodeMemory`

    gap, scale: mean time between two events of a node, and mean size of a weight, in the training data: the units of
                the network
    """

    gap: Tensor
    scale: Tensor

    def __init__(
        self,
        stream: dict[str, Any],
        memory: int,
        time: int,
        embed: int,
        idx_dim: int = -1,
        identify: str = "cosine",
        neighbours: int = 10,
        aggregate: str = "last",
        heads: int = 2,
        dropout: float = 0.1,
        hold: bool = True,
    ) -> None:
        super().__init__()
        nodes, raw = len(stream["names"]), 1 + stream["features"]
        encoding = None
        if idx_dim != -1:
            encoding = OneHotNode(nodes) if identify == "onehot" else NodeEncoding(nodes, idx_dim)
        width = 0 if encoding is None else nodes if identify == "onehot" else idx_dim
        self.memory = NodeMemory(
            nodes,
            memory,
            raw,
            TimeEncoding(time, DECADES),
            encoding,
            width,
            kept=1 if aggregate == "last" else 8,
            hold=hold,
        )
        self.time = TimeEncoding(time, DECADES)
        self.recent = Recent(nodes, neighbours, raw)
        self.attention = TemporalAttention(memory, time + raw, embed, heads, dropout)
        self.register_buffer("gap", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(1.0))

    def read(self, data: Events) -> None:
        """Take the units from the training data."""
        assert data.weight is not None
        self.gap.fill_((data.span or 1.0) / max(len(data), 1) * max(int(data.seen.sum()), 1) / 2)
        if len(data) and (size := float(data.weight.abs().mean())):
            self.scale.fill_(size)

    def reset(self) -> None:
        """Forget every event."""
        self.memory.reset()
        self.recent.reset()

    def observe(self, contacts: Contacts) -> None:
        """Messages of these contacts become due, and their ends are each other's last neighbours."""
        event = torch.cat([contacts.weight[:, None] / self.scale, contacts.features], 1)
        time = contacts.time / self.gap
        self.memory.observe(contacts.source, contacts.target, time, event)
        both = torch.stack([contacts.source, contacts.target], 1)
        self.recent.write(
            both.flatten(), both.flip(1).flatten(), time.repeat_interleave(2), event.repeat_interleave(2, 0)
        )

    def forward(self, node: Tensor, time: Tensor) -> Tensor:
        """Embeddings (asked, embed) of `node` (asked,) at `time` (asked,), as the stream counts it."""
        recent = self.recent
        number, exists = recent.number[node], recent.filled(node)
        everyone, place = torch.unique(torch.cat([node, number.flatten()]), return_inverse=True)
        remembered = self.memory.read(everyone)
        own, near = place[: len(node)], place[len(node) :]
        passed = (time / self.gap)[:, None] - recent.time[node]
        neighbours = remembered.index_select(0, near).view(*number.shape, -1)
        near_by = torch.cat([neighbours, self.time(passed), recent.values[node]], -1)
        embedded: Tensor = self.attention(remembered.index_select(0, own), near_by, exists)
        return embedded
