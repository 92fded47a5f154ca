"""MoFlow: agents have no order, absent ones no influence, the teacher takes ten calls and the student one."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_tracks
from pathline.flow import chamfer
from pathline.track import moflow
from pathline.track.joint_rivals import FlowMatching, WinnerTakesAll
from pathline.track.lessons import Lesson
from pathline.track.moflow import MoFlow
from pathline.track.scene import turned
from tests.track.windows import awake, permuted, window

SMALL = {"answers": 4, "width": 16, "candidates": 5}


def made(cls=MoFlow, **config):
    return awake(cls, **{**SMALL, **config})


def counted(network):
    """Calls of a network's decoder, as a list that grows."""
    calls = []
    network.head.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.fixture(scope="module")
def distilled():
    data = tiny_tracks().split()
    return MoFlow.seeded(data.train, 0, **SMALL).fit(data.train, steps(60), seed=0, batch_size=32)


@torch.no_grad()
def test_permuting_agents_permutes_the_answers():
    method, given, order = made(), window(6), torch.tensor([2, 0, 1])
    context = method.teacher.encode(method.scene(given))
    other = method.teacher.encode(method.scene(permuted(given, order)))
    y, t = torch.randn(len(given), 4, 3, 12), torch.rand(len(given))
    data, scores = method.predict_data(context, y, t)
    moved, their_scores = method.predict_data(other, y[:, :, order], t)
    there = context.present[:, None, order, None]
    assert torch.allclose(data[:, :, order] * there, moved * there, atol=1e-5)
    assert torch.allclose(scores[:, :, order] * there[..., 0], their_scores * there[..., 0], atol=1e-5)
    assert data.std(1).mean() > 0.01  # answers differ, so there is something to permute


@torch.no_grad()
def test_padding_never_influences_anybody():
    method, given = made(), window(6)
    gone = torch.tensor([True, True, False])
    alone = replace(
        given,
        past=given.past * gone[:, None, None],
        past_observed=given.past_observed & gone[:, None],
        agent=given.agent.masked_fill(~gone, -1),
    )
    wild = replace(alone, past=alone.past + 50.0 * ~gone[:, None, None])
    start = torch.randn(len(given), 4, 3, 12)
    other_start = start + 9.0 * ~gone[:, None]
    method.noise = lambda *_: start
    plain = method.taught(alone)[0][:, :, :2]
    method.noise = lambda *_: other_start
    assert torch.allclose(plain, method.taught(wild)[0][:, :, :2], atol=1e-4)
    method.noise = lambda *_: start
    assert (plain - method.taught(given)[0][:, :, :2]).abs().max() > 1e-3  # who is there does matter


@torch.no_grad()
def test_forecasts_turn_and_move_with_the_world():
    method, given = made(), window(6)
    turn, shift = torch.tensor([0.6, 0.8]), torch.tensor([20.0, -4.0])
    past = (turned(given.past, turn) + shift) * given.past_observed[..., None]
    plain = method.forecast(given, 4).positions
    other = method.forecast(replace(given, past=past), 4).positions
    present = method.scene(given).present[:, None, :, None, None]
    assert torch.allclose((turned(plain, turn) + shift) * present, other * present, atol=1e-3)


def test_training_does_not_look_at_answers_that_are_hidden():
    """Late on the path everything is hidden: then the loss does not depend on the noise."""
    method = made(distil=False, answers=2)
    scene = method.scene(window(6))
    context, late = method.teacher.encode(scene), torch.full((6,), 0.99)
    one, two = (torch.randn(6, 2, 3, 12) for _ in range(2))
    everything = torch.ones(6, dtype=torch.bool)
    hidden = [method.predict_data(context, y, late, hide=everything)[0] for y in (one, two)]
    shown = [method.predict_data(context, y, late)[0] for y in (one, two)]
    assert torch.equal(*hidden) and not torch.allclose(*shown)


def test_the_loss_hides_answers_if_told_to(monkeypatch):
    monkeypatch.setattr(moflow, "hidden", lambda t: torch.ones(len(t), dtype=torch.bool))
    for hide, alike in ((True, True), (False, False)):
        method = made(distil=False, hide=hide).train()
        losses = []
        for seed in (1, 2):  # other noise, the same times
            drawn = torch.Generator().manual_seed(seed)
            method.noise = lambda batch, agents, drawn=drawn, of=method: MoFlow.noise(of, batch, agents, drawn)
            torch.manual_seed(0)
            losses.append(method.loss(window(12))["regression"].item())
        assert (losses[0] == losses[1]) is alike


def test_the_loss_trains_the_winner_of_each_agent():
    method = made(distil=False)
    method.train()
    torch.manual_seed(0)
    terms = method.loss(window(20))
    assert set(terms) == {"loss", "regression", "scores"}
    assert terms["loss"].item() == pytest.approx((terms["regression"] + terms["scores"]).item())
    torch.manual_seed(0)
    faster = made(distil=False, speeds=1.0).train()
    assert faster.loss(window(20))["loss"] > terms["loss"]


