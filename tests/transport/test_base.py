"""What every transporter promises: units, held-out times, metrics that know weights; and the two baselines."""

import math
from dataclasses import replace

import pytest
import torch

from pathline.core.errors import DataError
from pathline.core.method import Figure
from pathline.data import snapshots_of
from pathline.transport.base import LARGEST, Pushed, Transporter, branched
from pathline.transport.baselines import Identity, LinearTransport


class Mover(Transporter):
    """Moves by (1, 0) and grows by a half for each unit of the data's time, whatever it was made for."""

    trains = False

    def carry(self, x, start, end, **options):
        duration = (end - start) * self.interval
        return x + duration * torch.tensor([1.0, 0.0]) / self.scale, x.new_full((len(x),), duration * math.log(1.5))


def marching(counts=(200, 300, 450), times=(0.0, 1.0, 2.0), seed=0):
    generator = torch.Generator().manual_seed(seed)
    clouds = [
        0.4 * torch.randn(n, 2, generator=generator) + torch.tensor([t, 5.0])
        for n, t in zip(counts, times, strict=True)
    ]
    return snapshots_of(clouds, list(times), name="march")


def test_the_truth_has_no_error_and_standing_still_has_the_way():
    data = marching()
    truth, still = Mover.for_data(data).evaluate(data), Identity.for_data(data).evaluate(data)
    assert truth["w1"] < 0.15 and truth["mass_error"] < 1e-5
    assert still["w1"] == pytest.approx(1.5, abs=0.08) and still["w2"] == pytest.approx(1.5, abs=0.1)
    assert still["mass_error"] == pytest.approx((1 / 3 + 5 / 9) / 2, abs=1e-6)


def test_times_that_were_not_learned_from_come_first_and_count_apart():
    data = marching()
    split = data.split()
    method = Identity.for_data(split)
    assert method.learned_times.tolist() == [0, 2]
    found = method.evaluate(split.test)
    assert list(found) == ["w1_held_out", "w1", "w2", "mass_error"]
    assert found["w1_held_out"] == pytest.approx(1.0, abs=0.15) and found["w1"] == pytest.approx(2.0, abs=0.15)
    assert list(method.evaluate(split.validation)) == ["w1", "w2", "mass_error"]


def test_weights_decide_the_distance():
    """Two spots, of which the second triples: reweighting alone explains the change."""

    class Weigher(Transporter):
        trains = False

        def carry(self, x, start, end, **options):
            return x, torch.where(x[:, 0] > 0, math.log(3.0), 0.0)

    spots = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    data = snapshots_of([spots.repeat(10, 1), torch.cat([spots[:1].repeat(10, 1), spots[1:].repeat(30, 1)])])
    assert Weigher.for_data(data).evaluate(data)["w1"] == pytest.approx(0.0, abs=1e-5)
    assert Weigher.for_data(data).evaluate(data)["mass_error"] == pytest.approx(0.0, abs=1e-6)
    assert Identity.for_data(data).evaluate(data)["w1"] == pytest.approx(0.5, abs=1e-5)


def test_a_trajectory_is_pushes_one_after_the_other():
    data = marching(times=(3.0, 4.0, 7.0))
    method = Mover.for_data(data)
    way = method.trajectory(data.population(0)[:5], [3.0, 3.0, 5.0, 7.0])
    torch.testing.assert_close(
        way.positions[:, :, 0] - way.positions[0, :, 0], torch.tensor([0.0, 0, 2, 4])[:, None].expand(4, 5)
    )
    torch.testing.assert_close(way.log_weights[-1], torch.full((5,), 4 * math.log(1.5)))
    torch.testing.assert_close(
        method.velocity(data.population(0), 5.0).mean(0), torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        method.growth(data.population(0), 5.0), torch.full((200,), math.log(1.5)), atol=1e-3, rtol=0
    )


