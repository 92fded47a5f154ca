"""Measurable pointed graphs: what they assume is checked by walking, and what breaks it is found."""

import math
from dataclasses import dataclass

import pytest
import torch

from pathline.data.environment import from_spec
from pathline.data.errors import DataError
from pathline.sims.environments import Box, Diffusion, SpikeAndSlab, Torus
from pathline.sims.environments.assumptions import check_assumptions
from pathline.sims.environments.continuous import divergence, walk, walk_back

ENVIRONMENTS = {
    "box": Box(),
    "torus": Torus(),
    "three angles": Torus(angles=3, turns=2),
    "diffusion": Diffusion(),
    "spike and slab": SpikeAndSlab(noise=2.0),
}


def back(environment):
    return lambda states: torch.zeros(len(states), environment.backward_size(1))


@dataclass(frozen=True, kw_only=True)
class NoJacobian(Box):
    """The density of radius and angle in place of that of area: 1 / rho is missing."""

    def log_forward(self, raw, states, actions, first):
        found = super().log_forward(raw, states, actions, first)
        return found + actions[:, 0].log() if first else found


@dataclass(frozen=True, kw_only=True)
class LowerHalf(Box):
    """Moves of at most 45 degrees: what lies above the diagonal is out of reach. Consistent on the rest."""

    fan = math.pi / 4

    def window(self, states):
        lowest, width = super().window(states)
        return lowest, ((lowest + width).clamp(max=self.fan) - lowest).clamp(min=0)

    def window_back(self, states):
        lowest, width = super().window_back(states)
        highest = (lowest + width).clamp(max=self.fan)
        tilt = ((states[..., 0] - states[..., 1]) / (self.delta * math.sqrt(2))).clamp(0, 1)
        lowest = torch.maximum(lowest, torch.arccos(tilt) - math.pi / 4)  # the parent is below the diagonal, too
        return lowest, (highest - lowest).clamp(min=0)


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_every_environment_keeps_the_assumptions(environment):
    found = check_assumptions(environment)
    assert found.longest <= environment.bound and found.unreached == 0
    assert found.error < 0.1  # sharp enough to see a missing constant


def test_a_missing_jacobian_and_an_unreachable_quadrant_are_named():
    with pytest.raises(DataError, match="Jacobian"):
        check_assumptions(NoJacobian())
    with pytest.raises(DataError, match="do not reach"):
        check_assumptions(LowerHalf())


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_backward_walks_end_at_the_source_and_lead_forward_to_the_object(environment):
    torch.manual_seed(0)
    objects = walk(environment, environment.plain, 500).objects
    paths = walk_back(environment, back(environment), objects)
    assert torch.equal(paths.states[:, 0], environment.source(500)) and torch.equal(paths.objects, objects)
    state = paths.states[:, 0]
    for move in range(paths.actions.shape[1]):
        child = environment.step(state, paths.actions[:, move])
        state = torch.where((move < paths.length)[:, None], child, state)
        assert torch.allclose(state, paths.states[:, move + 1], atol=1e-4)
    last = paths.actions[torch.arange(500), paths.length - 1]
    assert bool((environment.is_stop(last) == environment.stops).all())


def test_walks_in_the_box_stay_inside_and_move_by_delta():
    torch.manual_seed(0)
    box = Box(delta=0.1)
    paths = walk(box, box.plain, 2000)
    moved = paths.live & ~box.is_stop(paths.actions.flatten(0, 1)).view_as(paths.live)
    moved[:, 0] = False
    step = (paths.states[:, 1:] - paths.states[:, :-1]).norm(dim=-1)
    assert float(paths.states.min()) >= 0 and float(paths.states.max()) <= 1
    assert torch.allclose(step[moved], torch.tensor(0.1), atol=1e-5)
    assert float(step[:, 0].max()) <= 0.1
    corner = torch.tensor([[0.95, 0.95], [0.95, 0.5], [0.5, 0.5]])
    assert box.must_stop(corner).tolist() == [True, False, False]


def test_a_window_and_its_reversal_see_the_same_moves():
    """Whatever angle leads from a point inside to a point inside is in the backward window of the child."""
    torch.manual_seed(1)
    box, states = Box(), torch.rand(5000, 2)
    lowest, width = box.window(states)
    open_ = width > 1e-3
    angle = (lowest + width * torch.rand(5000))[open_]
    child = states[open_] + box.delta * torch.stack([angle.cos(), angle.sin()], -1)
    assert float(child.max()) <= 1 + 1e-5
    lowest, width = box.window_back(child)
    assert bool((angle > lowest - 1e-3).all()) and bool((angle < lowest + width + 1e-3).all())


def test_masses_of_the_box_are_those_of_the_paper():
    assert math.exp(Box().log_mass) == pytest.approx(0.305)
    fine = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    reward = Box().log_reward(torch.cartesian_prod(fine, fine)).exp()
    assert float(reward.mean()) == pytest.approx(0.305, abs=1e-9)
    assert float(Box().masses().sum()) == pytest.approx(1)


