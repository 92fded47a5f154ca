"""LPINN: exact characteristics have no residual, derivatives follow the chain rule, conditions hold for any weights."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import pathline as pl
from pathline.core.errors import DataError, MethodError
from pathline.data.equation import Equation, equation_from_table
from pathline.simulate.equations import CollocationSolver, InitialState
from pathline.simulate.lpinn import LPINN, resampled
from pathline.simulate.pinn import PINN

PERIOD = 2 * math.pi


def equation(points: int = 64, **facts: float) -> Equation:
    mean = facts.pop("mean", 0.0)
    x = torch.arange(points, dtype=torch.float64) * (PERIOD / points)
    return Equation(initial=x.sin() + mean, frames=11, name="wave", **facts)


class Exact(LPINN):
    """The true characteristics before a shock: x = X + t f(u0(X)), w = u0(X)."""

    def path(self, label: Tensor, t: Tensor) -> Tensor:
        return label + t * self.carried(self.start(label))

    def state(self, label: Tensor, t: Tensor) -> Tensor:
        return self.start(label)


def nodes(count: int = 200, duration: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    label, t = torch.rand(2, count, dtype=torch.float64, generator=generator)
    return label * PERIOD, t * duration


# -- residuals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 1.0, 30.0, 50.0])
def test_the_true_characteristics_of_transport_have_no_residual(speed: float) -> None:
    method = Exact.for_data(equation(speed=speed)).double()
    path, state = method.residuals(*nodes())
    assert path.abs().max() < 1e-10
    assert state.abs().max() < 1e-10


def test_the_true_characteristics_of_burgers_equation_have_no_residual_before_the_shock() -> None:
    problem = equation(self_advection=1.0, mean=10.0, duration=0.5)
    method = Exact.for_data(problem).double()
    path, state = method.residuals(*nodes(duration=0.5))
    assert path.abs().max() < 1e-10
    assert state.abs().max() < 1e-10
    assert method.evaluate(problem)["relative_l2"] < 1e-4
    assert LPINN.seeded(problem, 0).double().residuals(*nodes())[0].abs().max() > 1e-2


class Stretched(LPINN):
    """x = X + 0.3 sin X, u = sin x."""

    def path(self, label: Tensor, t: Tensor) -> Tensor:
        return label + 0.3 * label.sin()

    def state(self, label: Tensor, t: Tensor) -> Tensor:
        return self.path(label, t).sin()


def test_the_curvature_follows_the_chain_rule() -> None:
    label, t = nodes()
    chain = Stretched.for_data(equation(speed=1.0, viscosity=0.1)).double()
    expected = -chain.path(label, t).sin()
    assert torch.allclose(chain.curvature(label, t), expected, atol=1e-10)
    as_in_the_code = Stretched.for_data(equation(speed=1.0, viscosity=0.1), diffusion="label").double()
    assert (as_in_the_code.curvature(label, t) - expected).abs().max() > 0.1


def test_a_pinn_has_no_residual_at_the_true_solution() -> None:
    class True_(PINN):
        def field(self, window: int, x: Tensor, t: Tensor) -> Tensor:
            return (-0.1 * t).exp() * (x - 3 * t).sin()

    method = True_.for_data(equation(speed=3.0, viscosity=0.1)).double()
    assert method.residual(0, *nodes()).abs().max() < 1e-10
    assert method.residual(0, *nodes(), share=0.5).abs().max() > 0.1


# -- conditions that hold for any weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"shared": True}])
def test_characteristics_start_at_their_labels_and_repeat_with_the_period(options: dict[str, Any]) -> None:
    method = LPINN.seeded(equation(speed=7.0), 0, **options).double()
    label, t = nodes()
    assert torch.equal(method.path(label, torch.zeros_like(t)), label)
    assert torch.allclose(method.path(label + PERIOD, t), method.path(label, t) + PERIOD, atol=1e-10)
    assert torch.allclose(method.state(label + PERIOD, t), method.state(label, t), atol=1e-10)
    assert (method.path(label, t) - label).abs().max() > 1e-2


def test_a_hard_initial_state_is_exact_and_a_soft_one_is_not() -> None:
    label, t = nodes()
    hard = LPINN.seeded(equation(speed=7.0), 0, hard_initial=True).double()
    soft = LPINN.seeded(equation(speed=7.0), 0).double()
    assert torch.equal(hard.state(label, 0 * t), hard.start(label))
    assert (soft.state(label, 0 * t) - soft.start(label)).abs().max() > 1e-2


def test_the_direct_characteristic_pays_for_its_start() -> None:
    problem = equation(speed=7.0)
    direct = LPINN.seeded(problem, 0, characteristic="direct")
    terms = direct.losses(direct.nodes(32, 8))
    label = direct.nodes(32, 8).x[:32]
    state = (direct.state(label, 0 * label) - direct.start(label)).square().mean()
    path = (direct.path(label, 0 * label) - label).square().mean()
    assert torch.allclose(terms["initial"], state + path, rtol=1e-5)


def test_branches_that_share_their_first_layer_have_fewer_numbers() -> None:
    problem = equation(speed=1.0)
    apart, shared = LPINN.for_data(problem), LPINN.for_data(problem, shared=True)
    assert shared.parameter_count() == apart.parameter_count() - (3 * 32 + 32)
    assert abs(apart.parameter_count() / PINN.for_data(problem).parameter_count() - 1) < 0.1


def test_roots_of_mean_squares_are_an_option() -> None:
    problem = equation(speed=2.0)
    squared, root = LPINN.seeded(problem, 0), LPINN.seeded(problem, 0, norm="root")
    one, other = squared.losses(squared.nodes(16, 8)), root.losses(root.nodes(16, 8))
    for name in ("path", "state", "initial"):
        assert torch.allclose(one[name].sqrt(), other[name], rtol=1e-5)


# -- the landscape -----------------------------------------------------------------------------------------------------


def sharpness(method: CollocationSolver) -> float:
    """Largest eigenvalue of the Hessian of the loss, by power iteration."""
    grid = method.nodes(32, 16)
    weights = {name: value.detach() for name, value in method.named_parameters()}
    place = {name: value.numel() for name, value in weights.items()}

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.method = method

        def forward(self) -> Tensor:
            return method.losses(grid)["loss"]

    whole = Loss()

    def loss(flat: Tensor) -> Tensor:
        parts = dict(zip(place, flat.split(list(place.values())), strict=True))
        renamed = {f"method.{name}": parts[name].view_as(weights[name]) for name in parts}
        found: Tensor = functional_call(whole, renamed, ())
        return found

    flat = torch.cat([value.flatten() for value in weights.values()])
    vector, value = torch.randn(len(flat), generator=torch.Generator().manual_seed(0)), 0.0
    for _ in range(12):
        vector = vector / vector.norm()
        image = torch.autograd.functional.hvp(loss, flat, vector)[1]
        value = float(vector @ image)
        vector = image
    return value


def test_the_loss_stays_as_flat_when_transport_is_fast_and_that_of_a_pinn_does_not() -> None:
    ours = [sharpness(LPINN.seeded(equation(speed=speed), 0)) for speed in (1.0, 50.0)]
    theirs = [sharpness(PINN.seeded(equation(speed=speed), 0)) for speed in (1.0, 50.0)]
    assert ours[1] < 2 * ours[0]
    assert theirs[1] > 10 * theirs[0]


# -- solutions on fixed places -----------------------------------------------------------------------------------------


def test_the_error_of_interpolating_between_characteristics_is_below_what_is_claimed() -> None:
    for speed in (1.0, 30.0):
        problem = equation(speed=speed)
        assert Exact.for_data(problem).evaluate(problem)["relative_l2"] < 1e-4


def test_resampling_wraps_around_and_takes_the_nearest_where_characteristics_crossed() -> None:
    x = torch.tensor([[0.5, 1.5, 2.5, 3.5], [0.5, 2.5, 1.5, 3.5]]) + 3.0
    values = torch.tensor([[0.0, 1.0, 2.0, 1.0], [0.0, 2.0, 1.0, 1.0]])
    found = resampled(x, values, torch.tensor([0.0, 0.25, 2.0]), 4.0)
    # Around the circle the first row is 0.5: 1, 1.5: 2, 2.5: 1, 3.5: 0.
    assert torch.allclose(found[0], torch.tensor([0.5, 0.75, 1.5]))
    assert all(value in (0.0, 1.0, 2.0) for value in found[1].tolist())


def test_crossed_characteristics_are_counted_and_warned_of() -> None:
    problem = equation(self_advection=1.0, duration=2.0)  # the shock comes at time 1
    method = Exact.for_data(problem)
    with pytest.warns(RuntimeWarning, match="have crossed"):
        metrics = method.evaluate(problem)
    assert metrics["crossed"] > 0.05
    assert Exact.for_data(equation(speed=3.0)).crossed(problem.times) == 0.0


# -- training ----------------------------------------------------------------------------------------------------------


def test_characteristics_are_learned_in_a_few_steps() -> None:
    problem = equation(speed=5.0)
    method = LPINN.seeded(problem, 0, labels=32, times=16).fit(problem, pl.steps(300), seed=0, lr=5e-3)
    assert method.evaluate(problem)["relative_l2"] < 0.3
    assert InitialState.for_data(problem).fit(problem).evaluate(problem)["relative_l2"] > 0.9


def test_polishing_lowers_the_loss() -> None:
    problem = equation(speed=2.0)
    plain = LPINN.seeded(problem, 0, labels=16, times=8).fit(problem, pl.steps(50), seed=0)
    polished = LPINN.seeded(problem, 0, labels=16, times=8, polish=30).fit(problem, pl.steps(50), seed=0)
    assert polished.score(problem) < 0.5 * plain.score(problem)


def test_a_curriculum_raises_the_speed_stage_by_stage() -> None:
    problem = equation(speed=12.0)
    method = PINN.seeded(problem, 0, staging="curriculum", stages=3, stage_steps=2)
    grid = method.nodes(16, 8)
    seen = []
    for _ in range(7):
        method.begin_epoch()
        seen.append(method.stage)
    assert seen == [0, 0, 1, 1, 2, 2, 2]
    whole, now = method.losses(grid), method.loss(grid)
    assert torch.equal(whole["loss"], now["loss"])  # the last stage is the whole problem
    method.steps_done.fill_(1)
    assert torch.allclose(method.loss(grid)["equation"], method.penalty(method.residual(0, grid.x, grid.t, 1 / 3)))


def test_windows_are_learned_one_after_another_from_where_the_one_before_ended() -> None:
    problem = equation(speed=2.0)
    method = PINN.seeded(problem, 0, staging="windows", stages=2, stage_steps=3, width=16, depth=2)
    before = [[weight.clone() for weight in net.parameters()] for net in method.nets]
    method.fit(problem, pl.steps(3), seed=0, validations=1)
    assert not torch.equal(before[0][0], next(method.nets[0].parameters()))
    assert torch.equal(before[1][0], next(method.nets[1].parameters()))
    method = PINN.seeded(problem, 0, staging="windows", stages=2, stage_steps=150, width=16, depth=2)
    method.fit(problem, pl.steps(300), seed=0, lr=1e-2, batch_size=64)
    u = method.solve(torch.tensor([0.4999, 0.5001]))
    assert (u[0] - u[1]).abs().max() < 0.4
    assert method.solve(problem.times).shape == (11, 64)


# -- users' equations --------------------------------------------------------------------------------------------------


def test_a_table_becomes_an_equation() -> None:
    x = [2.0 * i for i in range(10)]
    table = pd.DataFrame({"x": x, "u": [math.sin(2 * math.pi * value / 20) for value in x]})
    found = equation_from_table(table, "wave.csv", speed=2.0, viscosity=0.1, duration=3.0)
    assert found.period == pytest.approx(20.0)
    assert found.words == "u_t + (2) u_x = 0.1 u_xx"
    for broken, message in (
        (table.drop(columns="u"), "missing column"),
        (table.head(4), "4 rows"),
        (table.assign(x=[*x[:5], 9.5, *x[6:]]), "row 7, column 'x'"),
    ):
        with pytest.raises(DataError, match=message):
            equation_from_table(broken, "wave.csv", speed=1.0)
    with pytest.raises(DataError, match="nothing moves"):
        equation_from_table(table, "wave.csv")


def test_another_equation_than_the_learned_one_is_refused() -> None:
    method = LPINN.for_data(equation(speed=2.0))
    for other, message in (
        (equation(speed=3.0), "speed is 3"),
        (replace(equation(speed=2.0), initial=torch.ones(64)), "another initial state"),
        (replace(equation(speed=2.0), duration=2.0), "lasts 2"),
    ):
        with pytest.raises(DataError, match=message):
            method.evaluate(other)
    with pytest.raises(DataError, match="learns from Equation"):
        LPINN.for_data(pl.load("simulated-roads"))


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (LPINN, {"norm": "cubed"}, "norm is 'cubed'"),
        (LPINN, {"diffusion": "none"}, "diffusion is 'none'"),
        (PINN, {"staging": "up"}, "staging is 'up'"),
        (PINN, {"stages": 0}, "0 stages"),
    ],
)
def test_bad_options_are_named(cls: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        cls.for_data(equation(speed=1.0), **options)


def test_broken_equations_are_named() -> None:
    with pytest.raises(DataError, match="viscosity -1"):
        equation(viscosity=-1.0)
    with pytest.raises(DataError, match="at least 8 points"):
        equation(points=4, speed=1.0)
    with pytest.raises(DataError, match="speed is nan"):
        equation(speed=float("nan"))


def test_a_scaled_residual_is_one_in_units_of_the_fastest_speed() -> None:
    problem = equation(speed=30.0)
    plain, scaled = (PINN.seeded(problem, 0, scaled=choice) for choice in (False, True))
    at = plain.nodes(16, 8)
    by_itself, in_units = (method.losses(at) for method in (plain, scaled))
    assert by_itself["initial"] == in_units["initial"]
    assert 30.0**2 * in_units["equation"].item() == pytest.approx(by_itself["equation"].item(), rel=1e-4)
