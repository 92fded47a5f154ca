"""Walks whose density of the future is known: against the walks themselves, and against a filter made for it."""

import math

import pytest
import torch

from pathline.sims.walks import ALONG, INTERVAL, SPEED, SPREAD, TURNS, WAYS, simulate_walks
from pathline.spaces.gaussian_mixture import GaussianMixture


@pytest.mark.parametrize("kind", WAYS)
def test_the_truth_is_calibrated(kind: str) -> None:
    """At every step the density at what came is distributed like that at its own draws: ranks are uniform."""
    walks = simulate_walks(kind, 1500, seed=1)
    law = walks.future_density(torch.arange(1500))
    future = walks.positions[:, 8:]
    at = law.log_density(future)
    draws = law.draw(60, torch.Generator().manual_seed(0))
    many = GaussianMixture(law.log_weight[..., None, :], law.mean[..., None, :, :], law.factor[..., None, :, :, :])
    rank = (many.log_density(draws) > at[..., None]).double().mean(-1)
    for step in range(12):
        for level in (0.1, 0.5, 0.9):
            assert (rank[:, step] <= level).double().mean().item() == pytest.approx(level, abs=0.045)


@pytest.mark.parametrize("kind", WAYS)
def test_the_truth_integrates_to_one(kind: str) -> None:
    law = simulate_walks(kind, 3, seed=2).future_density(torch.arange(3))
    axis = torch.linspace(-9, 9, 300, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    at = places[:, None, None] + law.mean.mean(2)
    mass = law.log_density(at).exp().sum(0) * (axis[1] - axis[0]) ** 2
    assert torch.allclose(mass[:, 3:], torch.ones(3, 9, dtype=torch.float64), atol=1e-3)


def test_the_walkers_speed_is_told_as_well_as_the_noise_allows() -> None:
    """With an endless past the mean moves with the walker, with none it moves with the average one."""
    walks = simulate_walks("fork", 400, seed=3, history=40, horizon=2)
    law = walks.future_density(torch.arange(400))
    along = (walks.positions[:, 39, 0] - walks.positions[:, 0, 0]) / (39 * INTERVAL)
    said = (law.mean[:, 0, 0, 0] - walks.positions[:, 39, 0]) / INTERVAL
    precision = 1 / SPREAD**2, 39 * INTERVAL**2 / ALONG**2
    expected = (precision[0] * SPEED + precision[1] * along) / sum(precision)
    assert torch.allclose(said, expected, atol=1e-9)
    assert along.std().item() == pytest.approx(math.sqrt(SPREAD**2 + 1 / precision[1]), rel=0.1)


def test_ways_are_taken_as_often_as_said_and_turn_when_said() -> None:
    walks = simulate_walks("crossroads", 4000, seed=4)
    share = torch.bincount(walks.way, minlength=len(WAYS["crossroads"]) * len(TURNS)) / 4000
    expected = torch.tensor([weight / len(TURNS) for _, weight in WAYS["crossroads"] for _ in TURNS])
    assert (share - expected).abs().max() < 0.02
    moved = walks.positions[:, 1:] - walks.positions[:, :-1]
    before = moved[:, 7].mean(1)  # the first step into the future is straight for everybody
    assert before.isfinite().all()
    ahead = torch.stack([walks.heading.cos(), walks.heading.sin()], -1)
    assert ((moved[:, 7] * ahead).sum(-1) > 0.1).double().mean() > 0.98
    assert ((moved[:, 15] * ahead).sum(-1) > 0.3).double().mean().item() == pytest.approx(0.4, abs=0.05)


def test_a_walk_is_a_window() -> None:
    data = simulate_walks("fork", 30, seed=0).tracks()
    assert len(data) == 30 and data.horizon == 12 and data.name == "simulated-fork"
    with pytest.raises(ValueError, match="there are fork, crossroads"):
        simulate_walks("maze", 3)
