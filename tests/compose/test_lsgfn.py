"""Local search: its kernels keep the target, its budget is kept, and without rebuilding it is its host."""

import math

import pytest
import torch

from pathline.compose.evaluate import places
from pathline.compose.lsgfn import LSGFN, detour, log_acceptance
from pathline.compose.policy import DiscretePolicy, Paths
from pathline.compose.rivals import ReplayTB
from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.sims.environments import Strings

LETTERS, LENGTH, UNDONE = 3, 3, 2


def words(**config) -> Strings:
    """All 27 words of three letters, grown at both ends, with rewards that differ."""
    letters = torch.cartesian_prod(*[torch.arange(LETTERS) + 1] * LENGTH)
    rewards = torch.rand(LETTERS**LENGTH, generator=torch.Generator().manual_seed(1)) ** 3 + 0.01
    return Strings(
        alphabet="abc", shortest=LENGTH, longest=LENGTH, growth="both", letters=letters, rewards=rewards, **config
    )


def random_policy(environment: Strings, seed: int = 0) -> DiscretePolicy:
    torch.manual_seed(seed)
    policy = DiscretePolicy(environment, 16, 1, learn_backward=True, flow=False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(2.0)
    return policy


def children(environment, states, undo):
    """(row, action, next state) of every legal move, or of every move undone."""
    mask = environment.backward_mask(states) if undo else environment.forward_mask(states)
    row, action = mask.nonzero(as_tuple=True)
    move = environment.back if undo else environment.step
    return row, action, move(states[row], action)


@torch.no_grad()
def all_detours(policy: DiscretePolicy, moves: int):
    """Every detour x -> ... -> s -> ... -> x' by brute force: (start, end, log q there, log q back), float64."""
    environment = policy.environment
    objects = environment.objects
    start, state = torch.arange(len(objects)), objects
    there, back = torch.zeros(2, len(objects), dtype=torch.float64)
    for undo in [True] * moves + [False] * moves:
        row, action, following = children(environment, state, undo)
        before, after = state[row], following
        log_b = policy.log_backward(before if undo else after).double()
        log_f = policy.log_forward(after if undo else before).double()
        log_b, log_f = (table.gather(1, action[:, None])[:, 0] for table in (log_b, log_f))
        there = there[row] + (log_b if undo else log_f)
        back = back[row] + (log_f if undo else log_b)
        start, state = start[row], following
    return start, places(environment, state), there, back


def kernel(policy: DiscretePolicy, kind: str) -> torch.Tensor:
    """K(x, x') of one round of the filter `kind`, the rest staying where it is: (objects, objects) float64."""
    environment = policy.environment
    start, end, there, back = all_detours(policy, UNDONE)
    log_reward = environment.log_reward(environment.objects).double()
    ratio = log_reward[end] - log_reward[start]
    if kind != "deterministic":
        ratio = ratio + back - there
    flow = (there + log_acceptance(ratio, kind)).exp()
    size = len(log_reward)
    table = torch.zeros(size * size, dtype=torch.float64).index_add(0, start * size + end, flow).view(size, size)
    return table + torch.diag(1 - table.sum(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_metropolis_and_barker_leave_the_target_where_it_is_and_the_deterministic_filter_does_not(seed):
    policy = random_policy(words(), seed)
    target = policy.environment.target
    for kind in ("metropolis", "barker"):
        table = kernel(policy, kind)
        assert bool((table >= -1e-12).all()) and table.diagonal().min() < 0.9
        assert float((target @ table - target).abs().max()) < 1e-10
        flow = target[:, None] * table
        assert float((flow - flow.T).abs().max()) < 1e-10  # detailed balance, not stationarity alone
    assert float((target @ kernel(policy, "deterministic") - target).abs().max()) > 1e-3


def test_proposals_sum_to_one_and_sampled_detours_have_the_probabilities_of_brute_force():
    policy = random_policy(words())
    environment = policy.environment
    start, end, there, back = all_detours(policy, UNDONE)
    total = torch.zeros(27, dtype=torch.float64).index_add(0, start, there.exp())
    assert torch.allclose(total, torch.ones(27, dtype=torch.float64), atol=1e-6)
    torch.manual_seed(0)
    origin = torch.arange(27).repeat(100)
    made = detour(policy, environment.objects[origin], UNDONE)
    known = {}
    for a, b, q, r in zip(start.tolist(), end.tolist(), there.tolist(), back.tolist(), strict=True):
        known.setdefault((a, b), []).append((q, r))
    ends = places(environment, made.paths.ends)
    for a, b, q, r in zip(origin.tolist(), ends.tolist(), made.log_there.tolist(), made.log_back.tolist(), strict=True):
        assert any(math.isclose(q, x, abs_tol=1e-4) and math.isclose(r, y, abs_tol=1e-4) for x, y in known[a, b])


def test_the_reverse_of_a_detour_swaps_its_two_probabilities():
    """Brute force contains every detour read backwards, with there and back exchanged."""
    start, end, there, back = all_detours(random_policy(words()), UNDONE)
    forth = sorted(zip(start.tolist(), end.tolist(), (there - back).tolist(), there.tolist(), strict=True))
    reverse = sorted(zip(end.tolist(), start.tolist(), (back - there).tolist(), back.tolist(), strict=True))
    assert torch.allclose(torch.tensor(forth), torch.tensor(reverse), atol=1e-5)


def test_rebuilt_trajectories_are_whole():
    """They start at nothing, end at the object, and every move is legal."""
    policy = random_policy(words())
    environment = policy.environment
    torch.manual_seed(0)
    made = detour(policy, environment.objects.repeat(20, 1), None)
    paths: Paths = made.paths
    assert bool((paths.states[:, 0] == 0).all()) and bool(environment.is_terminal(paths.ends).all())
    assert bool((paths.length == LENGTH).all())
    for move in range(LENGTH):
        state, action = paths.states[:, move], paths.actions[:, move]
        assert bool(environment.forward_mask(state).gather(1, action[:, None]).all())
        assert torch.equal(environment.step(state, action), paths.states[:, move + 1])
    changed = (paths.ends != environment.objects.repeat(20, 1)).any(1).float().mean()
    assert 0.3 < float(changed) < 1


def test_words_of_different_lengths_lose_half_of_themselves_and_are_rebuilt_until_they_stop():
    letters = torch.tensor([[1, 0, 0, 0], [2, 1, 2, 0], [1, 1, 2, 2]])
    environment = Strings(alphabet="ab", shortest=1, longest=4, letters=letters, rewards=torch.tensor([1.0, 2.0, 3.0]))
    policy = random_policy(environment)
    torch.manual_seed(0)
    objects = policy.draw(300).ends
    made = detour(policy, objects, None)
    undone = (environment.lengths(objects) + 1 + 1) // 2  # a stop is a move, too
    kept = environment.lengths(objects) + 1 - undone
    assert bool(environment.is_terminal(made.paths.ends).all())
    place = torch.arange(4)
    same = made.paths.ends[:, :4] == objects[:, :4]
    assert bool((same | (place >= kept[:, None])).all())  # what was not undone is still there
    assert len(torch.unique(made.paths.length)) > 1


def test_the_deterministic_filter_never_goes_down():
    environment = words()
    method = LSGFN.seeded(environment, 0, iterations=7, backtrack=2, width=16)
    torch.manual_seed(0)
    search = method.searched(method.policy.draw(50).ends, 7)
    reward = torch.stack([environment.log_reward(objects) for objects in search.chain])
    proposed = torch.stack([environment.log_reward(paths.ends) for paths in search.proposals])
    assert bool((reward[1:] >= reward[:-1]).all()) and float(reward[-1].mean()) > float(reward[0].mean())
    assert torch.equal(reward[1:], torch.maximum(reward[:-1], proposed))
    stochastic = LSGFN.seeded(environment, 0, iterations=7, backtrack=2, width=16, filter="metropolis")
    chain = stochastic.searched(search.chain[-1], 7).chain
    reward = torch.stack([environment.log_reward(objects) for objects in chain])
    assert bool((reward[1:] < reward[:-1]).any())  # it leaves the best, as it must to keep the target


def test_no_rebuilding_is_the_host_exactly():
    environment = words()
    plain = ReplayTB.seeded(environment, 3, width=16).fit(environment, steps(30), seed=3)
    search = LSGFN.seeded(environment, 3, iterations=0, width=16).fit(environment, steps(30), seed=3)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, search.state_dict()[name]), name
    other = LSGFN.seeded(environment, 3, iterations=1, width=16).fit(environment, steps(30), seed=3)
    assert not torch.equal(plain.state_dict()["log_z"], other.state_dict()["log_z"])


@pytest.mark.parametrize("iterations", [0, 1, 3, 7])
def test_a_round_asks_for_as_many_rewards_whatever_the_search(iterations):
    environment = words()
    method = LSGFN.seeded(environment, 0, iterations=iterations, backtrack=2, width=16)
    torch.manual_seed(0)
    paths = method.explored(32)
    assert len(paths.length) == 32
    method.fit(environment, steps(5), batch_size=32)
    assert int(method.reward_calls) == 5 * 32


@pytest.mark.parametrize("kind", ["deterministic", "metropolis"])
def test_every_filter_trains_to_the_same_target(kind):
    environment = words(exponent=0.5)
    method = LSGFN.seeded(environment, 0, iterations=3, backtrack=2, filter=kind, width=32)
    before = method.evaluate(environment)["l1"]
    method.fit(environment, steps(150), batch_size=32, lr=5e-3)
    after = method.evaluate(environment)["l1"]
    assert after < 0.3 * before and after < 0.15


def test_settings_that_cannot_work_are_refused_with_the_way_out():
    with pytest.raises(MethodError, match="deterministic, metropolis, barker"):
        LSGFN.for_data(words(), filter="best")
    with pytest.raises(MethodError, match="at least 1 or None"):
        LSGFN.for_data(words(), backtrack=0)
    with pytest.raises(MethodError, match="whole trajectories"):
        LSGFN.for_data(words(), objective="fm")
