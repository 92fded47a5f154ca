"""Interactions: which user had which item, how it was rated and when; the table behind every recommendation."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError

HOLD_OUT = ("auto", "last", "random", "given")
LEAST = 3  # interactions of a user of whom something can be held out


@dataclass(frozen=True)
class Choices(Batch):
    """user, item: (batch,) int64."""

    user: Tensor
    item: Tensor


@dataclass(frozen=True, kw_only=True)
class Interactions(Container):
    """Pairs of a user and an item, each at most once.

    user, item: (n,) int64, places in `users` and `items`
    rating:     (n,) float32, or None where nobody rated
    time:       (n,) float64 seconds, or None where nobody looked at a clock
    users, items: names; numbers as text unless given
    threshold:  a rating from here on is a positive interaction; None: every row is one, whatever its rating
    hold_out:   how `split` parts each user's rows: "last" keeps the latest out, "random" any, "given" follows `parts`;
                "auto" is "given" where there are parts, else "last" where there are times, else "random"
    shares:     of a user's rows that go to validation and to the test; at least one row each, of users with three
    parts:      (n,) int64, 0 training, 1 validation, 2 test, where the test part is fixed beforehand. Where no row is
                1, `split` draws as many validation rows of each user as it has test rows
    known:      (2, m) int64, users and items of rows that came before these, which nobody needs to be recommended;
                `split` fills it for validation and test
    """

    user: Tensor
    item: Tensor
    rating: Tensor | None = None
    time: Tensor | None = None
    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    threshold: float | None = None
    hold_out: str = "auto"
    shares: tuple[float, float] = (0.1, 0.1)
    parts: Tensor | None = None
    known: Tensor | None = None

    def __post_init__(self) -> None:
        name, count = self.name, len(self.user)
        if self.user.ndim != 1 or self.user.shape != self.item.shape:
            raise DataError(f"{name}: {tuple(self.user.shape)} users and {tuple(self.item.shape)} items are no pairs")
        for field in ("users", "items"):
            which = getattr(self, field[:-1])
            if which.dtype != torch.int64 or (count and int(which.min()) < 0):
                raise DataError(f"{name}: {field} are given by {which.dtype}; expected int64 from 0 on")
            if not getattr(self, field):
                object.__setattr__(self, field, tuple(map(str, range(int(which.max()) + 1 if count else 0))))
            if count and int(which.max()) >= len(getattr(self, field)):
                raise DataError(
                    f"{name}: {field[:-1]} {int(which.max())} has no name among {len(getattr(self, field))}"
                )
            if len(set(getattr(self, field))) < len(getattr(self, field)):
                one = next(word for word, times in Counter(getattr(self, field)).items() if times > 1)
                raise DataError(f"{name}: two {field} are named '{one}'; give each {field[:-1]} a name of its own")
        for field in ("rating", "time", "parts"):
            column = getattr(self, field)
            if column is not None and column.shape != self.user.shape:
                raise DataError(f"{name}: {count} interactions, but {field} has shape {tuple(column.shape)}")
            if column is not None:
                require_finite(column, field, name)
        if self.threshold is not None and self.rating is None:
            raise DataError(f"{name}: a threshold of {self.threshold:g} needs ratings; there are none, so leave it out")
        if self.hold_out not in HOLD_OUT or (self.hold_out == "last" and self.time is None):
            timeless = "" if self.time is not None else " (there are no times, so 'last' is none of them)"
            raise DataError(f"{name}: hold_out is '{self.hold_out}'; choose auto, last or random{timeless}")
        if not (all(share >= 0 for share in self.shares) and sum(self.shares) < 1):
            raise DataError(f"{name}: shares are {self.shares}; give two that are not negative and add up to below 1")
        if self.hold_out == "given" and self.parts is None:
            raise DataError(f"{name}: hold_out is 'given', but no parts are; choose auto, last or random")
        key = self.key
        if len(key.unique()) < count:
            order = key.argsort(stable=True)
            twice = order[1:][key[order].diff() == 0][0]
            raise DataError(
                f"{name}: user '{self.users[int(self.user[twice])]}' has item '{self.items[int(self.item[twice])]}' "
                "twice; keep one row of each pair"
            )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def key(self) -> Tensor:
        """(n,) one number for each pair: user * items + item."""
        return self.user * max(1, len(self.items)) + self.item

    @property
    def positive(self) -> Tensor:
        """(n,) bool, the rows that count as liking: all of them, or those rated from `threshold` on."""
        if self.threshold is None or self.rating is None:
            return torch.ones(len(self), dtype=torch.bool)
        return self.rating >= self.threshold

    @property
    def protocol(self) -> str:
        """How `split` holds out, once "auto" is resolved."""
        if self.hold_out != "auto":
            return self.hold_out
        return "given" if self.parts is not None else "random" if self.time is None else "last"

    def gather(self, index: Tensor) -> Choices:
        return Choices(self.user[index], self.item[index])

    def take(self, index: Tensor) -> "Interactions":
        """The rows `index`, with all users and items still named."""
        columns = {
            field: getattr(self, field)[index]
            for field in ("user", "item", "rating", "time", "parts")
            if getattr(self, field) is not None
        }
        return replace(self, **columns)

    def split(self, seed: int = 0) -> Split["Interactions"]:
        """Parts by user, as `hold_out` says: the latest rows, random ones, or those given.

        Rows of one time are ordered at random. A user with fewer than three rows is in the training part only, and
        one row of every user stays there. What a user had before is `known` to the validation part, and that and the
        validation rows to the test part.

        Raises DataError if nobody has three rows, or if every user has every item.
        """
        if len(self) == len(self.users) * len(self.items):
            who = f"the one user '{self.users[0]}'" if len(self.users) == 1 else f"each of the {len(self.users)} users"
            raise DataError(
                f"{self.name}: {who} has every item ({len(self.items)} in all), so that there is nothing to recommend; "
                "add users who have other items"
            )
        generator = torch.Generator().manual_seed(seed)
        part = self._drawn_parts(generator) if self.protocol != "given" else self._given_parts(generator)
        rows = [(part == which).nonzero().flatten() for which in range(3)]
        if not len(rows[1]) or not len(rows[2]):
            raise DataError(
                f"{self.name}: no user has the {LEAST} interactions that a split into train, validation and test "
                "needs; add rows of users who have some"
            )
        pairs = torch.stack([self.user, self.item])
        kept = "auto" if self.hold_out == "given" else self.hold_out
        known = [None, pairs[:, rows[0]], pairs[:, torch.cat(rows[:2])]]
        return Split(
            *(
                replace(self.take(index), known=had, parts=None, hold_out=kept)
                for index, had in zip(rows, known, strict=True)
            )
        )

    def _drawn_parts(self, generator: torch.Generator) -> Tensor:
        """(n,) the part of every row, the last ones of each user being held out after sorting by time or chance."""
        count = torch.bincount(self.user, minlength=len(self.users))
        held = [torch.where(count >= LEAST, (share * count).round().clamp(min=1), 0) for share in self.shares]
        held[1] = torch.minimum(held[1], (count - 2).clamp(min=0))  # one row to learn from and one to validate
        held[0] = torch.minimum(held[0], (count - 1).clamp(min=0) - held[1])
        order = torch.randperm(len(self), generator=generator)
        if self.protocol == "last":
            assert self.time is not None
            order = order[self.time[order].argsort(stable=True)]
        order = order[self.user[order].argsort(stable=True)]
        sorted_user = self.user[order]
        left = count.cumsum(0)[sorted_user] - torch.arange(len(self))  # rows of the user from this one on
        part = (left <= (held[0] + held[1])[sorted_user]).long() + (left <= held[1][sorted_user]).long()
        return torch.empty_like(part).index_put((order,), part)

    def _given_parts(self, generator: torch.Generator) -> Tensor:
        assert self.parts is not None
        if bool((self.parts == 1).any()):
            return self.parts
        training = (self.parts == 0).nonzero().flatten()
        wanted = torch.bincount(self.user[self.parts == 2], minlength=len(self.users))
        there = torch.bincount(self.user[training], minlength=len(self.users))
        wanted = torch.minimum(wanted, there - 1).clamp(min=0)  # one row stays to learn from
        order = training[torch.randperm(len(training), generator=generator)]
        order = order[self.user[order].argsort(stable=True)]
        sorted_user = self.user[order]
        left = there.cumsum(0)[sorted_user] - torch.arange(len(order))
        chosen = order[left <= wanted[sorted_user]]
        return self.parts.index_fill(0, chosen, 1)

    def describe(self) -> dict[str, Any]:
        users, items = len(self.users), len(self.items)
        rated = self.rating is not None and len(self)
        return {
            "container": "Interactions",
            "interactions": len(self),
            "users": users,
            "items": items,
            "density": round(len(self) / max(1, users * items), 6),
            "positive": int(self.positive.sum()),
            "positive_from": "every row" if self.threshold is None else self.threshold,
            "ratings": [float(self.rating.min()), float(self.rating.max())] if rated else None,  # type: ignore[union-attr]
            "times": self.time is not None,
            "held_out": {"last": "each user's latest", "random": "of each user at random", "given": "as published"}[
                self.protocol
            ],
        }
