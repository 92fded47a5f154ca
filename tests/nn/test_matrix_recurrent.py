"""Matrix cells against their gates written out, and summaries against a sort."""

import pytest
import torch

from pathline.nn.matrix_recurrent import MatrixGRU, MatrixLSTM, TopSummary


def normal(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomised(module):
    """The module in float64, every parameter random, so that no bias of zero hides a mistake."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(0.5 * normal(*parameter.shape, seed=k + 1))
    return module


def affine(gates, which: int, x, h):
    rows = x.shape[-2]
    part = slice(which * rows, (which + 1) * rows)
    return gates.from_input[part] @ x + gates.from_state[part] @ h + gates.bias[part]


def test_the_gated_unit_is_its_equations():
    cell, x, h = randomised(MatrixGRU(4, 3)), normal(2, 4, 3), normal(2, 4, 3, seed=9)
    z, r = torch.sigmoid(affine(cell.gates, 0, x, h)), torch.sigmoid(affine(cell.gates, 1, x, h))
    candidate = torch.tanh(affine(cell.candidate, 0, x, r * h))
    torch.testing.assert_close(cell(x, h), (1 - z) * h + z * candidate)


def test_the_memory_is_its_equations():
    cell, x, h, c = randomised(MatrixLSTM(4, 3)), normal(4, 3), normal(4, 3, seed=9), normal(4, 3, seed=8)
    forget, enter, output = (torch.sigmoid(affine(cell.gates, k, x, h)) for k in range(3))
    memory = forget * c + enter * torch.tanh(affine(cell.gates, 3, x, h))
    state, kept = cell(x, h, c)
    torch.testing.assert_close(kept, memory)
    torch.testing.assert_close(state, output * torch.tanh(memory))


def test_columns_are_a_batch():
    """With equal biases in all columns, permuting the columns of input and state permutes the next state."""
    cell = randomised(MatrixGRU(4, 3))
    with torch.no_grad():
        for gates in (cell.gates, cell.candidate):
            gates.bias.copy_(gates.bias[:, :1].expand_as(gates.bias))
    x, h, order = normal(4, 3), normal(4, 3, seed=9), [2, 0, 1]
    torch.testing.assert_close(cell(x[:, order], h[:, order]), cell(x, h)[:, order])


def test_a_shut_update_gate_keeps_the_state():
    cell = MatrixGRU(4, 3)
    with torch.no_grad():
        cell.gates.bias[:4] = -30
    h = normal(4, 3).float()
    torch.testing.assert_close(cell(normal(4, 3, seed=5).float(), h), h, atol=1e-6, rtol=0)


def by_sorting(summary: TopSummary, x, present):
    """The definition for one set, row by row."""
    p = summary.direction / summary.direction.norm()
    ranked = sorted((row for row in range(len(x)) if present[row]), key=lambda row: -(x[row] @ p).item())
    rows = (ranked + ranked[-1:] * summary.count)[: summary.count]
    return torch.stack([x[row] * torch.tanh(x[row] @ p) for row in rows], 1)


@pytest.mark.parametrize("there", [12, 3])
def test_the_summary_is_that_of_a_sort(there):
    """Also where fewer rows are present than are wanted: the last is repeated."""
    summary = randomised(TopSummary(4, 5))
    x = normal(3, 12, 4)
    present = torch.zeros(3, 12, dtype=torch.bool)
    for row in range(3):
        present[row, torch.randperm(12, generator=torch.Generator().manual_seed(row))[:there]] = True
    expected = torch.stack([by_sorting(summary, *one) for one in zip(x, present, strict=True)])
    torch.testing.assert_close(summary(x, present), expected)
    few = summary(x[:, :2], torch.ones(3, 2, dtype=torch.bool))  # fewer rows than columns of the summary
    torch.testing.assert_close(few[0], by_sorting(summary, x[0, :2], [True, True]))


def test_absent_rows_say_nothing():
    summary, x = randomised(TopSummary(4, 3)), normal(1, 6, 4)
    present = torch.tensor([[True, False, True, True, False, True]])
    other = torch.where(present[..., None], x, 100.0)
    torch.testing.assert_close(summary(x, present), summary(other, present))
    assert not summary(x, torch.zeros_like(present)).any()


def test_the_gradient_reaches_the_scoring_direction():
    """Thanks to the tanh factor; checked by finite differences, away from changes of order."""
    summary, x, present = randomised(TopSummary(3, 2)), normal(1, 6, 3), torch.ones(1, 6, dtype=torch.bool)

    def total(p):
        with torch.no_grad():
            summary.direction.copy_(p)
        return summary(x, present).square().sum().item()

    p = summary.direction.detach().clone()
    summary(x, present).square().sum().backward()
    gradient = summary.direction.grad.clone()
    assert gradient.norm() > 1e-3
    for k in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[k] = 1e-6
        slope = (total(p + step) - total(p - step)) / 2e-6
        assert slope == pytest.approx(float(gradient[k]), abs=1e-6)
