"""Steering by a cost pulls a Gaussian towards the product of prior and constraint."""

import torch

from pathline.flow.cost_guidance import Steering, steered
from pathline.flow.edm import NoiseSchedule, churned_walk, denoising_log_density, denoising_walk
from pathline.flow.likelihood import divergence, hutchinson_divergence, rademacher

SCHEDULE = NoiseSchedule()


def gaussian_denoiser(covariance, mean=0.0):
    """E[y | x] of y ~ N(mean, S) seen as x = y + sigma n: mean + S (S + sigma^2 I)^-1 (x - mean)."""

    def denoise(x, sigma):
        noise = sigma.to(x) ** 2
        noise = noise.reshape(-1, 1, 1) if noise.ndim else noise
        gain = torch.linalg.solve(covariance + noise * torch.eye(len(covariance), dtype=x.dtype), covariance)
        return mean + torch.einsum("...ij,...j->...i", gain.mT, x - mean)

    return denoise


def covariance():
    root = torch.tensor([[0.5, 0.0, 0.0], [0.3, 0.4, 0.0], [-0.2, 0.1, 0.3]], dtype=torch.float64)
    return root @ root.T


def noise(count, seed=0, dims=3):
    draws = torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return SCHEDULE.sigma_max * draws


def test_samples_of_the_optimal_denoiser_have_the_covariance_of_the_data():
    """The flow is linear, so its matrix tells the covariance without drawing anything: M M^T sigma_max^2."""
    s, basis = covariance(), torch.eye(3, dtype=torch.float64) * SCHEDULE.sigma_max
    matrix = denoising_walk(gaussian_denoiser(s), basis, SCHEDULE.grid(64)).final.T
    assert (matrix @ matrix.T - s).norm() < 0.02 * s.norm()


def test_new_noise_on_the_way_keeps_the_law_and_none_changes_nothing():
    s, start, levels = covariance(), noise(40_000), SCHEDULE.grid(64)
    denoise = gaussian_denoiser(s)
    still = churned_walk(denoise, start[:50], levels, 0.0)
    plain = denoising_walk(denoise, start[:50], levels)
    assert torch.allclose(still.final, plain.final) and still.evaluations == plain.evaluations == 127
    churned = churned_walk(
        denoise, start, levels, 10.0, inflation=1.0, generator=torch.Generator().manual_seed(1)
    ).final
    assert (churned[:50] - plain.final).abs().mean() > 0.1
    assert (churned.T.cov() - s).norm() < 0.04 * s.norm()


def test_log_density_is_that_of_the_gaussian():
    s, x = covariance(), 0.4 * noise(20) / SCHEDULE.sigma_max
    law = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), s)
    found = denoising_log_density(gaussian_denoiser(s), x, SCHEDULE, steps=32)
    assert (found - law.log_prob(x)).abs().max() < 1e-2
    # with 16 steps it is good to a tenth of a nat; Heun's rule would need ten times as many
    rough = denoising_log_density(gaussian_denoiser(s), x, SCHEDULE, steps=16)
    assert (rough - law.log_prob(x)).abs().max() < 0.1
    heun = denoising_log_density(gaussian_denoiser(s), x, SCHEDULE, steps=32, method="heun")
    assert (heun - law.log_prob(x)).abs().max() > 0.1


def test_dimensions_that_are_not_there_do_not_count():
    s, x = covariance(), 0.4 * noise(6) / SCHEDULE.sigma_max
    there = torch.tensor([True, True, True, False, False])
    inner = gaussian_denoiser(s)

    def denoise(x, sigma):
        return torch.cat([inner(x[:, :3], sigma), x[:, 3:]], 1)

    wider = torch.cat([x, torch.zeros(6, 2, dtype=x.dtype)], 1)
    plain = denoising_log_density(inner, x, SCHEDULE, 16)
    found = denoising_log_density(denoise, wider, SCHEDULE, 16, counted=there.expand(6, 5))
    assert torch.allclose(found, plain)


def test_the_exact_divergence_is_what_hutchinsons_probes_average_to():
    torch.manual_seed(0)
    weight = torch.randn(6, 6, dtype=torch.float64)

    def field(x, t):
        return torch.tanh(x @ weight) * (1 + x.square().sum(1, keepdim=True))

    x, t = torch.randn(4, 6, dtype=torch.float64), torch.ones(())
    exact = divergence(field, x, t)[1]
    many = x.repeat_interleave(1000, 0)
    probes = hutchinson_divergence(field, many, t, rademacher(many))[1].view(4, 1000)
    error = probes.std(1) / 1000**0.5
    assert bool(((probes.mean(1) - exact).abs() < 3 * error).all())
    brute = torch.stack([torch.autograd.functional.jacobian(lambda y: field(y[None], t)[0], one).trace() for one in x])
    assert torch.allclose(exact, brute)


def test_no_weight_is_free_sampling_bit_for_bit():
    denoise, start = gaussian_denoiser(covariance()), noise(5)
    idle = steered(denoise, lambda y: y.square().sum(1), Steering(weight=0.0))
    free, led = (denoising_walk(d, start, SCHEDULE.grid(12)).final for d in (denoise, idle))
    assert torch.equal(free, led)


def test_steering_moves_the_mean_to_the_product_of_gaussians_monotonically():
    """Prior N(0, S), cost |y - g|^2 / (2 r^2): the product of the two Gaussians has mean S (S + r^2 I)^-1 g."""
    s, goal, wide = covariance(), torch.tensor([0.5, 0.2, -0.1], dtype=torch.float64), 0.5
    product = torch.linalg.solve(s + wide**2 * torch.eye(3, dtype=torch.float64), s).T @ goal
    start = noise(400, seed=2)

    def cost(y):
        return (y - goal).square().sum(1) / (2 * wide**2)

    def mean(steering):
        return denoising_walk(steered(gaussian_denoiser(s), cost, steering), start, SCHEDULE.grid(24)).final.mean(0)

    weights = (0.0, 0.1, 0.3, 0.6)  # a gradient through the denoiser is no noisy likelihood: at 1 it overshoots
    raw = [mean(Steering(weight=w, scaled=False, largest=1e9)) for w in weights]
    gaps = [float((m - product).norm()) for m in raw]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.15 * gaps[0]
    towards = [float(m @ goal) for m in (mean(Steering(weight=w)) for w in (0.0, 0.02, 0.05, 0.1))]
    assert towards == sorted(towards) and towards[-1] > towards[0] + 0.05
    inner = [float(m @ goal) for m in (mean(Steering(weight=0.0, inner=n, rate=0.05)) for n in (0, 1, 3))]
    assert inner == sorted(inner) and inner[-1] > inner[0] + 0.05


def test_a_steep_cost_at_high_noise_is_clipped():
    def cost(y):
        return 1e8 * y.square().sum(1)

    led = steered(gaussian_denoiser(covariance()), cost, Steering(weight=0.3))
    found = denoising_walk(led, noise(50), SCHEDULE.grid(16)).final
    assert bool(found.isfinite().all()) and found.abs().max() < 3
