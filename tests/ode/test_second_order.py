import itertools
import math

import pytest
import torch
from torch import Tensor

from pathline.ode import integrate_second_order, time_grid

DOUBLE = torch.float64
METHODS = ["semi-implicit-euler", "verlet", "euler", "midpoint", "heun", "rk4"]


def rest(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return torch.zeros_like(q), h


def oscillator(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return -q, h


def springs(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Nonlinear springs between all pairs of bodies: sees differences only."""
    difference = q[:, None] - q[None]
    return -(difference * (1 + difference.square().sum(-1, keepdim=True))).sum(dim=1), h


def start(bodies: int = 4) -> tuple[Tensor, Tensor]:
    q, qdot = torch.randn(2, bodies, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    return q, qdot


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_without_forces_bodies_go_straight(method: str, shared: bool) -> None:
    """Exactly: the steps of 1/8 and the states below are binary fractions."""
    q, qdot = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.25]])
    solution = integrate_second_order(rest, q, qdot, time_grid(8), method, positions_only=shared)
    assert torch.equal(solution.q[-1], q + qdot)
    assert torch.equal(solution.qdot[-1], qdot)


@pytest.mark.parametrize(
    ("method", "order"),
    [("semi-implicit-euler", 1), ("euler", 1), ("verlet", 2), ("midpoint", 2), ("heun", 2), ("rk4", 4)],
)
def test_each_method_converges_at_its_order_on_the_oscillator(method: str, order: int) -> None:
    q, qdot = torch.ones(1, 1, dtype=DOUBLE), torch.full((1, 1), 0.3, dtype=DOUBLE)
    exact = torch.tensor([math.cos(1) + 0.3 * math.sin(1), -math.sin(1) + 0.3 * math.cos(1)], dtype=DOUBLE)
    errors = []
    for steps in (8, 16, 32):
        solution = integrate_second_order(oscillator, q, qdot, time_grid(steps), method)
        final = torch.cat([solution.q[-1], solution.qdot[-1]]).flatten()
        errors.append(float((final - exact).norm()))
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_verlet_keeps_order_two_under_friction() -> None:
    """q'' = -q - q'/2: the second slope must use the predicted velocity, or the order falls to 1."""
    omega = math.sqrt(1 - 1 / 16)
    exact = math.exp(-0.25) * (math.cos(omega) + math.sin(omega) / (4 * omega))
    q = torch.ones(1, 1, dtype=DOUBLE)

    def friction(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, None]:
        return -q - 0.5 * qdot, None

    errors = [
        abs(float(integrate_second_order(friction, q, 0 * q, time_grid(n), "verlet").q[-1]) - exact) for n in (32, 64)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.15)


def test_symplectic_steps_keep_the_energy_and_explicit_euler_does_not() -> None:
    q, qdot = torch.ones(1, 1, dtype=DOUBLE), torch.zeros(1, 1, dtype=DOUBLE)
    drift = {}
    for method in ("semi-implicit-euler", "verlet", "euler"):
        solution = integrate_second_order(oscillator, q, qdot, time_grid(10_000, 0.0, 500.0), method)
        energy = 0.5 * (solution.q.square() + solution.qdot.square())
        drift[method] = float((energy - 0.5).abs().max())
    # The conserved energy of semi-implicit Euler differs by dt q q'/2 <= dt/4 (1 + dt) here; Euler gains 1
    # + dt^2 a step.
    assert drift["semi-implicit-euler"] < 0.05 / 2
    assert drift["verlet"] < 0.05**2
    assert drift["euler"] > 1e6


def test_verlet_runs_back_to_where_it_started() -> None:
    q, qdot = start()
    there = integrate_second_order(springs, q, qdot, time_grid(100), "verlet", positions_only=True)
    back = integrate_second_order(
        springs, there.q[-1], there.qdot[-1], time_grid(100, 1.0, 0.0), "verlet", positions_only=True
    )
    assert (there.q[-1] - q).abs().max() > 0.1
    assert (back.q[-1] - q).abs().max() < 1e-8
    assert (back.qdot[-1] - qdot).abs().max() < 1e-8


def test_verlet_shares_evaluations_only_when_positions_decide() -> None:
    q, qdot = start()
    shared = integrate_second_order(springs, q, qdot, time_grid(20), "verlet", positions_only=True)
    alone = integrate_second_order(springs, q, qdot, time_grid(20), "verlet")
    assert (shared.evaluations, alone.evaluations) == (21, 40)
    torch.testing.assert_close(shared.q, alone.q, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_boost_moves_all_bodies_along(method: str) -> None:
    q, qdot = start()
    boost = torch.tensor([3.0, -1.0, 2.0], dtype=DOUBLE)
    still = integrate_second_order(springs, q, qdot, time_grid(6, 0.0, 0.5), method)
    moving = integrate_second_order(springs, q, qdot + boost, time_grid(6, 0.0, 0.5), method)
    torch.testing.assert_close(moving.q[-1], still.q[-1] + 0.5 * boost, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_a_reflection_of_the_start_reflects_the_path(method: str) -> None:
    q, qdot = start()
    mirror, _ = torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)))
    mirror = mirror * (-torch.linalg.det(mirror)).sign()
    plain = integrate_second_order(springs, q, qdot, time_grid(6), method).q @ mirror
    mirrored = integrate_second_order(springs, q @ mirror, qdot @ mirror, time_grid(6), method).q
    assert torch.linalg.det(mirror) < 0
    torch.testing.assert_close(mirrored, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scaled", [False, True])
def test_features_move_by_whole_or_scaled_residuals(method: str, scaled: bool) -> None:
    """With h_next = h + 1, four steps of dt = 1/4 add 4, or 1 when scaled by the step."""

    def count(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return -q, None if h is None else h + 1

    q, qdot = start()
    solution = integrate_second_order(count, q, qdot, time_grid(4), method, torch.zeros(4, 2), scale_h=scaled)
    assert solution.h is not None and solution.h.shape == (5, 4, 2)
    torch.testing.assert_close(solution.h[-1], torch.full((4, 2), 1.0 if scaled else 4.0))


def test_features_steer_the_acceleration() -> None:
    def push(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor | None]:
        assert h is not None
        return h, 2 * h

    q = torch.zeros(1, dtype=DOUBLE)
    solution = integrate_second_order(push, q, q, [0.0, 1.0, 2.0, 3.0], h=q + 1)
    # q' takes h = 1, 2, 4 in turn: 1, 3, 7; and q their sums.
    assert solution.qdot[:, 0].tolist() == [0, 1, 3, 7]
    assert solution.q[:, 0].tolist() == [0, 1, 4, 11]


def test_mistakes_are_named() -> None:
    q, qdot = start()
    with pytest.raises(ValueError, match="unknown method 'leapfrog'"):
        integrate_second_order(rest, q, qdot, time_grid(2), "leapfrog")
    with pytest.raises(ValueError, match="they must agree"):
        integrate_second_order(rest, q, qdot[:2], time_grid(2))
    with pytest.raises(ValueError, match="must return"):
        integrate_second_order(lambda q, v, h: (q, None), q, qdot, time_grid(2), h=q)
    with pytest.raises(ValueError, match="acceleration has shape"):
        integrate_second_order(lambda q, v, h: (q[:1], h), q, qdot, time_grid(2))
