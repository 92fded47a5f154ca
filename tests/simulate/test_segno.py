"""SEGNO: exact motions without forces, orders of convergence through the method, symmetries."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pathline.data import Step
from pathline.graph import complete_graph
from pathline.simulate.segno import SEGNO

NODES = 5
INTEGRATORS = ["semi-implicit-euler", "euler", "verlet", "midpoint", "heun", "rk4"]


def awake(method: SEGNO) -> SEGNO:
    for name, weight in method.named_parameters():
        if name.endswith("phi_x.2.weight"):
            weight.data.normal_(0, 0.3)
    for name, value in (("length", 0.7), ("speed", 1.6), ("motion", 0.4), ("bend", 0.3)):
        getattr(method.units, name).fill_(value)
    return method


def state(duration: float = 1.0) -> Step:
    edge_index = complete_graph(NODES)
    position, velocity = torch.randn(2, 3, NODES, 3, dtype=torch.float64)
    charge = torch.randn(3, NODES, 1, dtype=torch.float64)
    product = charge[:, edge_index[0]] * charge[:, edge_index[1]]
    return Step(position, velocity, charge, edge_index, product, torch.zeros_like(position), duration)


class Oscillator(SEGNO):
    """Another backbone: a spring of angular frequency 1 to the origin. Time is counted in supervised steps."""

    def acceleration(self, q: Tensor, qdot: Tensor, h: Tensor, state: Step) -> tuple[Tensor, Tensor]:
        return -(self.units.duration**2) * q, h


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("duration", [1.0, 0.25])
def test_without_forces_bodies_fly_straight(integrator: str, duration: float) -> None:
    method = SEGNO(1, 1, width=8, integrator=integrator).double()
    method.units.duration.fill_(duration)
    torch.nn.init.zeros_(method.network.layers[0].phi_x[-1].weight)
    start = state(duration)
    position, velocity = method.step(start)
    assert (position - start.position - duration * start.velocity).abs().max() < 1e-13
    assert (velocity - start.velocity).abs().max() < 1e-13


@pytest.mark.parametrize(("integrator", "order"), [("semi-implicit-euler", 1), ("euler", 1), ("verlet", 2), ("rk4", 4)])
def test_a_backbone_plugs_in_and_the_integrators_converge_at_their_order(integrator: str, order: int) -> None:
    """The oscillator's exact motion; this also pins down the units of time of positions and velocities."""
    start, errors = state(duration=1.5), []
    exact = start.position * math.cos(1.5) + start.velocity * math.sin(1.5)
    swing = start.velocity * math.cos(1.5) - start.position * math.sin(1.5)
    for substeps in (8, 16, 32):
        method = Oscillator(1, 1, width=8, substeps=substeps, integrator=integrator).double()
        method.units.duration.fill_(1.5)
        position, velocity = method.step(start)
        errors.append(float((position - exact).abs().max() + (velocity - swing).abs().max()))
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_semi_implicit_euler_keeps_the_energy_bounded_and_explicit_euler_does_not() -> None:
    growth = {}
    for integrator in ("semi-implicit-euler", "euler"):
        method = Oscillator(1, 1, width=8, substeps=10_000, integrator=integrator).double()
        method.units.duration.fill_(100.0)
        start = state(duration=100.0)
        solution = method.solve(start)
        energy = (solution.q.square() + (solution.qdot / 100).square()).sum((1, 2, 3))
        growth[integrator] = float((energy / energy[0] - 1).abs().max())
    assert growth["semi-implicit-euler"] < 0.02
    assert growth["euler"] > 1.0


