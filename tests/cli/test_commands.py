"""Every command, run as its user runs it: what it prints, what it leaves behind, and how it refuses."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

BASELINES = ("last-value", "daily-profile", "weekly-profile", "linear", "vector-autoregression")


def pathline(*arguments, cwd=None, **environment):
    command = [sys.executable, "-m", "pathline", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a user's files: twenty days of four sensors every hour, with gaps, and a graph."""
    place = tmp_path_factory.mktemp("user")
    rng = np.random.default_rng(0)
    hours = np.arange(24 * 20)
    values = 40 + 10 * np.sin(2 * np.pi * (hours[:, None] / 24 - np.arange(4) / 8)) + rng.normal(size=(len(hours), 4))
    values[rng.random(values.shape) < 0.02] = np.nan
    table = pd.DataFrame(values, columns=["north", "east", "south", "west"]).round(3)
    table.insert(0, "time", pd.date_range("2024-03-01", periods=len(hours), freq="h"))
    table.to_csv(place / "speeds.csv", index=False)
    pd.DataFrame(np.eye(4) + np.roll(np.eye(4), 1, 0)).to_csv(place / "graph.csv", index=False, header=False)
    pd.DataFrame(rng.normal(size=(300, 2)), columns=["x", "y"]).to_csv(place / "points.csv", index=False)
    return place


