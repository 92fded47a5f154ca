"""The room: tables, figures, files, and the command line."""

import json
import math
import subprocess
import sys

import pytest
import torch

import pathline as pl
from pathline.compose.baselines import MCMC, RandomMoves
from pathline.compose.pictures import fresh, marginal
from pathline.compose.subtb import SubTB
from pathline.core.budget import steps
from pathline.sims.environments import Hypergrid, random_sets

GRID = Hypergrid(dims=2, side=5)


def test_a_prediction_lists_objects_in_words_best_first():
    method = SubTB.seeded(GRID, 0, width=32).fit(GRID, steps(5))
    table = method.predict(GRID)
    assert list(table.columns) == ["object", "log_reward", "log_probability"] and len(table) == 1000
    assert table.log_reward.is_monotonic_decreasing
    words, law = GRID.text(GRID.objects), method.law(GRID)
    row = table.iloc[500]
    assert row.log_probability == pytest.approx(math.log(float(law[words.index(row.object)])), abs=1e-4)
    assert "log_probability" not in MCMC.for_data(GRID).predict(GRID)


def test_evaluation_counts_modes_and_rewards():
    env = Hypergrid(dims=2, side=8)
    found = RandomMoves.for_data(env).evaluate(env)
    assert list(found) == ["l1", "modes", "modes_of", "mean_reward", "reward_calls"]
    law = RandomMoves.for_data(env).law(env)
    assert found["l1"] == pytest.approx(float((law - env.target).abs().sum()))
    wanted = float((law * env.log_reward(env.objects).double().exp()).sum())
    assert found["mean_reward"] == pytest.approx(wanted, rel=0.15) and found["modes_of"] == 4
    method = SubTB.seeded(env, 0, width=16).fit(env, steps(7), batch_size=5)
    assert method.evaluate(env)["reward_calls"] == 35


def test_figures_are_drawn_for_grids_and_for_sets():
    methods = {"subtb": SubTB.seeded(GRID, 0, width=16).eval(), "mcmc": MCMC.for_data(GRID, sweeps=2)}
    titles = [figure.title for figure in SubTB.figures(methods, GRID)]
    assert titles == ["Learned against exact distribution", "Rewards of drawn objects", "Modes found"]
    sets = random_sets(30, 15, seed=0)
    assert [figure.title for figure in SubTB.figures({"subtb": SubTB.seeded(sets, 0, width=16)}, sets)] == titles[1:2]


def test_a_marginal_adds_up_the_other_axes():
    cube = Hypergrid(dims=3, side=3)
    table = marginal(cube, cube.target)
    assert float(table.sum()) == pytest.approx(1)
    at = (cube.objects[:, 0] == 2) & (cube.objects[:, 1] == 1)
    assert float(table[2, 1]) == pytest.approx(float(cube.target[at].sum()))


def test_fresh_counts_each_mode_once():
    codes = torch.tensor([5, 3, 5, 7, 3])
    assert fresh(codes, torch.tensor([True, False, True, True, False])).tolist() == [1, 1, 1, 2, 2]


def test_rewards_in_a_file_are_learned_from_the_command_line(tmp_path):
    rows = [f"{a}{b}{c},{1 + (a == 'x') + 2 * (c == 'z')}" for a in "xyz" for b in "xyz" for c in "xyz"][:-2]
    (tmp_path / "my_rewards.csv").write_text("string,reward\n" + "\n".join(rows))
    out = tmp_path / "run"

    def pathline(*words):
        command = [sys.executable, "-m", "pathline", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    fitted = pathline("fit", "subtb", "my_rewards.csv", "--steps", 150, "--set", "width=32", "--out", out, "--json")
    assert fitted.returncode == 0, fitted.stderr
    record = json.loads(fitted.stdout)
    assert record["metrics"]["l1"] < 0.6 and (out / "report.html").exists()
    drawn = pathline("predict", out, "my_rewards.csv")
    assert drawn.returncode == 0 and drawn.stdout.splitlines()[0] == "object,log_reward,log_probability"
    (tmp_path / "bad.csv").write_text("string,reward\nab,one\n")
    refused = pathline("fit", "subtb", "bad.csv")
    assert refused.returncode == 2 and "bad.csv, row 2, column 'reward': 'one' is not a number" in refused.stderr


def test_the_same_file_opens_in_python(tmp_path):
    (tmp_path / "r.csv").write_text("string,reward\nab,1\nba,3\n")
    env = pl.read(tmp_path / "r.csv", room="compose", floor=0.5)
    method = pl.method("subtb").for_data(env, width=16).fit(env, pl.steps(200), batch_size=16, lr=1e-2)
    law = method.law(env)
    assert torch.equal(method.objects(7, seed=2), method.sample(7, seed=2).objects)
    best = dict(zip(env.text(env.objects), law.tolist(), strict=True))
    assert max(best, key=best.__getitem__) == "ba"
