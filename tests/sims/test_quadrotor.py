"""Simulated flights keep to their physics and to their volume."""

import pytest
import torch

from pathline.sims.quadrotor import KINDS, MOST_ACCELERATION, MOST_SPEED, _along, _rotations, simulate_quadrotor


def test_limits_of_acceleration_speed_and_jerk_hold() -> None:
    flights = simulate_quadrotor(40, seed=3, seconds=10, interval=0.02)
    assert flights.accelerations.norm(dim=-1).max() <= MOST_ACCELERATION + 1e-9
    assert flights.velocities.norm(dim=-1).max() <= MOST_SPEED + 1e-9
    jerk = flights.accelerations.diff(dim=1).norm(dim=-1) / 0.02
    assert jerk.max() <= 2 * MOST_ACCELERATION / 0.15 + 1e-6
    assert flights.accelerations.norm(dim=-1).median() > 1, "flights that do not turn prove nothing"


def test_positions_are_the_integral_of_velocities_and_noise_is_a_centimetre() -> None:
    flights = simulate_quadrotor(40, seed=3, seconds=10, interval=0.02)
    moved = flights.true.diff(dim=1)
    assert torch.allclose(moved, 0.02 * flights.velocities[:, 1:], atol=1e-9)
    assert (flights.positions - flights.true).std().item() == pytest.approx(0.01, rel=0.05)


def test_every_kind_follows_its_reference_inside_the_volume() -> None:
    flights = simulate_quadrotor(80, seed=4)
    assert flights.reference.abs().max() < 12.5
    assert (flights.true.abs() < 12).double().mean() > 0.97
    for kind in range(len(KINDS)):
        mine = flights.kind == kind
        behind = (flights.true[mine] - flights.reference[mine]).norm(dim=-1).mean()
        assert 0.1 < behind < 4, f"{KINDS[kind]}: {behind:.2f} m from its reference"


def test_without_gusts_and_noise_the_seed_still_sets_the_course_and_gusts_change_it() -> None:
    calm, windy = simulate_quadrotor(8, seed=5, gust=0.0, noise=0.0), simulate_quadrotor(8, seed=5, noise=0.0)
    assert torch.equal(calm.reference, windy.reference) and torch.equal(calm.positions, calm.true)
    assert 0.02 < (calm.true - windy.true).norm(dim=-1).mean() < 2
    assert torch.equal(simulate_quadrotor(8, seed=5).positions, simulate_quadrotor(8, seed=5).positions)


def test_a_course_is_walked_at_the_speed_asked_for_through_its_corners() -> None:
    square = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]], dtype=torch.float64)
    way = torch.arange(0, 8, 0.25, dtype=torch.float64)[None]
    path = _along(square, way, smooth=False)
    assert torch.allclose(path.diff(dim=1).norm(dim=-1), torch.full((1, 31), 0.25, dtype=torch.float64))
    smooth = _along(square, torch.arange(4, dtype=torch.float64)[None], smooth=True)
    assert torch.allclose(smooth, square), "gates are flown through"
    turns = _rotations(5, torch.Generator().manual_seed(0))
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(5, 3, 3), atol=1e-9)


def test_tracks_hold_one_flight_per_scene() -> None:
    data = simulate_quadrotor(6, seed=0, seconds=5).tracks()
    assert data.positions.shape == (6, 50, 3) and data.interval == 0.1 and len(set(data.scene.tolist())) == 6
    split = data.split()
    assert not set(split.train.agents) & set(split.test.agents)
