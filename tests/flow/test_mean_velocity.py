import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from pathline.flow import (
    OptimalTransport,
    as_velocity,
    check_jvp,
    error_by_interval,
    flow_matching_loss,
    guided_target_velocity,
    interval_times,
    mean_velocity_loss,
    mean_velocity_target,
    sample_mean_velocity,
    total_derivative,
)
from pathline.nn import DiT, ResidualMLP, UNet
from pathline.ode import integrate, time_grid

from .laws import DOUBLE


class GaussianFlow:
    """Data N(m, s^2) per dimension under the straight path: the flow map is affine, so u and v are known."""

    m, s = torch.tensor([1.5, -0.7], dtype=DOUBLE), 0.6

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t[:, None] * self.m, ((1 - t) ** 2 + (t * self.s) ** 2).sqrt()[:, None]

    def flow(self, z: Tensor, t: Tensor, r: Tensor) -> Tensor:
        (mean_t, sigma_t), (mean_r, sigma_r) = self.moments(t), self.moments(r)
        return mean_r + sigma_r / sigma_t * (z - mean_t)

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        mean, sigma = self.moments(t)
        return self.m + (t * self.s**2 - (1 - t))[:, None] / sigma**2 * (z - mean)

    def __call__(self, z: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        if r is None or torch.equal(r, t):
            return self.velocity(z, t)
        return (self.flow(z, t, r) - z) / (r - t)[:, None]


def network(classes: int | None = None) -> ResidualMLP:
    torch.manual_seed(0)
    return ResidualMLP(2, width=32, blocks=2, num_classes=classes, interval=True)


def batch(size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, size, 2, generator=generator)
    t, r = interval_times(size, distinct=0.5, generator=generator)
    assert 0 < (r != t).sum() < size
    return x0, x1, t, r


@pytest.mark.parametrize("backwards", [False, True])
def test_the_mean_velocity_identity_holds_on_a_gaussian(backwards: bool) -> None:
    """u = v + (r - t) du/dt with the analytic u and v, through the code that makes training targets."""
    exact, generator = GaussianFlow(), torch.Generator().manual_seed(0)
    z = 2 * torch.randn(1000, 2, dtype=DOUBLE, generator=generator)
    t, r = interval_times(1000, distinct=1.0, reversed_share=float(backwards), generator=generator)
    t, r = t.double(), r.double()
    assert bool((t > r).all()) is backwards
    target = mean_velocity_target(exact, z, t, r, exact.velocity(z, t))
    assert (exact(z, t, r) - target).abs().max() < 1e-6
    assert (exact(z, t, r) - exact.velocity(z, t)).abs().max() > 0.5


def test_without_intervals_and_weights_the_loss_is_flow_matching_bit_for_bit() -> None:
    net, generator = network(), torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 64, 2, generator=generator)
    t, r = interval_times(64, distinct=0.0, generator=generator)
    assert torch.equal(t, r)
    mean = mean_velocity_loss(net, x0, x1, t, r, power=0.0).loss
    plain = flow_matching_loss(net, OptimalTransport(s_min=0.0), x0, x1, t)
    assert torch.equal(mean, plain)
    of_mean, of_plain = (torch.autograd.grad(loss, tuple(net.parameters())) for loss in (mean, plain))
    assert all(torch.equal(a, b) for a, b in zip(of_mean, of_plain, strict=True))