def test_mass_of_the_torus_equals_a_sum_over_a_grid():
    axis = (torch.arange(40, dtype=torch.float64) + 0.5) * (2 * math.pi / 40) - math.pi
    torus = Torus(angles=3)
    total = torus.log_reward(torch.cartesian_prod(axis, axis, axis)).exp().sum() * (2 * math.pi / 40) ** 3
    assert torus.log_mass == pytest.approx(math.log(float(total)), abs=1e-9)


def test_evidence_of_spike_and_slab_equals_a_quadrature():
    problem = SpikeAndSlab(slots=2, noise=1.5)
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    values = torch.cartesian_prod(axis, axis)
    both = torch.cat([torch.ones_like(values), values], 1)
    alone = torch.stack([torch.ones_like(axis), torch.zeros_like(axis), axis, torch.zeros_like(axis)], 1)
    assert float(problem.log_evidence[3]) == pytest.approx(
        float(problem.log_reward(both).logsumexp(0)) + 2 * math.log(0.02)
    )
    assert float(problem.log_evidence[1]) == pytest.approx(
        float(problem.log_reward(alone).logsumexp(0)) + math.log(0.02)
    )
    empty = torch.zeros(1, 4, dtype=torch.float64)
    assert float(problem.log_evidence[0]) == pytest.approx(float(problem.log_reward(empty)))


def test_turns_by_two_pi_change_no_density_on_the_torus():
    torch.manual_seed(0)
    torus = Torus()
    raw = torch.randn(100, torus.forward_size(3), dtype=torch.float64)
    states = torch.cat([6 * torch.rand(100, 2, dtype=torch.float64), torch.ones(100, 1, dtype=torch.float64)], 1)
    actions = 6 * torch.rand(100, 2, dtype=torch.float64)
    turn = torch.tensor([2 * math.pi, 2 * math.pi, 0], dtype=torch.float64)
    for density in (
        lambda s, a: torus.log_forward(raw, s, a, False),
        lambda s, a: torus.log_backward(raw, s, a),
        lambda s, a: torus.log_reward(s),
        lambda s, a: torus.encode(s).sum(-1),
    ):
        assert torch.allclose(density(states + turn, actions + turn[:2]), density(states, actions), atol=1e-6)
    assert torch.equal(torus.cells(states + turn), torus.cells(states))


def test_the_bridge_reverses_brownian_motion_exactly():
    """Without drift p_F(x_k, x_{k+1}) p(x_k) = p_B(x_{k+1}, x_k) p(x_{k+1}) for the marginals N(0, sigma^2 t)."""
    torch.manual_seed(0)
    walkers = Diffusion(centres=((0.0, 0.0),), moves=10, sigma=2.0)
    paths = walk(walkers, walkers.plain, 50)

    def marginal(states):
        spread = walkers.sigma * walkers.time(states).sqrt()
        return torch.distributions.Normal(0.0, spread).log_prob(states[:, :-1]).sum(-1)

    for move in range(1, 10):
        state, child, action = paths.states[:, move], paths.states[:, move + 1], paths.actions[:, move]
        raw = walkers.plain(state, False)
        forward = walkers.log_forward(raw, state, action, False) + marginal(state)
        backward = walkers.log_backward(raw, child, action) + marginal(child)
        assert torch.allclose(forward, backward, atol=1e-3)


def test_exploration_widens_and_leaves_densities_alone():
    torch.manual_seed(0)
    walkers = Diffusion(centres=((0.0, 0.0),), sigma=2.0)
    state = walkers.source(20_000)
    wide = walkers.draw(walkers.plain(state, True), state, True, explore=1.5)
    assert float(wide.std()) == pytest.approx(walkers.noise * math.sqrt(1 + 1.5**2), rel=0.02)


def test_environments_come_back_from_their_specification():
    for environment in ENVIRONMENTS.values():
        again = from_spec(environment.spec(), {}, {})
        assert again == environment and again.fingerprint() == environment.fingerprint()


def test_divergence_is_zero_for_equal_and_log_two_for_disjoint_laws():
    masses = torch.tensor([0.5, 0.5, 0.0, 0.0])
    assert divergence(torch.tensor([3, 3, 0, 0]), masses) == pytest.approx(0)
    assert divergence(torch.tensor([0, 0, 1, 4]), masses) == pytest.approx(math.log(2))


def test_settings_that_make_no_environment_are_refused():
    for made in (
        lambda: Box(delta=1.5),
        lambda: Box(low=0.0),
        lambda: Torus(angles=1),
        lambda: Diffusion(sigma=0.0),
        lambda: SpikeAndSlab(inclusion=1.0),
    ):
        with pytest.raises(DataError):
            made()
