"""MotionDiffuser: joint futures without an order of agents, exact log-probabilities, steering in the world."""

import math
from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_tracks
from pathline.flow import Steering
from pathline.flow.likelihood import hutchinson_divergence, rademacher
from pathline.track.costs import keep_apart, reach
from pathline.track.joint_rivals import MarginalDiffusion
from pathline.track.modes import density_weights, distances, representatives
from pathline.track.motiondiffuser import MotionDiffuser
from pathline.track.scene import turned
from tests.track.windows import awake, permuted, window

SMALL = {"components": 4, "width": 16, "steps": 8, "draws": 12}


def made(cls=MotionDiffuser, **config):
    return awake(cls, **{**SMALL, **config})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    data = tiny_tracks()
    return MotionDiffuser.seeded(data, 0, **SMALL).fit(data, steps(150), seed=0, batch_size=64, lr=3e-3)


@torch.no_grad()
def test_permuting_agents_and_their_noise_permutes_the_samples():
    method, given, order = made(), window(4), torch.tensor([1, 2, 0])
    noise = torch.randn(4, 5, 3, 4)
    plain = method.draw(given, 5, generator(), start=noise)
    moved = method.draw(permuted(given, order), 5, generator(), start=noise[:, :, order])
    assert torch.allclose(plain[:, :, order], moved, atol=1e-5)
    assert plain.std(1).mean() > 0.05


@torch.no_grad()
def test_samples_turn_and_move_with_the_world():
    method, given = made(), window(4)
    turn, shift = torch.tensor([math.cos(2.0), math.sin(2.0)]), torch.tensor([3.0, -2.0])
    other = replace(given, past=(turned(given.past, turn) + shift) * given.past_observed[..., None])
    noise = torch.randn(4, 5, 3, 4)
    paths, theirs = (
        method.decode(method.draw(w, 5, generator(), start=noise), method.scene(w)) for w in (given, other)
    )
    present = method.scene(given).present[:, None, :, None, None]
    assert torch.allclose((turned(paths, turn) + shift) * present, theirs * present, atol=1e-4)


@torch.no_grad()
def test_agents_see_each_other_while_they_are_drawn_unless_they_are_marginal():
    given, noise = window(4), torch.randn(4, 5, 3, 4)
    other = noise.clone()
    other[:, :, 1] += 1.0
    for cls, joint in ((MotionDiffuser, True), (MarginalDiffusion, False)):
        method = made(cls)
        there = method.scene(given).present[:, 0] & method.scene(given).present[:, 1]
        gap = method.draw(given, 5, generator(), start=noise) - method.draw(given, 5, generator(), start=other)
        moved = gap[there][:, :, 0].abs().max()
        assert moved > 1e-3 if joint else moved < 1e-4
    assert made().parameter_count() == made(MarginalDiffusion).parameter_count()


@torch.no_grad()
def test_absent_agents_stay_where_they_are_and_change_nobody():
    method, given = made(), window(4)
    here = torch.tensor([True, True, False])
    alone = replace(
        given,
        past=given.past * here[:, None, None],
        past_observed=given.past_observed & here[:, None],
        agent=given.agent.masked_fill(~here, -1),
    )
    noise = torch.randn(4, 5, 3, 4)
    found = method.draw(alone, 5, generator(), start=noise)
    assert found[:, :, 2].abs().max() == 0
    assert torch.allclose(found, method.draw(alone, 5, generator(), start=noise * here[:, None]), atol=1e-6)


def test_components_are_those_of_the_training_futures_in_own_frames():
    data = tiny_tracks()
    method = MotionDiffuser.for_data(data, **SMALL)
    every = data.gather(torch.arange(len(data)))
    own, known = method.truth(every, method.scene(every))
    x = method.codec.encode(own.flatten(2))[known]
    assert torch.allclose(x.square().mean(0).sqrt(), torch.full((4,), 0.5), atol=1e-3)
    assert method.codec.explained[1] > 0.99  # futures are mostly further or less far, more to the left or to the right


def test_log_probability_integrates_to_one_over_a_grid():
    """One agent, two components: the density of the flow, summed over a fine grid, is a probability."""
    data = replace(tiny_tracks(), neighbours=0)
    method = MotionDiffuser.seeded(data, 0, **{**SMALL, "components": 2, "steps": 16})
    method.fit(data, steps(60), seed=0, batch_size=64, lr=3e-3)
    line = torch.linspace(-3.0, 3.0, 49)
    grid = torch.cartesian_prod(line, line).view(1, -1, 1, 2)
    logs = method.log_probability(data.gather(torch.tensor([3])), grid)
    mass = logs.exp().sum() * (line[1] - line[0]) ** 2
    assert abs(mass.item() - 1) < 0.05
    draws = method.draw(data.gather(torch.tensor([3])), 400, generator())
    weights = logs.exp().view(-1, 1) / logs.exp().sum()
    mean = (weights * grid.view(-1, 2)).sum(0)
    assert torch.allclose(draws[0, :, 0].mean(0), mean, atol=0.1)


