"""Measures of a search on words whose rewards are known by heart."""

import pytest
import torch

from pathline.compose.discovery import accuracy, diverse_modes, mean_of_best, uniqueness
from pathline.sims.environments import Strings

LETTERS = torch.cartesian_prod(torch.arange(2) + 1, torch.arange(2) + 1)
WORDS = Strings(alphabet="ab", shortest=2, longest=2, letters=LETTERS, rewards=torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_a_perfect_sampler_is_fully_accurate_and_a_uniform_one_is_not():
    assert accuracy(WORDS, WORDS.target) == pytest.approx(100)
    assert accuracy(WORDS, torch.full((4,), 0.25)) == pytest.approx(100 * 2.5 / 3.0)  # sum R^2 / sum R = 30 / 10
    best = (WORDS.target == WORDS.target.max()).double()
    assert accuracy(WORDS, best) == 100  # better than asked for counts no more


def test_best_and_different_objects_are_counted_once():
    seen = WORDS.read(["bb", "bb", "ba", "aa"])
    assert mean_of_best(WORDS, seen, 2) == pytest.approx(3.5)
    assert mean_of_best(WORDS, seen) == pytest.approx(8 / 3)
    assert uniqueness(seen) == pytest.approx(0.75)


def test_modes_that_are_neighbours_count_as_one():
    seen = WORDS.read(["bb", "ba", "ab", "aa"])
    bar = float(torch.tensor(1.0).log())
    assert diverse_modes(WORDS, seen, bar, 1) == 4
    assert diverse_modes(WORDS, seen, bar, 2) == 2  # bb and aa
    assert diverse_modes(WORDS, seen, float(torch.tensor(3.0).log()), 2) == 1