def test_weights_become_copies():
    """Every cell leaves floor(w) or ceil(w) copies, w on average over seeds."""
    weights = torch.tensor([0.0, 0.25, 1.0, 2.6])
    pushed = Pushed(torch.arange(4.0)[:, None], weights.log())
    counts = torch.stack([torch.bincount(branched(pushed, seed)[:, 0].long(), minlength=4) for seed in range(2000)])
    assert counts.amin(0).tolist() == [0, 0, 1, 2] and counts.amax(0).tolist() == [0, 1, 1, 3]
    torch.testing.assert_close(counts.float().mean(0), weights, atol=0.06, rtol=0)
    assert torch.equal(branched(pushed, 3), branched(pushed, 3))


def test_predictions_are_a_row_per_cell_and_time_from_the_first_snapshot_on():
    data = marching()
    method = Mover.for_data(data)
    table = method.predict(replace(data.take(torch.arange(200)), columns=("a", "b")))
    assert list(table) == ["cell", "time", "a", "b", "log_weight"]
    assert sorted(set(table["time"])) == [0, 1, 2] and len(table) == 600
    later = method.predict(data.take(torch.nonzero(data.snapshot == 1).flatten()))
    assert sorted(set(later["time"])) == [1, 2]


def test_large_populations_are_thinned_and_infinite_ones_are_infinitely_far():
    data = marching((LARGEST + 500, 300, 300))
    assert Mover.for_data(data).evaluate(data)["w1"] < 0.15

    class Lost(Mover):
        def carry(self, x, start, end, **options):
            return x / 0, x[:, 0] * 0

    assert Lost.for_data(data).evaluate(data)["w1"] == math.inf


def test_what_cannot_be_pushed_is_named():
    data = marching()
    method = Mover.for_data(data)
    with pytest.raises(DataError, match=r"Mover pushes finite positions of shape \(cells, 2\), got \(3, 5\)"):
        method.push(torch.zeros(3, 5), 0.0, 1.0)
    with pytest.raises(DataError, match="finite"):
        method.push(torch.full((3, 2), math.nan), 0.0, 1.0)
    with pytest.raises(DataError, match="single time cannot judge"):
        method.evaluate(data.take(torch.arange(10)))
    with pytest.raises(DataError, match="only goes forward"):
        LinearTransport.for_data(data).push(data.population(1), 2.0, 1.0)


def test_linear_transport_carries_a_shifted_cloud_and_interpolates_on_the_way():
    cloud = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([0.5, -0.25])
    data = snapshots_of([cloud, cloud + shift, cloud + 3 * shift], [0.0, 1.0, 2.0])
    method = LinearTransport.for_data(data)
    fresh = 0.5 * torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    for time, way in ((0.5, 0.5), (1.0, 1.0), (1.5, 2.0), (2.0, 3.0), (2.5, 4.0)):
        torch.testing.assert_close(method.push(fresh, 0.0, time).positions, fresh + way * shift, atol=1e-3, rtol=0)
    assert Identity.for_data(data).evaluate(data)["w1"] > 0.5 > 0.01 > method.evaluate(data)["w1"]


def test_pictures_show_panels_arrows_and_move():
    data = marching((40, 50, 60))
    split = data.split()
    methods = {"still": Identity.for_data(split), "linear": LinearTransport.for_data(split)}
    found = Identity.figures(methods, split.test)
    assert [type(figure) for figure in found] == [Figure, Figure]
    populations, distances = found
    assert len(populations.picture.axes) == 3 and populations.animation is not None
    first, last = populations.animation.draw(0), populations.animation.draw(populations.animation.count - 1)
    assert len(first.axes) == 2 and "time 0.00" in first.axes[0].get_title() and "time 2.00" in last.axes[0].get_title()
    assert "held out" in distances.caption
    wide = snapshots_of([torch.randn(20, 5), torch.randn(20, 5) + 1], name="wide")
    assert Identity.figures({"still": Identity.for_data(wide)}, wide)[0].picture.axes[0].get_xlabel() == "component 1"