@torch.no_grad()
def test_exact_divergence_of_the_network_is_what_probes_average_to(trained):
    from pathline.flow.edm import denoising_slope
    from pathline.flow.likelihood import divergence

    given = window(1)
    context = trained.network.encode(trained.scene(given))
    x, sigma = 0.5 * torch.randn(1, 3, 4), torch.tensor(0.4)
    exact = divergence(denoising_slope(trained.denoiser(context)), x, sigma)[1]
    many = x.expand(1000, -1, -1).contiguous()
    torch.manual_seed(0)
    slope = denoising_slope(trained.denoiser(context.repeated(1000)))
    probes = hutchinson_divergence(slope, many, sigma, rademacher(many))[1]
    assert abs(float(probes.mean() - exact)) < 3 * float(probes.std()) / 1000**0.5


def test_no_weight_is_free_sampling_bit_for_bit(trained):
    given, cost = window(4), keep_apart(5.0)
    free = trained.draw(given, 6, generator())
    assert torch.equal(free, trained.draw(given, 6, generator(), cost, Steering(weight=0.0)))
    assert not torch.equal(free, trained.draw(given, 6, generator(), cost, Steering(weight=0.3)))


def test_costs_act_on_paths_in_the_world(trained):
    """An attractor at a place of the world draws the target there, wherever its frame looks."""
    given = window(8)
    scene = trained.scene(given)
    free = trained.decode(trained.draw(given, 8, generator()), scene)
    goal = free[:, :, 0, -1].mean(1) + torch.tensor([0.5, 0.5])
    many = goal.repeat_interleave(8, 0)
    gaps = []
    for weight in (0.0, 0.1, 0.4):
        x = trained.draw(given, 8, generator(), reach(many), Steering(weight=weight))
        gaps.append((trained.decode(x, scene)[:, :, 0, -1] - goal[:, None]).norm(dim=-1).mean().item())
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.65 * gaps[0]


def test_new_noise_on_the_way_makes_other_samples_of_the_same_kind(trained):
    given = window(4)
    churned = made(churn=8.0)
    churned.load_state_dict(trained.state_dict())
    start = torch.randn(4, 200, 3, 4)
    free, other = (m.draw(given, 200, generator(), start=start) for m in (trained, churned))
    present = trained.scene(given).present
    assert not torch.allclose(free, other)
    for moment in (lambda x: x.mean(1), lambda x: x.std(1)):
        assert (moment(free) - moment(other))[present].abs().mean() < 0.2


def test_forecasts_are_modes_with_probabilities(trained):
    given = window(4)
    found = trained.forecast(given, 6, seed=1)
    assert found.positions.shape == (4, 6, 3, 6, 2)
    assert torch.allclose(found.probability.sum(1), torch.ones(4))
    assert bool((found.probability.diff(dim=1) <= 0).all())
    assert torch.equal(found.positions, trained.forecast(given, 6, seed=1).positions)


def test_modes_can_go_by_density_instead_of_counts(trained):
    """A draw that is far denser than the others is the first mode, however few draws are near it."""
    given = window(4)
    x = trained.draw(given, 12, generator())
    weights = density_weights(trained.log_probability(given, x, steps=4))
    assert torch.allclose(weights.sum(1), torch.ones(4)) and weights.amax(1).min() > 2 / 12
    apart = distances(trained.decode(x, trained.scene(given)), trained.scene(given).present)
    alone = torch.full_like(weights, 0.01)
    alone[:, 7] = 0.89
    first = representatives(apart, alone, 3, radius=0.0, rounds=0)[0][:, 0]
    assert bool((first == 7).all())
    by_density, by_count = (
        representatives(apart, w, 3, rounds=0)[1] for w in (weights, torch.full_like(weights, 1 / 12))
    )
    assert not torch.allclose(by_density, by_count)


def test_validation_is_the_loss_at_fixed_noise(trained):
    data = tiny_tracks().split()
    state = torch.get_rng_state()
    score = trained.score(data.validation)
    assert score == trained.score(data.validation) and torch.equal(state, torch.get_rng_state())
    assert score < made().score(data.validation)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(MethodError, match="at least 2 steps"):
        MotionDiffuser.for_data(tiny_tracks(), steps=1)


def test_the_loss_weighs_every_level_of_noise_alike():
    """lambda c_out^2 = 1: a network that says 0 is off by 1 in units of sigma_data, whatever the noise."""
    fresh = MotionDiffuser.seeded(tiny_tracks(), 0, **SMALL).train()
    torch.manual_seed(0)
    losses = torch.stack([fresh.loss(window(60)) for _ in range(20)]).detach()
    assert losses.mean().item() == pytest.approx(1.0, abs=0.1)
