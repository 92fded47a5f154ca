"""Comparing on records without picks: the arms learn from other data and answer for these."""

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.compare import compare, save_board
from pathline.core.errors import DataError
from pathline.core.method import Method
from pathline.core.tiny import tiny_waveforms
from pathline.data import Samples, Waveforms
from pathline.perceive.pickers import StaLta
from pathline.perceive.picking import Picker


def test_every_method_answers_and_is_ranked_on_the_room_s_own_data(monkeypatch, tmp_path):
    known = tiny_waveforms()
    monkeypatch.setattr(Picker, "pretrain_data", classmethod(lambda cls: known))
    asked = Waveforms(signals=known.signals[:3], name="asked", begins=torch.full((3,), 1e9))
    board = compare(["phasenet"], asked, budget=steps(2))
    assert board.data == "tiny-waveforms" and board.asked is asked
    assert set(board.answers) == {"phasenet", "sta-lta", "ar-aic"} == {arm.key for arm in board.arms}
    answer = board.answers["sta-lta"]
    assert set(answer.record) <= {0, 1, 2} and answer.time.str.startswith("2001-09-09T01:46:4").any()
    folder = save_board(board, tmp_path / "board")
    assert (folder / "ar-aic-answers.csv").exists() and "asked" in (folder / "report.html").read_text()


def test_real_records_are_learned_from_where_they_can_be_had_and_simulated_ones_else(monkeypatch):
    asked = []

    def load(key: str) -> Waveforms:
        asked.append(key)
        if key == "seismograms-phasenet":
            raise DataError("no network")
        return tiny_waveforms()

    monkeypatch.setattr("pathline.data.sets.load", load)
    monkeypatch.setattr("pathline.data.load", load, raising=False)
    assert StaLta.pretrain_data().has_truth and asked == ["seismograms-phasenet", "simulated-seismograms"]


def test_where_nothing_else_is_known_there_is_no_comparison(monkeypatch):
    monkeypatch.setattr(Picker, "pretrain_data", classmethod(lambda cls: None))
    with pytest.raises(DataError, match="bare: nothing in it says what the methods should answer"):
        compare(["sta-lta"], Waveforms(signals=torch.zeros(1, 3, 900), name="bare"))
    assert Method.pretrain_data() is None and Samples(values=torch.zeros(3, 2)).has_truth