@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize("drag", [False, True])
@pytest.mark.parametrize("integrator", ["semi-implicit-euler", "verlet", "rk4"])
def test_motion_turns_flips_and_shifts_with_the_input(determinant: float, drag: bool, integrator: str) -> None:
    torch.manual_seed(0)
    method = awake(SEGNO(1, 1, width=8, substeps=4, drag=drag, integrator=integrator)).double()
    start = state()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turn[:, 0] *= determinant * torch.linalg.det(turn).sign()
    shift = torch.randn(3, dtype=torch.float64)
    moved = replace(start, position=start.position @ turn.T + shift, velocity=start.velocity @ turn.T)
    end, end_moved = method.step(start), method.step(moved)
    assert (end[0] - start.position - start.velocity).abs().max() > 0.01
    assert torch.allclose(end_moved[0], end[0] @ turn.T + shift, atol=1e-9)
    assert torch.allclose(end_moved[1], end[1] @ turn.T, atol=1e-9)


def boosted(method: SEGNO) -> float:
    """How far the motion under a common extra velocity is from the motion plus that drift."""
    torch.manual_seed(1)
    start, drift = state(), torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)
    with torch.no_grad():
        end, end_boosted = (method.step(replace(start, velocity=start.velocity + c))[0] for c in (0 * drift, drift))
    return float((end_boosted - end - drift).abs().max())


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_common_drift_goes_unnoticed_without_drag_and_speed(integrator: str) -> None:
    assert boosted(awake(SEGNO(1, 1, width=8, speed=False, integrator=integrator)).double()) < 1e-12


def test_drag_and_the_speed_feature_notice_a_common_drift() -> None:
    assert boosted(awake(SEGNO(1, 1, width=8, speed=False, drag=True)).double()) > 1e-4
    assert boosted(awake(SEGNO(1, 1, width=8, speed=True)).double()) > 1e-6


def test_one_set_of_weights_serves_any_number_of_substeps() -> None:
    counts = {SEGNO(1, 1, width=8, substeps=n).parameter_count() for n in (1, 6, 50)}
    assert len(counts) == 1
    method = awake(SEGNO(1, 1, width=8, substeps=4)).double()
    method.network.layers[0].phi_e.second.weight.requires_grad_(True)
    calls: list[int] = []
    method.network.layers[0].register_forward_hook(lambda *_: calls.append(1))
    method.step(state())
    assert len(calls) == 4


def test_h_goes_along_from_substep_to_substep() -> None:
    torch.manual_seed(2)
    method = awake(SEGNO(1, 1, width=8, substeps=3)).double()
    start = state()
    h = method.initial_features(start)
    q, v = start.position, start.velocity
    with torch.no_grad():
        for _ in range(3):
            a, h = method.acceleration(q, v, h, start)
            v = v + a / 3
            q = q + v / 3
        solution = method.solve(start)
    assert torch.allclose(solution.q[-1], q) and solution.h is not None and torch.allclose(solution.h[-1], h)
    scaled = awake(SEGNO(1, 1, width=8, substeps=3, scale_h=True)).double()
    scaled.load_state_dict(method.state_dict())
    with torch.no_grad():
        first, whole = scaled.solve(start).h, solution.h
        assert first is not None
        assert torch.allclose(first[1] - first[0], (whole[1] - whole[0]) / 3)


def test_longer_durations_take_more_steps_of_the_same_size() -> None:
    """A field without memory: 2 T in one go is T and T again, and T / 2 is the state half-way."""
    method = Oscillator(1, 1, width=8, substeps=6).double()
    start = state()
    twice = method.step(replace(start, duration=2.0))
    after = method.advance(method.advance(start))
    assert torch.allclose(twice[0], after.position) and torch.allclose(twice[1], after.velocity)
    within = method.states_within(start)
    assert within.shape[0] == 7
    assert torch.allclose(within[3], method.step(replace(start, duration=0.5))[0])


def test_rollouts_are_fed_with_position_and_velocity() -> None:
    method = awake(SEGNO(1, 1, width=8)).double()
    start = state()
    path = method.rollout(start, 2)
    with torch.no_grad():
        position, velocity = method.step(start)
        again = method.step(replace(start, position=position, velocity=velocity))[0]
    assert torch.equal(path[:, 2], again)
    lazy = method.step(replace(start, position=position, velocity=position - start.position))[0]
    assert not torch.allclose(path[:, 2], lazy, atol=1e-6)  # finite differences would go elsewhere
