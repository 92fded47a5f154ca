"""Event streams from the command line: contacts in, a leaderboard with pictures and the next contacts out."""

import json
import random

import pandas as pd
import pytest
from typer.testing import CliRunner

from pathline.cli.app import app
from pathline.core.errors import DataError


@pytest.fixture
def contacts(tmp_path):
    """500 contacts of 15 people in three circles, in seconds of 2023, without header, the time first."""
    draw, time, rows = random.Random(1), 1_700_000_000, []
    for _ in range(500):
        time += draw.randint(1, 60)
        one = draw.randrange(15)
        other = one // 5 * 5 + draw.randrange(5) if draw.random() < 0.8 else draw.randrange(15)
        if other != one:
            rows.append(f"{time}\tp{one}\tp{other}\n")
    path = tmp_path / "contacts.tsv"
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_compare_ranks_baselines_and_a_method_on_contacts_and_draws_them(contacts, tmp_path):
    run, out = CliRunner().invoke, tmp_path / "board"
    done = run(
        app,
        ["compare", "events", str(contacts), "--methods", "nat", "--steps", "3", "--directed", "0", "--out", str(out)],
    )
    assert done.exit_code == 0, done.output
    board = json.loads((out / "leaderboard.json").read_text())
    keys = {arm["key"] for arm in board["arms"]}
    assert keys == {
        "nat", "last-contact", "edgebank", "edgebank-window", "contact-average", "target-popularity"
    }  # fmt: skip
    assert not any(arm["failure"] for arm in board["arms"])
    assert {"AP, random negatives", "AP, historical negatives", "MRR, 20 random negatives"} <= set(
        board["arms"][0]["mean"]
    )
    assert board["naive"] == "last-contact" and (out / "leaderboard.png").exists()
    report = (out / "report.html").read_text()
    assert report.count("data:image/png") >= 4 and "Expected contacts" in report


def test_affinity_is_a_task_of_its_own(contacts, tmp_path):
    run, out = CliRunner().invoke, tmp_path / "board"
    asked = ["--task", "affinity", "--period", "600", "--steps", "3", "--out", str(out)]
    done = run(app, ["compare", "events", str(contacts), *asked])
    assert done.exit_code == 0, done.output
    board = json.loads((out / "leaderboard.json").read_text())
    keys = {arm["key"] for arm in board["arms"]}
    assert {"tgnv2", "label-average", "message-persistence"} <= keys and not keys & {"nat", "edgebank"}
    assert next(iter(board["arms"][0]["mean"])) == "NDCG@10"


def test_a_run_predicts_who_meets_next(contacts, tmp_path):
    run, folder, out = CliRunner().invoke, str(tmp_path / "run"), tmp_path / "next.csv"
    assert run(app, ["fit", "nat", str(contacts), "--steps", "2", "--out", folder]).exit_code == 0
    assert run(app, ["predict", folder, str(contacts), "--out", str(out)]).exit_code == 0
    table = pd.read_csv(out)
    assert list(table.columns) == ["source", "target", "rank", "score"] and table["source"].str.startswith("p").all()
    strangers = tmp_path / "strangers.tsv"
    strangers.write_text("1\ta\tb\n2\tb\tc\n3\ta\tc\n", encoding="utf-8")
    refused = run(app, ["predict", folder, str(strangers), "--out", str(out)])
    assert isinstance(refused.exception, DataError) and "not among the" in str(refused.exception)
