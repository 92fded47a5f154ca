"""Replay: the objects that were seen with their rewards, to learn from again.

prioritised: half of a draw from the best tenth by reward and half from the rest (Shen et al., 2023, "Towards
Understanding and Improving GFlowNet Training", arXiv:2305.07170); uniform: every object alike. An object is kept
once, however often it was seen. All is in buffers, so that a resumed run draws what an uninterrupted one would.
"""

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.environment import keys

SCHEMES = ("prioritised", "uniform")
BEST = 0.1  # share of the objects that is best
LEAST = 10  # different objects before anything is drawn


class Replay(nn.Module):
    """The last `capacity` different objects (rows of `width` integers) with their log rewards."""

    objects: Tensor
    keys: Tensor
    log_rewards: Tensor
    count: Tensor

    def __init__(self, width: int, capacity: int = 50_000, scheme: str = "prioritised") -> None:
        super().__init__()
        if scheme not in SCHEMES or capacity < LEAST:
            raise MethodError(
                f"replay is {' or '.join(SCHEMES)} with room for at least {LEAST}, not '{scheme}' with {capacity}"
            )
        self.scheme, self.capacity = scheme, capacity
        self.register_buffer("objects", torch.zeros(capacity, width, dtype=torch.int64))
        self.register_buffer("keys", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("log_rewards", torch.full((capacity,), -torch.inf))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.count), self.capacity)

    def add(self, objects: Tensor, log_rewards: Tensor) -> None:
        """Take in those of `objects` (n, width) that are not there; the oldest give way."""
        own = keys(objects)
        unseen = ~torch.isin(own, self.keys[: len(self)])
        distinct, which = own[unseen].unique(return_inverse=True)
        row = torch.full((len(distinct),), len(objects)).scatter_reduce(0, which, unseen.nonzero()[:, 0], "amin")
        row = row.sort().values[-self.capacity :]
        place = (self.count + torch.arange(len(row))) % self.capacity
        self.keys[place], self.objects[place], self.log_rewards[place] = own[row], objects[row], log_rewards[row]
        self.count += len(row)

    def draw(self, count: int) -> Tensor:
        """`count` objects with repetition (count, width), or none while fewer than 10 are known. From torch's global
        generator."""
        known = len(self)
        if known < LEAST:
            return self.objects[:0]
        if self.scheme == "uniform":
            return self.objects[torch.randint(known, (count,))]
        order = self.log_rewards[:known].argsort(descending=True)
        best = max(1, int(BEST * known))
        top = order[torch.randint(best, (count // 2,))]
        rest = order[best + torch.randint(known - best, (count - count // 2,))]
        return self.objects[torch.cat([top, rest])]
