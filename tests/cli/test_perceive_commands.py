"""Records without picks from the command line: every method's arrivals are printed, and a run reads new files."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from pathline.cli import main
from pathline.core import store
from pathline.core.tiny import tiny_waveforms
from pathline.perceive import pickers
from pathline.perceive.picking import Picker

obspy = pytest.importorskip("obspy")


@pytest.fixture
def example(tmp_path, monkeypatch) -> str:
    """ObsPy's own example record as a file, a small set to learn from, and a small grid to tune on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Picker, "pretrain_data", classmethod(lambda cls: tiny_waveforms()))
    monkeypatch.setattr(pickers, "BANDS", ((1.0, 20.0),))
    monkeypatch.setattr(pickers, "SHORT", (0.5,))
    monkeypatch.setattr(pickers, "LONG", (5.0,))
    obspy.read().write("record.mseed")
    return "record.mseed"


def run(capsys, *words: str) -> tuple[int, str, str]:
    before = sys.argv
    sys.argv = ["pathline", *words]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return code, said.out, said.err


def test_compare_prints_the_arrivals_on_a_record_without_picks(example, capsys):
    code, out, err = run(capsys, "compare", "perceive", example, "--steps", "3", "--out", "board")
    assert code == 0, err
    assert "has no truth, so the methods learned from tiny-waveforms" in out
    assert "sta-lta on record.mseed" in out and "2009-08-24T00:20:0" in out and "BW.RJOB" in out
    table = pd.read_csv("board/sta-lta-answers.csv")
    assert set(table.phase) <= {"P", "S"} and "P" in set(table.phase)
    (first,) = table[table.phase == "P"].time.head(1)
    assert abs(pd.Timestamp(first) - pd.Timestamp("2009-08-24T00:20:07.7")) < pd.Timedelta("1s")
    board = json.loads(Path("board/leaderboard.json").read_text())
    assert {arm["key"] for arm in board["arms"]} == {"phasenet", "sta-lta", "ar-aic"} and board["asked"] == "record"
    assert "It has no truth to rank them" in Path("board/report.html").read_text()


def test_a_run_reads_new_records_and_learning_needs_picks(example, capsys):
    code, _, err = run(capsys, "fit", "phasenet", example, "--steps", "2")
    assert code == 2 and "no arrival is picked on its records" in err and "--picks FILE" in err
    with open("picks.csv", "w") as file:
        file.write("station,phase,time\nRJOB,P,2009-08-24T00:20:07.7\nRJOB,S,2009-08-24T00:20:09.5\n")
    code, _, err = run(capsys, "fit", "sta-lta", example, "--picks", "picks.csv", "--out", "run")
    assert code == 2 and "cannot be split into train, validation and test" in err


def test_predict_writes_the_table_of_a_run(example, capsys):
    from pathline.perceive.pickers import StaLta

    data = tiny_waveforms()
    learned_from = {"name": "other.mseed", "read": {"picks": "of-other-records.csv"}}
    store.write("run", StaLta.for_data(data).fit(data), data=learned_from)
    code, out, err = run(capsys, "predict", "run", example)
    assert code == 0, err
    assert out.splitlines()[0] == "record,station,phase,sample,seconds,time,probability" and ",P," in out
    code, _, err = run(capsys, "predict", "run", example, "--out", "picks.csv")
    assert code == 0 and "rows: picks.csv" in err and len(pd.read_csv("picks.csv")) == len(out.splitlines()) - 1
