"""DeepCFD: its loss and the weights of it, its four architectures, mirrored channels, and what it learns."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_fields
from pathline.data import DataError, Fields, Frame
from pathline.sims.flow_fields import FLUID, INLET, OBSTACLE, OUTLET, WALL, channel_inputs
from pathline.sims.shapes import cover, random_shapes
from pathline.simulate.deepcfd import DeepCFD, field_loss, mirrored
from pathline.simulate.field_baselines import MeanField, Persistence

ABSOLUTE = torch.tensor([False, False, True])
SIGN = torch.tensor([1.0, -1.0, 1.0])[:, None, None]


def channels(items: int = 24) -> Fields:
    """Made-up flows in real channels: fields that follow from the distances by a smooth law."""
    solid = cover(random_shapes(items, 20, 32, seed=0), 20, 32)
    inputs = channel_inputs(solid)
    distance, _, wall = inputs.unbind(1)
    away = 20 * distance.diff(dim=1, append=distance[:, -1:])
    flow = torch.stack([3 * wall * (1 - (-4 * distance).exp()), away * (-3 * distance.abs()).exp(), 2 - distance], 1)
    return Fields(
        values=flow[:, None], inputs=inputs, inside=~solid, channels=("Ux", "Uy", "p"), name="made-up-channels"
    )


def a_frame() -> Frame:
    return channels().gather(torch.arange(6))


# -- the loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_a_perfect_prediction_costs_nothing_and_any_other_something(legacy):
    frame, unit = a_frame(), torch.tensor([1.0, 0.3, 2.0])
    assert field_loss(frame.target, frame.target, frame.inside, unit, ABSOLUTE, legacy) == 0
    for channel in range(3):
        wrong = frame.target.clone()
        wrong[0, channel, 0, 0] += 0.1
        assert field_loss(wrong, frame.target, frame.inside, unit, ABSOLUTE, legacy) > 0


def test_velocities_cost_their_square_and_the_pressure_its_size_each_over_its_root_mean_square():
    inside = torch.ones(1, 2, 2, dtype=torch.bool)
    target, wrong = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    unit = torch.tensor([0.8, 0.6, 5.0])  # the velocities' common root mean square is 1: the paper's loss
    for channel, expected in ((0, 0.5**2 / 0.8), (1, 0.5**2 / 0.6), (2, 0.5 / 5.0)):
        wrong.zero_()[0, channel, 0, 1] = -0.5
        torch.testing.assert_close(field_loss(wrong, target, inside, unit, ABSOLUTE), torch.tensor(expected / 4))
    total = (1 / unit).sum() * (0.5 / 4)
    torch.testing.assert_close(field_loss(wrong, target, inside, unit, ABSOLUTE, legacy=True), total)


def test_other_units_change_the_legacy_loss_only():
    frame = a_frame()
    unit = torch.tensor([1.1, 0.2, 0.7])
    predicted = frame.target + 0.3 * torch.randn(frame.target.shape, generator=torch.Generator().manual_seed(0))

    def loss(factors: list[float], legacy: bool) -> torch.Tensor:
        factor = torch.tensor(factors)
        scale = factor[:, None, None]
        return field_loss(predicted * scale, frame.target * scale, frame.inside, unit * factor, ABSOLUTE, legacy)

    plain = loss([1, 1, 1], False)
    torch.testing.assert_close(loss([1, 1, 2], False), plain)
    torch.testing.assert_close(loss([3, 3, 1], False), plain)  # velocities share a unit
    assert abs(loss([1, 1, 2], True) / loss([1, 1, 1], True) - 1) > 0.05


def test_cells_of_the_obstacle_do_not_count():
    frame, unit = a_frame(), torch.ones(3)
    wrong = frame.target + 5.0 * ~frame.inside[:, None]
    assert field_loss(wrong, frame.target, frame.inside, unit, ABSOLUTE) == 0


def test_upside_down_the_loss_of_a_prediction_turned_upside_down_is_the_same():
    frame, unit = a_frame(), torch.tensor([1.0, 0.3, 2.0])
    predicted = frame.target + torch.randn(frame.target.shape, generator=torch.Generator().manual_seed(1))
    turned = mirrored(frame, SIGN)
    loss = field_loss(predicted, frame.target, frame.inside, unit, ABSOLUTE)
    torch.testing.assert_close(field_loss(predicted.flip(2) * SIGN, turned.target, turned.inside, unit, ABSOLUTE), loss)
    assert torch.equal(mirrored(turned, SIGN).target, frame.target)
    torch.testing.assert_close(turned.target[:, 1], -frame.target[:, 1].flip(1))
    solid = ~frame.inside
    torch.testing.assert_close(channel_inputs(solid.flip(1)), turned.inputs)  # what is given of the mirrored channel


# -- what is given ------------------------------------------------------------------------------------------------


def test_what_is_given_are_distances_and_the_five_regions():
    solid = cover(random_shapes(5, 40, 96, seed=2), 40, 96)
    distance, region, wall = channel_inputs(solid).unbind(1)
    assert torch.equal(distance < 0, solid) and torch.equal(region == OBSTACLE, solid)
    assert (region[:, 5, 0] == INLET).all() and (region[:, 5, -1] == OUTLET).all() and (region[:, 0, 5] == WALL).all()
    assert set(region.unique().tolist()) == {OBSTACLE, FLUID, WALL, INLET, OUTLET}
    torch.testing.assert_close(wall[0, :3, 7] * 40, torch.tensor([0.5, 1.5, 2.5]))
    torch.testing.assert_close(wall, wall.flip(1))


# -- the method ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["AE", "AEx", "UNet", "UNetEx"])
def test_every_architecture_learns_and_beats_the_mean_field(architecture):
    data = channels()
    train, test = data.take(torch.arange(18)), data.take(torch.arange(18, 24))
    config = {"architecture": architecture, "filters": [8, 16], "kernel": 3, "layers": 1}
    method = DeepCFD.seeded(train, 0, **config).fit(train, steps(200), lr=1e-2, batch_size=9, precision="fp32")
    mean = MeanField.for_data(train).fit(train)
    assert method.evaluate(test)["normalised_mse"] < 0.5 * mean.evaluate(test)["normalised_mse"]
    inside = test.inside
    found = method.solve(test.inputs, inside)
    assert found.shape == test.values[:, 0].shape and not found.masked_select(~inside[:, None]).any()
    separate = architecture.endswith("x")
    assert len(method.network.decoders) == (3 if separate else 1)


def test_it_reads_off_the_data_which_channel_is_which_and_their_units():
    data = channels()
    method = DeepCFD.for_data(data, filters=[4])
    assert method.absolute.tolist() == [False, False, True] and method.sign.flatten().tolist() == [1, -1, 1]
    inside = data.inside[:, None].expand(-1, 3, -1, -1)
    rms = [data.values[:, 0, k][inside[:, k]].square().mean().sqrt() for k in range(3)]
    torch.testing.assert_close(method.unit, torch.stack(rms))
    other = DeepCFD.for_data(replace(data, channels=("a", "b", "c")), filters=[4])
    assert not other.absolute.any() and (other.sign == 1).all()


def test_the_units_of_the_data_do_not_matter():
    """Data in other units: the same losses, and predictions in those units."""
    data = channels()
    factor = torch.tensor([50.0, 50.0, 1e-4])[:, None, None]
    scaled = replace(data, values=data.values * factor, inputs=data.inputs * 1000)
    found = []
    for one in (data, scaled):
        method = DeepCFD.seeded(one, 0, filters=[4, 8], kernel=3, layers=1)
        found.append((method.loss(one.gather(torch.arange(6))), method.solve(one.inputs)))
    (loss, fields), (loss_scaled, fields_scaled) = found
    torch.testing.assert_close(loss_scaled, loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(fields_scaled, fields * factor, rtol=1e-3, atol=1e-5)


def test_mirrored_training_turns_half_of_the_batches():
    data = channels()
    method = DeepCFD.seeded(data, 0, filters=[4], kernel=3, layers=1, mirror=True)
    frame = data.gather(torch.arange(6))
    method.train()
    torch.manual_seed(0)
    losses = {round(method.loss(frame).item(), 5) for _ in range(20)}
    method.eval()
    plain, turned = (round(method.loss(one).item(), 5) for one in (frame, mirrored(frame, SIGN)))
    assert losses == {plain, turned} and plain != turned


def test_where_time_passes_it_learns_the_change_and_rolls_out():
    data = tiny_fields()
    split = data.split()
    method = DeepCFD.seeded(split.train, 0, filters=[8, 16], kernel=3, layers=1)
    assert method.changes and method.inputs == 3
    method.fit(split.train, steps(150), lr=5e-3, batch_size=16, precision="fp32")
    still = Persistence().evaluate(split.test)
    found = method.evaluate(split.test)
    assert found["normalised_mse"] < 0.3 * still["normalised_mse"] and found["rollout_mse"] < 0.5 * still["rollout_mse"]


def test_what_does_not_fit_is_named():
    data = channels()
    method = DeepCFD.for_data(data)
    assert method.scales == 4  # of 20 x 32 cells
    with pytest.raises(DataError, match="learned from 3 channels; these are 2"):
        method.solve(data.inputs[:, :2])
    with pytest.raises(DataError, match="halves the grid 4 times; 10 x 32 cells are too few"):
        method.solve(data.inputs[:, :, :10])
    with pytest.raises(MethodError, match="architecture is 'ResNet'; choose one of AE, AEx, UNet, UNetEx"):
        DeepCFD.for_data(data, architecture="ResNet")
    with pytest.raises(MethodError, match="kernel 4 must be odd"):
        DeepCFD.for_data(data, kernel=4)


def test_on_steady_fields_it_is_ranked_with_the_baselines_that_fit():
    from pathline.core.compare import compare

    board = compare(["deepcfd"], channels(), budget=steps(3))
    assert {arm.key for arm in board.arms} == {"deepcfd", "mean-field", "linear-modes"}
    assert board.naive == "mean-field" and not any(arm.failure for arm in board.arms)
    assert board.metrics[0] == "normalised_mse" and "rollout_mse" not in board.metrics
