"""The task's metrics, tables and files, and what happens where nobody knows the motion."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pathline.core import compare as comparing
from pathline.core.budget import steps
from pathline.core.compare import compare
from pathline.core.errors import DataError
from pathline.data.readers.flow_files import read_flo
from pathline.perceive import flow_estimation
from pathline.perceive.flow_baselines import BlockMatching, HornSchunck, ZeroFlow
from pathline.perceive.flow_estimation import FixedFlow, accuracy, in_grey, photometric_error
from pathline.perceive.flow_pictures import colour_wheel, flow_colours
from pathline.perceive.raft import RAFT
from tests.perceive.moving import moved_pairs


@pytest.fixture
def shifts():
    return 4 * torch.rand(6, 2, generator=torch.Generator().manual_seed(0)) - 2


@pytest.fixture
def pairs(shifts):
    return moved_pairs(shifts)


class Told(FixedFlow):
    """Says a flow that it was told."""

    stride = 8

    def __init__(self, x=1.0, y=0.0):
        super().__init__()
        self.x, self.y = x, y

    def estimate(self, images):
        assert images.shape[-2] % 8 == images.shape[-1] % 8 == 0 and images.shape[2] == 3
        return torch.tensor([self.x, self.y]).view(1, 2, 1, 1).expand(len(images), 2, *images.shape[-2:])


def test_metrics_are_counted_by_hand():
    error = torch.tensor([0.5, 2.0, 4.0, 4.0, 10.0])
    length = torch.tensor([1.0, 1.0, 100.0, 10.0, 10.0])
    found = accuracy(error, length)
    assert found["epe"] == pytest.approx(4.1) and found["epe_median"] == 4.0
    assert (found["over_1px"], found["over_3px"], found["over_5px"]) == (0.8, 0.6, 0.2)
    assert found["f1_all"] == 0.4  # 4 of 100 pixels is within 5 percent


def test_unknown_motion_counts_nowhere():
    pairs = moved_pairs(torch.tensor([[1.0, 0.0]]))
    valid = torch.zeros(1, 32, 40, dtype=torch.bool)
    valid[:, :, :20] = True
    flow = torch.where(valid[:, None], pairs.flow, torch.nan)
    found = Told(1.0, 0.0).evaluate(replace(pairs, flow=flow, valid=valid))
    assert found["epe"] == 0.0
    assert Told(1.0, 2.0).evaluate(replace(pairs, flow=flow, valid=valid))["epe"] == pytest.approx(2.0)


def test_pictures_of_any_size_and_colour_fit_every_method():
    pairs = moved_pairs(torch.tensor([[1.0, 0.0]]), size=(21, 35))
    assert Told().perceive(pairs).shape == (1, 2, 21, 35)
    assert in_grey(torch.ones(1, 2, 3, 4, 4)).shape == (1, 2, 1, 4, 4)


def test_the_photometric_error_is_least_at_the_truth_and_nothing_is_won_by_leaving(pairs):
    images = pairs.images
    errors = [float(photometric_error(images, flow).mean()) for flow in (pairs.flow, 0 * pairs.flow, pairs.flow + 100)]
    assert errors[0] < 0.4 * errors[1] and errors[1] < errors[2]


def test_without_truth_every_arm_is_ranked_by_the_photometric_error(monkeypatch, capsys):
    monkeypatch.setattr(flow_estimation, "CROPS", (16, 4, 4))
    film = replace(moved_pairs(torch.tensor([[1.0, -1.0]] * 5)), flow=None, consecutive=True, name="my-film")
    board = compare(["raft"], film, budget=steps(2))
    assert board.metrics == ["photometric_error"]
    assert {arm.key for arm in board.arms} == {"raft", "zero-flow", "horn-schunck", "block-matching"}
    assert not any(arm.failure for arm in board.arms)
    said = capsys.readouterr().err
    assert "raft: my-film has no true motion to learn from; the network learns from simulated flying crops" in said
    raft = board.models["raft"]
    assert bool(raft.simulated)
    figures = RAFT.figures(board.models, board.test)
    assert "raft learned from simulated flying crops" in figures[0].caption


def test_a_single_pair_can_be_compared_too(monkeypatch):
    monkeypatch.setattr(flow_estimation, "CROPS", (16, 4, 4))
    pair = replace(moved_pairs(torch.tensor([[1.0, -1.0]])), flow=None)
    board = compare(["raft"], pair, budget=steps(1))
    assert comparing.Leaderboard.skill(board, board.best) is not None


def test_the_table_has_a_row_for_each_pair(pairs, shifts):
    table = ZeroFlow().predict(pairs)
    assert len(table) == len(pairs) and float(table["mean_speed"].max()) == 0
    torch.testing.assert_close(torch.tensor(table["epe"].to_numpy()), shifts.norm(dim=1))
    assert "epe" not in ZeroFlow().predict(replace(pairs, flow=None))


def test_flow_is_written_as_flo_and_as_colours_and_as_a_film(pairs, tmp_path):
    method = Told(3.0, -1.0)
    writers = method.writers()
    one = pairs.take(torch.tensor([0]))
    writers[".flo"](one, tmp_path / "flow.flo", 0)
    flow, valid = read_flo(tmp_path / "flow.flo")
    assert bool(valid.all()) and torch.equal(flow, method.perceive(one)[0])
    writers[".png"](one, tmp_path / "flow.png", 0)
    with Image.open(tmp_path / "flow.png") as picture:
        assert picture.size == (40, 32)
        expected = (255 * flow_colours(flow[None])[0, :, 0, 0]).round()
        assert np.asarray(picture)[0, 0].tolist() == expected.tolist()
    writers[".npz"](pairs, tmp_path / "flow.npz", 0)
    assert np.load(tmp_path / "flow.npz")["flow"].shape == (6, 2, 32, 40)
    writers[".gif"](pairs, tmp_path / "flow.gif", 0)
    with Image.open(tmp_path / "flow.gif") as film:
        assert film.n_frames >= 1 and film.size == (80, 32)
    with pytest.raises(DataError, match=r"one flow, but moved has 6 pairs"):
        writers[".flo"](pairs, tmp_path / "many.flo", 0)


def test_the_wheel_has_middleburys_colours():
    wheel = colour_wheel()
    assert wheel.shape == (55, 3)
    assert wheel[0].tolist() == [1, 0, 0] and wheel[15].tolist() == [1, 1, 0] and wheel[25].tolist() == [0, 1, 1]
    colours = flow_colours(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]).view(3, 2, 1, 1), 1.0)[..., 0, 0]
    assert colours[0].argmax() == 0 and colours[0, 1] < 0.2  # to the right: red
    assert colours[1, 0] < 0.2 and colours[1, 2] > 0.8  # to the left: cyan to blue
    assert colours[2].tolist() == [1, 1, 1]


def test_horn_and_schunck_find_smooth_motion_and_matching_finds_it_too(pairs):
    still = ZeroFlow().evaluate(pairs)["epe"]
    assert HornSchunck().evaluate(pairs)["epe_median"] < 0.1 * still
    assert BlockMatching().evaluate(pairs)["epe_median"] < 0.3 * still


def test_block_matching_finds_far_shifts_and_keeps_flat_pictures_still():
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(1, 1, 64, 64, generator=generator)
    second = first.roll((5, -9), (2, 3))
    images = torch.stack([first, second], 1)
    flow = BlockMatching().flow_of(images)
    inside = flow[..., 16:48, 16:48].flatten(2).median(-1).values[0]
    torch.testing.assert_close(inside, torch.tensor([-9.0, 5.0]), atol=0.3, rtol=0)
    assert float(BlockMatching().flow_of(torch.full((1, 2, 1, 64, 64), 0.5)).abs().max()) == 0


def test_a_mask_that_knows_nothing_is_refused():
    pairs = moved_pairs(torch.ones(1, 2))
    unknown = replace(pairs, valid=torch.zeros(1, 32, 40, dtype=torch.bool))
    with pytest.raises(DataError, match=r"moved.*of no pixel is known"):
        ZeroFlow().evaluate(unknown)
