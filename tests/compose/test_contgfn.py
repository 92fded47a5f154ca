"""Continuous GFlowNets: densities that integrate to one, closed forms, the discrete limit, and what happens if an
assumption is broken."""

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from pathline.compose.contgfn import ContGFN
from pathline.compose.densities import DensityPolicy
from pathline.compose.objectives import detailed_balance, sub_trajectory_balance, trajectory_balance
from pathline.compose.policy import DiscretePolicy
from pathline.compose.rivals import PathIntegralSampler
from pathline.compose.subtb import SubTB
from pathline.core.budget import steps
from pathline.core.compare import _fitting
from pathline.core.errors import DataError, MethodError
from pathline.data.environment import DiscreteEnvironment
from pathline.sims.environments import Box, Diffusion, Hypergrid, SpikeAndSlab, Torus
from pathline.sims.environments.continuous import Paths, divergence, walk


@dataclass(frozen=True, kw_only=True)
class NoJacobian(Box):
    """The density of radius and angle in place of that of area: 1 / rho is missing."""

    def log_forward(self, raw, states, actions, first):
        found = super().log_forward(raw, states, actions, first)
        return found + actions[:, 0].log() if first else found


@dataclass(frozen=True, kw_only=True)
class LowerHalf(Box):
    """Moves of at most 45 degrees, consistent below the diagonal; what lies above is out of reach."""

    fan = math.pi / 4

    def window(self, states):
        lowest, width = super().window(states)
        return lowest, ((lowest + width).clamp(max=self.fan) - lowest).clamp(min=0)

    def window_back(self, states):
        lowest, width = super().window_back(states)
        highest = (lowest + width).clamp(max=self.fan)
        tilt = ((states[..., 0] - states[..., 1]) / (self.delta * math.sqrt(2))).clamp(0, 1)
        lowest = torch.maximum(lowest, torch.arccos(tilt) - math.pi / 4)
        return lowest, (highest - lowest).clamp(min=0)


FLAT = {"low": 1.0, "middle": 0.0, "high": 0.0, "delta": 0.4, "waves": 1}  # a uniform target, log Z = 0


@cache
def trained(environment, count=300, seed=0, **config) -> ContGFN:
    method = ContGFN.seeded(environment, seed, width=32, depth=2, **{"components": 2} | config)
    return method.fit(environment, steps(count), seed=seed)


def jensen_shannon(method: ContGFN, count: int = 8000) -> float:
    return divergence(method.cell_counts(count), method.environment.masses())


# -- unbiased densities -----------------------------------------------------------------------------------------------


def integral(environment: Box, seed: int) -> float:
    """Of the estimated density of a random policy over a 60 x 60 grid."""
    torch.manual_seed(seed)
    policy = DensityPolicy(environment, components=2)
    with torch.no_grad():
        for parameter in policy.forward_net.parameters():
            parameter.mul_(1.5)
        policy.source[4:8] += 1.0  # alphas of the radius: no pole of the density at s_0, which a grid cannot integrate
    axis = (torch.arange(60) + 0.5) / 60
    return float(policy.log_density(torch.cartesian_prod(axis, axis), count=16).exp().mean())


def test_the_density_of_a_random_policy_integrates_to_one_and_without_the_jacobian_does_not():
    assert integral(Box(), 1) == pytest.approx(1, abs=0.03)
    assert integral(Box(delta=0.4), 2) == pytest.approx(1, abs=0.03)
    assert abs(integral(NoJacobian(), 1) - 1) > 0.5


def test_the_estimated_density_of_brownian_motion_is_normal():
    torch.manual_seed(0)
    walkers = Diffusion(centres=((0.0, 0.0),), moves=8, sigma=2.0)
    policy = DensityPolicy(walkers, flow=False)
    policy.forward_raw = walkers.plain
    objects = walk(walkers, walkers.plain, 50).objects
    law = torch.distributions.Normal(0.0, 2.0).log_prob(objects[:, :2]).sum(1)
    assert torch.allclose(policy.log_density(objects, 4), law, atol=1e-3)


# -- the discrete limit -----------------------------------------------------------------------------------------------

BINS, TURNS = 4, 3


