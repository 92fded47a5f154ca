"""A memory for every node of an event stream, updated by messages: the core of temporal graph networks.

When u meets v at time t, both get a message, made from what both remembered just before:

    m_u = W_source [s_u, s_v, e, phi(t - t_u), ids],   m_v = W_target [s_v, s_u, e, phi(t - t_v), ids]
    s_u <- GRU(aggregate of its messages in one batch, s_u)

t_u is the time of u's event before the batch, and `ids` says who sent and who received (nothing in a plain TGN). An
update is due as soon as the batch is over, but is made when somebody reads the memory: so the loss of a later batch
reaches the weights through it. It is written down when the node's next event comes (`hold`), or with the next batch.
Rossi, Chamberlain, Frasca, Eynard, Monti, Bronstein, 2020, "Temporal Graph Networks", arXiv:2006.10637.
"""

import torch
from torch import Tensor, nn

from pathline.graph.temporal import ranks
from pathline.nn.time_encoding import TimeEncoding


class NodeMemory(nn.Module):
    """Memories (nodes, width) with messages that are due.

    raw:      numbers that come with an event (its weight and features)
    identify: a module from node numbers to encodings, or None
    kept:     how many of a node's messages of one batch count: 1 is the last one, more are averaged
    hold:     whether an update stays due, and is learned from, until the node's next event; else until the next batch,
              which learns from fewer messages and is faster

    What is due is kept as it was before the batch: the other end's memory, e, the time that passed, and who took part.
    Reading twice, in training or in evaluation, gives the same numbers.
    """

    memory: Tensor
    last: Tensor
    other: Tensor
    event: Tensor
    passed: Tensor
    partner: Tensor
    sent: Tensor
    due: Tensor

    def __init__(
        self,
        nodes: int,
        width: int,
        raw: int,
        time: TimeEncoding,
        identify: nn.Module | None = None,
        identity_width: int = 0,
        kept: int = 1,
        hold: bool = True,
    ) -> None:
        super().__init__()
        self.kept, self.hold, self.time, self.identify = kept, hold, time, identify
        given = 2 * width + raw + time.width + 2 * identity_width
        self.from_source, self.from_target = nn.Linear(given, width), nn.Linear(given, width)
        for message in (self.from_source, self.from_target):
            nn.init.xavier_uniform_(message.weight, gain=2.0)  # a message must not fade before it is remembered
        self.update = nn.GRUCell(width, width)
        self.register_buffer("memory", torch.zeros(nodes, width))
        self.register_buffer("last", torch.full((nodes,), -1.0, dtype=torch.float64))  # before any event
        self.register_buffer("other", torch.zeros(nodes, kept, width))
        self.register_buffer("event", torch.zeros(nodes, kept, raw))
        self.register_buffer("passed", torch.zeros(nodes, kept))
        self.register_buffer("partner", torch.zeros(nodes, kept, dtype=torch.int64))
        self.register_buffer("sent", torch.zeros(nodes, kept, dtype=torch.bool))
        self.register_buffer("due", torch.zeros(nodes, dtype=torch.int64))

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self.buffers(recurse=False):
            buffer.zero_()
        self.last.fill_(-1)

    def read(self, node: Tensor) -> Tensor:
        """What `node` (count,) int64 remember now, due messages included: (count, width), with gradients."""
        kept = self.memory[node]
        waiting = (self.due[node] > 0).nonzero().flatten()
        if not len(waiting):
            return kept
        return kept.index_copy(0, waiting, self._updated(node[waiting]).to(kept.dtype))

    def _updated(self, node: Tensor) -> Tensor:
        """The memories of `node` (count,) after the messages that are due to them, at least one each: (count,
        width)."""
        count = self.due[node].clamp(max=self.kept)
        row, slot = (torch.arange(self.kept, device=node.device) < count[:, None]).nonzero(as_tuple=True)
        me = node[row]
        partner, sent = self.partner[me, slot], self.sent[me, slot]
        parts = [self.memory[me], self.other[me, slot], self.event[me, slot], self.time(self.passed[me, slot])]
        if self.identify is not None:
            sender, receiver = torch.where(sent, me, partner), torch.where(sent, partner, me)
            parts += [self.identify(sender), self.identify(receiver)]
        given = torch.cat(parts, 1)
        order = torch.cat([sent.nonzero(), (~sent).nonzero()]).flatten()
        given, many = given.index_select(0, order), int(sent.sum())
        messages = torch.cat([self.from_source(given[:many]), self.from_target(given[many:])])
        if self.kept == 1:
            back = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=order.device))
            mean = messages.index_select(0, back)
        else:
            total = messages.new_zeros(len(node), messages.shape[1]).index_add(0, row[order], messages)
            mean = total / count[:, None]
        updated: Tensor = self.update(mean, self.memory[node])
        return updated

    @torch.no_grad()
    def observe(self, source: Tensor, target: Tensor, time: Tensor, event: Tensor) -> None:
        """Write down what was due, and make the messages of these events due, which come in the order of time.

        source, target: (events,);  time: (events,) in the unit of the time encoding;  event: (events, raw)
        """
        if not len(source):
            return
        node = torch.stack([source, target], 1).flatten()
        partner = torch.stack([target, source], 1).flatten()
        whom = torch.unique(node)
        before = whom[self.due[whom] > 0] if self.hold else self.due.nonzero().flatten()
        if len(before):
            self.memory[before] = self._updated(before).to(self.memory.dtype)
        _, after = ranks(node)
        late = after < self.kept
        slot = (node[late], after[late])
        when = time.repeat_interleave(2)
        passed = torch.where(self.last[node] >= 0, when - self.last[node], 0.0)
        counts = torch.bincount(node, minlength=len(self.due))
        self.due.copy_(torch.where(counts > 0, counts, self.due) if self.hold else counts)
        self.other[slot] = self.memory[partner[late]]
        self.event[slot] = event.repeat_interleave(2, 0)[late].to(self.event.dtype)
        self.passed[slot] = passed[late].to(self.passed.dtype)
        self.partner[slot] = partner[late]
        self.sent[slot] = (torch.arange(len(node), device=node.device) % 2 == 0)[late]
        self.last.scatter_reduce_(0, node, when, "amax")
