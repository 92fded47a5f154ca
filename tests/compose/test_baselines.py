"""Random moves and Markov chains: what every composer must beat, and what leaves the target alone."""

import pytest
import torch

from pathline.compose.baselines import MCMC, RandomMoves, walk, walk_back
from pathline.compose.evaluate import l1, places
from pathline.core.errors import DataError
from pathline.sims.environments import Box, Hypergrid, Strings, random_sets

GRID = Hypergrid(dims=2, side=4)
BOTH = Strings(alphabet="ab", shortest=1, longest=3, growth="both", reward=lambda x: 1.0 + (x == 1).sum(1))


def test_random_moves_have_the_law_of_a_hand_count():
    method = RandomMoves.for_data(Hypergrid(dims=1, side=3)).eval()
    law = method.law(method.discrete)
    torch.testing.assert_close(law, torch.tensor([1 / 2, 1 / 4, 1 / 4], dtype=torch.float64))
    assert torch.allclose(method.sample(4).log_probabilities.exp().sort().values.min(), torch.tensor(0.25).double())


@pytest.mark.parametrize("env", [GRID, random_sets(5, 2, seed=0), BOTH], ids=lambda env: env.name)
def test_a_chain_that_starts_at_the_target_stays_there(env):
    method = MCMC.for_data(env)
    generator = torch.Generator().manual_seed(0)
    count = 40_000
    state = env.objects[torch.multinomial(env.target, count, replacement=True, generator=generator)]
    value = env.log_reward(state)
    for _ in range(4):
        proposal, log_ratio = method.propose(state, generator)
        other = env.log_reward(proposal)
        accepted = torch.rand(count, generator=generator).log() < other - value + log_ratio
        state, value = torch.where(accepted[:, None], proposal, state), torch.where(accepted, other, value)
    seen = torch.bincount(places(env, state), minlength=len(env.target)) / count
    noise = float((env.target * (1 - env.target) / count).sqrt().sum())  # what sampling alone puts into l1
    assert l1(seen, env.target) < 1.6 * noise


def test_more_sweeps_come_closer_to_the_target():
    env = Hypergrid(dims=2, side=6, r0=1e-2)
    few, many = (MCMC.for_data(env, sweeps=sweeps).evaluate(env)["l1"] for sweeps in (0, 100))
    assert many < 0.5 * few


def test_walks_count_the_chances_of_doing_and_undoing():
    generator = torch.Generator().manual_seed(0)
    done = walk(GRID, GRID.source(200), generator)
    assert GRID.is_terminal(done.ends).all()
    steps = done.ends[:, :2].sum(1) + 1
    assert torch.equal(done.moves, steps)
    straight = done.ends[:, 1] == 0  # along one axis there is one way, so the chances follow by hand
    x = done.ends[straight, 0]
    stay = torch.where(x == 3, 1 / 2, 1 / 3).log()
    expected = torch.log(torch.tensor(1 / 3)) * x + stay
    torch.testing.assert_close(done.log_done[straight], expected)
    assert (done.log_undone[straight] == 0).all() and (done.log_undone[~straight] < 0).any()
    undone = walk_back(GRID, done.ends, torch.full((200,), 2), generator)
    assert torch.equal(undone.moves, steps.clamp(max=2))


def test_continuous_environments_are_not_for_them():
    for cls in (RandomMoves, MCMC):
        with pytest.raises(DataError, match="discrete objects only"):
            cls.for_data(Box())
