"""Discrete environments: moves and undoing agree, parents are counted truly, rewards are what they say."""

import itertools
import math

import pytest
import torch

from pathline.core.errors import DataError
from pathline.sims.environments import Bits, Hypergrid, Sets, Strings, random_bits, random_sets

WORDS = Strings(alphabet="ab", shortest=2, longest=4, growth="end", reward=lambda x: 1.0 + (x == 1).sum(1))
BOTH = Strings(alphabet="abc", shortest=4, longest=4, growth="both", reward=lambda x: 1.0 + (x == 1).sum(1))
VARIED = Strings(alphabet="ab", shortest=1, longest=3, growth="both", reward=lambda x: 1.0 + (x == 2).sum(1))
ALL = [
    Hypergrid(dims=2, side=5),
    Hypergrid(dims=3, side=4, r0=1e-3),
    random_bits(8, 2, 3, seed=0),
    random_sets(7, 3, seed=0),
    WORDS,
    BOTH,
    VARIED,
]
named = pytest.mark.parametrize("env", ALL, ids=lambda env: f"{env.name}-{env.actions}")


@named
def test_levels_hold_every_state_once_and_every_object(env):
    states = torch.cat(env.levels)
    assert len(torch.unique(states, dim=0)) == len(states)
    assert len(torch.unique(env.code(states))) == len(states)
    assert len(env.objects) == env.count == len(torch.unique(env.objects, dim=0))
    assert not env.forward_mask(env.objects).any() and env.forward_mask(states[~env.is_terminal(states)]).any(1).all()
    assert len(env.levels) == env.bound + 1
    torch.testing.assert_close(env.target.sum(), torch.tensor(1.0, dtype=torch.float64))


@named
def test_every_move_is_undone_and_no_child_or_parent_is_counted_twice(env):
    states = torch.cat(env.levels)
    at, action = env.forward_mask(states).nonzero(as_tuple=True)
    child = env.step(states[at], action)
    assert torch.equal(env.back(child, action), states[at])
    assert env.backward_mask(child)[torch.arange(len(child)), action].all()
    edges = torch.stack([env.code(states)[at], env.code(child)], 1)
    assert len(torch.unique(edges, dim=0)) == len(edges)
    assert int(env.backward_mask(states).sum()) == len(edges)  # as many parents as children: none is missing or extra
    assert not env.backward_mask(env.source(2)).any()


def test_growth_at_both_ends_has_the_parents_of_a_brute_force():
    states = torch.cat(BOTH.levels)
    words = BOTH.text(states)
    parents = [len({word[1:], word[:-1]}) if word else 0 for word in words]
    assert BOTH.backward_mask(states).sum(1).tolist() == parents
    unfinished = [len({letter + word for letter in "abc"} | {word + letter for letter in "abc"}) for word in words]
    wanted = [0 if len(word) == 4 else count for word, count in zip(words, unfinished, strict=True)]
    assert BOTH.forward_mask(states).sum(1).tolist() == wanted
    twice = BOTH.read(["aaab"])[:, :]
    assert int(BOTH.backward_mask(twice).sum()) == 2 and int(BOTH.backward_mask(BOTH.read(["aaaa"])).sum()) == 1


def test_the_hypergrid_has_its_reward_and_modes():
    grid = Hypergrid(dims=2, side=8)
    reward = grid.log_reward(grid.objects).exp().reshape(-1)
    cells = grid.objects[:, :2]
    for cell, value in zip(cells.tolist(), reward.tolist(), strict=True):
        off = [abs(x / 7 - 0.5) for x in cell]
        expected = 0.1 + 0.5 * all(o > 0.25 for o in off) + 2.0 * all(0.3 < o < 0.4 for o in off)
        assert math.isclose(value, expected, rel_tol=1e-5)
    assert int((reward > 2).sum()) == 4  # one mode in each corner
    custom = Hypergrid(dims=2, side=3, reward=lambda cells: 1.0 + cells.sum(1))
    assert custom.log_reward(custom.objects).exp().sum().item() == pytest.approx(9 + 18)


