"""The verb rank: exact, never what is had, in blocks; and metrics that equal their definitions."""

import resource
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.core.method import Computed, Figure
from pathline.data import Interactions
from pathline.recommend import base
from pathline.recommend.base import Recommender
from pathline.recommend.baselines import ItemKNN, MatrixFactorization, Popularity
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.pictures import Lists
from pathline.recommend.top import ranking_metrics, top_k


class Given(Recommender):
    """Scores that somebody else thought of."""

    trains = False
    table: Tensor

    def scorer(self) -> Callable[[Tensor], Tensor]:
        return lambda users: self.table[users].clone()


def given(data: Interactions, table: Tensor) -> Given:
    method = Given.for_data(data)
    method.table = table
    return method


def brute_rank(method: Given, data: Interactions, user: int, k: int) -> list[int]:
    had = set(data.item[data.user == user].tolist())
    free = [i for i in range(method.items) if i not in had]
    return sorted(free, key=lambda i: (-float(method.table[user, i]), i))[:k]


@pytest.mark.parametrize("levels", [3, 10_000])
def test_rank_equals_sorting_everything_also_with_ties_and_in_blocks(
    shop: Interactions, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = torch.randint(levels, (60, 40), generator=torch.Generator().manual_seed(0)).float()
    method = given(shop, table)
    users = torch.tensor([5, 0, 59, 5, 17])
    whole = method.rank(users, 10)
    for row, user in enumerate(users.tolist()):
        assert whole.items[row].tolist() == brute_rank(method, shop, user, 10)
        assert whole.scores[row].tolist() == table[user, whole.items[row]].tolist()
    monkeypatch.setattr(base, "BLOCK", 80)  # two users at a time
    assert torch.equal(method.rank(users, 10).items, whole.items)


def test_nothing_that_is_had_or_excluded_is_ever_shown_and_short_lists_are_marked(shop: Interactions) -> None:
    method = given(shop, torch.rand(60, 40))
    everything = method.rank(torch.arange(60), 50)
    assert everything.items.shape == (60, 50)
    for user in range(60):
        shown = [i for i in everything.items[user].tolist() if i >= 0]
        assert sorted(shown + shop.item[shop.user == user].tolist()) == list(range(40))
        assert everything.items[user, len(shown) :].tolist() == [-1] * (50 - len(shown))
    barred = torch.stack([torch.zeros(40, dtype=torch.int64), torch.arange(40)])
    assert set(method.rank(torch.tensor([0]), 3, exclude=barred).items.flatten().tolist()) == {-1}


def test_ties_may_be_broken_at_random_by_a_seed(shop: Interactions) -> None:
    method = given(shop, torch.zeros(60, 40))
    state = torch.get_rng_state()
    drawn = [method.rank(torch.arange(60), 5, ties=seed).items for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    for user, shown in enumerate(drawn[0].tolist()):
        assert not set(shown) & set(shop.item[shop.user == user].tolist()) and len(set(shown)) == 5
    assert method.rank(torch.tensor([0]), 2).items.tolist() == [brute_rank(method, shop, 0, 2)]


def test_top_k_with_a_crowded_last_place() -> None:
    scores = torch.tensor([[1.0, 2, 2, 2, 3], [5, 4, 3, 2, 1], [0, 0, 0, 0, 0]])
    columns, values = top_k(scores, 3)
    assert columns.tolist() == [[4, 1, 2], [0, 1, 2], [0, 1, 2]] and values[0].tolist() == [3, 2, 2]


def test_a_hundred_thousand_users_and_items_are_served_by_blocks() -> None:
    """The full matrix would take 40 GB; memory grows by some blocks of 16 MB, whoever is asked."""
    count = 100_000
    generator = torch.Generator().manual_seed(0)
    user = torch.arange(count).repeat_interleave(3)
    item = (torch.randint(count // 3, (3 * count,), generator=generator) * 3 + torch.arange(3).repeat(count)) % count
    data = Interactions(user=user, item=item, items=tuple(map(str, range(count))), name="large")
    method = MatrixFactorization.for_data(data, width=8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asked = torch.randint(count, (600,), generator=generator)
    found = method.rank(asked, 20)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 600, f"{grown:.0f} MB for {base.BLOCK * 4 / 2**20:.0f} MB blocks"
    x, y = method.factors().detach().split([count, count])
    for row in (0, 311, 599):
        scores = x[asked[row]] @ y.T
        scores[item[user == asked[row]]] = -torch.inf
        torch.testing.assert_close(found.scores[row], scores.topk(20).values)
        assert not set(found.items[row].tolist()) & set(item[user == asked[row]].tolist())


def test_metrics_equal_their_definitions() -> None:
    """Two users: one liked 3 of which places 1 and 3 are hit, the other 1 which is missed."""
    ranked = torch.tensor([[7, 1, 5, 2], [0, 1, -1, -1]])
    found = ranking_metrics(ranked, torch.tensor([0, 3, 4]), torch.tensor([5, 7, 9, 8]), 10)
    log2 = torch.log2(torch.arange(2.0, 6.0)).tolist()
    ideal = sum(1 / x for x in log2[:3])
    assert found["ndcg@4"] == pytest.approx((1 / log2[0] + 1 / log2[2]) / ideal / 2)
    assert found["recall@4"] == pytest.approx(2 / 3 / 2) and found["mrr@4"] == 0.5
    assert found["f1@4"] == pytest.approx(2 * 2 / (4 + 3) / 2) and found["coverage@4"] == 0.5


def test_an_oracle_is_perfect_and_hits_count_for_users_not_for_rows(shop: Interactions) -> None:
    split = shop.split(0)
    table = torch.zeros(60, 40)
    table[split.test.user, split.test.item] = 1
    found = given(split.train, table).evaluate(split.test)
    assert list(found) == ["ndcg@20", "recall@20", "mrr@20", "f1@20", "coverage@20"]
    assert found["ndcg@20"] == found["recall@20"] == found["mrr@20"] == pytest.approx(1)


def test_validation_rows_are_not_shown_to_the_test(shop: Interactions) -> None:
    split = shop.split(0)
    table = torch.zeros(60, 40)
    table[split.validation.user, split.validation.item] = 2
    table[split.test.user, split.test.item] = 1
    method = given(split.train, table)
    assert method.evaluate(split.test)["mrr@20"] == pytest.approx(1), "what is known does not take the first places"
    assert method.evaluate(replace(split.test, known=None))["mrr@20"] == pytest.approx(1 / 2)


def test_only_positive_rows_count_and_ratings_below_are_not_recommended_either() -> None:
    data = Interactions(
        user=torch.zeros(4, dtype=torch.int64),
        item=torch.arange(4),
        rating=torch.tensor([5.0, 1, 5, 1]),
        items=tuple("abcde"),
        threshold=3.0,
        name="rated",
    )
    method = given(data.take(torch.tensor([0, 1])), torch.tensor([[9.0, 8, 7, 6, 5]]))
    assert method.rank(torch.tensor([0]), 2).items.tolist() == [[2, 3]]
    assert method.evaluate(data.take(torch.tensor([2, 3])))["recall@20"] == 1, "item d was disliked: no truth"
    with pytest.raises(DataError, match="no rating reaches the threshold"):
        method.evaluate(data.take(torch.tensor([3])))


def test_another_file_is_matched_by_names_and_strangers_are_named(shop: Interactions, tmp_path: Path) -> None:
    method = Popularity.for_data(shop)
    method.save(tmp_path)
    loaded = Recommender.load(tmp_path)
    other = Interactions(
        user=torch.tensor([0, 1]),
        item=torch.tensor([1, 0]),
        users=("user 7", "user 3"),
        items=("item 9", "item 4"),
        name="other",
    )
    moved = loaded.check(other)
    assert moved.user.tolist() == [7, 3] and moved.item.tolist() == [4, 9]
    table = loaded.predict(other)
    assert set(table["user"]) == {"user 7", "user 3"} and table.groupby("user")["place"].max().min() == 20
    shown = table[table["user"] == "user 7"]["item"].tolist()
    had = {f"item {i}" for i in shop.item[shop.user == 7].tolist()} | {"item 4"}
    assert not set(shown) & had
    with pytest.raises(DataError, match=r"other: user 'nobody' was not in what this Popularity learned from"):
        loaded.predict(replace(other, users=("nobody", "user 3")))


def test_what_was_learned_from_is_no_truth(shop: Interactions) -> None:
    """Nobody is recommended what they have, so nobody is judged on it: all rows at once are worth the unseen ones."""
    split = shop.split(0)
    method = given(split.train, torch.rand(60, 40, generator=torch.Generator().manual_seed(0)))
    assert method.evaluate(shop) == method.evaluate(
        shop.take(torch.isin(shop.key, split.train.key, invert=True).nonzero().flatten())
    )
    with pytest.raises(DataError, match="shop: every positive row of it is one that this Given learned from"):
        method.evaluate(split.train)


def test_baselines_that_are_computed_follow_what_they_are_fitted_on(shop: Interactions) -> None:
    """They are `Computed`: fitting reads, with or without a budget, and refuses data of other sizes by name."""
    other = replace(shop, item=(shop.item + 1) % 40)
    for cls in (Popularity, ItemKNN):
        method = cls.for_data(shop)
        assert isinstance(method, Computed) and not cls.trains
        before = method.scorer()(torch.arange(60))
        after = method.fit(other, steps(3), seed=1).scorer()(torch.arange(60))
        torch.testing.assert_close(after.roll(-1, 1), before)
        with pytest.raises(DataError, match=f"was made for {len(shop)} other interactions"):
            method.fit(shop.take(torch.arange(50)))


def test_settings_that_mean_nothing_are_refused(shop: Interactions) -> None:
    for cls, setting, said in (
        (ItemKNN, {"neighbours": 0}, "0 neighbours and a shrinkage of 10; give at least 1 and 0"),
        (LightGCN, {"layers": -1}, "layers is -1; give at least 0"),
        (MatrixFactorization, {"width": 0}, "width is 0; give at least 1"),
        (LightGCN, {"negatives": "hard"}, "negatives is 'hard'; choose uniform or popularity"),
    ):
        with pytest.raises(MethodError, match=said):
            cls.for_data(shop, **setting)


def test_names_with_any_letters_survive_and_a_line_break_is_refused(shop: Interactions, tmp_path: Path) -> None:
    named = replace(shop, users=(*shop.users[:-1], "Åse, 李 \t'"))
    Popularity.for_data(named).save(tmp_path)
    assert Recommender.load(tmp_path).names()[0][-1] == "Åse, 李 \t'"
    with pytest.raises(DataError, match="has a line break"):
        Popularity.for_data(replace(shop, users=(*shop.users[:-1], "a\nb")))


def test_what_cannot_be_ranked_is_refused(shop: Interactions) -> None:
    method = Popularity.for_data(shop)
    with pytest.raises(MethodError, match="k of at least 1"):
        method.rank(torch.tensor([0]), 0)
    with pytest.raises(DataError, match=r"ranks for users 0 \.\. 59"):
        method.rank(torch.tensor([60]), 5)
    assert method.rank(torch.zeros(0, dtype=torch.int64), 5).items.shape == (0, 5)


def test_figures_show_lists_and_exposure(shop: Interactions) -> None:
    split = shop.split(0)
    methods = {"popularity": Popularity.for_data(split), "item-knn": ItemKNN.for_data(split)}
    made = Recommender.figures(methods, split.test)
    assert [figure.title for figure in made] == ["How good the lists are", "What is shown"]
    assert all(isinstance(figure, Figure) for figure in made)
    bars = made[1].picture.axes[0].lines
    assert len(bars) == 3 and bars[0].get_ydata()[-1] == pytest.approx(1)


def test_users_are_grouped_by_what_they_have_and_equals_stay_together(shop: Interactions) -> None:
    kept = torch.arange(len(shop)) % 12 < 4 + shop.user % 9  # 4 to 12 items each
    some = Lists(Popularity.for_data(shop.take(kept.nonzero().flatten())), shop)
    groups = some.groups()
    assert len(groups) == 4 and sorted(torch.cat(groups).tolist()) == list(range(len(some.users)))
    ends = [(int(some.had[group].min()), int(some.had[group].max())) for group in groups]
    assert all(low[1] < high[0] for low, high in pairwise(ends))
    split = shop.split(0)
    assert len(Lists(Popularity.for_data(split.train), split.test).groups()) == 1, "all have ten"


# -- baselines --------------------------------------------------------------------------------------------------------


def test_popularity_is_the_order_of_counts(shop: Interactions) -> None:
    method = Popularity.for_data(shop)
    count = torch.bincount(shop.item, minlength=40)
    shown = method.rank(torch.arange(60), 5)
    assert torch.equal(shown.scores, count[shown.items].float()) and bool((shown.scores.diff(dim=1) <= 0).all())


def test_item_neighbours_equal_the_formula(shop: Interactions) -> None:
    method = ItemKNN.for_data(shop, neighbours=4, shrinkage=3.0)
    a = torch.zeros(60, 40).index_put((shop.user, shop.item), torch.ones(len(shop)))
    both, degree = a.T @ a, a.sum(0)
    alike = both / ((degree[:, None] * degree).sqrt() + 3)
    alike.fill_diagonal_(0)
    kept = torch.where(alike >= alike.topk(4, 1).values[:, -1:], alike, 0)  # ties with the last are kept too
    found = torch.zeros(40, 40).index_put((method.likeness().row, method.likeness().column), method.likeness().value)
    torch.testing.assert_close(found, kept)
    torch.testing.assert_close(method.scorer()(torch.arange(60)), a @ found.T)


def test_factors_of_both_tastes_are_learned_and_beat_popularity(shop: Interactions) -> None:
    split = shop.split(0)
    for cls in (MatrixFactorization, LightGCN):
        method = cls.seeded(split, 0, width=8).fit(split, None, steps=150, batch_size=256, lr=0.02)
        assert (
            method.evaluate(split.test)["ndcg@20"] > 1.15 * Popularity.for_data(split).evaluate(split.test)["ndcg@20"]
        )


def test_the_gradient_of_a_batch_is_that_of_the_formula(shop: Interactions) -> None:
    """LightGCN's loss by dense matrices and autograd."""
    method = LightGCN.seeded(shop, 0, width=6, layers=3, l2=0.01)
    batch = next(iter(method.batches(shop, 100, torch.Generator().manual_seed(0))))
    method.loss(batch)["loss"].backward()
    dense = torch.zeros(100, 100)
    dense[shop.user, shop.item + 60] = 1
    dense = dense + dense.T
    dense = dense / (dense.sum(0)[:, None] * dense.sum(0)).sqrt()
    e = method.embedding.detach().requires_grad_()
    table = sum(torch.linalg.matrix_power(dense, power) @ e for power in range(4)) / 4
    u, i, j = batch.user, batch.liked + 60, batch.other + 60
    score = (table[u] * (table[j] - table[i])).sum(1)
    penalty = (e[u].square().sum() + e[i].square().sum() + e[j].square().sum()) / 2 / len(u)
    (torch.nn.functional.softplus(score).mean() + 0.01 * penalty).backward()
    torch.testing.assert_close(method.embedding.grad, e.grad)
    assert method.edges_touched == 3 * 2 * len(shop)


def test_an_epoch_shows_every_liked_row_once_with_a_negative_that_the_user_lacks(shop: Interactions) -> None:
    method = LightGCN.seeded(shop, 0)
    epoch = list(method.batches(shop, 100, torch.Generator()))
    seen = [pair for b in epoch for pair in zip(b.user.tolist(), b.liked.tolist(), strict=True)]
    assert len(seen) == len(shop) == len(set(seen)) and method.epoch_length(shop, 100) == 8
    had = set(zip(shop.user.tolist(), shop.item.tolist(), strict=True))
    for batch in method.batches(shop, 100, torch.Generator()):
        assert not had & set(zip(batch.user.tolist(), batch.other.tolist(), strict=True))
    with pytest.raises(MethodError, match="negatives is 'hard'; choose uniform or popularity"):
        LightGCN.for_data(shop, negatives="hard")
