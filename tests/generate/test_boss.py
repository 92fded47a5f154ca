"""BOSS in the room: steps chosen for a flow, and the flow straightened on them."""

import pytest
import torch
from torch import Tensor, nn

from pathline.core.budget import minutes, steps
from pathline.core.errors import DataError, Interrupted, MethodError
from pathline.core.train import train
from pathline.data import Samples
from pathline.flow.velocity import squared_error
from pathline.generate.boss import Boss
from pathline.generate.flow_matching import FlowMatching
from pathline.ode import integrate, time_grid
from pathline.sims.points import points

CLOUDS = points("eight-gaussians", 2000, 0)
FLOW = {"classes": 0, "width": 64, "depth": 2}


@pytest.fixture(scope="module")
def flow() -> FlowMatching:
    method = FlowMatching.seeded(CLOUDS, 0, **FLOW, solver="euler")
    return method.fit(CLOUDS, steps(400), batch_size=256, lr=3e-3, warmup=20, ema=0.98, precision="fp32")


def measured(flow: FlowMatching, **settings) -> Boss:
    return Boss.from_flow(flow, **settings).measure(0)


class Bent(nn.Module):
    """A velocity that turns at t = 0.3 and again at t = 0.8, the same everywhere."""

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        turn = torch.where(t < 0.295, 1.0, torch.where(t < 0.795, -2.0, 3.0))
        return turn.view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def test_the_schedule_finds_where_the_flow_turns_and_sampling_uses_it():
    boss = Boss.seeded(CLOUDS, 0, **FLOW, straighten="none", steps=3).eval()
    boss.network = Bent()
    boss.measure(0)
    assert torch.allclose(boss.schedule(3), torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64))
    fine = boss.sample(50, steps=100, seed=1)
    assert torch.allclose(boss.sample(50, seed=1), fine, atol=1e-4)
    assert (boss.sample(50, seed=1, nodes="uniform") - fine).abs().max() > 0.1


def test_one_matrix_serves_every_number_of_steps_and_stays_with_the_model(flow, tmp_path):
    boss = measured(flow)
    boss.save(tmp_path)
    loaded = Boss.load(tmp_path)
    calls = []
    loaded.network.register_forward_hook(lambda *_: calls.append(1))
    for count in (1, 4, 12, 100):
        nodes = loaded.schedule(count)
        assert torch.equal(nodes, boss.schedule(count)) and len(nodes) == count + 1
        assert (nodes[0], nodes[-1]) == (0, 1) and (nodes.diff() > 0).all()
    assert not calls and torch.equal(loaded.schedule(100), boss.base_grid())
    with pytest.raises(DataError, match="100 fine steps; 101"):
        loaded.schedule(101)


@pytest.mark.parametrize("grid", ["uniform", "edm"])
def test_the_cost_matrix_takes_one_call_per_fine_step_and_other_noise_than_sampling(flow, grid):
    boss = Boss.from_flow(flow, grid=grid, rho=3.0, fine=20, probes=30)
    seen = []
    hook = boss.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    boss.measure(0)
    hook.remove()
    assert len(seen) == 20 and all(len(x) == 30 for x in seen)
    drawn = boss.paths(30, steps=1, seed=0)[0]
    assert not torch.isclose(boss.unscaled(seen[0]), drawn).any()


class Narrow(nn.Module):
    """The exact straight-path velocity to N(0, s^2): it bends only where the cloud has become narrow, near t = 1."""

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        s, t = 0.05, t.view(-1, *[1] * (x.ndim - 1))
        return x * (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2)


def test_chosen_steps_are_nearer_to_the_flow_than_equal_ones():
    boss = Boss.seeded(CLOUDS, 0, **FLOW, straighten="none").eval()
    boss.network = Narrow()
    boss.measure(0)

    def error(**options) -> float:
        fine = boss.sample(1000, seed=7, steps=100)
        return float((boss.sample(1000, seed=7, **options) - fine).square().mean().sqrt())

    for count in (4, 6, 8):
        assert error(steps=count) < 0.7 * error(steps=count, nodes="uniform")
    assert boss.draw(5, steps=4).evaluations == 4 and boss.draw(5, steps=4, solver="heun").evaluations == 8


def test_straightened_to_nothing_few_steps_end_where_many_do(flow):
    """Eight trajectories by heart: two Euler steps then reproduce the end of a hundred."""
    boss = measured(flow, steps=2)
    known = boss.teach(8, 0)
    ends = known.states[:, -1]
    start = known.states[:, 0]
    two = integrate(boss.velocity(), start, known.nodes).final
    assert (two - ends).abs().max() > 0.05
    train(
        boss, known, steps(1800), loss=boss.straightening_loss(known.nodes), lr=4e-3, batch_size=64, ema=None,
        final=1e-3, precision="fp32",
    )  # fmt: skip
    with torch.no_grad():
        two = integrate(boss.velocity(), start, known.nodes).final
    assert (two - ends).abs().max() < 1e-3


def test_the_teacher_s_states_are_those_of_its_fine_trajectory(flow):
    boss = measured(flow, steps=3)
    known = boss.teach(40, 5)
    fine = integrate(boss.velocity(), known.states[:, 0], time_grid(100)).states
    index = (known.nodes * 100).round().long()
    assert torch.allclose(known.states, fine[index].transpose(0, 1), atol=1e-5)
    assert torch.equal(known.nodes, boss.schedule(3))
    assert torch.equal(measured(flow, straighten="reflow").teach(40, 5).states[:, -1], known.states[:, -1])


