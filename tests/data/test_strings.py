"""Tables of strings and rewards: a user's file as an environment, and the two built-in tables."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from pathline.data import DataError, read
from pathline.data.readers.pickled import read_arrays
from pathline.data.sets import load
from pathline.data.strings import letters_of

needs_mirror = pytest.mark.skipif(not os.environ.get("PATHLINE_DATA"), reason="PATHLINE_DATA names no mirror")


@pytest.fixture
def write(tmp_path):
    def write(text, name="rewards.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_strings_of_any_alphabet_and_length_are_read(write):
    env = read(write("string,reward\nab,2\nb,0.5\nabz,4\n"), "Environment")
    assert (env.alphabet, env.shortest, env.longest, env.name) == ("abz", 1, 3, "rewards")
    assert env.count == 3 + 9 + 27
    rewards = env.log_reward(env.read(["ab", "b", "abz", "zz"])).exp()
    torch.testing.assert_close(rewards, torch.tensor([2, 0.5, 4, 0.005]))  # 1 percent of the least one


def test_digits_and_words_that_look_like_gaps_stay_strings(write):
    env = read(write("string,reward\n007,1\n070,2\n"), "Environment")
    assert env.alphabet == "07" and env.shortest == env.longest == 3
    env = read(write("string,reward\nNA,1\nAN,2\n"), "Environment")
    torch.testing.assert_close(env.log_reward(env.read(["NA", "AN"])).exp(), torch.tensor([1.0, 2.0]))


def test_letters_floor_growth_and_exponent_can_be_chosen(write):
    path = write("Sequence,Score\nab,2\nba,0\n")
    env = read(path, "Environment", alphabet="bac", floor=0.1, growth="both", exponent=2.0)
    assert env.alphabet == "bac" and env.growth == "both" and env.count == 9
    torch.testing.assert_close(env.log_reward(env.read(["ab", "ba", "cc"])).exp(), torch.tensor([4.0, 0.01, 0.01]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("string,reward\nab,2\nb,x\n", "row 3, column 'reward': 'x' is not a number"),
        ("string,reward\nab,2\nb,-1\n", "row 3, column 'reward': the reward -1 is negative"),
        ("string,reward\nab,2\nb,inf\n", "row 3, column 'reward': the value is infinite"),
        ("string,reward\nab,2\n,1\n", "row 3, column 'string': the string is empty"),
        ("string,reward\nab,2\nb,1\nab,2\n", "row 4, column 'string': 'ab' is there already, in row 2"),
        ("word,reward\nab,2\n", "missing column string"),
        ("string,worth\nab,2\n", "missing column reward"),
        ("string,reward\nab,0\n", "column 'reward': every reward is 0"),
        ("string,reward\nab\n", "row 2: it has 1 of 2 columns"),
        ("string,reward\nab,\n", "row 2, column 'reward'"),
    ],
)
def test_a_bad_cell_is_named_with_its_row_and_column(write, text, words):
    with pytest.raises(DataError, match=r"rewards\.csv") as error:
        read(write(text), "Environment")
    assert words in str(error.value)


def test_strange_letters_and_other_formats_are_refused(write):
    path = write("string,reward\nab,2\nac,1\n")
    with pytest.raises(DataError, match=r"row 3, column 'string': 'ac' has letters that are not among 'ab'"):
        read(path, "Environment", alphabet="ab")
    with pytest.raises(DataError, match="the floor is 0"):
        read(path, "Environment", floor=0.0)
    with pytest.raises(DataError, match="growth is 'middle'"):
        read(path, "Environment", growth="middle")
    with pytest.raises(DataError, match=r"the ending '.npz' is none of these"):
        read(write("", "rewards.npz"), "Environment")


def test_parquet_is_read_too(tmp_path):
    pd.DataFrame({"string": ["ab", "ba"], "reward": [1.0, 3.0]}).to_parquet(tmp_path / "r.parquet")
    env = read(tmp_path / "r.parquet", "Environment")
    torch.testing.assert_close(env.log_reward(env.read(["ba"])).exp(), torch.tensor([3.0]))


def test_letters_of_any_script_are_numbered_by_their_place():
    assert letters_of(["äb", "b", "ßßä"], "äbß", 3).tolist() == [[1, 2, 0], [2, 0, 0], [3, 3, 1]]


class _Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_pickle_gives_arrays_and_runs_nothing_else(tmp_path):
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps({"x": np.arange(6).reshape(2, 3), "y": np.float32(2.5), "z": ["a", 1]}))
    found = read_arrays(path)
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and float(found["y"]) == 2.5 and found["z"] == ["a", 1]
    for bad in (_Evil(), {"x": _Evil()}, np.array([_Evil()], dtype=object), print):
        path.write_bytes(pickle.dumps(bad))
        with pytest.raises(DataError, match=r"table.pkl: (not a pickle of arrays|an array of objects)"):
            read_arrays(path)
    path.write_bytes(b"no pickle")
    with pytest.raises(DataError, match="not a pickle of arrays"):
        read_arrays(path)


@needs_mirror
def test_the_binding_table_covers_the_weaker_half_and_says_so():
    env = load("tfbind8")
    assert env.count == 65_536 and len(env.rewards) == 32_768
    assert float(env.rewards.max()) < 0.44 and float(env.rewards.min()) == 0
    motif = env.read(["GTATCAAA", "TTGATACC", "AGTATCAG"])  # SIX6 binds here: in the half that nobody listed
    torch.testing.assert_close(env.log_reward(motif).exp(), torch.full((3,), 1e-3**3))
    listed = torch.cat([env.letters, torch.zeros(len(env.letters), 1, dtype=torch.int64)], 1)
    wanted = 3 * env.rewards.clamp(min=1e-3).log()
    torch.testing.assert_close(env.log_reward(listed), wanted, atol=1e-5, rtol=1e-5)
    swapped = torch.cat([5 - env.letters.flip(1), listed[:, 8:]], 1)  # the other strand: A with T, C with G
    torch.testing.assert_close(env.log_reward(swapped), env.log_reward(listed))


@needs_mirror
def test_every_string_of_blocks_has_its_score():
    env = load("qm9-strings")
    assert env.count == len(env.rewards) == 161_051 == 11**5 and env.growth == "both"
    best = env.text(env.objects[env.log_reward(env.objects).argmax()][None])
    place = int(env.rewards.argmax())
    assert best[0] == "".join("0123456789a"[letter - 1] for letter in env.letters[place].tolist())
    assert float(env.rewards.max()) == pytest.approx(17.3748, abs=1e-3)


@pytest.mark.parametrize("key", ["hypergrid", "bits", "sets"])
def test_generated_environments_are_there_by_key(key):
    env = load(key)
    assert env.name == key and torch.isfinite(env.log_reward(env.probe(20))).all()
    assert env.fingerprint() == load(key).fingerprint()
