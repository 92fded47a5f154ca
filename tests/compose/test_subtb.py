"""Sub-trajectory balance: exact flows lose nothing, training finds them, and pieces are enough."""

from dataclasses import replace

import pytest
import torch

from pathline.compose.baselines import RandomMoves
from pathline.compose.objectives import sub_trajectory_balance
from pathline.compose.subtb import SubTB, agreement, gradients
from pathline.core.budget import steps
from pathline.core.errors import DataError, Interrupted, MethodError
from pathline.core.method import Method
from pathline.data.environment import Starts
from pathline.sims.environments import Hypergrid, Sets, random_bits, random_sets

from .exact import scored, solve


class Wild:
    """A random reward that is the same function every time."""

    def __call__(self, cells):
        return 0.1 + ((cells[:, 0] * 37 + cells[:, 1] * 101) % 17).float() ** 2


GRID = Hypergrid(dims=2, side=5, reward=Wild(), name="wild")
SMALL = Hypergrid(dims=2, side=4)
QUICK = {"width": 64, "depth": 2}


def uniform_paths(env, count=64, seed=0):
    return SubTB.seeded(env, seed).policy.draw(count, 1.0, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lamda", [1e-3, 0.5, 0.9, 1.0, 2.0])
def test_exact_flows_lose_nothing_and_any_change_of_one_flow_costs(lamda):
    flows = solve(GRID)
    paths = scored(GRID, flows, uniform_paths(GRID))
    assert float(sub_trajectory_balance(paths, lamda)) < 1e-12
    place = flows.place(GRID, torch.cat(GRID.levels))
    unfinished = place[~GRID.is_terminal(torch.cat(GRID.levels))]
    for state in unfinished[::5].tolist():
        changed = flows.log_flow.clone()
        changed[state] += 0.1
        wrong = scored(GRID, replace(flows, log_flow=changed), uniform_paths(GRID, 400))
        assert float(sub_trajectory_balance(wrong, lamda)) > 1e-7


@pytest.mark.parametrize("objective", ["subtb", "db", "tb", "fm"])
def test_training_finds_the_target_on_a_small_grid(objective):
    method = SubTB.seeded(SMALL, 0, objective=objective, **QUICK)
    before = method.evaluate(SMALL)["l1"]
    method.fit(SMALL, steps(1200 if objective == "db" else 800), batch_size=32, lr=3e-3)
    found = method.evaluate(SMALL)
    assert before > 0.3 and found["l1"] < 0.05
    assert found["modes"] == found["modes_of"] == 4
    if objective != "fm":
        exact = float(SMALL.log_reward(SMALL.objects).logsumexp(0))
        assert method.log_partition() == pytest.approx(exact, abs=0.1)
    drawn = method.sample(5, seed=3)
    wanted = SMALL.log_reward(drawn.objects) - float(SMALL.log_reward(SMALL.objects).logsumexp(0))
    assert (drawn.log_probabilities - wanted).abs().max() < 0.3


def test_a_learned_backward_policy_finds_the_target_too():
    method = SubTB.seeded(SMALL, 0, learn_backward=True, **QUICK).fit(SMALL, steps(800), batch_size=32, lr=3e-3)
    assert method.evaluate(SMALL)["l1"] < 0.06
    states = torch.tensor([[2, 1, 0], [1, 3, 0], [3, 3, 0]])
    with torch.no_grad():
        odds = method.policy.log_backward(states).exp()[:, :2]
    assert (odds - 0.5).abs().max() > 0.02  # it is no longer the uniform one


def test_pieces_that_end_in_no_object_are_learned_from_without_a_reward():
    asked = []

    def reward(cells):
        asked.append(len(cells))
        return (
            Hypergrid(dims=2, side=5)
            .log_reward(torch.cat([cells, torch.ones(len(cells), 1, dtype=torch.int64)], 1))
            .exp()
        )

    env = Hypergrid(dims=2, side=5, reward=reward)
    method = SubTB.seeded(env, 0, **QUICK)
    paths = uniform_paths(Hypergrid(dims=2, side=5), 200)
    long = paths.take((paths.length >= 4).nonzero()[:, 0])
    inner = long.cut(torch.zeros(len(long.length), dtype=torch.int64), 3)
    with torch.no_grad():
        before = float(method.balance(inner))
    asked.clear()
    method.fit_partial(inner, steps=60, lr=3e-3)
    with torch.no_grad():
        assert float(method.balance(inner)) < 0.1 * before
    assert sum(asked) == 0 and int(method.reward_calls) == 0
    whole = SubTB.seeded(env, 0, objective="tb")
    with pytest.raises(MethodError, match="whole trajectories"):
        whole.fit_partial(inner)
    with pytest.raises(MethodError, match="whole trajectories"):
        SubTB.seeded(env, 0, weighting="tb").fit_partial(inner)


def test_training_on_random_pieces_alone_approaches_the_target():
    method = SubTB.seeded(SMALL, 0, piece=2, **QUICK).fit(SMALL, steps(1200), batch_size=32, lr=3e-3)
    assert method.evaluate(SMALL)["l1"] < 0.12
    assert int(method.reward_calls) < 1200 * 32


def test_log_z_has_a_learning_rate_of_its_own():
    method = SubTB.seeded(SMALL, 0, objective="tb", **QUICK)
    first = float(method.log_z.detach())
    method.fit(SMALL, steps(1))
    assert abs(float(method.log_z.detach()) - first) == pytest.approx(
        0.1, rel=1e-3
    )  # Adam's first step is the rate itself
    other = SubTB.seeded(SMALL, 0, objective="tb", **QUICK).fit(SMALL, steps(1), lr=1e-4)
    assert abs(float(other.log_z.detach()) - first) == pytest.approx(0.01, rel=1e-3)
    assert SubTB.seeded(SMALL, 0).log_z is None


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(tmp_path):
    options = {"folder": tmp_path / "run", "batch_size": 8}
    whole = SubTB.seeded(SMALL, 1, objective="tb", **QUICK).fit(SMALL, steps(30), seed=1, batch_size=8)
    broken = SubTB.seeded(SMALL, 1, objective="tb", **QUICK)
    loss, calls = broken.loss, []

    def stopping(batch: Starts):
        calls.append(1)
        if len(calls) == 13:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return loss(batch)

    broken.loss = stopping
    with pytest.raises(Interrupted):
        broken.fit(SMALL, steps(30), seed=1, **options)
    again = SubTB.seeded(SMALL, 5, objective="tb", **QUICK).fit(SMALL, steps(30), seed=1, resume=True, **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_gradients_of_detailed_balance_agree_more_than_those_of_trajectory_balance():
    grid = Hypergrid(dims=3, side=8, r0=1e-3)
    method = SubTB.seeded(grid, 0, **QUICK).fit(grid, steps(30))  # early on: later, all of them differ more
    torch.manual_seed(0)
    batches = [method.policy.draw(8) for _ in range(16)]
    spread = {name: agreement(gradients(method, batches, name)) for name in ("db", "subtb", "tb")}
    assert spread["tb"] < spread["subtb"] and spread["tb"] < spread["db"]
    truth = gradients(method, [method.policy.draw(1024)], "tb")[0]
    aligned = {name: agreement(gradients(method, batches, name), truth) for name in ("subtb", "tb")}
    assert -1 <= aligned["subtb"] <= 1 and aligned["tb"] > 0.1


def test_agreement_is_a_mean_cosine():
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    assert agreement(rows) == pytest.approx((0 + 2 * 0.5**0.5) / 3)
    assert agreement(rows, torch.tensor([1.0, 0.0])) == pytest.approx((1 + 0 + 0.5**0.5) / 3)


def test_a_saved_table_of_rewards_comes_back_and_a_function_must_be_handed_in_again(tmp_path):
    bits = random_bits(8, 4, 3, seed=0)
    method = SubTB.seeded(bits, 0, **QUICK).fit(bits, steps(5))
    method.save(tmp_path / "bits")
    loaded = Method.load(tmp_path / "bits")
    one, two = method.sample(20), loaded.sample(20)
    assert torch.equal(one.objects, two.objects) and torch.equal(one.log_rewards, two.log_rewards)
    own = SubTB.seeded(GRID, 0, **QUICK).fit(GRID, steps(5))
    own.save(tmp_path / "own")
    loaded = Method.load(tmp_path / "own")
    assert loaded.evaluate(GRID)["l1"] == own.evaluate(GRID)["l1"]
    again = Method.load(tmp_path / "own")
    drawn = again.sample(3)  # drawing needs no reward, and says that it has none
    assert torch.equal(drawn.objects, own.sample(3).objects) and torch.isnan(drawn.log_rewards).all()
    with pytest.raises(DataError, match="function of yours"):
        again.environment.log_reward(drawn.objects)


def test_where_objects_are_too_many_probabilities_are_estimated():
    sets = random_sets(40, 20, seed=0)
    assert not sets.enumerable
    method = SubTB.seeded(sets, 0, **QUICK).fit(sets, steps(3))
    found = method.evaluate(sets)
    assert next(iter(found)) == "log_ratio_spread" and found["log_ratio_spread"] > 0
    assert torch.isfinite(method.sample(10).log_probabilities).all()
    assert len(method.predict(sets)) == 1000
    uniform = RandomMoves.for_data(sets).sample(2)
    assert torch.isnan(uniform.log_probabilities).all() or torch.isfinite(uniform.log_probabilities).all()


def test_settings_and_data_that_do_not_fit_are_refused():
    with pytest.raises(MethodError, match="one of db, tb, subtb, fm"):
        SubTB.for_data(SMALL, objective="ppo")
    with pytest.raises(MethodError, match="lamda 0"):
        SubTB.for_data(SMALL, lamda=0.0)
    with pytest.raises(MethodError, match="whole trajectories"):
        SubTB.for_data(SMALL, piece=3, objective="tb")
    method = SubTB.for_data(SMALL)
    with pytest.raises(DataError, match="side"):
        method.evaluate(Hypergrid(dims=2, side=5))
    with pytest.raises(DataError, match="at least 1"):
        method.sample(0)
    assert SubTB.for_data(Sets(items=4, size=2, energies=torch.zeros(4))).sample(3).objects.sum(1).tolist() == [2, 2, 2]
