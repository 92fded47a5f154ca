"""The room's verb: rank items for users.

A recommender remembers what everybody has, and never recommends it again. Users and items are known by their names, so
that a fitted one can be used on any other file. Ranking is exact: every item is scored for every asked user, a block of
users at a time, so that memory is that of a block however many users and items there are.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Figure, Method
from pathline.data import Interactions
from pathline.graph import entries_of
from pathline.recommend.top import ranking_metrics, top_k

if TYPE_CHECKING:
    import pandas as pd

LENGTH = 20  # of the lists that are judged and predicted
JUDGED = 5000  # users at most by whom weights are chosen
BLOCK = 1 << 22  # scores held at once, which a processor keeps near itself


class Ranked(NamedTuple):
    """items: (users, k) int64, best first, -1 where a user has all others;  scores: (users, k), -inf there."""

    items: Tensor
    scores: Tensor


class Asked(NamedTuple):
    """users: (n,) in order;  start: (n + 1,) and truth: items that each of them turned out to like, `truth[start[u] :
    start[u + 1]]`;  known: (2, m) what is not to be recommended beyond the training part, or None."""

    users: Tensor
    start: Tensor
    truth: Tensor
    known: Tensor | None


class Recommender(Method):
    """A method that scores items for users.

    users, items: how many;  interactions: rows of the training part;  names: bytes of all names. `for_data` reads these
    off the data

    Buffers hold the training part, sorted by user and item: `user`, `item` (interactions,) and `liked`, whether a row
    is a positive one. What a user has is all of it, liked or not.
    """

    room = "recommend"
    container = Interactions
    better = "higher"
    precision = "fp32"  # rows of a score are told apart by small differences
    user: Tensor
    item: Tensor
    liked: Tensor
    text: Tensor

    def __init__(self, users: int, items: int, interactions: int, names: int) -> None:
        super().__init__()
        self.users, self.items = users, items
        self.register_buffer("user", torch.zeros(interactions, dtype=torch.int64))
        self.register_buffer("item", torch.zeros(interactions, dtype=torch.int64))
        self.register_buffer("liked", torch.ones(interactions, dtype=torch.bool))
        self.register_buffer("text", torch.zeros(names, dtype=torch.uint8))
        self._made: dict[str, Any] = {}

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        sizes = {"users": len(part.users), "items": len(part.items), "interactions": len(part)}
        method = cls(**sizes, names=len(_bytes(part)), **config)
        method.read(part)
        return method

    @classmethod
    def require(cls, data: Any) -> Any:
        """Also asks for a positive interaction."""
        part = super().require(data)
        if isinstance(part, Interactions) and not bool(part.positive.any()):
            raise DataError(f"{part.name}: no rating reaches the threshold of {part.threshold}; lower it")
        return part

    def read(self, data: Interactions) -> None:
        """Fill the buffers from the training part."""
        if len(data) != len(self.user) or len(_bytes(data)) != len(self.text):
            raise DataError(
                f"{data.name}: this {type(self).__name__} was made for {len(self.user)} other interactions; make one "
                f"with {type(self).__name__}.for_data"
            )
        order = data.key.argsort()
        self.user.copy_(data.user[order])
        self.item.copy_(data.item[order])
        self.liked.copy_(data.positive[order])
        self.text.copy_(torch.frombuffer(bytearray(_bytes(data)), dtype=torch.uint8))
        self.forget()

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Also drops what was made of the buffers before."""
        found = super().load_state_dict(*args, **kwargs)
        self.forget()
        return found

    def forget(self) -> None:
        """Drop what was made of the buffers, since they changed."""
        self._made = {}

    def made(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once from the buffers and kept until they change or move."""
        key = f"{name} on {self.item.device}"
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def pairs(self, rated: bool = False) -> tuple[Tensor, Tensor]:
        """Users and items of the liked rows, or of all rows."""
        return (self.user, self.item) if rated else (self.user[self.liked], self.item[self.liked])

    def names(self) -> tuple[list[str], list[str]]:
        """Names of the users and of the items that were learned from."""

        def read() -> tuple[list[str], list[str]]:
            lines = bytes(self.text.cpu().numpy()).decode().split("\n")
            return lines[: self.users], lines[self.users :]

        found: tuple[list[str], list[str]] = self.made("names", read)
        return found

    # -- the verb -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def scorer(self) -> Callable[[Tensor], Tensor]:
        """A function of users (batch,) that gives the scores of all items (batch, items); made once for many blocks."""

    @property
    def held(self) -> int:
        """How many numbers scoring one user holds: one for each item, unless a method needs more."""
        return self.items

    @torch.no_grad()
    def rank(self, users: Tensor, k: int = LENGTH, exclude: Tensor | None = None, ties: int | None = None) -> Ranked:
        """The k best items of each of `users` (n,) that it does not have, exactly; in the order of `users`.

        exclude: (2, m) users and items beyond the training part that shall not be recommended either.
        ties: equal scores go to the item that was named first; with a seed here, to a random one.

        Raises DataError for users that are not there, MethodError for k below 1.
        """
        if k < 1:
            raise MethodError(f"a list of {k} recommendations is none; ask for k of at least 1")
        users = torch.as_tensor(users, dtype=torch.int64, device=self.item.device)
        if users.ndim != 1 or (len(users) and not 0 <= int(users.min()) <= int(users.max()) < self.users):
            raise DataError(f"{type(self).__name__} ranks for users 0 .. {self.users - 1}, one after the other")
        pointer, had = self._had(exclude)
        order = None if ties is None else _shuffled(self.items, ties).to(users.device)
        score, kept = self.scorer(), min(k, self.items)
        found: list[tuple[Tensor, Tensor]] = []
        for block in users.split(max(1, BLOCK // self.held)):
            scores = score(block)
            place, entry = entries_of(pointer, block)
            scores[place, had[entry]] = -torch.inf
            columns, values = top_k(scores if order is None else scores[:, order], kept)
            columns = columns if order is None else order[columns]
            found.append((columns.masked_fill(values == -torch.inf, -1), values))
        if not found:
            return Ranked(users.new_zeros(0, k), self.device_zeros(0, k))
        items, scores = (torch.cat(part) for part in zip(*found, strict=True))
        if kept < k:
            items = torch.nn.functional.pad(items, (0, k - kept), value=-1)
            scores = torch.nn.functional.pad(scores, (0, k - kept), value=-torch.inf)
        return Ranked(items, scores)

    def device_zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, device=self.item.device)

    def _had(self, exclude: Tensor | None) -> tuple[Tensor, Tensor]:
        """What users have, in row order: pointer (users + 1,) and items."""
        user, item = self.user, self.item
        if exclude is not None and exclude.shape[1]:
            user = torch.cat([user, exclude[0].to(user.device)])
            item = torch.cat([item, exclude[1].to(item.device)])
            order = user.argsort(stable=True)
            user, item = user[order], item[order]
        pointer = torch.zeros(self.users + 1, dtype=torch.int64, device=user.device)
        torch.cumsum(torch.bincount(user, minlength=self.users), 0, out=pointer[1:])
        return pointer, item

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Interactions, seed: int = 0) -> dict[str, float]:
        """Means over the users with a positive row in `data`, of lists of 20 that hold nothing they had before:
        ndcg@20, recall@20, mrr@20, f1@20, and coverage@20, the share of items that anybody is shown. Rows that were
        learned from are no truth: nobody is recommended what they have."""
        return self.judge(data)

    def score(self, data: Interactions, seed: int = 0) -> float:
        """ndcg@20 of `data`, of more than 5000 users that of 5000 of them: the same ones whenever it is asked."""
        return self.judge(data, users=JUDGED)[f"ndcg@{LENGTH}"]

    @torch.no_grad()
    def judge(
        self, data: Interactions, k: int = LENGTH, ties: int | None = None, users: int | None = None
    ) -> dict[str, float]:
        """`evaluate` for lists of another length, with ties broken at random, or of at most so many users."""
        asked = self.asked(data, users)
        ranked = self.rank(asked.users, k, exclude=asked.known, ties=ties).items.cpu()
        return ranking_metrics(ranked, asked.start, asked.truth, self.items)

    def asked(self, data: Interactions, users: int | None = None) -> "Asked":
        """Who is judged on `data`, and on what; of at most `users` users, drawn in the same way every time.

        Raises DataError if nobody has a positive row that was not learned from.
        """
        data = self.check(data)
        had = data.key.new_empty(0) if data.known is None else data.known[0] * self.items + data.known[1]
        learned = (self.user * self.items + self.item).cpu()
        fresh = data.positive & ~torch.isin(data.key, torch.cat([learned, had]))
        if not bool(data.positive.any()):
            raise DataError(f"{data.name}: no rating reaches the threshold of {data.threshold}; nothing can be judged")
        if not bool(fresh.any()):
            raise DataError(
                f"{data.name}: every positive row of it is one that this {type(self).__name__} learned from; judge it "
                "on rows it has not seen"
            )
        user, item = data.user[fresh], data.item[fresh]
        if users is not None and len(there := user.unique()) > users:
            kept = there[_shuffled(len(there), 0)[:users]]
            chosen = torch.isin(user, kept)
            user, item = user[chosen], item[chosen]
        order = user.argsort(stable=True)
        found, count = user[order].unique_consecutive(return_counts=True)
        return Asked(found, torch.cat([count.new_zeros(1), count.cumsum(0)]), item[order], data.known)

    def check(self, data: Any) -> Interactions:
        """`data` with its users and items as this method numbers them; a DataError names one that it never saw."""
        found: Interactions = super().require(data)
        ours = self.names()
        if (list(found.users), list(found.items)) == ours:
            return found
        from dataclasses import replace

        moved: dict[str, Any] = {"users": tuple(ours[0]), "items": tuple(ours[1])}
        known = found.known
        for row, (field, names) in enumerate(zip(("user", "item"), ours, strict=True)):
            place = {name: number for number, name in enumerate(names)}
            table = torch.tensor([place.get(name, -1) for name in getattr(found, field + "s")])
            there = table[getattr(found, field)]
            if bool((there < 0).any()):
                lost = getattr(found, field)[there < 0]
                name, more = getattr(found, field + "s")[int(lost[0])], len(lost.unique()) - 1
                who = f"{field} '{name}' was" if not more else f"{field} '{name}' and {more} more were"
                raise DataError(
                    f"{found.name}: {who} not in what this {type(self).__name__} learned from; leave these rows out, "
                    "or fit it on data that has them"
                )
            moved[field] = there
            if known is not None:
                known = known.clone()
                known[row] = table[known[row]]
        if known is not None:
            known = known[:, (known >= 0).all(0)]
        return replace(found, **moved, known=known)

    def predict(self, data: Interactions, seed: int = 0) -> "pd.DataFrame":
        """A row per user of `data` and place in the list: user, place, item, score. Nothing that the user has, in the
        training part or in `data`, is recommended; who has nearly everything gets a shorter list."""
        import pandas as pd

        data = self.check(data)
        asked = data.user.unique()
        had = torch.stack([data.user, data.item])
        had = had if data.known is None else torch.cat([had, data.known], 1)
        ranked = self.rank(asked, LENGTH, exclude=had)
        kept = (ranked.items >= 0).cpu()
        users, items = self.names()
        place = kept.nonzero()
        return pd.DataFrame(
            {
                "user": [users[number] for number in asked[place[:, 0]].tolist()],
                "place": (place[:, 1] + 1).numpy(),
                "item": [items[number] for number in ranked.items.cpu()[kept].tolist()],
                "score": ranked.scores.cpu()[kept].double().numpy(),
            }
        )

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Interactions) -> list[Figure]:
        from pathline.recommend import pictures

        chosen = {name: method for name, method in methods.items() if isinstance(method, Recommender)}
        return pictures.figures(chosen, data) if chosen and isinstance(data, Interactions) else []


def _bytes(data: Interactions) -> bytes:
    for name in (*data.users, *data.items):
        if "\n" in name:
            raise DataError(f"{data.name}: the name {name!r} has a line break; write it in one line")
    return "\n".join((*data.users, *data.items)).encode()


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
