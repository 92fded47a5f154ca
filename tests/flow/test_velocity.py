import pytest
import torch
from torch import Tensor

from pathline.flow import (
    OptimalTransport,
    VariancePreserving,
    as_velocity,
    drop_labels,
    flow_matching_loss,
    guided_velocity,
    noise_matching_loss,
    uniform_times,
    velocity_of_noise_network,
)
from pathline.nn import ResidualMLP

from .laws import DOUBLE


def test_conditional_and_marginal_regression_have_the_same_gradient() -> None:
    """Full expectations over a law of three atoms, by quadrature in t and x; the values differ by a
    constant.
    """
    path, atoms = OptimalTransport(s_min=0.2), torch.tensor([-1.0, 0.5, 2.0], dtype=DOUBLE)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=DOUBLE)
    t = (torch.arange(40, dtype=DOUBLE) + 0.5)[:, None, None] / 40
    x = torch.linspace(-7, 9, 3201, dtype=DOUBLE)[None, :, None]
    alpha, sigma, *_ = path.schedule(t)
    density = weights * torch.exp(-0.5 * ((x - alpha * atoms) / sigma) ** 2) / sigma
    density = density / density.sum(dim=(1, 2), keepdim=True) / len(t)
    conditional = path.conditional_velocity(x, atoms, t)
    marginal = (density * conditional).sum(-1, keepdim=True) / density.sum(-1, keepdim=True).clamp_min(1e-300)

    def losses(theta: Tensor) -> tuple[Tensor, Tensor]:
        model = theta[0] + theta[1] * x + theta[2] * t
        return (density * (model - conditional) ** 2).sum(), (density * (model - marginal) ** 2).sum()

    gaps = []
    for values in ([0.1, -0.4, 0.7], [2.0, 1.0, -1.0]):
        theta = torch.tensor(values, dtype=DOUBLE, requires_grad=True)
        of_conditional, of_marginal = losses(theta)
        first, second = (
            torch.autograd.grad(loss, theta, retain_graph=True)[0] for loss in (of_conditional, of_marginal)
        )
        assert (first - second).norm() < 1e-3 * second.norm()
        gaps.append(float((of_conditional - of_marginal).detach()))
    assert gaps[0] > 0.1
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-6)


def test_losses_are_means_over_dimensions_of_the_stated_regressions() -> None:
    x0, x1 = torch.randn(2, 8, 3, 2, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0, 0.9, 8)
    path = VariancePreserving()

    def net(x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        return 0.5 * x + t[:, None, None]

    x = path.sample(x0, x1, t)
    prediction = 0.5 * x + t[:, None, None]
    torch.testing.assert_close(
        flow_matching_loss(net, path, x0, x1, t), (prediction - path.target(x0, x1, t)).square().mean()
    )
    torch.testing.assert_close(noise_matching_loss(net, path, x0, x1, t), (prediction - x0).square().mean())


def test_a_perfect_noise_network_becomes_a_perfect_velocity_network() -> None:
    x0, x1 = torch.randn(2, 8, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    t, path = torch.linspace(0, 0.99, 8, dtype=DOUBLE), VariancePreserving()
    velocity = velocity_of_noise_network(lambda x, t, r=None, label=None: x0, path)
    torch.testing.assert_close(velocity(path.sample(x0, x1, t), t), path.target(x0, x1, t))


def test_times_stay_where_the_velocity_is_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    path = VariancePreserving(last=0.5)
    t = uniform_times(10_000, path, generator)
    assert 0.49 < t.max() <= 0.5 and t.min() >= 0
    assert uniform_times(10_000, generator=generator).max() > 0.99


def test_labels_are_dropped_at_the_stated_rate_and_never_in_place() -> None:
    label = torch.arange(10).repeat(2000)
    kept = label.clone()
    dropped = drop_labels(label, null=10, probability=0.1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(label, kept)
    hit = dropped != label
    assert (dropped[hit] == 10).all()
    # Four standard errors of a rate of 0.1 over 20000 draws.
    assert float(hit.float().mean()) == pytest.approx(0.1, abs=0.0085)


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_guidance_extrapolates_from_the_null_class(weight: float) -> None:
    torch.manual_seed(0)
    net = ResidualMLP(2, width=16, blocks=1, num_classes=3)
    x, label, t = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1]), torch.tensor(0.3)
    conditional = as_velocity(net, label)(x, t)
    unconditional = as_velocity(net, torch.full_like(label, 3))(x, t)
    guided = guided_velocity(net, label, null=3, weight=weight)(x, t)
    assert not torch.allclose(conditional, unconditional, atol=1e-3)
    torch.testing.assert_close(guided, (1 + weight) * conditional - weight * unconditional, rtol=1e-5, atol=1e-5)