def test_the_teacher_takes_ten_calls_and_the_student_one(distilled):
    given, generator = window(6), torch.Generator().manual_seed(0)
    teacher, student = counted(distilled.teacher), counted(distilled.student)
    assert distilled.drawn(given, generator, by="teacher")[2] == len(teacher) == 10 and not student
    assert distilled.drawn(given, generator, by="teacher", steps=25)[2] == 25
    teacher.clear()
    assert distilled.drawn(given, generator, by="student")[2] == len(student) == 1 and not teacher
    student.clear()
    distilled.forecast(given, 4)
    assert len(student) == 1 and not teacher  # the forecast of a distilled method is the student's
    distilled.forecast(given, 9)
    assert len(student) == 4  # nine futures are three sets of four


def test_the_student_learns_the_teachers_answers(distilled):
    """Nearer to the teacher's sets than before it was trained, with fresh latents; the teacher stays as it was."""
    data = tiny_tracks().split().train
    lessons = distilled.lessons(data, seed=5, most=64)
    lesson = lessons.gather(torch.arange(64))

    def gap(method):
        latents = torch.randn(1, 64, method.width, generator=torch.Generator().manual_seed(3))
        context = method.student.encode(method.scene(lesson.window))
        paths = method.generate(context, latents)[0][0]
        return chamfer(paths[:, :, 0], lesson.answers[:, :, 0]).mean()

    fresh = MoFlow.seeded(data, 0, **SMALL)
    fresh.load_state_dict(
        {**distilled.state_dict(), **{f"student.{k}": v for k, v in fresh.student.state_dict().items()}}
    )
    with torch.no_grad():
        assert gap(distilled) < 0.6 * gap(fresh)


def test_the_distilling_loss_is_imle_on_sets(distilled):
    data = tiny_tracks()
    given = window(8)
    lesson = Lesson(given, torch.randn(8, 4, 3, 6, 2))
    calls = []
    distilled.student.head.register_forward_hook(lambda _m, x, _y: calls.append((len(x[0]), torch.is_grad_enabled())))
    terms = distilled.distilling_loss(lesson)
    assert calls == [(8 * 5, False), (8, True)] and len(data)
    found = torch.autograd.grad(terms["loss"], list(distilled.student.parameters()), allow_unused=True)
    assert sum(g is not None for g in found) > 20
    assert all(p.grad is None for p in distilled.teacher.parameters())


def test_the_student_starts_as_the_teacher_at_time_0():
    method = made()
    start = method.teacher.time(torch.zeros(1))[0]
    method.student.start_from(method.teacher, start)
    mine, theirs = method.student.state_dict(), method.teacher.state_dict()
    same = [name for name in mine if name in theirs and torch.equal(mine[name], theirs[name])]
    assert any("encoder" in name for name in same) and any("to_context" in name for name in same)
    block, its = method.student.blocks[0].modulation, method.teacher.blocks[0].modulation
    assert torch.allclose(block(None)[2], its(start[None])[2].flatten(), atol=1e-5)


def test_fewer_futures_are_the_likeliest(distilled):
    given = window(6)
    all_four, two = distilled.forecast(given, 4, seed=1), distilled.forecast(given, 2, seed=1)
    order = all_four.probability.argsort(dim=1, descending=True)[:, :2]
    rows = torch.arange(len(given))[:, None]
    assert torch.allclose(two.positions, all_four.positions[rows, order])
    assert torch.allclose(two.probability.sum(1), torch.ones(len(given)))


def test_tied_noise_is_the_same_for_all_answers():
    tied, free = made(tied=True).noise(3, 2), made().noise(3, 2)
    assert torch.equal(tied[:, 0], tied[:, 3]) and not torch.equal(free[:, 0], free[:, 3])


def test_early_stopping_watches_one_set_of_answers(distilled):
    data = tiny_tracks().split().validation
    student = counted(distilled.student)
    score = distilled.score(data)
    assert len(student) == 1 and score == distilled.score(data)
    assert score == pytest.approx(distilled.evaluate(data, k=4)["minADE_4"], rel=0.2)  # other latents


def test_a_resumed_run_keeps_its_teacher(tmp_path):
    data = tiny_tracks().split().train
    folder = tmp_path / "run"
    first = MoFlow.seeded(data, 0, **SMALL).fit(data, steps(10), seed=0, folder=folder)
    again = MoFlow.seeded(data, 0, **SMALL).fit(data, steps(10), seed=0, folder=folder, resume=True)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(MethodError, match="at least 1 answer"):
        MoFlow.for_data(tiny_tracks(), answers=0)
    with pytest.raises(ValueError, match="direct, velocity, scaled"):
        MoFlow.for_data(tiny_tracks(), reading="upwards")
    with pytest.raises(MethodError, match="has no student"):
        made(distil=False).distill(tiny_tracks(), steps(2))
    with pytest.raises(MethodError, match="no trained student"):
        made().drawn(window(6), torch.Generator(), by="student")


def test_rivals_are_the_same_network_without_the_idea():
    ours = made()
    fixed = WinnerTakesAll.seeded(tiny_tracks(), 0, answers=4, width=16)
    plain = FlowMatching.seeded(tiny_tracks(), 0, width=16)
    sizes = [sum(p.numel() for p in method.teacher.parameters()) for method in (ours, fixed, plain)]
    assert sizes[0] == sizes[1] and sizes[2] == sizes[0] - 4 * 16  # the queries
    given = window(6)
    assert torch.equal(fixed.forecast(given, 4, seed=1).positions, fixed.forecast(given, 4, seed=2).positions)
    one, two = (plain.forecast(given, 4, seed=seed).positions for seed in (1, 2))
    assert not torch.equal(one, two)
