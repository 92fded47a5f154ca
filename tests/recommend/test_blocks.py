"""Ranking, judging and reading hold a block of scores, never those of all users and items."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pathline.core import catalog
from pathline.data import Interactions
from pathline.recommend import base, baselines
from pathline.recommend.base import Recommender
from pathline.recommend.pairwise import Pairwise

ROOM = catalog.methods("recommend", built=True)
BLOCK = 20_000


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that any operation makes, and which operation."""

    def __init__(self) -> None:
        super().__init__()
        self.size, self.made_by = 0, ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else (found,):
            if isinstance(one, torch.Tensor) and not one.is_sparse and one.layout == torch.strided:
                stored = one.untyped_storage().nbytes() // one.element_size()  # an expanded row is no matrix
                if min(one.numel(), stored) > self.size:
                    self.size, self.made_by = min(one.numel(), stored), str(func)
        return found


def wide(users: int, items: int, each: int = 4) -> Interactions:
    generator = torch.Generator().manual_seed(0)
    user = torch.arange(users).repeat_interleave(each)
    first = torch.randint(items, (users,), generator=generator)
    item = (first[:, None] + torch.tensor([0, 1, 5, 11])[:each]).flatten() % items
    data = Interactions(user=user, item=item, items=tuple(map(str, range(items))), name="wide")
    return data


@pytest.mark.parametrize("users, items", [(700, 600), (1500, 300), (300, 1500)])
@pytest.mark.parametrize("key", [entry.key for entry in ROOM])
def test_no_tensor_is_of_users_by_items(key: str, users: int, items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of items by items, or users by users: blocks of 20 000 numbers, and what grows with the interactions."""
    for module in (base, baselines):
        monkeypatch.setattr(module, "BLOCK", BLOCK)
    cls: type[Recommender] = catalog.method(key)
    split = wide(users, items).split(0)
    method = cls.seeded(split.train, 0, **({"width": 4} if issubclass(cls, Pairwise) else {})).eval()
    with Largest() as watched:
        ranked = method.rank(torch.arange(users), 7)
        metrics = method.evaluate(split.test)
    assert ranked.items.shape == (users, 7) and metrics["coverage@20"] > 0
    allowed = 2 * BLOCK  # lists of all users and rows of the graph are of this size too
    assert watched.size <= allowed < users * items / 4, f"{watched.made_by} made {watched.size}"
    if issubclass(cls, Pairwise):
        x, y = method.factors().detach().split([users, items])
        scores = x @ y.T
        scores[split.train.user, split.train.item] = -torch.inf
        torch.testing.assert_close(ranked.scores, scores.topk(7).values)


def test_a_matrix_of_everything_would_be_noticed() -> None:
    with Largest() as watched:
        torch.rand(500, 4) @ torch.rand(4, 600)
    assert watched.size == 300_000 and "mm" in watched.made_by


def test_of_many_users_some_choose_the_weights_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "JUDGED", 50)
    split = wide(300, 100).split(0)
    method = catalog.method("lightgcn").seeded(split.train, 0, width=4)
    asked = method.asked(split.test, 50)
    assert len(asked.users) == 50 and torch.equal(asked.users, method.asked(split.test, 50).users)
    every = method.asked(split.test)
    assert len(every.users) == 300
    place = torch.searchsorted(every.users, asked.users)
    for row, one in enumerate(place.tolist()):
        truth = asked.truth[asked.start[row] : asked.start[row + 1]]
        assert torch.equal(truth, every.truth[every.start[one] : every.start[one + 1]])
    assert method.score(split.test) == method.judge(split.test, users=50)["ndcg@20"]
    assert method.score(split.test) != method.evaluate(split.test)["ndcg@20"]