def test_the_gradient_is_that_of_a_regression_onto_a_constant() -> None:
    net, (x0, x1, t, r) = network(), batch()
    found = torch.autograd.grad(mean_velocity_loss(net, x0, x1, t, r).loss, tuple(net.parameters()))
    z, v = (1 - t)[:, None] * x0 + t[:, None] * x1, x1 - x0
    _, derivative = total_derivative(copy.deepcopy(net), z, t, r, v)
    target = (v + (r - t)[:, None] * derivative).detach().clone()
    error = (net(z, t, r) - target).square().mean(dim=1)
    weight = (1 / (error + 1e-3)).detach()
    expected = torch.autograd.grad((weight * error).mean(), tuple(net.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not mean_velocity_target(net, z, t, r, v).requires_grad


def test_targets_need_the_derivative_only_where_the_interval_is_not_empty() -> None:
    net, (x0, x1, t, r) = network(), batch()
    v = x1 - x0
    _, derivative = total_derivative(net, x0, t, r, v)
    target = mean_velocity_target(net, x0, t, r, v)
    torch.testing.assert_close(target, v + (r - t)[:, None] * derivative)
    assert torch.equal(target[t == r], v[t == r])
    assert (target - v)[t != r].abs().max() > 1e-3


def test_adaptive_weights_make_the_loss_one_and_the_error_tells_the_truth() -> None:
    net, (x0, x1, t, r) = network(), batch()
    weighted, plain = (mean_velocity_loss(net, x0, x1, t, r, power=p) for p in (1.0, 0.0))
    assert torch.equal(weighted.error, plain.error)
    assert float(weighted.loss.detach()) == pytest.approx(1.0, abs=0.02)
    assert float(plain.loss.detach()) == pytest.approx(float(plain.error.mean()))


def test_times_follow_the_mirrored_law_of_the_paper() -> None:
    t, r = interval_times(40_000, distinct=0.25, generator=torch.Generator().manual_seed(0))
    assert (t <= r).all() and t.min() > 0 and r.max() < 1
    assert float((t != r).float().mean()) == pytest.approx(0.25, abs=0.01)
    # The start of the interval is always the smaller of two draws from sigmoid(N(0.4, 1)): its median
    # solves F^2 - 2F + 1/2 = 0.
    median = torch.sigmoid(0.4 + torch.special.ndtri(torch.tensor(1 - math.sqrt(0.5))))
    assert float(t.median()) == pytest.approx(float(median), abs=0.01)
    assert (t[t == r].mean() - t[t != r].mean()).abs() < 0.01


def test_intervals_can_be_swapped_to_train_the_way_back() -> None:
    t, r = interval_times(10_000, 1.0, reversed_share=0.3, generator=torch.Generator().manual_seed(0))
    assert float((t > r).float().mean()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(("omega", "kappa"), [(1.0, 0.5), (3.0, 0.0), (0.2, 0.9)])
def test_guidance_mixes_three_velocities_and_spares_dropped_labels(omega: float, kappa: float) -> None:
    net, (x0, x1, t, _) = network(classes=3), batch()
    v, label = x1 - x0, torch.arange(16) % 4
    found = guided_target_velocity(net, x0, t, v, label, null=3, omega=omega, kappa=kappa)
    conditional, null = net(x0, t, t, label), net(x0, t, t, torch.full_like(label, 3))
    expected = omega * v + kappa * conditional + (1 - omega - kappa) * null
    kept = label != 3
    torch.testing.assert_close(found[kept], expected[kept])
    assert torch.equal(found[~kept], v[~kept])
    assert not found.requires_grad


def test_guidance_enters_the_tangent_as_well_as_the_target() -> None:
    net, (x0, x1, t, r) = network(classes=3), batch()
    label = torch.arange(16) % 3
    loss = mean_velocity_loss(net, x0, x1, t, r, label, null=3, omega=2.0, kappa=0.3)
    z = (1 - t)[:, None] * x0 + t[:, None] * x1
    guided = guided_target_velocity(net, z, t, x1 - x0, label, 3, 2.0, 0.3)
    u, derivative = total_derivative(net, z, t, r, guided, label)
    expected = (u - guided - (r - t)[:, None] * derivative).square().mean(dim=1)
    torch.testing.assert_close(loss.error, expected.detach(), rtol=1e-4, atol=1e-5)


def test_guidance_without_labels_is_refused() -> None:
    x0, x1, t, r = batch()
    with pytest.raises(ValueError, match="needs labels"):
        mean_velocity_loss(network(), x0, x1, t, r, omega=2.0)
    with pytest.raises(ValueError, match="infinite"):
        guided_target_velocity(network(3), x0, t, x1, torch.zeros(16, dtype=torch.int64), 3, 1.0, 1.0)


@pytest.mark.parametrize("nodes", [(0.0, 1.0), (0.0, 0.3, 0.5, 1.0), (1.0, 0.0), (1.0, 0.7, 0.0)])
def test_any_grid_crosses_the_whole_flow_and_swapped_ends_invert_it(nodes: tuple[float, ...]) -> None:
    exact, x = GaussianFlow(), torch.randn(100, 2, dtype=DOUBLE)
    ends = (torch.full((100,), node, dtype=DOUBLE) for node in (nodes[0], nodes[-1]))
    torch.testing.assert_close(sample_mean_velocity(exact, x, nodes), exact.flow(x, *ends))


def test_the_same_network_is_an_ode_at_empty_intervals() -> None:
    exact, x = GaussianFlow(), torch.randn(100, 2, dtype=DOUBLE)
    solved = integrate(as_velocity(exact), x, time_grid(50), "rk4").final
    torch.testing.assert_close(solved, sample_mean_velocity(exact, x), rtol=1e-5, atol=1e-5)


def test_errors_are_reported_by_the_length_of_the_interval() -> None:
    t = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.9])
    r = torch.tensor([0.2, 0.2, 0.3, 0.6, 0.6])
    found = error_by_interval(torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0]), t, r)
    assert {name: float(value) for name, value in found.items() if value.isfinite()} == {
        "error r=t": 2.0,
        "error 0-0.25": 5.0,
        "error 0.25-0.5": 8.0,
    }
    assert found["error 0.5-1"].isnan()


class Dropping(ResidualMLP):
    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        return nn.functional.dropout(super().forward(x, t, r, label), 0.1)


class WrongRule(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None: ...

    @staticmethod
    def jvp(ctx: FunctionCtx, tangent: Tensor) -> Tensor:
        return tangent


class Wrong(ResidualMLP):
    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        return WrongRule.apply(super().forward(x, t, r, label))


@pytest.mark.parametrize("kind", [Dropping, Wrong])
def test_the_self_check_catches_a_derivative_that_is_not_one(kind: type[ResidualMLP]) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"off by .* dropout"):
        check_jvp(kind(2, width=16, blocks=1, interval=True), torch.randn(4, 2))


@pytest.mark.parametrize("build", [lambda: DiT((1, 8, 8), width=16, interval=True), lambda: UNet(1, 8, interval=True)])
def test_the_self_check_names_the_switch_for_fused_attention(build: type[nn.Module]) -> None:
    from pathline.nn import set_math_attention

    net, x = build(), torch.randn(2, 1, 8, 8)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="set_math_attention"):
        check_jvp(net, x)
    set_math_attention(net)
    assert check_jvp(net, x) < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
