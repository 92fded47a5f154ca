"""Which nodes a few-step solver should take: dynamic programming against brute force and closed forms."""

import itertools

import pytest
import torch
from torch import Tensor

from pathline.ode import integrate, local_error_matrix, optimal_schedule, rho_grid, time_grid

DOUBLE = torch.float64


def test_dynamic_programming_finds_the_best_of_all_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    for fine in range(2, 13):
        cost = torch.rand(fine + 1, fine + 1, generator=generator, dtype=DOUBLE) + 0.01
        for steps in range(1, fine + 1):
            paths = [(0, *inner, fine) for inner in itertools.combinations(range(1, fine), steps - 1)]

            def total(path: tuple[int, ...], cost: Tensor = cost) -> float:
                """Summed from the end, as the recursion sums: equal to the last bit."""
                value = torch.zeros((), dtype=DOUBLE)
                for j, k in reversed(list(itertools.pairwise(path))):
                    value = cost[j, k] + value
                return float(value)

            found = optimal_schedule(cost, steps)
            assert found.cost == min(map(total, paths))
            assert total(tuple(found.path.tolist())) == found.cost
            assert len(found.path) == steps + 1 and (found.path.diff() > 0).all()


def test_a_path_that_may_be_shorter_is_the_best_of_its_lengths() -> None:
    cost = torch.rand(9, 9, generator=torch.Generator().manual_seed(1)) + 1.0  # more steps cost more
    assert optimal_schedule(cost, 5, fewer=True).path.tolist() == [0, 8]
    cost[0, 8] = cost[0, 1:8] = 50.0
    best = min((optimal_schedule(cost, steps) for steps in range(1, 6)), key=lambda found: found.cost)
    assert optimal_schedule(cost, 5, fewer=True).cost == best.cost


def test_every_step_of_the_grid_costs_nothing_and_gives_the_grid_back() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator)
    cost = local_error_matrix(lambda x, t: torch.sin(3 * x) + t, x, time_grid(12))
    assert cost.diagonal(1).max() < 1e-10 < cost.diagonal(2).min()
    assert torch.isinf(cost.tril()[torch.ones(13, 13).tril().bool()]).all()
    found = optimal_schedule(cost, 12)
    assert found.path.tolist() == list(range(13)) and found.cost < 1e-9


@pytest.mark.parametrize("predictor", ["euler", "heun", "midpoint"])
def test_costs_are_the_distances_of_single_steps_from_the_trajectory(predictor: str) -> None:
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    grid = rho_grid(6, 2.0)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(3 * x) * (1 + t)

    cost = local_error_matrix(velocity, x, grid, predictor)
    states = integrate(velocity, x, grid, predictor).states
    for j, k in itertools.combinations(range(7), 2):
        one = integrate(velocity, states[j], grid[[j, k]], predictor).final
        assert float(cost[j, k]) == pytest.approx(float((one - states[k]).square().sum((1, 2)).mean()), abs=1e-14)


def test_euler_costs_no_call_beyond_the_trajectory_and_sums_in_double_precision() -> None:
    calls = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        calls.append(float(t))
        return x.square()

    x = torch.full((2, 1000), 1e19)  # squared distances overflow in single precision
    cost = local_error_matrix(lambda x, t: 1e20 * t * torch.ones_like(x), x, time_grid(8))
    assert torch.isfinite(cost[0, 1:]).all() and cost.dtype == DOUBLE and cost[0, 2] > 1e39
    local_error_matrix(velocity, torch.zeros(4, 2), time_grid(8))
    assert calls == time_grid(8)[:-1].tolist()


def test_a_distance_of_the_caller_replaces_the_square() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    cost = local_error_matrix(lambda x, t: x * t, x, time_grid(4), distance=lambda a, b: (a - b).abs().amax(2))
    steps = integrate(lambda x, t: x * t, x, time_grid(4)).states.double()
    assert float(cost[0, 4]) == pytest.approx(float((steps[0] - steps[4]).abs().amax(1).mean()))


def test_on_straight_paths_all_schedules_are_optimal_and_exact() -> None:
    """Data = noise + constant: v is constant along a path, though not between paths."""
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    target = torch.tensor([3.0, -1.0], dtype=DOUBLE)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return target.expand_as(x)

    cost = local_error_matrix(velocity, x, time_grid(20))
    above = cost[torch.ones(21, 21).triu(1).bool()]
    assert above.max() < 1e-20
    for steps in (1, 4):
        nodes = time_grid(20)[optimal_schedule(cost, steps).path]
        assert (integrate(velocity, x, nodes).final - x - target).abs().max() < 1e-6


def test_jumps_of_the_velocity_are_found_exactly() -> None:
    """v = a(t), constant on three pieces: three steps make no error at all, and equal steps do."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return torch.full_like(x, 1.0 if t < 0.13 else -4.0 if t < 0.62 else 2.0)

    grid, x = time_grid(100), torch.zeros(3, 2, dtype=DOUBLE)
    found = optimal_schedule(local_error_matrix(velocity, x, grid), 3)
    assert found.path.tolist() == [0, 13, 62, 100] and found.cost < 1e-20
    exact = 0.13 - 4 * 0.49 + 2 * 0.38
    assert (integrate(velocity, x, grid[found.path]).final - exact).abs().max() < 1e-12
    assert (integrate(velocity, x, time_grid(3)).final - exact).abs().max() > 0.1


def test_a_rho_grid_is_denser_towards_its_end() -> None:
    grid = rho_grid(100)
    assert (grid[0], grid[-1]) == (0, 1) and (grid.diff() > 0).all() and (grid.diff().diff() < 0).all()
    torch.testing.assert_close(rho_grid(10, 1.0, 0.5, 2.0), time_grid(10, 0.5, 2.0))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="4 nodes allow 1 to 3 steps, not 4"):
        optimal_schedule(torch.zeros(4, 4), 4)
    with pytest.raises(ValueError, match="square"):
        optimal_schedule(torch.zeros(4, 3), 1)
    with pytest.raises(ValueError, match="unknown predictor 'ab2'"):
        local_error_matrix(lambda x, t: x, torch.zeros(1, 1), [0.0, 1.0], "ab2")
    with pytest.raises(ValueError, match="positive rho"):
        rho_grid(4, 0.0)
