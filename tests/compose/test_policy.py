"""Policies: what is drawn is what is scored, forwards and backwards, in full and in pieces."""

import pytest
import torch

from pathline.compose.evaluate import estimated_log_law, exact_law, l1, mode_bar, modes_found, places, uniform_policy
from pathline.compose.explorers import mixed, tempered
from pathline.compose.objectives import residuals
from pathline.compose.policy import DiscretePolicy, Paths, joined
from pathline.sims.environments import Hypergrid, Strings, random_bits, random_sets

BOTH = Strings(alphabet="abc", shortest=2, longest=3, growth="both", reward=lambda x: 1.0 + (x == 1).sum(1))
ENVIRONMENTS = [Hypergrid(dims=2, side=4), random_sets(6, 3, seed=0), random_bits(6, 2, 2, seed=0), BOTH]
named = pytest.mark.parametrize("env", ENVIRONMENTS, ids=lambda env: env.name)


def policy_of(env, **options) -> DiscretePolicy:
    torch.manual_seed(0)
    policy = DiscretePolicy(env, width=16, **options)
    for weight in policy.parameters():  # away from an almost uniform start
        weight.data.mul_(2.0)
    return policy


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@named
@pytest.mark.parametrize("learned", [False, True])
def test_scores_are_those_of_each_move_by_itself(env, learned):
    policy = policy_of(env, learn_backward=learned)
    paths = policy.draw(20, 0.3, generator())
    with torch.no_grad():
        scored = policy.score(paths)
        for row in range(20):
            for t in range(int(paths.length[row])):
                before, after = paths.states[row, t][None], paths.states[row, t + 1][None]
                action = int(paths.actions[row, t])
                assert torch.equal(env.step(before, paths.actions[row, t][None]), after)
                assert abs(scored.log_pf[row, t] - policy.log_forward(before)[0, action]) < 1e-5
                assert abs(scored.log_pb[row, t] - policy.log_backward(after)[0, action]) < 1e-5
                assert abs(scored.log_flow[row, t] - policy.log_flow(before)[0]) < 1e-5
            end = int(paths.length[row])
            assert bool(env.is_terminal(paths.states[row, end][None]))
            assert scored.log_flow[row, end] == env.log_reward(paths.states[row, end][None])[0]


@named
def test_the_law_by_one_sweep_is_what_is_drawn(env):
    policy = policy_of(env)
    law = exact_law(env, policy.log_forward)
    assert float(law.sum()) == pytest.approx(1, abs=1e-6)
    count = 20_000
    drawn = policy.draw(count, generator=generator()).ends
    seen = torch.bincount(places(env, drawn), minlength=len(law)).double()
    chi = ((seen - count * law).square() / (count * law)).sum()
    degrees = len(law) - 1
    assert abs(float(chi) - degrees) < 4 * (2 * degrees) ** 0.5  # the statistic has that mean and variance


@named
@pytest.mark.parametrize("learned", [False, True])
def test_backward_trajectories_estimate_the_law(env, learned):
    policy = policy_of(env, learn_backward=learned)
    law = exact_law(env, policy.log_forward)
    estimate = estimated_log_law(policy, env.objects, 800, generator()).exp()
    assert l1(estimate, law) < 0.06
    paths = policy.draw_back(env.objects, generator())
    assert torch.equal(paths.ends, env.objects) and torch.equal(paths.states[:, 0], env.source(len(env.objects)))


def test_uniform_moves_on_sets_are_uniform_on_objects():
    env = random_sets(6, 3, seed=0)
    law = exact_law(env, uniform_policy(env))
    torch.testing.assert_close(law, torch.full_like(law, 1 / 20))


def test_pieces_keep_their_moves_and_are_scored_like_the_whole():
    env = Hypergrid(dims=3, side=4)
    policy = policy_of(env)
    paths = policy.draw(30, generator=generator())
    start = (torch.rand(30, generator=generator()) * paths.length).long()
    pieces = paths.cut(start, 3)
    assert torch.equal(pieces.length, (paths.length - start).clamp(max=3))
    with torch.no_grad():
        whole, part = residuals(policy.score(paths))[0], residuals(policy.score(pieces))
    for row in range(30):
        i, n = int(start[row]), int(pieces.length[row])
        mine = part[0][row, : n + 1, : n + 1]
        torch.testing.assert_close(mine, whole[row, i : i + n + 1, i : i + n + 1], atol=1e-5, rtol=0)
    ended = env.is_terminal(pieces.ends)
    assert bool(ended.any()) and not bool(ended.all())
    assert torch.isnan(policy.score(pieces).log_reward[~ended]).all()