@pytest.fixture(scope="module")
def run(folder):
    done = pathline(
        "fit", "stlinear", "speeds.csv", "--graph", "graph.csv", "--steps", 30, "--out", "r", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_and_import_are_fast_because_torch_is_not_loaded():
    program = (
        "import sys, pathline\n"
        "from typer.testing import CliRunner\n"
        "from pathline.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['methods', '--json']).exit_code == 0\n"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, env=ENVIRONMENT).returncode == 0


def test_methods_lists_all_164_systems_built_or_not():
    listed = json.loads(pathline("methods", "--json").stdout)
    assert sum(item["number"] is not None for item in listed) == 164
    built = {item["key"] for item in listed if item["built"] and item["number"]}
    assert {"stlinear", "gman", "flow-matching", "meanflow", "egnn", "segno"} <= built
    text = pathline("methods", "--room", "forecast").stdout
    assert "not yet" in text and "stlinear" in text and "meanflow" not in text


def test_info_and_datasets_speak(folder):
    assert "2308.10276" in pathline("info", "stlinear").stdout
    assert "not built yet" in pathline("info", "passat").stdout
    listed = json.loads(pathline("datasets", "--json").stdout)
    assert {"metr-la-week", "digits", "charged-nbody"} <= {item["key"] for item in listed}


def test_fit_leaves_a_whole_run(folder, run):
    assert set(run["metrics"]) >= {"MAE", "RMSE"} and all(math.isfinite(v) for v in run["metrics"].values())
    files = {path.name for path in (folder / "r").iterdir()}
    assert files == {"config.json", "model.safetensors", "metrics.csv", "report.html"}
    page = (folder / "r" / "report.html").read_text()
    assert "data:image/png;base64" in page and "http://" not in page and "https://" not in page


def test_the_command_in_the_record_repeats_the_run(folder, run):
    again = pathline(*run["command"].split()[1:], "--out", "again", "--json", cwd=folder)
    assert json.loads(again.stdout)["metrics"] == run["metrics"]


def test_evaluate_measures_the_test_part_of_the_same_data_and_all_of_other_data(folder, run):
    same = json.loads(pathline("evaluate", "r", "speeds.csv", "--json", cwd=folder).stdout)
    assert same["part"] == "test" and same["metrics"] == run["metrics"]
    table = pd.read_csv(folder / "speeds.csv").iloc[:100]
    table.to_csv(folder / "other.csv", index=False)
    other = json.loads(pathline("evaluate", "r", "other.csv", "--json", cwd=folder).stdout)
    assert other["part"] == "all" and other["metrics"] != run["metrics"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_predict_writes_the_next_steps_in_three_formats(folder, run, ending):
    done = pathline("predict", "r", "speeds.csv", "--out", f"next.{ending}", cwd=folder)
    assert done.returncode == 0, done.stderr
    path = folder / f"next.{ending}"
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "npz": lambda p: pd.DataFrame(dict(np.load(p)))}
    table = read[ending](path)
    assert list(table.columns) == ["time", "north", "east", "south", "west"] and len(table) == 12
    assert pd.Timestamp(table["time"].iloc[0]) == pd.Timestamp("2024-03-21 00:00")


def test_report_is_written_again(folder, run):
    page = folder / "r" / "report.html"
    page.unlink()
    done = pathline("report", "r", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "stlinear" in page.read_text()


def test_compare_ranks_methods_and_baselines_and_saves_the_best(folder):
    done = pathline(
        "compare",
        "forecast",
        "speeds.csv",
        "--steps",
        20,
        "--seeds",
        2,
        "--methods",
        "stlinear",
        "--out",
        "c",
        "--json",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert {arm["key"] for arm in board["arms"]} == {"stlinear", *BASELINES}
    means = [arm["mean"]["MAE"] for arm in board["arms"]]
    assert means == sorted(means) and board["best"] == board["arms"][0]["key"]
    naive = next(arm for arm in board["arms"] if arm["key"] == "last-value")
    assert naive["skill"] == 0 and all(len(arm["metrics"]["MAE"]) == 2 for arm in board["arms"])
    assert json.loads(pathline("evaluate", board["run"], "speeds.csv", "--json", cwd=folder).stdout)["part"] == "test"
    assert "data:image/png;base64" in (folder / "c" / "report.html").read_text()


def test_compare_on_ray_gives_the_same_numbers(folder):
    pytest.importorskip("ray")
    arguments = ("compare", "forecast", "speeds.csv", "--steps", 5, "--seeds", 1, "--methods", "stlinear", "--json")
    local = pathline(*arguments, "--out", "local", cwd=folder)
    ray = pathline(*arguments, "--out", "ray", "--engine", "ray", cwd=folder)
    assert ray.returncode == 0, ray.stderr
    numbers = [{arm["key"]: arm["metrics"] for arm in json.loads(done.stdout)["arms"]} for done in (local, ray)]
    for key, metrics in numbers[0].items():
        assert metrics["MAE"] == pytest.approx(numbers[1][key]["MAE"], rel=1e-4)


def test_a_stopped_fit_is_resumed_and_a_finished_one_is_kept(folder, run):
    again = pathline(
        "fit",
        "stlinear",
        "speeds.csv",
        "--graph",
        "graph.csv",
        "--steps",
        30,
        "--out",
        "r",
        "--resume",
        "--json",
        cwd=folder,
    )
    assert json.loads(again.stdout)["metrics"] == run["metrics"]
    other = pathline(
        "fit", "stlinear", "speeds.csv", "--graph", "graph.csv", "--steps", 31, "--out", "r", "--resume", cwd=folder
    )
    assert other.returncode == 2 and "was begun with budget 30 steps, not 31 steps" in other.stderr


def test_evidence_is_one_json_list():
    found = json.loads(pathline("evidence", "--json").stdout)
    assert isinstance(found, list)
    for item in found:
        assert {"key", "number", "room", "verdict", "stale", "seeds", "arms", "margin", "seconds"} <= set(item)
        assert item["verdict"] in ("holds", "falls short") and len(item["seeds"]) >= 3


BAD = [
    (("fit", "stlinaer", "speeds.csv"), "did you mean 'stlinear'"),
    (("fit", "passat", "speeds.csv"), "not built yet"),
    (("fit", "stlinear"), "name the data"),
    (("fit", "stlinear", "nowhere.csv"), "nowhere.csv: there is no such file"),
    (("fit", "stlinear", "metr-la-weak"), "did you mean 'metr-la-week'"),
    (("fit", "stlinear", "digits"), "'digits' holds Samples, but room 'forecast' learns from Series"),
    (("fit", "stlinear", "speeds.csv", "--set", "depth=3"), "has no setting 'depth'"),
    (("fit", "stlinear", "speeds.csv", "--set", "width"), "write it as name=value"),
    (("fit", "stlinear", "speeds.csv", "--steps", "0"), "give a positive number"),
    (("fit", "stlinear", "speeds.csv", "--steps", "5", "--minutes", "1"), "names one of steps, epochs and minutes"),
    (("fit", "stlinear", "speeds.csv", "--resume"), "--out DIR"),
    (("fit", "stlinear", "speeds.csv", "--graph", "points.csv"), "a graph's table is square"),
    (("fit", "stlinear", "points.csv"), "no column is named time"),
    (("compare", "forecats", "speeds.csv"), "did you mean 'forecast'"),
    (("compare", "track", "speeds.csv"), "no columns say where"),
    (("compare", "scale", "speeds.csv"), "room 'scale'"),
    (("compare", "graphs", "speeds.csv"), "an edge list needs source and target"),
    (("compare", "forecast", "speeds.csv", "--threshold", "3"), "such a file is not read with --threshold"),
    (("compare", "forecast", "speeds.csv", "--methods", "meanflow"), "belongs to room 'generate'"),
    (("compare", "forecast", "speeds.csv", "--engine", "dask"), "choose local or ray"),
    (("predict", "nowhere", "speeds.csv"), "is not a run folder"),
    (("evaluate", "nowhere", "speeds.csv"), "is not a run folder"),
    (("report", "nowhere"), "is not a run folder"),
    (("claim",), "name a system"),
    (("claim", "passat"), "no claim yet"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_input_is_one_sentence_and_exit_code_2(folder, arguments, words):
    before = sorted(folder.rglob("*"))
    done = pathline(*arguments, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and words in done.stderr
    assert sorted(folder.rglob("*")) == before, "something was left behind"


def test_two_processes_leave_one_run(folder):
    (folder / "twin.csv").write_bytes((folder / "speeds.csv").read_bytes())
    done = pathline(
        "fit", "stlinear", "twin.csv", "--steps", 10, "--devices", 2, "--strategy", "ddp", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["training"]["steps"] == 10 and math.isfinite(record["metrics"]["MAE"])
    assert sorted(path.name for path in (folder / "runs").glob("stlinear-twin*")) == ["stlinear-twin"]


def test_predict_refuses_an_unknown_ending_and_other_sensors(folder, run):
    assert "choose one of these endings" in pathline("predict", "r", "speeds.csv", "--out", "x.xls", cwd=folder).stderr
    pd.read_csv(folder / "speeds.csv").drop(columns="west").to_csv(folder / "three.csv", index=False)
    done = pathline("predict", "r", "three.csv", cwd=folder)
    assert done.returncode == 2 and "3" in done.stderr and "Traceback" not in done.stderr


def test_a_claim_can_be_checked_with_fresh_seeds_and_records_nothing(monkeypatch, capsys):
    from pathline import claims
    from pathline.cli.app import main
    from pathline.core import claim
    from pathline.core.claim import Claim, at_most

    class Small(Claim):
        """Nothing much."""

        system, require = "meanflow", (at_most("ours", 0.5, "theirs"),)

        def run(self, seed):
            return {"ours": float(seed), "theirs": 100.0}

    monkeypatch.setattr(claims, "claim", lambda key: Small())
    monkeypatch.setattr(claim, "record", lambda *_: pytest.fail("a check must not overwrite the evidence"))
    monkeypatch.setattr(sys, "argv", ["pathline", "claim", "meanflow", "--seeds", "4", "--first-seed", "40", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr()
    assert json.loads(shown.out)["arms"]["ours"] == [40.0, 41.0, 42.0, 43.0]
    assert "nothing was recorded" in shown.err
