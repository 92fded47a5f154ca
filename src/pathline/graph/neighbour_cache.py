"""N-caches: for every node a small hash table of other nodes, written and read for whole batches at once.

A table has `slots` places; key a goes to place (q1 a + q2 a^2) mod slots. A place that is empty, or holds the same key,
is always written; one that holds another key is overwritten with probability alpha, so what is kept is a sample of the
past that prefers the recent. Keys are nodes + 1, in integers: 0 means empty, and no number is too large to be exact.

A batch leaves what its entries would have left one after the other. Let the fate of each entry (whether it could
overwrite another key) be drawn first: the key of a place is then that of the last entry that could, or the old one, or,
where the place was empty and none could, that of the first entry; and later entries of the same key renew it.
Luo, Li, 2022, "Neighborhood-aware Scalable Temporal Network Representation Learning", arXiv:2209.01084.
Departs: the hash's seed is made odd, for an even one reaches a fraction of a table whose size is a power of two (4 of
16 places); fates come from a hash of the entry's number and its place and not from a generator, so that evaluating
twice, or resuming, meets the same ones; the event's numbers are stored in the slot, instead of an index into all
events.
"""

import torch
from torch import Tensor, nn

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)  # odd, well mixed: those of SplitMix64


def fates(number: Tensor, place: Tensor, seed: int) -> Tensor:
    """Uniform in [0, 1), float64, a function of its arguments alone: SplitMix64 of (number, place, seed)."""
    begin = (seed * _MIX[1] + (1 << 63)) % (1 << 64) - (1 << 63)  # wrapped, as tensors wrap
    mixed = number * _MIX[0] + place * _MIX[2] + begin
    for shift, factor in ((30, _MIX[1]), (27, _MIX[2]), (31, _MIX[0])):
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return ((mixed >> 11) & ((1 << 53) - 1)).double() / (1 << 53)


class NeighbourCache(nn.Module):
    """Hash tables of `nodes` nodes with `slots` places each, as one dense structure.

    key:    (nodes * slots,) int64, node + 1 or 0
    number: (nodes * slots,) int64, which event wrote it;  time: float64;  event: (nodes * slots, raw)
    vector: (nodes * slots, width)
    """

    key: Tensor
    number: Tensor
    time: Tensor
    event: Tensor
    vector: Tensor

    def __init__(self, nodes: int, slots: int, raw: int, width: int, alpha: float = 0.9, seed: int = 1) -> None:
        super().__init__()
        self.slots, self.alpha, self.seed = slots, alpha, seed
        count = nodes * slots
        self.register_buffer("key", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("number", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("time", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("event", torch.zeros(count, raw))
        self.register_buffer("vector", torch.zeros(count, width))

    def reset(self) -> None:
        """Empty every table."""
        for buffer in self.buffers(recurse=False):
            buffer.zero_()

    def place(self, node: Tensor, key: Tensor) -> Tensor:
        """Where `key` lies in the table of `node`."""
        first = self.seed % 100 | 1  # odd: of a power of two all places are used
        return node * self.slots + (key * first + key * key * (first + 1)) % self.slots

    def places(self, node: Tensor) -> Tensor:
        """All places of the table of `node`: (count,) -> (count, slots)."""
        return node[:, None] * self.slots + torch.arange(self.slots, device=node.device)

    def write(
        self,
        node: Tensor,
        key: Tensor,
        number: Tensor,
        time: Tensor,
        event: Tensor,
        vector: Tensor,
        occasion: Tensor | None = None,
    ) -> None:
        """Entries (entries, ...) in the order of time, each into the table of its `node`; entries of key 0 are none.

        occasion: (entries,) int64, the number of the event on which this is written, from which its fate follows; by
            default the number of the event itself, but old entries are passed on at later events.
        """
        occasion = number if occasion is None else occasion
        real = key > 0
        if not real.all():
            node, key, number, time, event, vector, occasion = (
                x[real] for x in (node, key, number, time, event, vector, occasion)
            )
        if not len(key):
            return
        place = self.place(node, key)
        touched, group = torch.unique(place, return_inverse=True)
        order, count = torch.arange(len(key), device=key.device), len(touched)
        could = fates(occasion, place, self.seed) < self.alpha
        ruling = torch.full((count,), -1, device=key.device).scatter_reduce(
            0, group, torch.where(could, order, -1), "amax"
        )
        first = torch.full((count,), len(key), device=key.device).scatter_reduce(0, group, order, "amin")
        before = self.key[touched]
        ruling = torch.where((ruling < 0) & (before == 0), first, ruling)
        ruled = torch.where(ruling < 0, before, key[ruling.clamp(min=0)])
        renews = (key == ruled[group]) & (order >= ruling[group])
        last = torch.full((count,), -1, device=key.device).scatter_reduce(
            0, group, torch.where(renews, order, -1), "amax"
        )
        written = last >= 0
        where, last = touched[written], last[written]
        self.key[where], self.number[where], self.time[where] = key[last], number[last], time[last]
        self.event[where], self.vector[where] = event[last], vector[last].to(self.vector.dtype)
