"""The base of simulators of fields: verbs, errors in closed form, files and pictures."""

from dataclasses import replace

import pytest
import torch

from pathline.core.tiny import tiny_fields, tiny_samples
from pathline.data import DataError, Fields, Frame
from pathline.simulate.field_baselines import LinearModes, MeanField, Persistence, principal_components
from pathline.simulate.fields import AHEAD, FieldSimulator, rollout_windows, variance


class Doubling(FieldSimulator):
    """Everything doubles; and steady fields are twice the first input."""

    def step(self, frame: Frame) -> torch.Tensor:
        return 2 * (frame.state if frame.state.shape[1] else frame.inputs[:, :2])


def growing(factor: float, frames: int = 5, **options) -> Fields:
    """Two channels of unequal size that grow by a factor from frame to frame; a corner is outside."""
    start = torch.tensor([1.0, -300.0])[:, None, None] * (1 + torch.rand(4, 1, 2, 6, 7))
    values = start * factor ** torch.arange(frames).view(1, -1, 1, 1, 1)
    inside = torch.ones(4, 6, 7, dtype=torch.bool)
    inside[:, :2, :3] = False
    return Fields(values=values, inside=inside, channels=("u", "p"), name="growing", **options)


def steady(items: int = 12) -> Fields:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(items, 2, 6, 7, generator=generator)
    return Fields(values=2 * inputs[:, None], inputs=inputs, channels=("u", "p"), name="steady")


def test_a_rollout_feeds_on_itself_and_stays_inside():
    data = growing(2.0)
    frame = data.gather(torch.tensor([0, 4]))
    found = Doubling().rollout(frame, 3)
    assert found.shape == (2, 4, 2, 6, 7)
    torch.testing.assert_close(found, data.values[:2, :4])
    everywhere = replace(frame, state=torch.ones_like(frame.state))
    assert not Doubling().rollout(everywhere, 1)[:, 1, :, :2, :3].any()


def test_solving_gives_the_steady_fields():
    data = steady()
    torch.testing.assert_close(Doubling().solve(data.inputs), data.values[:, 0])
    inside = torch.zeros(12, 6, 7, dtype=torch.bool)
    inside[:, 3] = True
    found = Doubling().solve(data.inputs, inside)
    torch.testing.assert_close(found[:, :, 3], data.values[:, 0, :, 3])
    assert not found[:, :, :3].any()


def test_errors_are_in_units_of_the_variance_whatever_the_unit_of_a_channel():
    data = growing(3.0)
    found = Doubling().evaluate(data)
    inside = data.inside[:, None, None].expand_as(data.values)
    cells = [data.values[:, :, k][inside[:, :, k]].double() for k in range(2)]
    var = torch.stack([c.var(correction=0) for c in cells])
    torch.testing.assert_close(variance(data), var)
    missed = [(data.values[:, 1:, k] - 2 * data.values[:, :-1, k])[inside[:, 1:, k]].double() for k in range(2)]
    expected = sum(float(m.square().mean() / v) for m, v in zip(missed, var, strict=True)) / 2
    assert found["normalised_mse"] == pytest.approx(expected, rel=1e-5)
    assert found["relative_l2 p"] == pytest.approx(1 / 3, rel=1e-5)  # misses x of 3 x
    rescaled = replace(data, values=data.values * torch.tensor([7.0, 1e-3])[:, None, None])
    again = Doubling().evaluate(rescaled)
    assert again["normalised_mse"] == pytest.approx(found["normalised_mse"], rel=1e-5)
    assert again["mse u"] == pytest.approx(49 * found["mse u"], rel=1e-4)
    assert Doubling().evaluate(growing(2.0))["rollout_mse"] < 1e-10 < found["rollout_mse"]
    assert "rollout_mse" not in Doubling().evaluate(steady())


def test_rollouts_of_an_evaluation_cover_the_data_without_overlap():
    starts, steps = rollout_windows(growing(1.0, frames=5, span=2))
    assert (starts.tolist(), steps) == ([0], 2)
    starts, steps = rollout_windows(growing(1.0, frames=35))
    assert (starts.tolist(), steps) == ([0, AHEAD, 2 * AHEAD], AHEAD)
    assert Doubling().evaluate(growing(1.0, frames=200))["rollout_mse"] > 1e5
    assert Doubling().score(growing(2e4, frames=9)) < float("inf")


def test_tables_hold_the_cells_inside_and_files_the_rollout(tmp_path):
    data = replace(growing(2.0), x=torch.arange(7).double() * 10)
    table = Doubling().predict(data)
    assert list(table.columns) == ["item", "step", "y", "x", "u", "p"] and len(table) == 4 * 5 * (42 - 6)
    row = table[(table.item == 2) & (table.step == 3) & (table.y == 4) & (table.x == 50)]
    assert row.p.item() == pytest.approx(float(data.values[2, 3, 1, 4, 5]))
    pytest.importorskip("netCDF4")
    from pathline.data.readers.netcdf import read_netcdf

    Doubling().writers()[".nc"](data, tmp_path / "out.nc", 0)
    torch.testing.assert_close(read_netcdf(tmp_path / "out.nc").values, data.values)


