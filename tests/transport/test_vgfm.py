"""VGFM: targets on the line between paired cells, growth from the plan, populations that are pushed and weighed."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from pathline.core.budget import minutes, steps
from pathline.core.errors import DataError, Interrupted, MethodError
from pathline.data import snapshots_of
from pathline.flow import OptimalTransport, flow_matching_loss
from pathline.ode import time_grid
from pathline.transport.matching import Pairs
from pathline.transport.rivals import OTCFM, GrowthOnly
from pathline.transport.vgfm import FITTING, VGFM


def drifting(counts=(60, 80, 120), seed=0):
    """A cloud that moves by (1, 0) and grows between snapshots."""
    generator = torch.Generator().manual_seed(seed)
    clouds = [0.3 * torch.randn(n, 2, generator=generator) + torch.tensor([1.0 * k, 0.0]) for k, n in enumerate(counts)]
    return snapshots_of(clouds, name="drift")


def small(data, **settings):
    return VGFM.seeded(data, 0, **{"width": 16, "depth": 2, "growth_width": 16, "growth_depth": 1} | settings)


def test_the_plan_keeps_target_masses_whatever_the_numbers_of_cells():
    """Masses given by the laboratory, not the numbers of cells that happened to be sequenced, are what growth is."""
    data = replace(drifting((60, 80, 120)), mass=torch.tensor([1.0, 3.0, 1.5]))
    plans = small(data).plans(data)
    assert float(plans.descendants(0).mean()) == pytest.approx(3.0, abs=1e-6)
    assert float(plans.descendants(1).mean()) == pytest.approx(0.5, abs=1e-6)
    columns = plans.plans[0].sum(0)
    torch.testing.assert_close(columns, columns.mean().expand(80), atol=1e-8, rtol=0)
    few = small(data, largest=30).plans(data)
    assert [len(cells) for cells in few.populations] == [30, 30, 30]
    assert float(few.descendants(0).mean()) == pytest.approx(3.0, abs=1e-6)


def test_pairs_are_drawn_as_the_plan_says_and_carry_their_growth():
    data = drifting((6, 7))
    method = small(data, epsilon=0.2)
    plans = method.plans(data)
    (batch,) = list(plans.batches(20_000, 1, torch.Generator().manual_seed(0), 5.0))
    i = torch.cdist(batch.source, plans.populations[0]).argmin(1)
    j = torch.cdist(batch.target, plans.populations[1]).argmin(1)
    seen = torch.bincount(7 * i + j, minlength=42).double()
    expected = (plans.plans[0] / plans.plans[0].sum()).flatten() * 20_000
    often = expected > 5
    kept, wanted = seen[often], expected[often]
    assert chisquare(kept, wanted * kept.sum() / wanted.sum()).pvalue > 0.01
    torch.testing.assert_close(batch.log_growth, plans.descendants(0).log()[i].float())
    clipped = next(plans.batches(100, 1, torch.Generator().manual_seed(0), 0.01))
    assert clipped.log_growth.abs().max() <= 0.01 + 1e-7


def test_copies_become_growth():
    """Every source is found 1, 3 or 2 times later on, far from the others: g = log r / dt there."""
    source, copies = torch.tensor([[0.0, 0], [40, 0], [0, 40]]).repeat_interleave(20, 0), torch.tensor([1, 3, 2])
    source = source + 0.1 * torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    later = source.repeat_interleave(copies.repeat_interleave(20), 0)
    data = snapshots_of([source, later], [0.0, 2.0])
    method = small(data, tau=0.02, epsilon=1e-4, fitting=0.0, noise=0.001)
    found = method.plans(data).descendants(0).reshape(3, 20).mean(1)
    torch.testing.assert_close(found, copies.double(), atol=1e-3, rtol=0)
    method.fit(data, steps(300), lr=1e-2, batch_size=64)
    growth = method.growth(source, 1.0).reshape(3, 20).mean(1)
    torch.testing.assert_close(growth, copies.float().log() / 2, atol=0.05, rtol=0)


def test_without_growth_it_is_flow_matching_along_optimal_pairs():
    data = drifting((80, 80))
    method = OTCFM.seeded(data, 0, noise=0.0, width=16)
    batch = next(method.batches(data, 64, torch.Generator().manual_seed(0)))
    assert batch.log_growth.abs().max() < 1e-6
    assert torch.allclose(
        VGFM.seeded(data, 0, tau=math.inf).plans(data).descendants(0), torch.ones(80).double(), atol=1e-3
    )
    exact = method.plans(data).plans[0]
    assert ((exact > 0.5).sum(1) == 1).all(), "equal populations are matched one to one"
    torch.manual_seed(5)
    loss = method.loss(batch)["loss"]
    torch.manual_seed(5)
    t = torch.rand(64)

    def net(x, t, r=None, label=None):
        return method.fields(x, t)[0]

    torch.testing.assert_close(
        loss, flow_matching_loss(net, OptimalTransport(s_min=0.0), batch.source, batch.target, t)
    )


def test_the_state_on_the_line_begins_at_the_source_and_ends_at_the_target(monkeypatch):
    """The published program places time 0 at the target; here velocity and state must agree."""
    data = drifting()
    method = small(data, noise=0.0)
    batch = next(method.batches(data, 32, torch.Generator().manual_seed(0)))
    seen = {}

    def record(x, t):
        seen["x"], seen["t"] = x, t
        return x, x[:, 0]

    method.fields = record
    for s, place in ((0.0, batch.source), (1.0, batch.target)):
        monkeypatch.setattr(torch, "rand", lambda *size, s=s, **options: torch.full(size, s))
        method.loss(batch)
        torch.testing.assert_close(seen["x"], place)
        torch.testing.assert_close(seen["t"], batch.start + s * batch.duration)


def test_constant_fields_give_the_closed_form():
    """On a line: v = a x and constant growth carry N(0, 1) to e^{gt} N(0, e^{2at})."""
    method = small(snapshots_of([torch.randn(50, 1), torch.randn(60, 1)], [0.0, 1.0]))
    method.shift.zero_()
    method.scale.fill_(1.0)
    method.fields = lambda x, t: (0.5 * x, x.new_full((len(x),), 0.7))
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    found = method.push(x, 0.0, 1.0, step=0.001)
    torch.testing.assert_close(found.positions, x * math.exp(0.5), rtol=1e-3, atol=1e-3)
    assert float(found.log_weights.exp().mean()) == pytest.approx(math.exp(0.7), rel=1e-3)
    back = method.push(found.positions, 1.0, 0.0, step=0.001)
    torch.testing.assert_close(back.positions, x, rtol=2e-3, atol=2e-3)


def test_it_learns_where_a_cloud_goes_and_how_it_grows():
    data = drifting((150, 200, 300))
    method = VGFM.seeded(data, 0, width=32, depth=2, growth_width=16, growth_depth=1).fit(data, steps(300), lr=5e-3)
    fresh = drifting((300, 300, 300), seed=1).population(0)
    found = method.push(fresh, 0.0, 2.0)
    assert (found.positions.mean(0) - torch.tensor([2.0, 0.0])).abs().max() < 0.2
    assert float(found.log_weights.exp().mean()) == pytest.approx(2.0, rel=0.12)
    middle = method.velocity(fresh + torch.tensor([0.5, 0.0]), 0.5)
    assert (middle.mean(0) - torch.tensor([1.0, 0.0])).abs().max() < 0.2


def test_fitting_differentiates_the_last_interval_and_moves_the_cloud_to_its_target():
    data = drifting()
    for distance in ("emd", "sinkhorn"):
        method = small(data, distance=distance)
        *_, last = method.plans(data).intervals()
        method.distribution_loss(last).backward()
        assert method.velocity_net[0].weight.grad.abs().max() > 0
        reaches_growth = (
            method.growth_net[0].weight.grad is not None and method.growth_net[0].weight.grad.abs().max() > 0
        )
        assert reaches_growth == (distance == "sinkhorn")
        optimizer = torch.optim.Adam(method.parameters(), lr=5e-3)
        before = float(method.distribution_loss(last).detach())
        for _ in range(25):
            optimizer.zero_grad()
            method.distribution_loss(last).backward()
            optimizer.step()
        assert float(method.distribution_loss(last).detach()) < 0.7 * before


def test_the_fitting_phase_takes_its_share_and_steps_after_each_interval():
    data = drifting()
    train = data.split().train
    method = small(train, fitting=0.25).fit(data.split(), steps(40))
    assert method.training_record.planned == 40
    method.phase = FITTING
    ends = [float(batch.times[-1]) for batch in method.batches(train, 8, torch.Generator())]
    assert ends == [1.0] and method.epoch_length(train, 8) == 1  # the middle of three times is held out
    whole = small(data)
    whole.phase = FITTING
    assert [float(batch.times[-1]) for batch in whole.batches(data, 8, torch.Generator())] == [1.0, 2.0]


def test_the_better_of_the_two_phases_is_kept(monkeypatch):
    data = drifting().split()
    method = small(data.train, fitting=0.5)
    monkeypatch.setattr("pathline.transport.vgfm.FITTING_RATE", 100.0)  # throws it out of place at the first step
    method.fit(data, steps(60), lr=2e-2)
    alone = small(data.train, fitting=0.0).fit(data, steps(30), lr=2e-2)
    assert method.training_record.best == alone.training_record.best
    assert torch.equal(method.velocity_net[0].weight, alone.velocity_net[0].weight)


@pytest.mark.parametrize("stop", [7, 23])
def test_a_run_that_was_stopped_in_either_phase_ends_as_one_that_was_not(tmp_path, monkeypatch, stop):
    import signal

    data = drifting().split()
    whole = small(data.train, fitting=0.4).fit(data, steps(30), folder=tmp_path / "whole")
    method, calls = small(data.train, fitting=0.4), []

    def interrupted(original):
        def loss(batch):
            calls.append(1)
            if len(calls) == stop:
                signal.raise_signal(signal.SIGTERM)
            return original(batch)

        return loss

    method.loss, method.distribution_loss = interrupted(method.loss), interrupted(method.distribution_loss)
    with pytest.raises(Interrupted, match=f"--resume from {tmp_path / 'cut'}$"):
        method.fit(data, steps(30), folder=tmp_path / "cut")
    again = small(data.train, fitting=0.4).fit(data, steps(30), folder=tmp_path / "cut", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"metrics.csv"}
    rows = (tmp_path / "cut" / "metrics.csv").read_text().splitlines()
    assert rows[-1].startswith("30,")


def test_minutes_are_shared_by_both_phases(monkeypatch):
    """Say that loss, fitting and look take a second each: then a step of matching takes two."""
    monkeypatch.setattr("pathline.transport.vgfm._seconds", lambda work: 1.0)
    data = drifting()
    record = small(data, fitting=0.5).fit(data.split(), minutes(1.0)).training_record
    assert record.recipe["validations"] == 6  # a tenth of a minute in each phase
    assert 30 <= record.planned <= 32  # 60 - 12 s at 1.5 s a step


def test_rivals_do_what_their_names_say():
    data = drifting()
    standing = GrowthOnly.seeded(data, 0, width=8, fitting=0.0).fit(data, steps(150), lr=1e-2)
    x = data.population(0)
    found = standing.push(x, 0.0, 1.0)
    assert torch.equal(found.positions, standing.unscaled(standing.scaled(x)))
    assert float(found.log_weights.exp().mean()) == pytest.approx(80 / 60, rel=0.15)
    balanced = OTCFM.seeded(data, 0, width=8)
    assert balanced.push(x, 0.0, 1.0).log_weights.abs().max() == 0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(MethodError, match="exact plan, needs tau=inf"):
        VGFM(2, 3, epsilon=0.0)
    with pytest.raises(MethodError, match="choose emd or sinkhorn"):
        VGFM(2, 3, distance="mmd")
    with pytest.raises(MethodError, match="above 0"):
        VGFM(2, 3, tau=-1.0)
    with pytest.raises(DataError, match="single time"):
        VGFM.for_data(snapshots_of([torch.randn(9, 2)]))


def test_euler_s_steps_are_of_the_size_that_was_asked_for():
    method = small(drifting())
    seen = []
    method.fields = lambda x, t: (seen.append(float(t)), (x, x[:, 0]))[1]
    method.carry(torch.zeros(3, 2), 0.5, 1.0)
    torch.testing.assert_close(torch.tensor(seen).double(), time_grid(10, 0.5, 1.0)[:-1], atol=1e-6, rtol=0)


def test_a_batch_of_pairs_is_in_units_inside():
    data = replace(drifting(), times=torch.tensor([10.0, 14.0, 22.0]))
    method = small(data)
    batch = next(method.batches(data, 16, torch.Generator().manual_seed(0)))
    assert isinstance(batch, Pairs) and len(batch) == 32
    assert sorted(set(batch.start.tolist())) == pytest.approx([0, 4 / 6])
    assert sorted(set(batch.duration.tolist())) == pytest.approx([4 / 6, 8 / 6])