def test_the_loss_is_the_slope_between_nodes_and_reflow_s_the_slope_between_ends(flow):
    for kind, intervals in (("bellman", 3), ("reflow", 1)):
        boss = measured(flow, steps=3, straighten=kind)
        known = boss.teach(30, 0)
        assert len(known.nodes) == intervals + 1
        torch.manual_seed(1)
        found = boss.straightening_loss(known.nodes)(known.gather(torch.arange(30)))
        torch.manual_seed(1)
        j = torch.randint(intervals, (30,))
        s, z = known.nodes.float(), known.states
        rows = torch.arange(30)
        slope = (z[rows, j + 1] - z[rows, j]) / (s[j + 1] - s[j])[:, None]
        place, t = z[rows, j], s[j]
        if kind == "reflow":
            t = torch.rand(30)
            place = (1 - t)[:, None] * z[:, 0] + t[:, None] * z[:, 1]
        assert torch.allclose(found, squared_error(boss(place, t), slope).mean(), rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"rank": 4, "alpha": 4.0}, {"straighten": "reflow"}])
def test_straightening_brings_few_steps_closer_and_reports_each_interval_on_held_out_trajectories(flow, settings):
    before = measured(flow, steps=2, **settings)
    held = before.teach(200, 99)
    boss = measured(flow, steps=2, **settings).straighten(steps(300), 0, lr=2e-3, precision="fp32")
    assert (boss.interval_errors(held) < before.interval_errors(held)).all()
    assert boss.held_out_error.shape == (2,) and boss.held_out_error.min() > 0
    assert boss.training_record.best == pytest.approx(float(boss.held_out_error.mean()), rel=1e-3)
    fine = flow.sample(1000, steps=100, seed=7)
    ends = [(m.sample(1000, seed=7, steps=2) - fine).square().mean() for m in (boss, before)]
    assert ends[0] < 0.9 * ends[1]
    assert set(boss.state_dict()) == set(before.state_dict())
    moved = (boss.network.lift.weight - before.network.lift.weight).detach()
    head = (boss.network.blocks[0].inner.weight - before.network.blocks[0].inner.weight).detach()
    assert moved.abs().max() > 0
    assert (torch.linalg.matrix_rank(head, rtol=1e-3) == 4) == (settings.get("rank") == 4)


def test_a_fit_trains_chooses_and_straightens_within_its_budget():
    boss = Boss.seeded(CLOUDS, 0, **FLOW, steps=2, fine=20).fit(CLOUDS, steps(40))
    assert boss.training_record.steps == 10 and (boss.cost >= 0).all() and boss.held_out_error.any()
    plain = Boss.seeded(CLOUDS, 0, **FLOW, steps=2, fine=20, straighten="none").fit(CLOUDS, steps(40))
    assert plain.training_record.steps == 40 and (plain.cost >= 0).all()
    timed = Boss.seeded(CLOUDS, 0, **FLOW, fine=20, trajectories=200).fit(CLOUDS, minutes(0.02))
    assert timed.held_out_error.any()


def test_a_fit_that_was_stopped_in_either_phase_ends_with_the_same_weights(tmp_path, monkeypatch):
    def fit(**options) -> Boss:
        method = Boss.seeded(CLOUDS, 0, **FLOW, fine=10, rank=2)
        return method.fit(CLOUDS, steps(24), folder=tmp_path / "run", **options)

    import pathline.core.train as loop

    whole = Boss.seeded(CLOUDS, 0, **FLOW, fine=10, rank=2).fit(CLOUDS, steps(24))
    advance, left = loop._Loop._advance, []

    def stop_at(count: int):
        left[:] = [count]

        def advance_or_stop(self, batch):
            left[0] -= 1
            if left[0] == 0:
                self.ask_to_stop(15)
            return advance(self, batch)

        return advance_or_stop

    for place in (7, 13):  # in the flow's training, and from there on in the straightening
        monkeypatch.setattr(loop._Loop, "_advance", stop_at(place))
        with pytest.raises(Interrupted):
            fit(resume=place > 7)
    monkeypatch.setattr(loop._Loop, "_advance", advance)
    resumed = fit(resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_labels_of_the_teacher_are_hidden_as_often_as_in_training():
    boss = Boss.seeded(CLOUDS, 0, width=16, depth=1, fine=5, steps=2, drop_label=0.3).eval().measure(0)
    labels = boss.teach(1000, 0).labels
    assert float((labels == 8).float().mean()) == pytest.approx(0.3, abs=0.08)
    assert boss.sample(10, guidance=1.0, labels=3).shape == (10, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 101}, "fine=100"),
        ({"grid": "log"}, "uniform, edm"),
        ({"straighten": "always"}, "bellman, reflow, none"),
        ({"share": 1.0}, "share=1"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_way_out(config, message):
    with pytest.raises(MethodError, match=message):
        Boss(shape=[2], **config)


def test_a_flow_that_does_not_move_has_a_schedule_too():
    boss = Boss.seeded(CLOUDS, 0, **FLOW, straighten="none").eval()
    for parameter in boss.network.parameters():
        nn.init.zeros_(parameter)
    assert len(boss.measure(0).schedule(4)) == 5 and not boss.cost.any()


def test_mistakes_are_named():
    with pytest.raises(DataError, match="no cost matrix"):
        Boss(shape=[2]).eval().sample(1)
    noise = FlowMatching.seeded(Samples(values=CLOUDS.values), 0, width=8, depth=1, path="vp", objective="noise")
    with pytest.raises(MethodError, match="predicts noise"):
        Boss.from_flow(noise)
