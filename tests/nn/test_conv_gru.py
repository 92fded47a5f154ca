"""Recurrent units on maps: the formula, and one share of the context for all steps."""

import torch
from torch.nn import functional as F

from pathline.nn.conv_gru import ConvGRU, SeparableConvGRU

HIDDEN, CONTEXT, INPUTS = 4, 3, 5


def drawn(*channels):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, count, 6, 7, generator=generator) for count in channels]


def written_out(unit, state, inputs, context):
    """The gates as single convolutions over [h, c, x], kernel by kernel."""
    padding = [side // 2 for side in unit.fixed.kernel_size]

    def gate(number, state):
        rows = slice(number * HIDDEN, (number + 1) * HIDDEN)
        own = unit.gates.weight[rows] if number < 2 else unit.candidate.weight
        kernel = torch.cat([own[:, :HIDDEN], unit.fixed.weight[rows], own[:, HIDDEN:]], 1)
        return F.conv2d(torch.cat([state, context, inputs], 1), kernel, unit.fixed.bias[rows], padding=padding)

    update, reset = torch.sigmoid(gate(0, state)), torch.sigmoid(gate(1, state))
    candidate = torch.tanh(gate(2, reset * state))
    return (1 - update) * state + update * candidate


def test_the_unit_is_its_formula():
    torch.manual_seed(0)
    unit = ConvGRU(HIDDEN, CONTEXT, INPUTS)
    state, inputs, context = drawn(HIDDEN, INPUTS, CONTEXT)
    expected = written_out(unit, state, inputs, context)
    torch.testing.assert_close(unit(state, inputs, unit.share(context)), expected, atol=1e-5, rtol=1e-5)


def test_the_separable_unit_is_one_along_rows_and_then_one_along_columns():
    torch.manual_seed(0)
    unit = SeparableConvGRU(HIDDEN, CONTEXT, INPUTS)
    assert unit.along_rows.gates.kernel_size == (1, 5) and unit.along_columns.gates.kernel_size == (5, 1)
    state, inputs, context = drawn(HIDDEN, INPUTS, CONTEXT)
    between = written_out(unit.along_rows, state, inputs, context)
    expected = written_out(unit.along_columns, between, inputs, context)
    torch.testing.assert_close(unit(state, inputs, unit.share(context)), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_state_stays_between_its_bounds():
    torch.manual_seed(0)
    unit = SeparableConvGRU(HIDDEN, CONTEXT, INPUTS)
    state, inputs, context = drawn(HIDDEN, INPUTS, CONTEXT)
    state = state.tanh()
    for _ in range(20):
        state = unit(state, 10 * inputs, unit.share(context))
    assert float(state.abs().max()) <= 1 and float(state.std()) > 0.01