@dataclass(frozen=True, kw_only=True)
class Clock(DiscreteEnvironment):
    """Two hands that turn by whole bins, TURNS times. The finite form of `Histogram`."""

    name: str = "clock"

    @property
    def radix(self):
        return (BINS, BINS, TURNS + 1)

    @property
    def actions(self):
        return BINS**2

    @property
    def bound(self):
        return TURNS

    @property
    def features(self):
        return 2 * BINS + TURNS + 1

    def encode(self, states):
        sizes = self.radix
        return torch.cat([F.one_hot(states[:, k], sizes[k]) for k in range(3)], 1).float()

    def turned(self, states, actions, sign):
        hands = torch.stack([actions // BINS, actions % BINS], 1)
        return torch.cat([(states[:, :2] + sign * hands) % BINS, states[:, 2:] + sign], 1)

    def step(self, states, actions):
        return self.turned(states, actions, 1)

    def back(self, states, actions):
        return self.turned(states, actions, -1)

    def forward_mask(self, states):
        return (states[:, 2:] < TURNS).expand(-1, self.actions)

    def backward_mask(self, states):
        only = F.one_hot(states[:, 0] * BINS + states[:, 1], self.actions) > 0
        return torch.where(states[:, 2:] == 1, only, (states[:, 2:] > 0).expand(-1, self.actions))

    def is_terminal(self, states):
        return states[:, 2] == TURNS

    def log_reward(self, objects):
        """The mass of a bin: density times area."""
        return angles_reward(objects[:, :2] * (2 * math.pi / BINS)) + 2 * math.log(2 * math.pi / BINS)


def angles_reward(angles):
    return angles.double().cos().sum(-1).float()


@dataclass(frozen=True, kw_only=True)
class Histogram(Torus):
    """Increments whose density is a histogram with a bin around every multiple of 2 pi / BINS."""

    def forward_size(self, components):
        return BINS**2

    def backward_size(self, components):
        return BINS**2

    def place(self, angles):
        return torch.round(angles / (2 * math.pi / BINS)).long() % BINS

    def log_density(self, raw, actions):
        hands = self.place(actions)
        chosen = raw.log_softmax(-1).gather(1, hands[:, :1] * BINS + hands[:, 1:])[:, 0]
        return chosen - 2 * math.log(2 * math.pi / BINS)

    def log_forward(self, raw, states, actions, first):
        return self.log_density(raw, actions)

    def log_backward(self, raw, states, actions):
        return self.log_density(raw, actions)

    def log_reward(self, objects):
        return angles_reward(objects[:, :2])


@torch.no_grad()
def test_histograms_give_the_residual_of_the_discrete_core():
    torch.manual_seed(0)
    clock, torus = Clock(), Histogram(turns=TURNS)
    discrete = DiscretePolicy(clock, 16, 1, learn_backward=True, flow=False)
    finite = discrete.draw(200, epsilon=0.5)
    width = 2 * math.pi / BINS
    angles = torch.cat([finite.states[..., :2] * width, finite.states[..., 2:].float()], -1)
    hands = torch.stack([finite.actions // BINS, finite.actions % BINS], -1) * width
    policy = DensityPolicy(torus, flow=False)

    def outputs(states):
        cells = torch.cat([torus.place(states[:, :2]), states[:, 2:].round().long()], 1)
        return discrete.net(clock.encode(cells))

    policy.forward_raw = lambda states, first: outputs(states)[:, : BINS**2]
    policy.backward_raw = lambda states: outputs(states)[:, BINS**2 :]
    paths, log_z = Paths(angles.float(), hands.float(), finite.length), torch.tensor(0.7)
    ours, theirs = policy.score(paths, log_z), discrete.score(finite, log_z)

    def residual(scored):
        return log_z + scored.log_importance - scored.log_reward

    difference = residual(ours) - residual(theirs)
    assert float(difference.abs().max()) < 1e-5 and float(difference.abs().mean()) < 1e-6  # float32 sums of ten terms
    assert residual(ours).std() > 0.1
    assert torch.allclose(trajectory_balance(ours), trajectory_balance(theirs), rtol=1e-5)


# -- a closed form ----------------------------------------------------------------------------------------------------

MEAN, VARIANCE, MASS = torch.tensor([1.0, -0.5]), 0.7, 3.0


def exact(moves: int) -> tuple[DensityPolicy, Diffusion]:
    """The drift that takes Brownian motion from 0 to N(MEAN, VARIANCE): it is affine, and MASS is its log Z.

    f(x, t) = (sigma^2 m + (s^2 - sigma^2) x) / (t s^2 + (1 - t) sigma^2), from E[x_1 | x_t] of the bridges, sigma = 1.
    """
    walkers = Diffusion(
        centres=(tuple(MEAN.tolist()),), deviation=math.sqrt(VARIANCE), mass=MASS, moves=moves, sigma=1.0
    )
    policy = DensityPolicy(walkers, flow=True)

    def drift(states, first=False):
        t = walkers.time(states)
        return (MEAN + (VARIANCE - 1) * states[:, :-1]) / (t * VARIANCE + 1 - t)

    def log_flow(states):
        t = walkers.time(states)
        law = torch.distributions.Normal(t * MEAN, (t**2 * VARIANCE + t * (1 - t)).sqrt())
        return law.log_prob(states[:, :-1]).sum(-1) + math.log(MASS)

    policy.forward_raw, policy._flow = drift, log_flow
    return policy, walkers


def test_the_exact_drift_balances_every_objective():
    residuals = {}
    for moves in (50, 200):
        torch.manual_seed(0)
        policy, _ = exact(moves)
        scored = policy.score(policy.walk(2000), torch.tensor(math.log(MASS)))
        residual = math.log(MASS) + scored.log_importance - scored.log_reward
        residuals[moves] = float(residual.var())
        assert float((scored.log_reward - scored.log_importance).mean()) == pytest.approx(math.log(MASS), abs=0.01)
        assert float(detailed_balance(scored)) < residuals[moves] / 10
        assert float(sub_trajectory_balance(scored)) < residuals[moves]
    assert residuals[200] < 1e-3
    assert residuals[50] == pytest.approx(4 * residuals[200], rel=0.3)  # the error of Euler's steps is O(dt)


@torch.no_grad()
def test_the_path_integral_objective_is_minus_log_z_at_the_exact_drift_and_more_elsewhere():
    torch.manual_seed(0)
    policy, walkers = exact(100)
    sampler = PathIntegralSampler.seeded(walkers, 0)
    sampler.policy = policy
    best = float(sampler.loss(walkers.gather(torch.arange(4000)))["loss"])
    assert best == pytest.approx(-math.log(MASS), abs=0.01)
    drift = policy.forward_raw
    policy.forward_raw = lambda states, first: 1.3 * drift(states)
    assert float(sampler.loss(walkers.gather(torch.arange(4000)))["loss"]) > best + 0.02


# -- flow matching ----------------------------------------------------------------------------------------------------


def test_the_inflow_by_quadrature_equals_that_by_backward_draws():
    """integral u p_F kappa_b(ds) = E over p_B of u p_F / p_B."""
    torch.manual_seed(0)
    box = Box()
    policy = DensityPolicy(box, components=2)
    states = 0.3 + 0.7 * torch.rand(40, 2)
    paths = policy.walk_back(states)
    last = paths.length - 2  # the move before the stop
    rows = torch.arange(40)
    one = Paths(
        torch.stack([paths.states[rows, last], states], 1), paths.actions[rows, last][:, None], torch.ones(40).long()
    )
    with torch.no_grad():
        inflow, outflow = policy.flow_balance(one, torch.tensor(0.0), nodes=2000)
        many = states.repeat_interleave(4000, 0)
        raw = policy.backward_raw(many)
        actions = box.draw_back(raw, many)
        parents = box.undo(many, actions)
        ratio = (
            policy._flow(parents)
            + box.log_forward(policy.forward_raw(parents, False), parents, actions, False)
            - box.log_backward(raw, many, actions)
        )
    estimate = ratio.view(40, -1).logsumexp(1) - math.log(4000)
    assert torch.allclose(inflow[:40], estimate, atol=0.1)
    assert float((inflow[:40] - estimate).mean().abs()) < 0.02
    assert inflow.shape == outflow.shape == (80,)  # each state, and what leaves it by its stop


def test_flow_matching_by_quadrature_learns():
    method = trained(Box(**FLAT), 200, objective="fm")
    assert float(method.log_z.detach()) == pytest.approx(0, abs=0.25)
    assert jensen_shannon(method) < 0.08
    with pytest.raises(MethodError, match="quadrature"):
        ContGFN.for_data(Torus(), objective="fm")


# -- training, and what breaks it -------------------------------------------------------------------------------------


def test_what_a_kernel_cannot_reach_is_missing_though_the_loss_is_small():
    full, half = trained(Box(**FLAT)), trained(LowerHalf(**FLAT))
    torch.manual_seed(0)
    with torch.no_grad():
        loss = float(half.loss(half.environment.gather(torch.arange(4000)))["loss"])
    assert loss < 0.15
    assert jensen_shannon(half) > 0.1 > 2 * jensen_shannon(full)
    assert float(half.log_z.detach()) == pytest.approx(math.log(0.5), abs=0.2)  # of the half that it knows


def test_without_the_jacobian_log_z_is_wrong():
    assert float(trained(Box(**FLAT)).log_z.detach()) == pytest.approx(0, abs=0.1)
    wrong = trained(NoJacobian(**FLAT))
    assert float(wrong.log_z.detach()) > -math.log(FLAT["delta"]) - 0.1  # Z / E[rho], and rho < delta


@pytest.mark.parametrize("objective", ["tb", "subtb"])
def test_objectives_learn_which_coefficients_are_there_and_what_they_are(objective):
    problem = SpikeAndSlab(slots=3, noise=2.0)
    method = trained(problem, 400, objective=objective, components=1)
    assert jensen_shannon(method) < 0.02
    assert method.log_partition(4000) == pytest.approx(problem.log_mass, abs=0.05)
    assert method.evaluate(problem)["log_ratio_spread"] < 0.6


def test_angles_are_learned_on_the_torus():
    torus = Torus(turns=2)
    before = jensen_shannon(ContGFN.seeded(torus, 0, width=32, depth=2))
    method = trained(torus, 400, components=4, explore=0.3)
    assert jensen_shannon(method) < 0.45 * before
    assert method.log_partition(8000) == pytest.approx(torus.log_mass, abs=0.1)


def test_exploration_falls_to_nothing_by_the_middle_of_training():
    box = Box(**FLAT)
    method = ContGFN.seeded(box, 0, explore=0.8)
    widths = []
    walk_plain = method.policy.walk
    method.policy.walk = lambda count, explore: (widths.append(explore), walk_plain(count, explore))[1]
    method.fit(box, steps(20))
    assert widths[0] == pytest.approx(0.8) and widths[5] == pytest.approx(0.4)
    assert all(width == 0 for width in widths[10:])
    assert int(method.reward_calls) == 20 * 64


def test_source_and_interior_have_heads_of_their_own():
    policy = DensityPolicy(Box())
    seen = []
    policy.forward_net.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    torch.manual_seed(0)
    paths = policy.walk(100)
    policy.log_forward(paths)
    asked = torch.cat(seen)
    at_source = Box().encode(torch.zeros(1, 2))
    assert len(seen) > 1 and not bool((asked == at_source).all(-1).any())


def test_settings_that_cannot_work_are_refused_with_the_way_out():
    with pytest.raises(MethodError, match="choose one of"):
        ContGFN.for_data(Box(), objective="kl")
    with pytest.raises(MethodError, match="use contgfn"):
        PathIntegralSampler.for_data(Box())
    with pytest.raises(MethodError, match="use subtb"):
        ContGFN(Hypergrid(dims=2, side=4).spec())


def test_a_comparison_without_names_keeps_the_methods_that_fit_the_environment():
    classes = {"subtb": SubTB, "contgfn": ContGFN}
    assert list(_fitting(classes, Box(), ())) == ["contgfn"]
    assert list(_fitting(classes, Hypergrid(dims=2, side=4), ())) == ["subtb"]
    with pytest.raises(DataError, match="discrete"):
        _fitting(classes, Box(), (SubTB,))
