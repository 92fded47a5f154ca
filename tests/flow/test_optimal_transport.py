"""Plans against brute force, closed forms and POT; the two marginals; gradients against differences."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import chisquare

from pathline.flow import (
    barycentric_map,
    entropic_plan,
    exact_plan,
    relative_mass_error,
    sample_pairs,
    sinkhorn_divergence,
    squared_distances,
    transport_cost,
    wasserstein,
)


def clouds(n=12, m=17, dims=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dims, generator=generator).double(), torch.randn(m, dims, generator=generator).double() + 1


@pytest.mark.parametrize("tau", [0.1, 1.0, 10.0, math.inf])
def test_columns_are_met_exactly_whatever_growth_costs(tau):
    x, y = clouds(12, 12) if tau == math.inf else clouds()
    plan = entropic_plan(squared_distances(x, y), torch.ones(12), torch.ones(len(y)), 0.2, tau, tolerance=1e-13)
    torch.testing.assert_close(plan.sum(0), torch.ones(len(y)).double(), rtol=0, atol=1e-8)
    rows = plan.sum(1)
    assert (rows - 1).abs().max() < 1e-6 if tau == math.inf else (rows - 1).abs().max() > 0.05


def test_plans_minimise_what_they_say():
    """2 x 2 with a semi-relaxed source: brute force over plans whose columns are b."""
    cost = torch.tensor([[0.2, 1.0], [0.9, 0.4]]).double()
    a, b, eps, tau = torch.tensor([1.0, 1.0]).double(), torch.tensor([2.0, 0.7]).double(), 0.1, 0.5

    def primal(free):
        top = np.asarray(free)
        plan = np.stack([top, b.numpy() - top])
        if (plan <= 0).any():
            return 1e9
        rows = plan.sum(1)
        divergence = (rows * np.log(rows / a.numpy()) - rows + a.numpy()).sum()
        return (plan * cost.numpy()).sum() + eps * (plan * (np.log(plan) - 1)).sum() + tau * divergence

    best = minimize(primal, [1.0, 0.3], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000})
    plan = entropic_plan(cost, a, b, eps, tau, tolerance=1e-14)
    np.testing.assert_allclose(plan[0].numpy(), best.x, atol=1e-5)


@pytest.mark.parametrize(("tau_source", "tau_target"), [(10.0, math.inf), (2.0, 3.0), (1.0, 1.0)])
def test_plans_are_those_of_pot_where_its_exponentials_do_not_underflow(tau_source, tau_target):
    x, y = clouds()
    cost, a, b = squared_distances(x, y), np.ones(12), np.full(17, 1.3)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost.numpy(), 0.5, (tau_source, tau_target), c=np.ones((12, 17)), numItermax=50_000, stopThr=1e-14
    )
    ours = entropic_plan(cost, torch.tensor(a), torch.tensor(b), 0.5, tau_source, tau_target, tolerance=1e-14)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-8)


def test_a_small_blur_gives_the_exact_plan():
    x, y = clouds(9, 9)
    cost, ones = squared_distances(x, y), torch.ones(9)
    torch.testing.assert_close(entropic_plan(cost, ones, ones, 0.002), exact_plan(cost, ones, ones), atol=1e-3, rtol=0)


def test_tau_is_a_squared_length_below_which_cells_share_their_mass():
    """Targets are the sources, repeated 1, 3 and 2 times: far apart each source keeps its own, close by they share."""
    copies, tau = torch.tensor([1, 3, 2]), 10.0

    def descendants(spacing):
        x = torch.arange(3.0)[:, None].double() * spacing
        cost = squared_distances(x, x.repeat_interleave(copies, 0))
        return entropic_plan(cost, torch.ones(3), torch.ones(6), 0.03, tau).sum(1)

    torch.testing.assert_close(descendants(math.sqrt(50 * tau)), copies.double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(descendants(30.0), copies.double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(descendants(1.0), torch.tensor([1.90, 2.10, 2.00]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(descendants(0.01), torch.full((3,), 2.0).double(), atol=1e-3, rtol=0)


def test_what_has_no_plan_is_refused():
    cost = torch.ones(2, 3)
    with pytest.raises(ValueError, match="equal masses"):
        entropic_plan(cost, torch.ones(2), torch.ones(3), 0.1)
    with pytest.raises(ValueError, match="above 0"):
        entropic_plan(cost, torch.ones(2), torch.tensor([1.0, 0, 1]), 0.1, 1.0)


def test_pairs_come_as_often_as_the_plan_says():
    plan = torch.tensor([[0.3, 0.0, 0.9], [1.5, 0.2, 0.1]])
    i, j = sample_pairs(plan, 40_000, torch.Generator().manual_seed(0))
    seen = torch.bincount(3 * i + j, minlength=6).double()
    assert seen[1] == 0
    expected = (plan / plan.sum()).flatten().double() * 40_000
    positive = expected > 0
    assert chisquare(seen[positive], expected[positive]).pvalue > 0.01
    again = sample_pairs(plan, 40_000, torch.Generator().manual_seed(0))
    assert torch.equal(i, again[0]) and torch.equal(j, again[1])


def test_distances_on_a_line_are_those_of_sorted_points():
    x, y = torch.rand(30, 1), torch.rand(30, 1) * 3
    gap = (x.sort(0).values - y.sort(0).values).abs().double()
    assert wasserstein(x, y) == pytest.approx(float(gap.mean()), abs=1e-6)
    assert wasserstein(x, y, power=2) == pytest.approx(float(gap.square().mean().sqrt()), abs=1e-6)


def test_a_weight_is_worth_as_many_points():
    x, y = clouds()
    counts = torch.arange(1, 13)
    repeated = x.repeat_interleave(counts, 0)
    assert wasserstein(x, y, counts.double()) == pytest.approx(wasserstein(repeated, y), abs=1e-9)
    assert wasserstein(x, y, counts.double()) != pytest.approx(wasserstein(x, y), abs=1e-3)


def test_the_map_sends_a_shifted_cloud_where_it_was_shifted():
    x, _ = clouds()
    y = x + torch.tensor([0.3, -0.2])
    order = torch.randperm(12)
    plan = exact_plan(squared_distances(x, y[order]), torch.ones(12), torch.ones(12))
    torch.testing.assert_close(barycentric_map(plan, y[order]), y)


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_have_the_gradients_of_their_values(weighted):
    x, y = clouds(7, 9)
    a, b = torch.linspace(1, 2, 7).double(), torch.ones(9).double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    step = 1e-5

    def slope(loss):
        start = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(start), start)
        difference = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
        return float((gradient * direction).sum()), float(difference)

    loss = (lambda z: sinkhorn_divergence(z, y, a, b, 0.5)) if weighted else (lambda z: transport_cost(z, y, a, b))
    found, expected = slope(loss)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_divergence_also_says_how_to_change_weights_and_vanishes_on_equal_clouds():
    x, y = clouds(7, 9)
    b = torch.ones(9).double()
    a = torch.linspace(1, 2, 7).double().requires_grad_()
    (gradient,) = torch.autograd.grad(sinkhorn_divergence(x, y, a, b, 0.5), a)
    for k in (0, 3):
        bump = torch.zeros(7).double()
        bump[k] = 1e-4
        with torch.no_grad():
            above, below = (sinkhorn_divergence(x, y, a + s * bump, b, 0.5) for s in (1, -1))
        assert float(gradient[k]) == pytest.approx(float(above - below) / 2e-4, rel=1e-2, abs=1e-5)
    shuffled = x[torch.randperm(7)]
    assert abs(float(sinkhorn_divergence(x, shuffled, torch.ones(7), torch.ones(7), 0.5))) < 1e-6


def test_mass_is_compared_relative_to_what_was_measured():
    assert relative_mass_error(torch.tensor([0.0, math.log(5.0)]), 2.0) == pytest.approx(0.5)
