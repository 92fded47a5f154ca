"""The laws in the plane are the laws they say they are."""

import math

import pytest
import torch

from pathline.sims.points import ARM_NOISE, CLOUD_NOISE, MOON_NOISE, log_density, points

NAMES = ("two-moons", "checkerboard", "eight-gaussians", "spirals")


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_points_and_labels_are_balanced(name):
    one, same, other = points(name, 4000, 5), points(name, 4000, 5), points(name, 4000, 6)
    assert torch.equal(one.values, same.values) and torch.equal(one.labels, same.labels)
    assert not torch.equal(one.values, other.values)
    counts = torch.bincount(one.labels).double()
    spread = ((counts - 4000 / len(counts)) ** 2 / (4000 / len(counts))).sum()  # chi squared
    assert spread < len(counts) + 4 * math.sqrt(2 * len(counts))


def test_the_checkerboard_fills_its_dark_squares_evenly_and_nothing_else():
    board = points("checkerboard", 20_000, 0)
    assert torch.isfinite(log_density("checkerboard", board.values)).all()
    cell = torch.floor(board.values / 2).long() + 2
    counts = torch.zeros(4, 4).index_put((cell[:, 0], cell[:, 1]), torch.ones(len(cell)), accumulate=True)
    dark = (torch.arange(4)[:, None] + torch.arange(4)) % 2 == 0
    assert (counts[~dark] == 0).all()
    assert (counts[dark] - 2500).abs().max() < 5 * math.sqrt(2500)
    inside = board.values / 2 - torch.floor(board.values / 2)
    assert torch.allclose(inside.mean(0), torch.full((2,), 0.5), atol=5 / math.sqrt(12 * 20_000))


@pytest.mark.parametrize("name", ["checkerboard", "eight-gaussians"])
def test_known_densities_integrate_to_one_and_give_the_entropy_of_the_points(name):
    centres = (torch.arange(600, dtype=torch.float64) + 0.5) / 50 - 6
    grid = torch.cartesian_prod(centres, centres)
    assert float(log_density(name, grid).exp().sum()) * 4e-4 == pytest.approx(1, abs=1e-6)
    entropy = {"checkerboard": math.log(32), "eight-gaussians": math.log(8 * 2 * math.pi * math.e * CLOUD_NOISE**2)}
    drawn = log_density(name, points(name, 20_000, 1).values.double())
    assert float(-drawn.mean()) == pytest.approx(entropy[name], abs=5 / math.sqrt(20_000))


def test_moons_and_spirals_keep_to_their_curves():
    moons = points("two-moons", 5000, 2)
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[moons.labels]
    from_circle = (moons.values - centre).norm(dim=1) - 1
    assert float(from_circle.std()) == pytest.approx(MOON_NOISE, rel=0.05)
    assert ((moons.values - centre)[:, 1] * torch.where(moons.labels == 0, 1, -1) > -5 * MOON_NOISE).all()
    arms = points("spirals", 5000, 2)
    side = torch.where(arms.labels == 0, 1.0, -1.0)[:, None]
    angle = torch.linspace(0, 3 * math.pi, 2000)
    curve = (angle / 2)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    off = torch.cdist(arms.values * side, curve).amin(1)
    assert float(off.square().mean().sqrt()) == pytest.approx(ARM_NOISE, rel=0.1)


def test_unknown_laws_are_named():
    with pytest.raises(ValueError, match=r"'rings'.*two-moons"):
        points("rings", 10)
    with pytest.raises(ValueError, match="at least once"):
        points("spirals", 0)
    with pytest.raises(ValueError, match="no closed form"):
        log_density("spirals", torch.zeros(1, 2))
