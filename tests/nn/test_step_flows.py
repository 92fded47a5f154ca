"""Flows with weights for every step: invertible, with the volume that autograd finds, and equal to the plain layers."""

import math

import pytest
import torch
from torch import Tensor

from pathline.nn.invertible import Coupling
from pathline.nn.step_flows import (
    IndexedFlow,
    StepAutoregressive,
    StepBatchNorm,
    StepCoupling,
    StepFlow,
    StepSequence,
)

STEPS, BATCH, CONDITION = 3, 7, 4


def stack(kind: str, dims: int = 2) -> StepFlow:
    torch.manual_seed(0)
    layer = StepAutoregressive if kind == "autoregressive" else StepCoupling
    layers: list[StepFlow] = []
    for block in range(3):
        layers += [layer(STEPS, dims, CONDITION, 16, flip=bool(block % 2)), StepBatchNorm(STEPS, dims)]
    flow = StepSequence(layers).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    flow.train()
    for _ in range(5):  # statistics of batch normalisation that are not those of the beginning
        flow(3 * torch.randn(STEPS, 50, dims).double() + 1, torch.randn(STEPS, 50, CONDITION).double())
    return flow.eval()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
def test_stacks_are_invertible_and_know_their_volume(kind: str, dims: int) -> None:
    flow = stack(kind, dims)
    x, c = torch.randn(STEPS, BATCH, dims).double(), torch.randn(STEPS, BATCH, CONDITION).double()
    z, volume = flow(x, c)
    back, again = flow.inverse(z, c)
    assert (back - x).abs().max() < 1e-5 and (z - x).abs().max() > 0.1
    assert torch.allclose(volume, again, atol=1e-6)
    for step in range(STEPS):
        for row in range(BATCH):

            def one(point: Tensor, step: int = step, row: int = row) -> Tensor:
                return flow(point.view(1, 1, -1), c[step : step + 1, row : row + 1], slice(step, step + 1))[0].flatten()

            exact = torch.linalg.slogdet(torch.autograd.functional.jacobian(one, x[step, row]))[1]
            assert volume[step, row].item() == pytest.approx(float(exact), abs=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_a_step_is_the_plain_coupling_with_its_weights(flip: bool) -> None:
    torch.manual_seed(1)
    steps, plain = StepCoupling(STEPS, 2, CONDITION, 8, flip=flip), Coupling(2, CONDITION, 8, flip=flip)
    x, c = torch.randn(STEPS, BATCH, 2), torch.randn(STEPS, BATCH, CONDITION)
    linears = [layer for layer in plain.net if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for theirs, ours in zip(linears, steps.net.layers, strict=True):
            theirs.weight.copy_(ours.weight[1].T)
            theirs.bias.copy_(ours.bias[1, 0])
    for mine, its in zip(steps(x, c), plain(x[1], c[1]), strict=True):
        assert torch.allclose(mine[1], its, atol=1e-6)


def test_steps_do_not_see_each_other() -> None:
    flow = stack("coupling")
    x, c = torch.randn(STEPS, BATCH, 2).double(), torch.randn(STEPS, BATCH, CONDITION).double()
    whole, alone = flow(x, c)[0], flow(x[1:2], c[1:2], slice(1, 2))[0]
    assert torch.allclose(whole[1:2], alone)


def test_batch_normalisation_is_one_to_one_in_evaluation_and_normalises_in_training() -> None:
    norm = StepBatchNorm(1, 2)
    x = 5 + 3 * torch.randn(1, 4000, 2)
    z, volume = norm(x)
    assert z.mean().abs() < 1e-4 and (z.std() - 1).abs() < 1e-3
    assert volume[0, 0].item() == pytest.approx(-2 * math.log(3), abs=0.1)
    for _ in range(60):
        norm(x)
    mean, variance = norm.mean.clone(), norm.variance.clone()
    norm.frozen = True
    norm(x + 100)
    assert torch.equal(mean, norm.mean) and torch.equal(variance, norm.variance)
    norm.eval()
    assert torch.allclose(norm.inverse(norm(x)[0])[0], x, atol=1e-4)


def test_the_bound_of_an_indexed_flow_is_below_the_density_and_its_exponential_estimates_it() -> None:
    """A one-step toy whose bijection shifts by its index, so that the exact density is an integral over a."""
    torch.manual_seed(0)

    class Shift(StepFlow):
        def forward(self, x: Tensor, c: Tensor | None = None, at: slice = slice(None)) -> tuple[Tensor, Tensor]:
            assert c is not None
            return x - c, x.new_zeros(x.shape[:-1])

        def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = slice(None)) -> tuple[Tensor, Tensor]:
            assert c is not None
            return z + c, z.new_zeros(z.shape[:-1])

    flow = IndexedFlow(Shift(), 1, 1, 1, 1).double()
    with torch.no_grad():  # r wider than the true law of a given x, so that the average over draws of it converges
        last = flow.before.net.layers[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.5]))
    nothing = torch.zeros(1, 1, 1).double()

    def log_base(w: Tensor) -> Tensor:
        return -0.5 * (w.square() + math.log(2 * math.pi)).sum(-1)

    a = torch.linspace(-12, 12, 6001).double().view(1, -1, 1)
    for place in (-1.0, 0.3, 2.0):
        x = torch.full_like(a, place)
        w = x - a
        after = flow.after.log_density(a, torch.cat([w, torch.zeros_like(w)], -1), slice(None))
        exact = torch.logsumexp(log_base(w) + after, 1) + math.log(24 / 6000)
        many = torch.full((1, 60_000, 1), place).double()
        with torch.no_grad():
            z, term = flow(many, nothing.expand(1, 60_000, 1))
        bound = log_base(z) + term
        assert bound.mean() < exact.item() + 4 * bound.std() / math.sqrt(60_000)
        estimate = (torch.logsumexp(bound, 1) - math.log(60_000)).item()
        assert estimate == pytest.approx(exact.item(), abs=0.05)
        assert bound.mean() < estimate - 1e-4, "a bound that is never loose is no bound of an indexed flow"


def test_both_directions_of_an_indexed_flow_give_the_same_term() -> None:
    flow = IndexedFlow(stack("coupling"), STEPS, 2, 5, CONDITION).double()
    x, c = torch.randn(STEPS, BATCH, 2).double(), torch.randn(STEPS, BATCH, 5).double()
    a = torch.randn(STEPS, BATCH, CONDITION).double()
    for gaussian in (flow.before, flow.after):
        gaussian.draw = lambda given, at, generator, g=gaussian: (a, g.log_density(a, given, at))  # type: ignore[method-assign, misc]
    w, there = flow(x, c)
    back, here = flow.inverse(w, c)
    assert torch.allclose(back, x, atol=1e-6) and torch.allclose(there, here, atol=1e-6)
