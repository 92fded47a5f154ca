"""Numbers of users and items are names and nothing else: renumbering them renumbers every score, in float64 to 1e-9."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pathline.core import catalog
from pathline.data import Interactions
from pathline.recommend.base import Recommender
from pathline.recommend.baselines import ItemKNN
from pathline.recommend.gte import GTE
from pathline.recommend.pairwise import Pairwise, Triples
from pathline.recommend.rivals import APPNP, NGCF
from tests.recommend.conftest import tastes

USERS, ITEMS = 60, 40
P, Q = (torch.randperm(count, generator=torch.Generator().manual_seed(count)) for count in (USERS, ITEMS))
PLACE = torch.cat([P, Q + USERS])  # of the nodes of one graph in the other
SINGLE = 1e-6  # where a method weighs walks in float32 by its own choice
LEARNED_FROM = ("user", "item", "liked", "text")  # buffers that are read off the data

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "gte": [{}, {"hops": 5}, {"normalised": True}],
    "item-knn": [{}, {"neighbours": 3}],
    "lightgcn": [{}, {"edges": "rated"}],
    "ltgnn": [{"neighbours": None}, {"neighbours": None, "hops": 0, "adjust": [0.1, 0.1, 0.1]}],
    "sheaf-rec": [
        {},
        {"edges": "rated", "start": 0.0, "readout": "mean"},
        *({"width": 8, "stalk": stalk, "family": "general"} for stalk in (2, 4)),
        {"width": 8, "stalk": 2, "family": "orthogonal", "activation": "elu"},
        {"learned": False, "identity": True},
    ],
}
ROOM = catalog.methods("recommend", built=True)
CASES = [(entry.load(), own) for entry in ROOM for own in SETTINGS.get(entry.key, [{}])]
CASES += [(rival, {}) for rival in (APPNP, NGCF)]


def title(case: Any) -> str:
    return case.__name__ if isinstance(case, type) else "-".join(f"{name}={value}" for name, value in case.items())


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rated() -> Interactions:
    """A tenth of the rows are dislikes."""
    data = tastes(USERS, ITEMS)
    return replace(data, rating=(torch.arange(len(data)) % 10 > 0).float(), threshold=1.0)


def renumbered(data: Interactions) -> Interactions:
    """The same with other numbers, and its rows in another order; names stay with what they name."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    assert data.rating is not None
    return replace(
        data,
        user=P[data.user][order],
        item=Q[data.item][order],
        rating=data.rating[order],
        users=tuple(data.users[old] for old in P.argsort().tolist()),
        items=tuple(data.items[old] for old in Q.argsort().tolist()),
    )


def pair(cls: type[Recommender], own: dict[str, Any]) -> tuple[Recommender, Recommender]:
    """A method, and one of renumbered data that learned the same about every user and item."""
    sizes = {"width": 6} if issubclass(cls, Pairwise) else {}
    one = cls.seeded(rated(), 0, **{**sizes, **own}).eval()
    two = cls.for_data(renumbered(rated()), **{**sizes, **own}).eval()
    state = dict(two.state_dict())
    for name, tensor in one.state_dict().items():
        if name not in LEARNED_FROM:
            state[name] = moved(tensor)
    two.load_state_dict(state)
    return one, two


def moved(tensor: Tensor) -> Tensor:
    """What stands for each node, at its new place; anything else as it is."""
    if tensor.ndim and len(tensor) == USERS + ITEMS:
        return torch.empty_like(tensor).index_copy(0, PLACE, tensor)
    return tensor


def test_every_method_and_baseline_of_the_room_is_among_the_cases() -> None:
    keys = {entry.key for entry in ROOM}
    assert keys >= {"popularity", "item-knn", "matrix-factorization", "lightgcn", "sheaf-rec", "gte", "ltgnn"}
    assert SETTINGS.keys() <= keys


@torch.no_grad()
@pytest.mark.parametrize("cls, own", CASES, ids=title)
def test_renumbering_renumbers_scores_lists_and_leaves_metrics(cls: type[Recommender], own: dict[str, Any]) -> None:
    one, two = pair(cls, own)
    scores, others = one.scorer()(torch.arange(USERS)), two.scorer()(P)
    assert scores.shape == (USERS, ITEMS) and float(scores.std()) > 0
    exact = 1e-9 if scores.dtype == torch.float64 or float(scores.frac().abs().max()) == 0 else SINGLE
    torch.testing.assert_close(others[:, Q], scores, atol=exact, rtol=exact)
    assert scores.dtype == torch.float64 or cls is GTE, "which counts walks in float32 while that is exact"
    assert not torch.allclose(others, scores), "the numbering does matter to whoever ignores it"
    if issubclass(cls, Pairwise):  # counts have ties, which go to the item named first
        assert torch.equal(two.rank(P, 10).items, Q[one.rank(torch.arange(USERS), 10).items])


@pytest.mark.parametrize("cls, own", [case for case in CASES if issubclass(case[0], Pairwise)], ids=title)
def test_renumbering_renumbers_the_gradient_of_a_batch(cls: type[Pairwise], own: dict[str, Any]) -> None:
    one, two = pair(cls, own)
    assert isinstance(one, Pairwise) and isinstance(two, Pairwise)
    batch = next(iter(one.batches(rated(), 100, torch.Generator().manual_seed(0))))
    losses = [one.loss(batch)["loss"], two.loss(Triples(P[batch.user], Q[batch.liked], Q[batch.other]))["loss"]]
    torch.testing.assert_close(*losses, atol=1e-9, rtol=1e-9)
    for loss in losses:
        loss.backward()
    for (name, ours), theirs in zip(one.named_parameters(), two.parameters(), strict=True):
        if ours.grad is None:
            assert theirs.grad is None, name
            continue
        here, there = (grad.to_dense() if grad.is_sparse else grad for grad in (ours.grad, theirs.grad))
        torch.testing.assert_close(there, moved(here), atol=1e-9, rtol=1e-9, msg=name)
        assert float(here.abs().max()) > 0 or name.endswith("learner.own.bias"), name


def test_neighbours_that_are_equally_alike_are_all_kept() -> None:
    """Which is what makes item-knn independent of the numbering: with three of many equal ones, it could not be."""
    data = Interactions(user=torch.zeros(6, dtype=torch.int64), item=torch.arange(6), users=("a",), name="one")
    matrix = ItemKNN.for_data(data, neighbours=2).likeness()
    assert len(matrix) == 6 * 5
