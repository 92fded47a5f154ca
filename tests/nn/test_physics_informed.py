"""Derivatives against closed forms and autograd, collocation points, and conditions that hold for any weights."""

import math

import pytest
import torch
from torch import Tensor

from pathline.nn.collocation import RULES, drawn_points, grid_points
from pathline.nn.conditions import box_distance, held_at, penalty, periodic, starting_from
from pathline.nn.derivatives import along, twice_along
from pathline.nn.mlp import MLP


def test_derivatives_equal_closed_forms() -> None:
    x, t = torch.rand(2, 50, dtype=torch.float64)

    def field(x: Tensor, t: Tensor) -> Tensor:
        return (2 * x).sin() * (-t).exp() + x**3 * t

    value, slope, bend = twice_along(field, 0, x, t)
    assert torch.allclose(value, field(x, t), atol=1e-14)
    assert torch.allclose(slope, 2 * (2 * x).cos() * (-t).exp() + 3 * x**2 * t, atol=1e-13)
    assert torch.allclose(bend, -4 * (2 * x).sin() * (-t).exp() + 6 * x * t, atol=1e-12)
    assert torch.allclose(along(field, 1, x, t)[1], -(2 * x).sin() * (-t).exp() + x**3, atol=1e-13)


def test_derivatives_of_a_network_equal_those_of_reverse_mode() -> None:
    net = MLP([2, 16, 16, 1], torch.nn.Tanh).double()
    x = torch.rand(20, dtype=torch.float64, requires_grad=True)
    t = torch.rand(20, dtype=torch.float64)

    def field(x: Tensor, t: Tensor) -> Tensor:
        u: Tensor = net(torch.stack([x, t], 1))
        return u[:, 0]

    _, slope, bend = twice_along(field, 0, x.detach(), t)
    (first,) = torch.autograd.grad(field(x, t).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(slope, first, atol=1e-12)
    assert torch.allclose(bend, second, atol=1e-12)


def test_a_grid_holds_every_node_once_and_leaves_the_end_of_a_circle_out() -> None:
    grid = grid_points([3, 4], [0.0, 0.0], [1.0, 8.0], [True, False])
    assert grid[:, 0].unique().tolist() == [0.0, 0.5, 1.0]
    assert grid[:, 1].unique().tolist() == [0.0, 2.0, 4.0, 6.0]
    assert len({tuple(row) for row in grid.tolist()}) == 12


@pytest.mark.parametrize("rule", RULES)
def test_drawn_points_fill_the_box_and_repeat_with_the_generator(rule: str) -> None:
    def draw() -> Tensor:
        return drawn_points(256, [-1.0, 2.0], [1.0, 6.0], rule, torch.Generator().manual_seed(5))

    points = draw()
    assert torch.equal(points, draw())
    assert points[:, 0].min() >= -1
    assert points[:, 0].max() <= 1
    assert points[:, 1].min() >= 2
    assert points[:, 1].max() <= 6
    assert torch.allclose(points.mean(0), torch.tensor([0.0, 4.0]), atol=0.3)


def test_a_latin_square_puts_one_point_into_each_slice() -> None:
    points = drawn_points(64, [0.0, 0.0, 0.0], [64.0, 64.0, 64.0], "latin", torch.Generator().manual_seed(1))
    for axis in range(3):
        assert points[:, axis].floor().sort().values.tolist() == list(range(64))


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="halton"):
        drawn_points(3, [0.0], [1.0], "halton")


def test_hard_conditions_hold_for_any_field() -> None:
    x, field = torch.rand(2, 40)
    assert torch.equal(starting_from(x.sin(), torch.zeros(40), field), x.sin())
    assert not torch.allclose(starting_from(x.sin(), torch.ones(40), field), x.sin())
    corners = torch.tensor([[0.0, 0.3], [2.0, 0.5], [1.0, -1.0], [1.0, 1.0]])
    distance = box_distance(corners, torch.tensor([0.0, -1.0]), torch.tensor([2.0, 1.0]))
    assert torch.equal(held_at(torch.full((4,), 7.0), distance, field[:4] + 1), torch.full((4,), 7.0))
    assert float(box_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, -1.0]), torch.tensor([2.0, 1.0]))) == 1.0


def test_periodic_inputs_meet_after_one_period() -> None:
    x = torch.rand(30, dtype=torch.float64) * 5
    assert torch.allclose(periodic(x, 5.0), periodic(x + 5.0, 5.0), atol=1e-12)
    assert torch.allclose(periodic(torch.tensor([1.25]), 5.0), torch.tensor([[0.0, 1.0]]), atol=1e-6)


def test_penalties_are_mean_squares_or_their_roots() -> None:
    residual = torch.tensor([3.0, 4.0])
    assert float(penalty(residual)) == 12.5
    assert math.isclose(float(penalty(residual, "root")), math.sqrt(12.5), rel_tol=1e-6)
