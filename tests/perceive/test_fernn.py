"""FERNN: predictions that flow with their input, weights that serve other velocities, and clips of one's own."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pathline as pl
from pathline.core.errors import DataError, MethodError
from pathline.data.clips import Clips
from pathline.nn.flow_equivariant import TranslationCell, rolled, turned
from pathline.perceive.fernn import FERNN
from pathline.perceive.next_frames import LastFrame
from pathline.sims.flowing_digits import digits, flowing_digits, velocities


def cyclic(side: int) -> FERNN:
    """All velocities of a torus."""
    method = FERNN(1, hidden=4, depth=1).double()
    cell = method.cell
    assert isinstance(cell, TranslationCell)
    cell.velocities = list(itertools.product(range(side), range(side)))
    return method


def test_predictions_flow_with_their_input() -> None:
    torch.manual_seed(0)
    side, n, time, u = 5, 4, 3, (2, 1)
    method = cyclic(side)
    clip = torch.randn(2, time, 1, side, side, dtype=torch.float64)
    moved = torch.stack([rolled(clip[:, k], (k * u[0], k * u[1])) for k in range(time)], 1)
    still, flowing = method.perceive(clip, n), method.perceive(moved, n)
    for k in range(n):  # the frame that follows `time` frames was moved `time` times
        steps = time + k
        assert (flowing[:, k] - rolled(still[:, k], (steps * u[0], steps * u[1]))).abs().max() < 1e-10
    plain = FERNN(1, reach=0, hidden=4, depth=1).double()
    assert (plain.perceive(moved)[:, 0] - rolled(plain.perceive(clip)[:, 0], (6, 3))).abs().max() > 1e-3


def test_the_official_readout_feeds_the_last_frame_twice_and_does_not_carry_on() -> None:
    torch.manual_seed(0)
    clips = flowing_digits(3, 10)
    ours = FERNN.seeded(clips, 0, hidden=4)
    theirs = FERNN.seeded(clips, 0, hidden=4, readout="repeat")
    h = ours.cell.start(clips.frames[:, 0])
    for t in (0, 1, 2, 3, 3):
        h = ours.cell(clips.frames[:, t], h)
    expected = ours.decoder(h.amax(1))
    assert torch.allclose(theirs._go_on(clips.frames[:, :4], 1)[:, 0], expected, atol=1e-6)
    assert not torch.allclose(ours._go_on(clips.frames[:, :4], 1)[:, 0], expected, atol=1e-3)


def test_rotating_predictions_turn_with_a_turned_clip() -> None:
    torch.manual_seed(0)
    method = FERNN(1, hidden=3, depth=1, motion="rotation").double()
    clip = torch.rand(1, 3, 1, 6, 6, dtype=torch.float64)
    assert (method.perceive(turned(clip, 1, 4), 3) - turned(method.perceive(clip, 3), 1, 4)).abs().max() < 1e-10
    with pytest.raises(MethodError, match="6 x 4"):
        method.perceive(torch.rand(1, 3, 1, 6, 4, dtype=torch.float64))


def test_the_plain_network_has_as_many_numbers_and_other_velocities_need_no_training() -> None:
    clips = flowing_digits(20, 10)
    ours, plain = FERNN.seeded(clips, 0, reach=1), FERNN.seeded(clips, 0, reach=0)
    assert ours.parameter_count() == plain.parameter_count()
    wider = ours.with_reach(2)
    assert len(wider.cell.velocities) == 25
    for name, value in ours.state_dict().items():
        assert torch.equal(value, wider.state_dict()[name])
    assert torch.equal(ours.with_reach(0).perceive(clips.frames[:2, :4], 3), plain.perceive(clips.frames[:2, :4], 3))


def test_what_is_fed_back_carries_no_gradient() -> None:
    """The gradient of the second next frame equals that with the first one put in as a constant."""
    torch.manual_seed(0)
    clips = flowing_digits(4, 10)
    method = FERNN.seeded(clips, 0, hidden=4)
    context = clips.frames[:2, :4].clone()
    frames = method._go_on(context, 2)
    h = method.cell.start(context[:, 0])
    for frame in context.unbind(1):
        h = method.cell(frame, h)
    direct = method.decoded(method.cell(frames[:, 0].detach().clamp(0, 1), h))
    weight = method.decoder[0].weight
    (first,) = torch.autograd.grad(frames[:, 1].square().sum(), weight, retain_graph=True)
    (second,) = torch.autograd.grad(direct.square().sum(), weight)
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def test_pixels_stay_in_the_range_of_those_learned_from() -> None:
    clips = flowing_digits(4, 10)
    method = FERNN.seeded(clips, 0, hidden=4)
    method.decoder[-1].weight.data.mul_(100)
    far = method.perceive(clips.frames[:, :4], 30)
    assert far.min() == 0
    assert far.max() == 1


def test_it_learns_digits_that_flow_better_than_copying() -> None:
    train, test = flowing_digits(200, 10, seed=0), flowing_digits(40, 10, part="test", seed=1)
    method = FERNN.seeded(train, 0, hidden=6).fit(train, pl.steps(150), seed=0, lr=5e-3, validations=1)
    assert method.evaluate(test)["mse"] < 0.7 * LastFrame.for_data(train).fit(train).evaluate(test)["mse"]


# -- digits that flow --------------------------------------------------------------------------------------------------


def test_digits_move_by_their_velocity_and_wrap_around() -> None:
    clips = flowing_digits(30, 18, torch.tensor([[1, -1]]), count=1)
    for t in range(17):
        assert torch.equal(clips.frames[:, t + 1], rolled(clips.frames[:, t], (1, -1)))
    assert torch.equal(clips.frames[:, 16], clips.frames[:, 0])


def test_parts_of_the_digits_are_disjoint_and_complete() -> None:
    parts = [digits(part) for part in ("train", "validation", "test")]
    assert sum(map(len, parts)) == 1797
    assert not {tuple(p.flatten().tolist()) for p in parts[0]} & {tuple(p.flatten().tolist()) for p in parts[2]}
    with pytest.raises(DataError, match="'dev'"):
        digits("dev")


def test_two_digits_of_all_velocities_stay_within_the_range() -> None:
    clips = flowing_digits(50, 3, velocities(2))
    assert len(velocities(2)) == 25
    assert clips.frames.min() == 0
    assert clips.frames.max() == 1
    assert torch.equal(clips.frames, flowing_digits(50, 3, velocities(2)).frames)


# -- clips -------------------------------------------------------------------------------------------------------------


def film(clips: int = 12, time: int = 9) -> Clips:
    frames = torch.arange(clips * time).view(clips, time, 1, 1, 1).expand(-1, -1, 2, 3, 4)
    return Clips(frames=frames.float(), history=2, horizon=3, name="film")


def test_items_are_all_stretches_of_a_clip() -> None:
    data = film()
    assert len(data) == 12 * 5
    item = data.gather(torch.tensor([0, 4, 5]))
    assert item.context[:, :, 0, 0, 0].tolist() == [[0, 1], [4, 5], [9, 10]]
    assert item.future[:, :, 0, 0, 0].tolist() == [[2, 3, 4], [6, 7, 8], [11, 12, 13]]


def test_a_split_keeps_clips_whole_or_cuts_a_long_one_in_time() -> None:
    split = film().split()
    seen = [set(part.frames[:, 0, 0, 0, 0].tolist()) for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in seen] == [10, 1, 1]
    assert not (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])
    long = film(1, 100).split()
    assert float(long.train.frames.max()) < float(long.validation.frames.min())
    assert float(long.validation.frames.max()) < float(long.test.frames.min())
    with pytest.raises(DataError, match=r"1 clip of 20 frames .* at least 5"):
        film(1, 20).split()


def test_broken_clips_and_requests_are_named() -> None:
    with pytest.raises(DataError, match=r"frames\[0, 0, 0, 0, 0\] is nan"):
        replace(film(), frames=film().frames.clone().fill_(torch.nan))
    with pytest.raises(DataError, match=r"expected \(clips, time"):
        Clips(frames=torch.zeros(3, 4, 5), name="flat")
    method = LastFrame.for_data(film())
    for signal, n, message in (
        (torch.zeros(1, 2, 3, 4, 4), 1, r"\(batch, time, 2, height, width\)"),
        (torch.zeros(1, 2, 2, 4, 4), 0, "asked for 0 frames"),
        (torch.full((1, 2, 2, 4, 4), torch.inf), 1, "not finite"),
    ):
        with pytest.raises(DataError, match=message):
            method.perceive(signal, n)


def test_a_moving_picture_and_a_table_are_written(tmp_path: Path) -> None:
    clips = flowing_digits(4, 10)
    method = FERNN.seeded(clips, 0, hidden=3)
    method.writers()[".gif"](clips, tmp_path / "next.gif", 0)
    assert (tmp_path / "next.gif").read_bytes()[:3] == b"GIF"
    table = method.predict(clips)
    assert len(table) == 4 * 6 * 16 * 16
    assert table["step"].tolist()[0] == 1
    at = table.query("clip == 2 and step == 3 and row == 4 and column == 5")["value"].item()
    assert at == pytest.approx(float(method.perceive(clips.frames[:, -4:], 6)[2, 2, 0, 4, 5]))


@pytest.mark.parametrize(("options", "message"), [({"motion": "shear"}, "'shear'"), ({"reach": -1}, "reach -1")])
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        FERNN(1, **options)