def test_bits_fall_with_the_hamming_distance_and_prefixes_have_energies():
    bits = Bits(length=6, word=3, modes=torch.tensor([[0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]))
    assert bits.text(bits.source(1)) == ["-1-1-1-1-1-1"] or bits.text(bits.source(1)) == [""]
    first = bits.step(bits.source(3), torch.tensor([0, 7, 5]))  # 000, 111, 101
    assert bits.energy(first).tolist() == [0, 0, 1]
    done = bits.step(first, torch.tensor([7, 0, 6]))  # 000111, 111000, 101110
    assert bits.text(done) == ["000111", "111000", "101110"]
    assert bits.log_reward(done).tolist() == [0, -3, -2]
    words = [list(map(int, code)) for code in ("00000000", "11111111", "11110000", "00001111", "00111100")]
    modes = random_bits(16, 4, 5, seed=1).modes.view(-1, 8).tolist()
    assert all(mode in words for mode in modes)


def test_inclusion_probabilities_of_sets_are_exact():
    sets = random_sets(8, 3, seed=3)
    mass = {c: math.exp(-float(sets.energies[list(c)].sum())) for c in itertools.combinations(range(8), 3)}
    total = sum(mass.values())
    wanted = [sum(m for c, m in mass.items() if u in c) / total for u in range(8)]
    torch.testing.assert_close(sets.inclusion(), torch.tensor(wanted, dtype=torch.float64))
    assert sets.log_mass == pytest.approx(math.log(total))
    assert float(random_sets(60, 45, seed=0).inclusion().sum()) == pytest.approx(45)
    assert float(sets.energy(sets.source(1))) == 0
    torch.testing.assert_close(sets.energy(sets.objects), -sets.log_reward(sets.objects))


def test_a_table_gives_listed_strings_their_reward_and_all_others_the_floor():
    letters = torch.tensor([[1, 2, 0], [2, 2, 1]])
    table = Strings(alphabet="xy", shortest=2, longest=3, letters=letters, rewards=torch.tensor([3.0, 0.0]), floor=0.5)
    rewards = table.log_reward(table.read(["xy", "yyx", "xx"])).exp()
    torch.testing.assert_close(rewards, torch.tensor([3.0, 0.5, 0.5]))
    assert table.text(table.read(["xy", "yyx"])) == ["xy", "yyx"]
    squared = Strings(
        alphabet="xy", shortest=2, longest=3, letters=letters, rewards=torch.tensor([3.0, 1.0]), exponent=2
    )
    torch.testing.assert_close(squared.log_reward(squared.read(["xy"])).exp(), torch.tensor([9.0]))
    with pytest.raises(DataError, match="lists 'xy' twice"):
        same = Strings(alphabet="xy", shortest=2, longest=2, letters=letters[[0, 0], :2], rewards=torch.ones(2))
        same.log_reward(same.objects)
    with pytest.raises(DataError, match="'xyz' is not a string"):
        table.read(["xyz"])


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(DataError, match="at least 1 axis and 2 cells"):
        Hypergrid(dims=0)
    with pytest.raises(DataError, match="must be above 0"):
        Hypergrid(r0=0.0)
    with pytest.raises(DataError, match="whole words"):
        Bits(length=7, word=2, modes=torch.zeros(1, 7))
    with pytest.raises(DataError, match="choose a size"):
        Sets(items=3, size=4, energies=torch.zeros(3))
    with pytest.raises(DataError, match="either a table"):
        Strings(alphabet="ab")
    with pytest.raises(DataError, match="return \\(9,\\)"):
        bad = Hypergrid(dims=2, side=3, reward=lambda cells: torch.ones(1))
        bad.log_reward(bad.objects)
    with pytest.raises(DataError, match="reward is -1"):
        bad = Hypergrid(dims=2, side=3, reward=lambda cells: -torch.ones(len(cells)))
        bad.log_reward(bad.objects)
    with pytest.raises(DataError, match="half-built objects have no energy"):
        Hypergrid().energy(torch.zeros(1, 3, dtype=torch.int64))


@named
def test_a_fingerprint_tells_environments_apart(env):
    assert env.fingerprint() == env.fingerprint()
    others = [other.fingerprint() for other in ALL if other is not env]
    assert env.fingerprint() not in others
    assert env.split().test is env
