"""Comparisons: who gets which budget, what the leaderboard says, and what is left on disk."""

import json
import math
import re
from typing import ClassVar

import pytest
import torch

from pathline.core.budget import Budget, minutes, steps
from pathline.core.compare import Arm, Leaderboard, compare, save_board
from pathline.core.errors import DataError, MethodError, TrainingError
from pathline.core.method import Method
from pathline.core.run import evaluate_run
from pathline.forecast.stlinear import STLinear
from pathline.sims.points import points
from pathline.sims.roads import simulated_roads

ROADS = simulated_roads(sensors=12, days=2)


class Refuses(STLinear):
    """Stands for a method that diverges on some data."""

    def fit(self, *arguments, **options):
        raise TrainingError("the loss is nan")


class RefusesLater(STLinear):
    """Diverges with the second seed only."""

    def fit(self, data, budget=None, seed=0, validation=None, **options):
        if seed:
            raise TrainingError("the loss is inf")
        return super().fit(data, budget, seed, validation, **options)


class Notes(STLinear):
    """Remembers with which budget and on what it was trained."""

    seen: ClassVar[list[tuple[Budget | None, int, str]]] = []

    def fit(self, data, budget=None, seed=0, validation=None, **options):
        self.seen.append((budget, seed, data.train.fingerprint()))
        return super().fit(data, steps(2), seed, validation, **options)


class Other(Notes):
    pass


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return compare([STLinear, Refuses, RefusesLater], ROADS, budget=steps(60), seeds=2)


def test_minutes_are_shared_by_the_arms_and_seeds_that_train():
    Notes.seen.clear()
    compare([Notes, Other], ROADS, budget=minutes(2), seeds=[3, 5])
    assert [budget for budget, _, _ in Notes.seen] == [Budget(minutes=0.5)] * 4
    assert sorted(seed for _, seed, _ in Notes.seen) == [3, 3, 5, 5]
    assert len({fingerprint for _, _, fingerprint in Notes.seen}) == 1


def test_arms_are_ranked_and_skill_is_measured_against_the_first_baseline(board):
    finished = [arm for arm in board.arms if arm.metrics]
    errors = [board.mean(arm, "MAE") for arm in finished]
    assert errors == sorted(errors) and len(finished) == 6  # stlinear and five baselines
    arms = {arm.key: arm for arm in board.arms}
    assert board.skill(arms["last-value"]) == 0
    naive, ours = (board.mean(arms[key], "MAE") for key in ("last-value", "stlinear"))
    assert board.skill(arms["stlinear"]) == pytest.approx(1 - ours / naive)
    assert board.spread(arms["stlinear"], "MAE") > 0 == board.spread(arms["last-value"], "MAE")


def test_a_method_that_fails_is_listed_with_its_reason_and_stops_nobody(board):
    assert {arm.key: arm.failure for arm in board.arms[-2:]} == {
        "Refuses": "the loss is nan",
        "RefusesLater": "the loss is inf",
    }
    for arm in board.arms[-2:]:
        assert board.skill(arm) is None and not arm.metrics and arm.key not in board.models


def test_the_same_comparison_gives_the_same_numbers(board):
    again = compare([STLinear], ROADS, budget=steps(60), seeds=2)
    metrics = {arm.key: arm.metrics for arm in board.arms}
    assert all(arm.metrics == metrics[arm.key] for arm in again.arms)


def test_as_text_it_is_a_table_with_a_row_for_each_arm(board):
    lines = str(board).splitlines()
    assert len(lines) == 1 + len(board.arms)
    assert "MAE" in lines[0] and "skill" in lines[0]
    assert any(line.startswith("stlinear") and "±" in line for line in lines)


def test_higher_is_better_counts_what_was_missed_of_one():
    arms = [Arm("ours", False, {"accuracy": [0.9]}), Arm("naive", True, {"accuracy": [0.6]})]
    table = Leaderboard("graphs", "d", {}, "", [0], "", "higher", "naive", arms, 0.0)
    assert table.skill(arms[0]) == pytest.approx(0.75)


def test_what_is_saved_can_be_used_read_and_sent(board, tmp_path):
    save_board(board, tmp_path / "b")
    document = json.loads((tmp_path / "b" / "leaderboard.json").read_text())
    assert document["best"] == board.best.key
    assert all(math.isfinite(arm["mean"]["MAE"]) for arm in document["arms"] if not arm["failure"])
    best = Method.load(document["run"])
    assert best.evaluate(board.test) == {name: values[0] for name, values in board.best.metrics.items()}
    page = (tmp_path / "b" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert not re.search(r"(src|href)=.https?:", page) and "<script" not in page  # self-contained
    assert "the loss is nan" in page
    with pytest.raises(DataError):
        evaluate_run(tmp_path / "b" / board.best.key, tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("methods", "data", "options", "words"),
    [
        ([], ROADS, {}, "no method was named"),
        (None, ROADS, {}, "name methods or a room"),
        (["stlinear"], ROADS, {"engine": "dask"}, "no engine 'dask'"),
        (["stlinear"], ROADS, {"seeds": []}, "at least one seed"),
        (["stlinear", "meanflow"], ROADS, {}, "belongs to room 'generate'"),
    ],
)
def test_what_cannot_be_compared_is_refused(methods, data, options, words):
    with pytest.raises(MethodError, match=words):
        compare(methods, data, **options)


def test_data_of_another_kind_are_refused():
    with pytest.raises(DataError, match="learns from Series"):
        compare([STLinear], points("two-moons", 50, 0), budget=steps(1))


def test_no_model_is_picked_by_its_test_score(board):
    """The saved model is the first seed's, whichever seed did best."""
    first = STLinear.seeded(ROADS.split().train, 0).fit(ROADS.split(), steps(60), seed=0)
    saved = board.models["stlinear"].state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in first.state_dict().items())
