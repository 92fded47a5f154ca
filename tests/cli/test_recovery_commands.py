"""Recovery and streams from the command line: a table with gaps is filled, methods are compared, a run is used."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pathline.cli.app import app
from pathline.data.errors import PathlineError

run = CliRunner().invoke


@pytest.fixture
def gaps(tmp_path):
    """Eighty hours of eight sensors on a ring, one cell in five empty."""
    hour, sensor = np.arange(80)[:, None], np.arange(8)
    values = 20 + 5 * np.sin(hour / 4 - sensor * np.pi / 4)
    table = pd.DataFrame(values, columns=[f"s{i}" for i in range(8)])
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.2)
    table.insert(0, "time", pd.date_range("2024-03-01", periods=80, freq="h"))
    table.to_csv(tmp_path / "gaps.csv", index=False)
    ring = np.roll(np.eye(8), 1, axis=1)
    np.savetxt(tmp_path / "ring.csv", ring + ring.T, delimiter=",", fmt="%g")
    return table


def test_a_table_with_gaps_is_filled_by_the_best_of_a_comparison(gaps, tmp_path):
    file, graph, out = (str(tmp_path / name) for name in ("gaps.csv", "ring.csv", "board"))
    asked = ["compare", "forecast", file, "--task", "recover", "--density", "0.7", "--graph", graph, "--steps", "3"]
    done = run(app, [*asked, "--out", out, "--json"])
    assert done.exit_code == 0, done.output
    board = json.loads(done.stdout)
    keys = {arm["key"] for arm in board["arms"]}
    assert keys == {"timegnn", "nearest-neighbour", "natural-neighbours", "graph-trss", "low-rank"}
    assert board["naive"] == "nearest-neighbour" and not any(arm["failure"] for arm in board["arms"])
    assert board["description"]["density"] == 0.7
    done = run(app, ["predict", board["run"], file, "--out", str(tmp_path / "whole.csv")])
    assert done.exit_code == 0, done.output
    whole = pd.read_csv(tmp_path / "whole.csv")
    assert not whole.isna().any().any() and list(whole.columns) == list(gaps.columns)
    there = gaps.iloc[:, 1:].notna().to_numpy()
    np.testing.assert_allclose(whole.iloc[:, 1:].to_numpy()[there], gaps.iloc[:, 1:].to_numpy()[there], rtol=1e-5)


def test_the_same_table_without_a_task_is_forecast(gaps, tmp_path):
    options = ["--history", "6", "--horizon", "1", "--steps", "2", "--set", "width=4", "--out", str(tmp_path / "run")]
    done = run(app, ["fit", "ltcload", str(tmp_path / "gaps.csv"), *options])
    assert done.exit_code == 0, done.output
    done = run(app, ["predict", str(tmp_path / "run"), str(tmp_path / "gaps.csv")])
    assert done.exit_code == 0 and done.stdout.startswith("time,s0,s1")
    assert run(app, ["report", str(tmp_path / "run")]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--density", "0.5"], "goes with --task recover"),
        (["--task", "recover", "--protocol", "rows"], "there is no protocol 'rows'"),
        (["--task", "fill"], "no task 'fill'; its tasks: forecast, recover"),
        (["--task", "recover", "--methods", "stlinear"], "STLinear learns from Series"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(gaps, tmp_path, words, said):
    done = run(app, ["compare", "forecast", str(tmp_path / "gaps.csv"), *words, "--out", str(tmp_path / "none")])
    assert isinstance(done.exception, PathlineError) and said in str(done.exception)  # which `main` prints, exit code 2


def test_a_run_on_a_built_in_signal_remembers_what_it_hid(tmp_path):
    folder = str(tmp_path / "run")
    words = ["fit", "low-rank", "rough-signal", "--density", "0.4", "--protocol", "entries", "--out", folder, "--json"]
    done = run(app, words)
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout)["metrics"]
    done = run(app, ["evaluate", folder, "rough-signal", "--json"])
    again = json.loads(done.stdout)
    assert again["part"] == "test" and again["metrics"] == pytest.approx(first)