def test_joined_batches_are_padded_with_their_last_state():
    env = Hypergrid(dims=2, side=4)
    policy = policy_of(env)
    first, second = policy.draw(5, generator=generator(1)), policy.draw(7, generator=generator(2))
    both = joined([first, second])
    assert torch.equal(both.ends, torch.cat([first.ends, second.ends])) and len(both.length) == 12
    again = both.take(torch.arange(5))
    with torch.no_grad():
        torch.testing.assert_close(policy.score(again).log_importance, policy.score(first).log_importance)


def test_a_seed_decides_what_is_drawn_and_the_global_generator_is_left_alone():
    policy = policy_of(ENVIRONMENTS[0])
    state = torch.get_rng_state()
    one, two, other = (policy.draw(50, generator=generator(seed)).ends for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    policy.draw(1)
    assert not torch.equal(state, torch.get_rng_state())


def test_extending_for_some_moves_stops_there_and_undoing_returns():
    env = random_sets(6, 4, seed=0)
    policy = policy_of(env)
    half = policy.extend(env.source(9), generator=generator(), moves=2)
    assert (half.ends.sum(1) == 2).all() and (half.length == 2).all()
    back = policy.draw_back(half.ends, generator(), moves=1)
    assert (back.states[:, 0].sum(1) == 1).all() and torch.equal(back.ends, half.ends)
    nothing = policy.draw_back(env.source(3), generator())
    assert nothing.actions.shape == (3, 0) and (nothing.length == 0).all()


def test_explorers_mix_and_flatten():
    log_p = torch.tensor([[0.7, 0.3, 1e-30]]).log()
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(mixed(log_p, mask, 0.5), torch.tensor([[0.6, 0.4, 0.0]]))
    torch.testing.assert_close(mixed(log_p, mask, 0.0), torch.tensor([[0.7, 0.3, 0.0]]))
    flat = tempered(log_p, mask, 1e6)
    torch.testing.assert_close(flat, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(tempered(log_p, mask, 1.0), torch.tensor([[0.7, 0.3, 0.0]]))
    env = Hypergrid(dims=2, side=4)
    policy = policy_of(env)
    wide = policy.draw(20_000, 1.0, generator()).ends
    law = torch.bincount(places(env, wide), minlength=16) / 20_000
    assert l1(law, exact_law(env, uniform_policy(env))) < 0.05


def test_inflow_is_summed_over_all_parents():
    env = Hypergrid(dims=2, side=3)
    policy = policy_of(env)
    states = torch.tensor([[[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]])
    paths = Paths(states, torch.tensor([[0, 1, 2]]), torch.tensor([3]))
    with torch.no_grad():
        inflow, outflow = policy.flow_balance(paths)
        parents = torch.tensor([[1, 0, 0], [0, 1, 0]])
        flow = policy.log_flow(parents) + policy.log_forward(parents)[torch.arange(2), torch.tensor([1, 0])]
        assert abs(float(inflow[1]) - float(flow.logsumexp(0))) < 1e-5
        assert abs(float(outflow[1]) - float(policy.log_flow(states[0, 2:3]))) < 1e-5
    assert float(outflow[2]) == pytest.approx(float(env.log_reward(states[0, 3:])))


def test_modes_are_counted_once():
    env = Hypergrid(dims=2, side=8)
    bar = mode_bar(env)
    best = env.objects[env.log_reward(env.objects) >= bar - 1e-6]
    assert len(best) == 4
    assert modes_found(env, torch.cat([best[:3], best[:2], env.objects[:1]]), bar) == 3
    assert modes_found(env, env.objects[:1], bar) == 0
    table = Hypergrid(dims=2, side=8, reward=lambda cells: 1.0 + cells[:, 0] * 8 + cells[:, 1])
    assert int((table.log_reward(table.objects) >= mode_bar(table, 5 / 64) - 1e-6).sum()) == 5