def test_what_does_not_fit_is_named():
    data, method = growing(2.0), Doubling()
    frame = data.gather(torch.tensor([0, 1]))
    with pytest.raises(DataError, match="has at least 1"):
        method.rollout(frame, 0)
    with pytest.raises(DataError, match=r"no state to roll out; solve\(inputs\)"):
        method.rollout(steady().gather(torch.tensor([0])), 2)
    with pytest.raises(DataError, match="not finite"):
        method.rollout(replace(frame, state=frame.state * torch.nan), 1)
    with pytest.raises(DataError, match="inside has shape"):
        method.rollout(replace(frame, inside=frame.inside[:, 1:]), 1)
    with pytest.raises(DataError, match="Doubling learns from Fields, but tiny-samples is Samples"):
        method.evaluate(tiny_samples())
    with pytest.raises(DataError, match="inputs have shape"):
        method.solve(torch.zeros(3, 4))


# -- baselines ----------------------------------------------------------------------------------------------------


def test_persistence_stays_and_refuses_steady_fields():
    data = growing(1.0)
    assert Persistence.for_data(data).evaluate(data)["rollout_mse"] < 1e-12
    found = Persistence.for_data(data).evaluate(growing(3.0))
    assert found["relative_l2 u"] == pytest.approx(2 / 3, rel=1e-5)
    with pytest.raises(DataError, match="Persistence needs fields that change in time, but those of steady are steady"):
        Persistence.for_data(steady())


def test_the_mean_field_is_the_mean_over_items_and_frames_that_are_inside():
    data = growing(2.0)
    inside = data.inside.clone()
    inside[0, 5, 6] = False
    data = replace(data, inside=inside)
    method = MeanField.for_data(data).fit(data)
    torch.testing.assert_close(method.mean[1, 5, 6], data.values[1:, :, 1, 5, 6].mean())
    torch.testing.assert_close(method.mean[0, 3, 3], data.values[:, :, 0, 3, 3].mean())
    assert not method.mean[:, 0, 0].any()


def test_linear_modes_find_a_linear_law_of_few_modes_exactly():
    """Inputs of rank 3 and a linear map to the fields: fields of unseen inputs follow to rounding."""
    generator = torch.Generator().manual_seed(0)
    shapes, weights = torch.randn(3, 2, 6, 7, generator=generator), torch.randn(40, 3, generator=generator)
    inputs = torch.einsum("nk,kchw->nchw", weights, shapes)
    law = torch.randn(3, 2, 6, 7, generator=generator) * torch.tensor([1.0, 500.0])[:, None, None]
    values = torch.einsum("nk,kchw->nchw", weights, law)[:, None] + 3
    data = Fields(values=values, inputs=inputs, name="linear")
    train, test = data.take(torch.arange(20)), data.take(torch.arange(20, 40))
    method = LinearModes.for_data(train, modes=5).fit(train)
    assert method.evaluate(test)["normalised_mse"] < 1e-8
    assert LinearModes.for_data(train, modes=2).fit(train).evaluate(test)["normalised_mse"] > 1e-2
    assert LinearModes.for_data(train, modes=5, uses=[1]).fit(train).evaluate(test)["normalised_mse"] < 1e-8


def test_linear_modes_predict_a_change_where_time_passes():
    data = growing(1.5)
    method = LinearModes.for_data(data).fit(data)
    assert method.evaluate(data)["rollout_mse"] < 1e-6 < Persistence.for_data(data).evaluate(data)["rollout_mse"]
    with pytest.raises(DataError, match="LinearModes learned from 2 channels on 6 x 7 cells"):
        method.evaluate(Fields(values=data.values[..., :-1]))


def test_principal_components_are_those_of_the_decomposition():
    centred = torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    centred = centred - centred.mean(0)
    rows = principal_components(centred, 4)
    torch.testing.assert_close(rows @ rows.T, torch.eye(4), atol=1e-5, rtol=0)
    right = torch.linalg.svd(centred, full_matrices=False).Vh[:4]
    torch.testing.assert_close((rows * right).sum(1).abs(), torch.ones(4), atol=1e-4, rtol=0)
    assert len(principal_components(centred, 20)) == 7  # the mean is gone


def test_pictures_show_every_method_and_rollouts_move():
    data = tiny_fields()
    methods = {"persistence": Persistence(), "doubling": Doubling()}
    grows, moving = FieldSimulator.figures(methods, data)
    assert [text.get_text() for text in grows.picture.axes[0].get_legend().texts] == list(methods)
    assert moving.animation is not None and moving.animation.count == 5
    assert moving.animation.gif()[:3] == b"GIF"
    (one,) = FieldSimulator.figures({"doubling": Doubling()}, steady())
    labels = [axis.get_ylabel() for axis in one.picture.axes]
    assert {"given", "truth", "doubling", "doubling, error"} <= set(labels)
