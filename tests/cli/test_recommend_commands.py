"""The room of recommendations from the command line: ratings to a leaderboard, a run and lists for everybody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

READ = ("--threshold", 4, "--time-column", "when")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def pathline(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pathline", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty readers of two tastes who rated twelve of fifty books, in a file whose columns stand in another order."""
    place = tmp_path_factory.mktemp("books")
    rng = np.random.default_rng(0)
    rows = []
    for reader in range(80):
        taste = (np.arange(50) % 2 == reader % 2) * 0.6
        for when, book in enumerate(np.argsort(-(rng.random(50) + taste))[:12]):
            rows.append(
                {"stars": 5 if book % 2 == reader % 2 else 2, "book": f"b{book}", "when": when, "user": f"r{reader}"}
            )
    pd.DataFrame(rows).rename(columns={"book": "item"}).to_csv(place / "ratings.csv", index=False)
    return place


def test_compare_ranks_all_methods_and_leaves_a_report_with_pictures(folder: Path) -> None:
    done = pathline("compare", "recommend", "ratings.csv", *READ, "--steps", 60, "--out", "board", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    keys = {arm["key"] for arm in board["arms"]}
    assert keys == {"popularity", "item-knn", "matrix-factorization", "lightgcn", "sheaf-rec", "gte", "ltgnn"}
    assert not any(arm["failure"] for arm in board["arms"]) and board["naive"] == "popularity"
    means = [arm["mean"]["ndcg@20"] for arm in board["arms"]]
    assert means == sorted(means, reverse=True) and board["description"]["held_out"] == "each user's latest"
    page = (folder / "board" / "report.html").read_text()
    assert "How good the lists are" in page and "What is shown" in page and "image/png" in page
    assert (folder / "board" / "leaderboard.png").exists()
    again = pathline("evaluate", board["run"], "ratings.csv", "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    best = next(arm for arm in board["arms"] if arm["key"] == board["best"])
    assert told["part"] == "test" and told["metrics"]["ndcg@20"] == pytest.approx(best["metrics"]["ndcg@20"][0])


def test_a_run_recommends_to_users_of_another_file_what_they_do_not_have(folder: Path) -> None:
    done = pathline("fit", "gte", "ratings.csv", *READ, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "new.csv").write_text("item,user,when,rating\nb1,r3,1,5\nb2,r3,2,1\nb7,r4,1,4\n")
    done = pathline("predict", "run", "new.csv", "--out", "lists.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    lists = pd.read_csv(folder / "lists.csv")
    assert set(lists["user"]) == {"r3", "r4"} and list(lists.columns) == ["user", "place", "item", "score"]
    shown = lists[lists["user"] == "r3"]
    assert not {"b1", "b2"} & set(shown["item"]) and shown["place"].tolist() == list(range(1, len(shown) + 1))
    (folder / "strange.csv").write_text("item,user,when,rating\nb1,nobody,1,5\n")
    done = pathline("predict", "run", "strange.csv", cwd=folder)
    assert done.returncode == 2 and "user 'nobody' was not in" in done.stderr and "Traceback" not in done.stderr


def test_a_broken_file_is_one_sentence_and_exit_2(folder: Path) -> None:
    (folder / "twice.csv").write_text("user,item\na,x\na,x\n")
    done = pathline("compare", "recommend", "twice.csv", "--steps", 5, cwd=folder)
    assert done.returncode == 2 and "twice.csv, row 3" in done.stderr and "--duplicates" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (folder / "runs").exists()


def test_other_names_of_columns_and_thresholds_of_built_in_sets(folder: Path) -> None:
    table = pd.read_csv(folder / "ratings.csv").rename(columns={"user": "wer", "item": "was"})
    table.to_csv(folder / "foreign.csv", index=False)
    named = ("--user-column", "wer", "--item-column", "was")
    done = pathline("compare", "recommend", "foreign.csv", "--steps", 5, "--methods", "gte", cwd=folder)
    assert done.returncode == 2 and "--user-column" in done.stderr and "Traceback" not in done.stderr
    done = pathline("fit", "item-knn", "foreign.csv", *named, "--out", "foreign", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = pathline("predict", "foreign", "foreign.csv", "--out", "foreign-lists.csv", cwd=folder)
    assert done.returncode == 0, "a run remembers the names: " + done.stderr
    done = pathline("fit", "popularity", "signed-taste", "--threshold", 1, "--out", "signed", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "signed" / "config.json").read_text())["data"]["read"] == {"threshold": 1.0}
