"""Simulated channels as fields: units, what is given, and flows that begin end up steady."""

import pytest
import torch

from pathline.sims.channels import MEAN, PEAK, SLOWEST, viscosity
from pathline.sims.flow_fields import channel_flow, starting_channel_flow
from pathline.sims.lattice_boltzmann import parabola
from pathline.sims.shapes import HIGH, random_shapes

SMALL = {"height": 20, "width": 48, "seed": 5}


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield channel_flow(count=4, **SMALL)


def test_velocities_are_in_mean_speeds_and_the_pressure_is_0_at_the_outlet(steady):
    assert steady.channels == ("Ux", "Uy", "p") and steady.steady and len(steady) == 4
    flux = steady.values[:, 0, 0].sum(1) / 20  # through every cross-section
    torch.testing.assert_close(flux, torch.ones(4, 48), rtol=0, atol=0.01)
    torch.testing.assert_close(steady.values[:, 0, 2, :, -1].mean(1), torch.zeros(4), rtol=0, atol=1e-5)
    assert (steady.values[:, 0, 2, :, 0].mean(1) > 1).all()  # and drives the flow
    assert torch.equal(steady.inside, steady.inputs[:, 0] > 0) and torch.equal(steady.inside, steady.inputs[:, 1] > 0)


def test_reynolds_numbers_are_20_to_40():
    heights = 2 * random_shapes(500, 40, 96, seed=0).half[:, 1]
    numbers = MEAN * heights / viscosity(40)
    assert SLOWEST <= numbers.min() < SLOWEST + 1 and 2 * SLOWEST - 1 < numbers.max() <= 2 * SLOWEST
    assert HIGH == (0.2, 0.4) and abs(float(parabola(400, PEAK).mean()) / MEAN - 1) < 1e-4


def test_flows_that_begin_become_the_steady_ones(steady, tmp_path, monkeypatch):
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    begun = starting_channel_flow(count=2, frames=12, **SMALL)
    assert begun.values.shape == (2, 12, 3, 20, 48) and not begun.steady
    assert torch.equal(begun.inputs, steady.inputs[:2])
    velocity, end = begun.values[:, :, :2], steady.values[:2, :, :2]
    distance = (velocity - end).square().sum((0, 2, 3, 4))
    assert (distance.diff() < 0).all() and distance[-1] < 0.02 * distance[0]
    assert begun.interval == pytest.approx(100 * MEAN / 20)
