"""Negatives of implicit feedback: items that a user does not have, drawn for a whole batch at once.

"uniform": every item that the user does not have is equally likely, exactly. Let p_0 < p_1 < ... be the items of the
user. Of the missing items, number r (from 0) is r + #{j : p_j - j <= r}, so one uniform number and one binary search
in the sorted p_j - j of that user give the draw; nothing is rejected.

"popularity": an item that the user does not have with probability proportional to its count to the power 3/4 (Mikolov
et al., 2013, arXiv:1310.4546), by rejection; a draw that was refused REDRAWS times is made uniformly.
"""

import torch
from torch import Tensor

NEGATIVES = ("uniform", "popularity")
REDRAWS = 20


class Unseen:
    """What each user does not have.

    user, item: (n,) int64 pairs that are there, each at most once
    """

    def __init__(self, user: Tensor, item: Tensor, users: int, items: int) -> None:
        self.items = items
        self.key = (user * items + item).sort().values
        owner, had = self.key // items, self.key % items
        count = torch.bincount(owner, minlength=users)
        self.start = count.cumsum(0) - count
        self.missing = items - count
        self.ladder = owner * (items + 1) + had - (torch.arange(len(had), device=had.device) - self.start[owner])
        weight = torch.bincount(had, minlength=items).double() ** 0.75
        self.weight = weight.cumsum(0)

    def draw(self, user: Tensor, generator: torch.Generator | None = None, kind: str = "uniform") -> Tensor:
        """An item for each of `user` (batch,) that it does not have; for a user who has all, any item."""
        if kind == "popularity":
            return self._popular(user, generator)
        missing = self.missing[user]
        chance = torch.rand(len(user), generator=generator, dtype=torch.float64)
        rank = (chance * missing.clamp(min=1)).long()
        above = torch.searchsorted(self.ladder, user * (self.items + 1) + rank, right=True) - self.start[user]
        return torch.where(missing > 0, rank + above, (chance * self.items).long())

    def has(self, user: Tensor, item: Tensor) -> Tensor:
        """(batch,) whether the user has the item."""
        key = user * self.items + item
        place = torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)
        return self.key[place] == key

    def _popular(self, user: Tensor, generator: torch.Generator | None) -> Tensor:
        drawn = self.draw(user, generator)
        waiting = torch.arange(len(user))
        for _ in range(REDRAWS):
            chance = torch.rand(len(waiting), generator=generator, dtype=torch.float64) * self.weight[-1]
            item = torch.searchsorted(self.weight, chance, right=True).clamp(max=self.items - 1)
            fresh = ~self.has(user[waiting], item)
            drawn[waiting[fresh]] = item[fresh]
            waiting = waiting[~fresh]
        return drawn
