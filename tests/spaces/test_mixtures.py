"""Mixtures: densities integrate to one, draws follow them, and angles know no full turn."""

import math

import pytest
import torch

from pathline.spaces.mixtures import BetaMixture, NormalMixture, VonMisesMixture, wrapped

RAW = {
    BetaMixture: torch.tensor([0.3, -1.0, 2.0, 0.5, 1.5, 2.0]),
    VonMisesMixture: torch.tensor([0.3, -0.5, 1.0, -2.0, 0.5, 1.0, 2.0, 0.0]),
    NormalMixture: torch.tensor([0.3, -0.5, -1.0, 1.5, 0.5, -0.7]),
}
SUPPORT = {BetaMixture: (0.0, 1.0), VonMisesMixture: (-math.pi, math.pi), NormalMixture: (-12.0, 12.0)}


def midpoints(kind, count: int) -> tuple[torch.Tensor, float]:
    low, high = SUPPORT[kind]
    step = (high - low) / count
    return low + step * (torch.arange(count, dtype=torch.float64) + 0.5), step


@pytest.mark.parametrize("kind", RAW)
def test_densities_integrate_to_one(kind):
    x, step = midpoints(kind, 20_000)
    density = kind.of(RAW[kind].double().expand(len(x), -1)).log_density(x).exp()
    assert float(density.sum() * step) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", RAW)
def test_draws_follow_the_density(kind):
    torch.manual_seed(0)
    count, bins = 40_000, 20
    drawn = kind.of(RAW[kind].expand(count, -1)).sample().double()
    x, step = midpoints(kind, bins * 500)
    mass = (kind.of(RAW[kind].double().expand(len(x), -1)).log_density(x).exp() * step).reshape(bins, -1).sum(1)
    low, high = SUPPORT[kind]
    seen = torch.histc(drawn, bins, low, high)
    spread = (count * mass).sqrt() + 1
    assert ((seen - count * mass).abs() < 5 * spread).all()


def test_a_beta_of_known_parameters_is_torchs_beta():
    raw = torch.tensor([[0.0, 0.4, -0.7]])
    mixture = BetaMixture.of(raw, span=5.0)
    u = torch.tensor([0.3])
    known = torch.distributions.Beta(5 * torch.tensor(0.4).sigmoid() + 0.1, 5 * torch.tensor(-0.7).sigmoid() + 0.1)
    assert torch.allclose(mixture.log_density(u), known.log_prob(u))


def test_a_beta_is_finite_and_has_finite_gradients_at_its_edges():
    raw = torch.full((2, 6), -8.0, requires_grad=True)  # alpha and beta near 0.1: infinite at both ends
    density = BetaMixture.of(raw).log_density(torch.tensor([0.0, 1.0]))
    density.sum().backward()
    assert torch.isfinite(density).all() and torch.isfinite(raw.grad).all()


def test_full_turns_change_no_density():
    angle = torch.linspace(-3, 3, 50, dtype=torch.float64)
    mixture = VonMisesMixture.of(RAW[VonMisesMixture].double().expand(50, -1))
    for turns in (-2, 1, 5):
        turned = mixture.log_density(angle + 2 * math.pi * turns)
        assert torch.allclose(turned, mixture.log_density(angle), atol=1e-6)
    assert torch.allclose(wrapped(angle + 4 * math.pi), angle)
    assert mixture.log_density(angle).std() > 0.1
