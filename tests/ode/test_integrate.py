import math

import pytest
import torch
from torch import Tensor

from pathline.ode import FIXED_STEP, Moved, integrate, time_grid

DOUBLE = torch.float64


def swing(x: Tensor, t: Tensor) -> Tensor:
    """x' = x cos t, so x(t) = x(0) exp(sin t)."""
    return x * t.cos()


@pytest.mark.parametrize("method", FIXED_STEP)
def test_each_method_converges_at_its_order(method: str) -> None:
    x, exact = torch.ones(1, dtype=DOUBLE), math.exp(math.sin(2.0))
    errors = [abs(float(integrate(swing, x, time_grid(steps, 0.0, 2.0), method).final) - exact) for steps in (160, 320)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(FIXED_STEP[method].order, abs=0.15)


@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_evaluations_are_counted_as_they_happen(method: str, stages: int) -> None:
    calls = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        calls.append(float(t))
        return x

    solution = integrate(velocity, torch.ones(2), [0.0, 0.1, 0.5, 1.0], method)
    assert solution.evaluations == len(calls) == 3 * stages
    assert (solution.accepted, solution.rejected) == (3, 0)
    assert max(calls) <= 1.0


def test_fixed_steps_follow_the_nodes_they_are_given() -> None:
    """Euler on nodes t is the product of (1 + dt): any other step would give another number."""
    nodes = [0.0, 0.2, 0.25, 1.0]
    states = integrate(lambda x, t: x, torch.ones(1, dtype=DOUBLE), nodes).states
    expected = torch.tensor([1.0, 1.2, 1.2 * 1.05, 1.2 * 1.05 * 1.75], dtype=DOUBLE)
    torch.testing.assert_close(states[:, 0], expected)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_dopri5_meets_its_tolerance_on_a_stiff_relaxation(tolerance: float) -> None:
    """x' = -50 (x - cos t): a fast transient, then a slow forced motion, both known."""

    def exact(t: Tensor, x0: float) -> Tensor:
        forced = (2500 * t.cos() + 50 * t.sin()) / 2501
        return forced + (x0 - 2500 / 2501) * torch.exp(-50 * t)

    times = torch.tensor([0.0, 0.02, 0.1, 1.0, 3.0], dtype=DOUBLE)
    x = torch.tensor([2.0], dtype=DOUBLE)
    solution = integrate(lambda x, t: -50 * (x - t.cos()), x, times, "dopri5", atol=tolerance, rtol=tolerance)
    assert (solution.states[:, 0] - exact(times, 2.0)).abs().max() < 5 * tolerance
    assert solution.accepted < 2000


def test_dopri5_counts_a_reused_slope_once_and_works_harder_for_more_digits() -> None:
    x = torch.ones(3, dtype=DOUBLE)
    costs = []
    for tolerance in (1e-4, 1e-10):
        solution = integrate(swing, x, (0.0, 5.0), "dopri5", tolerance, tolerance)
        # One slope to start, one to choose the first step, six for every attempt.
        assert solution.evaluations == 2 + 6 * (solution.accepted + solution.rejected)
        costs.append(solution.evaluations)
    assert costs[1] > 3 * costs[0]


def test_dopri5_rejects_steps_that_jump_over_a_narrow_feature() -> None:
    def pulse(x: Tensor, t: Tensor) -> Tensor:
        return torch.exp(-(((t - 0.6) / 0.01) ** 2)) / (0.01 * math.sqrt(math.pi)) + 0.0 * x

    nodes = time_grid(8)
    solution = integrate(pulse, torch.zeros(1, dtype=DOUBLE), nodes, "dopri5", 1e-7, 1e-7)
    assert float(solution.final) == pytest.approx(1.0, abs=1e-5)
    assert solution.rejected > 0


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_integrating_back_returns_to_the_start(method: str) -> None:
    x = torch.randn(5, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[0.0, 3.0], [-3.0, -0.2]], dtype=DOUBLE)
    there = integrate(lambda x, t: torch.tanh(x @ turn) + t, x, time_grid(50), method).final
    back = integrate(lambda x, t: torch.tanh(x @ turn) + t, there, time_grid(50, 1.0, 0.0), method).final
    assert (there - x).abs().max() > 0.5
    assert (back - x).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["midpoint", "rk4", "dopri5"])
