"""Liquid cells: closed forms, bounds, the released cell, wiring, and many models side by side."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from pathline.nn.liquid import ClosedFormCell, LiquidCell, SynapticCell, dense_wiring, policy_wiring


def constant_cell(unfolds: int) -> tuple[LiquidCell, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A cell whose f reads nothing, in float64, and its tau, f and A, each (2, 1, 5)."""
    torch.manual_seed(0)
    cell = LiquidCell(3, 5, unfolds, models=2).double()
    with torch.no_grad():
        cell.recurrent.zero_()
        cell.sensory.zero_()
        cell.bias.normal_()
    strength = F.softplus(cell.raw_strength) * torch.sigmoid(cell.bias)
    return cell, F.softplus(cell.raw_tau), strength, cell.reversal


def test_the_fused_step_converges_to_the_exact_course_with_the_first_order():
    """x(t) = A f / (1/tau + f) + C exp(-(1/tau + f) t) where f is constant: halving dt halves the error."""
    errors = []
    for unfolds in (16, 32, 64, 128):
        cell, tau, f, reversal = constant_cell(unfolds)
        start = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        rate = 1 / tau + f
        rest = reversal * f / rate
        exact = rest + (start - rest) * torch.exp(-rate * 2.0)
        prepared = cell.prepare(torch.zeros(2, 1, 4, 3, dtype=torch.float64))[:, 0]
        errors.append((cell.step(start, prepared, elapsed=2.0) - exact).abs().max().item())
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert errors[0] > 1e-3 and all(0.9 < slope < 1.1 for slope in slopes)


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_states_stay_between_zero_and_the_reversal_level_and_time_constants_in_their_range(size):
    torch.manual_seed(0)
    cell = LiquidCell(3, 6, unfolds=4, models=3)
    with torch.no_grad():
        cell.recurrent.mul_(5)
        cell.reversal.mul_(3)
    inputs = size * torch.randn(3, 50, 8, 3)
    low, high = cell.reversal.clamp(max=0)[:, None], cell.reversal.clamp(min=0)[:, None]
    states = cell(inputs)
    assert (states >= low).all() and (states <= high).all() and states.std() > 0.1
    tau, largest = F.softplus(cell.raw_tau), F.softplus(cell.raw_strength)
    for state, prepared in zip(states.unbind(1), cell.prepare(inputs).unbind(1), strict=True):
        constants = cell.time_constants(state, prepared)
        assert (constants >= tau / (1 + tau * largest) * (1 - 1e-5)).all() and (constants <= tau * (1 + 1e-5)).all()
    moving = torch.stack([cell.time_constants(states[:, t], cell.prepare(inputs)[:, t]) for t in range(50)])
    assert (moving.std(0) > 1e-3).float().mean() > 0.5  # they do depend on what is read


def test_one_step_is_the_semi_implicit_formula():
    torch.manual_seed(0)
    cell = LiquidCell(2, 3, unfolds=1)
    x, inputs, dt = torch.randn(1, 4, 3), torch.randn(1, 1, 4, 2), 0.7
    f = F.softplus(cell.raw_strength) * torch.sigmoid(x @ cell.recurrent + inputs[:, 0] @ cell.sensory + cell.bias)
    expected = (x + dt * f * cell.reversal) / (1 + dt * (1 / F.softplus(cell.raw_tau) + f))
    torch.testing.assert_close(cell.step(x, cell.prepare(inputs)[:, 0], dt), expected)
    torch.testing.assert_close(cell.conductance(x, cell.prepare(inputs)[:, 0]), f)


