"""PFGM++ in the room: any number of extra dimensions, one network, one sampler."""

import pytest
import torch
from scipy import stats

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.data import Samples
from pathline.flow import oracle_denoiser
from pathline.generate.features import energy_distance
from pathline.generate.pfgmpp import PFGMpp, evenly_rounded
from pathline.sims.points import points

MOONS = points("two-moons", 2000, 0)
QUICK = {"batch_size": 256, "lr": 3e-3, "warmup": 20, "ema": 0.98, "precision": "fp32"}


@pytest.mark.parametrize("extra", [4, None])
def test_a_short_training_draws_the_law_of_the_data(extra):
    method = PFGMpp.seeded(MOONS, 0, extra=extra, classes=0, width=64, depth=2, sigma_max=20.0)
    untrained = energy_distance(method.sample(1000), MOONS.values)
    method.fit(MOONS, steps(500), **QUICK)
    drawn = method.draw(1000)
    assert drawn.evaluations == 35  # 17 steps of Heun, one of Euler
    assert energy_distance(drawn.values, MOONS.values) < 0.03 < 0.1 < untrained


def test_the_network_learns_the_closed_form_denoiser_of_its_own_noise():
    """Two points and D = 2: the best denoiser differs from that of normal noise, and training finds the former."""
    pair = torch.tensor([[-0.5], [0.5]])
    data = Samples(values=pair.repeat(2000, 1))
    method = PFGMpp.seeded(data, 0, extra=2, width=64, depth=2, log_mean=-0.7, log_deviation=0.5)
    method.fit(data, steps(900), **QUICK | {"ema": 0.99, "batch_size": 512})
    x, sigma = torch.linspace(-3, 3, 41)[:, None], torch.tensor(0.5)
    with torch.no_grad():
        found = method.denoise(x, sigma)
    student, normal = (oracle_denoiser(method.scaled(pair), extra)(x, sigma) for extra in (2, None))
    assert (found - student).abs().mean() < 0.25 * (student - normal).abs().mean() + 0.02
    assert (found - student).abs().mean() < 0.5 * (found - normal).abs().mean()


def test_samples_start_from_the_kernel_and_not_from_a_normal_law():
    method = PFGMpp(shape=[2], extra=2, width=16, depth=1)
    start = method.paths(4000, steps=2)[0]
    share = method.scaled(start).double().square().sum(1) / 80.0**2
    assert stats.kstest((share / (share + 2)).numpy(), stats.beta(1, 1).cdf).pvalue > 1e-3


def test_data_of_any_unit_and_bounds_are_brought_to_the_deviation_the_schedule_is_made_for():
    image = Samples(values=torch.rand(200, 1, 4, 4) * 255, bounds=(0.0, 255.0))
    method = PFGMpp.for_data(image)
    scaled = method.scaled(image.values)
    assert abs(scaled.mean().item()) < 1e-5 and scaled.std().item() == pytest.approx(0.5, rel=1e-2)
    assert torch.allclose(method.unscaled(scaled), image.values, atol=1e-3)


def test_errors_made_on_purpose_follow_the_seed_and_leave_the_global_generator_alone():
    method = PFGMpp.seeded(MOONS, 0, width=16, depth=1)
    state = torch.get_rng_state()
    first, second = (method.sample(50, seed=3, injected=0.5) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, method.sample(50, seed=3))
    assert torch.allclose(method.paths(50, seed=3, injected=0.5)[-1], first)
    with pytest.raises(MethodError, match="no setting 'guidance'"):
        method.sample(3, guidance=1.0)


def test_weights_can_be_kept_in_few_bits():
    weights = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    for bits in (1, 3, 6):
        rounded = evenly_rounded(weights, bits)
        step = (weights.max() - weights.min()) / (2**bits - 1)
        assert len(rounded.unique()) <= 2**bits and (rounded - weights).abs().max() <= step / 2 + 1e-6
    method = PFGMpp.seeded(MOONS, 0, width=16, depth=1)
    before = method.sample(20)
    coarse = method.quantised(2)
    assert all(len(p.unique()) <= 4 for n, p in coarse.network.named_parameters() if n.endswith("lift.weight"))
    assert not torch.equal(coarse.sample(20), before) and torch.equal(method.sample(20), before)
    assert torch.allclose(method.quantised(16).sample(20), before, atol=0.05)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(MethodError, match="at least 1 dimension"):
        PFGMpp(shape=[2], extra=0)
    with pytest.raises(MethodError, match="sigma_min < sigma_max"):
        PFGMpp(shape=[2], sigma_max=0.001)
    with pytest.raises(MethodError, match="0 bits"):
        PFGMpp(shape=[2]).quantised(0)