def test_a_tuple_state_is_integrated_together(method: str) -> None:
    """(x, l)' = (-x t, x^2): l needs x at every stage. l(1) = x0^2 integral exp(-t^2) = x0^2 erf(1)
    sqrt(pi)/2.
    """
    x = torch.tensor([[1.0], [2.0]], dtype=DOUBLE)

    def velocity(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
        return -state[0] * t, state[0].square().sum(dim=1)

    solution = integrate(velocity, (x, x.new_zeros(2)), time_grid(100), method, 1e-8, 1e-8)
    final, integral = solution.final
    assert solution.states[0].shape == (101, 2, 1)
    assert solution.states[1].shape == (101, 2)
    torch.testing.assert_close(final, x * math.exp(-0.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(integral, x[:, 0] ** 2 * math.erf(1) * math.sqrt(math.pi) / 2, rtol=1e-4, atol=0)


def test_the_small_part_of_a_tuple_state_is_held_to_the_tolerance_too() -> None:
    """One fast scalar beside ten thousand resting ones: a joint mean would hide its error by a factor of
    100.
    """

    def velocity(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(state[0]), state[1] * (10 * t).cos() * 10

    start = (torch.ones(10_000, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE))
    solution = integrate(velocity, start, (0.0, 3.0), "dopri5", 1e-6, 1e-6)
    assert float(solution.final[1]) == pytest.approx(math.exp(math.sin(30.0)), rel=2e-5)


def test_gradients_flow_through_the_steps() -> None:
    x = torch.tensor([0.7], dtype=DOUBLE, requires_grad=True)
    for method in ("rk4", "dopri5"):
        final = integrate(swing, x, time_grid(50, 0.0, 2.0), method, 1e-8, 1e-8).final
        (gradient,) = torch.autograd.grad(final.sum(), x)
        assert float(gradient) == pytest.approx(math.exp(math.sin(2.0)), rel=1e-6)


@pytest.mark.parametrize("method", [*FIXED_STEP, "dopri5"])
def test_a_step_hook_keeps_the_state_in_its_box(method: str) -> None:
    def fold(start: Tensor, end: Tensor) -> Tensor:
        return 1 - ((end % 2) - 1).abs()

    x = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    inside = integrate(lambda x, t: 20 * (5 * x).cos(), x, time_grid(7), method, 1e-2, 1e-2, post_step=fold)
    outside = integrate(lambda x, t: 20 * (5 * x).cos(), x, time_grid(7), method, 1e-2, 1e-2)
    assert inside.states.min() >= 0.0 and inside.states.max() <= 1.0
    assert outside.states.max() > 1.0


@pytest.mark.parametrize("method", ["midpoint", "rk4", "dopri5"])
def test_a_mirrored_stage_is_pulled_back_before_slopes_are_combined(method: str) -> None:
    """Under an odd field, mirroring every stage and pulling its slope back changes nothing; mirroring alone
    does.
    """
    x = torch.tensor([0.5, 1.0], dtype=DOUBLE)
    plain = integrate(torch_tanh, x, time_grid(10), method).final
    mirrored = integrate(torch_tanh, x, time_grid(10), method, post_stage=lambda start, stage: Moved(-stage, torch.neg))
    torch.testing.assert_close(mirrored.final, plain, rtol=1e-4, atol=1e-4)
    if method != "dopri5":
        spoiled = integrate(torch_tanh, x, time_grid(10), method, post_stage=lambda start, stage: -stage)
        assert (spoiled.final - plain).abs().max() > 0.1


def torch_tanh(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(x)


def test_stage_hooks_see_the_start_of_the_step_and_every_later_stage() -> None:
    seen = []

    def hook(start: Tensor, stage: Tensor) -> Tensor:
        seen.append((float(start), float(stage)))
        return stage

    integrate(lambda x, t: x, torch.ones(1, dtype=DOUBLE), [0.0, 1.0, 2.0], "midpoint", post_stage=hook)
    assert seen == [(1.0, 1.5), (2.5, 3.75)]


def test_only_the_last_state_is_kept_on_request() -> None:
    full = integrate(swing, torch.ones(3), time_grid(10), "heun")
    last = integrate(swing, torch.ones(3), time_grid(10), "heun", keep="last")
    assert full.states.shape == (11, 3) and last.states.shape == (1, 3)
    assert torch.equal(full.final, last.final)


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.5], [0.0, math.nan]])
def test_nodes_that_are_not_monotone_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="strictly increasing or decreasing"):
        integrate(swing, torch.ones(1), times)


def test_mistakes_are_named() -> None:
    x = torch.ones(4, 2)
    with pytest.raises(ValueError, match=r"unknown method 'rk5'.*dopri5"):
        integrate(swing, x, time_grid(2), "rk5")
    with pytest.raises(ValueError, match=r"returned shapes \[\(4,\)\] for a state of shapes \[\(4, 2\)\]"):
        integrate(lambda x, t: x.sum(dim=1), x, time_grid(2))
    with pytest.raises(ValueError, match="at least 1 step"):
        time_grid(0)
    with pytest.raises(ValueError, match="not finite at the start"):
        integrate(lambda x, t: x / t, x, (0.0, 1.0), "dopri5")


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_solution_that_blows_up_ends_in_a_clear_error(dtype: torch.dtype) -> None:
    """x' = x^2 from 1 reaches infinity at t = 1."""
    with pytest.raises(ValueError, match=r"cannot reach atol=1e-05, rtol=1e-05 at t=(0\.99|1)"):
        integrate(lambda x, t: x.square(), torch.ones(1, dtype=dtype), (0.0, 2.0), "dopri5")