def test_the_synaptic_step_is_that_of_the_released_package():
    wirings = pytest.importorskip("ncps.wirings")
    released = pytest.importorskip("ncps.torch.ltc_cell").LTCCell
    torch.manual_seed(0)
    theirs = released(wirings.AutoNCP(12, 3, seed=1), in_features=4, ode_unfolds=6, implicit_param_constraints=True)
    own = SynapticCell(policy_wiring(4, 5, 4, 3, 2, 2, 4, 2), unfolds=6)
    pairs = {
        "internal_mask": "sparsity_mask",
        "sensory_mask": "sensory_sparsity_mask",
        "internal_weight": "w",
        "internal_slope": "sigma",
        "internal_threshold": "mu",
        "internal_reversal": "erev",
        "sensory_weight": "sensory_w",
        "sensory_slope": "sensory_sigma",
        "sensory_threshold": "sensory_mu",
        "sensory_reversal": "sensory_erev",
        "raw_leak": "gleak",
        "rest": "vleak",
        "raw_capacity": "cm",
        "scale": "input_w",
        "shift": "input_b",
    }
    with torch.no_grad():
        theirs._params["input_w"].uniform_(0.5, 2.0)
        theirs._params["input_b"].normal_()
        for mine, other in pairs.items():
            getattr(own, mine).copy_(theirs._params[other])
        inputs, state = torch.randn(7, 4), torch.randn(7, 12)
        expected = theirs(inputs, state)[1]
        found = own.step(state[None], own.prepare(inputs[None, None])[:, 0])[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_policy_is_sparse_layered_and_leaves_nobody_out():
    inputs, inter, command, motor = 5, 9, 6, 2
    sensory, internal = policy_wiring(inputs, inter, command, motor, 3, 2, 4, 3, seed=3)
    motors, commands, inters = slice(0, 2), slice(2, 8), slice(8, 17)
    assert sensory[:, :8].eq(0).all() and (sensory[:, inters] != 0).any(0).all()
    assert ((sensory != 0).sum(1) >= 3).all()
    assert internal[inters, inters].eq(0).all() and internal[inters, motors].eq(0).all()
    assert internal[motors].eq(0).all() and internal[commands, inters].eq(0).all()
    assert (internal[inters, commands] != 0).any(0).all() and (internal[commands, motors] != 0).any(1).all()
    assert 1 <= (internal[commands, commands] != 0).sum() <= 4
    assert {-1.0, 0.0, 1.0} == set(internal.unique().tolist()) == set(sensory.unique().tolist())
    with pytest.raises(ValueError, match="motor_fanin is 7, but there are 6"):
        policy_wiring(inputs, inter, command, motor, 3, 2, 4, 7)


def test_the_closed_form_is_a_gate_between_two_states_that_opens_with_time():
    torch.manual_seed(0)
    cell = ClosedFormCell(2, 4)
    with torch.no_grad():
        cell.head_bias.normal_()
    x, inputs = torch.randn(1, 3, 4), torch.randn(1, 1, 3, 2)
    prepared = cell.prepare(inputs)[:, 0]
    z = torch.tanh(x @ cell.recurrent + inputs[:, 0] @ cell.sensory + cell.bias)
    f, shift, g, h = (z @ cell.heads + cell.head_bias).chunk(4, -1)
    for t in (0.0, 1.0, 3.0):
        gate = torch.sigmoid(-(f * t + shift))
        expected = gate * torch.tanh(g) + (1 - gate) * torch.tanh(h)
        torch.testing.assert_close(cell.step(x, prepared, t), expected)
    late = cell.step(x, prepared, 1e6)
    torch.testing.assert_close(late, torch.where(f > 0, torch.tanh(h), torch.tanh(g)))


@pytest.mark.parametrize("kind", ["liquid", "synaptic", "closed-form"])
def test_models_side_by_side_are_the_models_one_by_one(kind):
    def build(models: int):
        torch.manual_seed(0)
        if kind == "liquid":
            return LiquidCell(3, 5, 3, models)
        return (
            SynapticCell(dense_wiring(3, 5), 3, models) if kind == "synaptic" else ClosedFormCell(3, 5, models=models)
        )

    together, alone = build(3), build(1)
    inputs = torch.randn(3, 6, 2, 3)
    states = together(inputs)
    for model in range(3):
        weights = {
            name: value if "mask" in name else value[model : model + 1] for name, value in together.state_dict().items()
        }
        alone.load_state_dict(weights)
        torch.testing.assert_close(alone(inputs[model : model + 1]), states[model : model + 1])
    assert (states[0] - states[1]).abs().max() > 1e-3
    halves = torch.cat([together(inputs[:, :2]), together(inputs[:, 2:], together(inputs[:, :2])[:, -1])], 1)
    torch.testing.assert_close(halves, states)  # the state is all that is carried on
