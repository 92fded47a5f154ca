"""The toggle switch: where it divides and dies, and how many cells that makes."""

import math

import torch

from pathline.sims.cells import ToggleSwitch, grow, simulated_cells


def test_progenitors_sit_on_a_saddle_between_two_fates():
    switch = ToggleSwitch()
    middle = torch.full((1, 2), 1.08).double()
    assert switch.drift(middle).abs().max() < 0.02
    apart, along = torch.tensor([[1e-4, -1e-4]]).double(), torch.tensor([[1e-4, 1e-4]]).double()

    def slope(step):
        return float(
            ((switch.drift(middle + step) - switch.drift(middle - step)) / 2 * step).sum() / step.square().sum()
        )

    assert slope(apart) > 0.5 and slope(along) < -0.5


def test_the_two_genes_are_treated_alike_by_the_drift_but_not_by_growth():
    switch, x = ToggleSwitch(), torch.rand(20, 2).double() * 3
    torch.testing.assert_close(switch.drift(x.flip(1)), switch.drift(x).flip(1))
    assert switch.growth(torch.tensor([[0.0, 2.4]])) > 0.5 > 0 > switch.growth(torch.tensor([[2.4, 0.0]]))


def test_births_and_deaths_come_at_their_rates():
    """With constant rates a culture grows like exp((birth - death) t); Yule's variance gives the tolerance."""

    class Constant(ToggleSwitch):
        def rates(self, x):
            return x.new_full((len(x),), 0.8), x.new_full((len(x),), 0.3)

    count, time = 4000, 1.5
    found = len(grow(Constant(), count, time, 0.01, torch.Generator().manual_seed(0)))
    growth = math.exp(0.5 * time)
    deviation = math.sqrt(count * (1.1 / 0.5) * growth * (growth - 1))
    discretisation = 0.01 * count * growth  # one event a step at most
    assert abs(found - count * growth) < 4 * deviation + discretisation


def test_cultures_grow_and_split_and_are_repeatable():
    data = simulated_cells(100, (0.0, 2.0, 4.0), seed=5)
    assert torch.equal(data.positions, simulated_cells(100, (0.0, 2.0, 4.0), seed=5).positions)
    assert data.counts[0] == 100 and data.counts[2] > 150
    late = data.population(2)
    assert ((late[:, 0] - late[:, 1]).abs() > 1).float().mean() > 0.6
    assert (data.population(0)[:, 0] - data.population(0)[:, 1]).abs().max() < 1
