"""Forward-looking flows: the same zero set for any energy, the right sign, and learning from pieces alone."""

from dataclasses import replace

import pytest
import torch

from pathline.compose.flgfn import FLGFN
from pathline.compose.objectives import detailed_balance, sub_trajectory_balance
from pathline.compose.subtb import SubTB
from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.sims.environments import Hypergrid, Sets, random_bits, random_sets

from .exact import scored, solve

SETS = random_sets(10, 5, seed=0)
QUICK = {"width": 64, "depth": 2}


def drawn(env, count=64, seed=0):
    return SubTB.seeded(env, seed).policy.draw(count, 1.0, torch.Generator().manual_seed(seed))


def test_the_network_s_output_is_the_flow_times_exp_of_the_energy():
    method = FLGFN.seeded(SETS, 0, **QUICK)
    paths = drawn(SETS)
    with torch.no_grad():
        looking, plain = method.scored(paths), method.policy.score(paths)
    for t in range(5):
        energy = SETS.energy(paths.states[:, t])
        torch.testing.assert_close(looking.log_flow[:, t], plain.log_flow[:, t] - energy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(looking.log_flow[:, 5], -SETS.energy(paths.ends), atol=1e-5, rtol=1e-5)  # log F~(x) = 0


def test_the_loss_is_the_paper_s_on_every_move():
    method = FLGFN.seeded(SETS, 0, **QUICK)
    paths = drawn(SETS)
    with torch.no_grad():
        looking, total = method.scored(paths), 0.0
        tilde = looking.log_flow + torch.stack([SETS.energy(paths.states[:, t]) for t in range(6)], 1)
        for t in range(5):
            step = SETS.energy(paths.states[:, t + 1]) - SETS.energy(paths.states[:, t])
            term = tilde[:, t] + looking.log_pf[:, t] - tilde[:, t + 1] - looking.log_pb[:, t] + step
            total += float(term.square().mean()) / 5
        assert float(method.balance(paths)) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("env", [SETS, random_bits(8, 2, 2, seed=0)], ids=["sets", "bits"])
@pytest.mark.parametrize("objective", [detailed_balance, sub_trajectory_balance])
def test_exact_flows_lose_nothing_for_any_energy_inside(env, objective):
    flows = solve(env)
    paths = scored(env, flows, drawn(env))
    generator = torch.Generator().manual_seed(0)
    energy = torch.randn(paths.log_flow.shape, generator=generator, dtype=torch.float64)
    tilde = paths.log_flow + energy  # what a network would have to say
    assert float(objective(replace(paths, log_flow=tilde - energy))) < 1e-12
    assert float(objective(replace(paths, log_flow=tilde))) > 1e-2


def test_without_energies_inside_it_is_plain_balance():
    class Late(Sets):
        """The whole energy in the last move."""

        def energy(self, states):
            return torch.where(self.is_terminal(states), super().energy(states), 0.0)

    late = Late(items=10, size=5, energies=SETS.energies)
    for objective in ("db", "subtb"):
        mine = FLGFN.seeded(late, 0, objective=objective, epsilon=0.0, **QUICK)
        plain = SubTB.seeded(SETS, 0, objective=objective, **QUICK)
        paths = drawn(SETS)
        torch.testing.assert_close(mine.balance(paths), plain.balance(paths))


def error_of(method, sets) -> float:
    sample = method.build(4000, torch.Generator().manual_seed(9)).double().mean(0)
    return float((sample - sets.inclusion()).abs().mean())


def test_it_draws_the_distribution_and_not_its_reciprocal():
    sets = random_sets(12, 6, seed=1)
    method = FLGFN.seeded(sets, 0, **QUICK).fit(sets, steps(250), batch_size=32, lr=3e-3)
    assert error_of(method, sets) < 0.03
    reciprocal = replace(sets, energies=-sets.energies)
    assert error_of(method, reciprocal) > 0.3
    assert method.evaluate(sets)["l1"] < 0.25
    assert int(method.reward_calls) == 250 * 32 and int(method.energy_calls) == 250 * 32 * 7


def test_pieces_of_three_moves_alone_find_the_target():
    method = FLGFN.seeded(SETS, 0, epsilon=0.05, piece=3, **QUICK)
    method.fit(SETS, steps(250), batch_size=32, lr=3e-3)
    assert method.evaluate(SETS)["l1"] / 2 < 0.1
    assert int(method.reward_calls) < 0.5 * 250 * 32  # one piece in three ends in an object


def test_from_short_pieces_of_long_builds_only_energies_teach():
    sets = random_sets(30, 22, seed=0)
    found = {}
    for cls in (FLGFN, SubTB):
        method = cls.seeded(sets, 0, objective="db", epsilon=0.05, piece=5, **QUICK)
        found[cls] = error_of(method.fit(sets, steps(60), batch_size=16, lr=3e-3), sets)
    assert found[FLGFN] < 0.08 and found[SubTB] > 2 * found[FLGFN]


def test_half_built_objects_need_an_energy():
    with pytest.raises(DataError, match=r"hypergrid: half-built objects have no energy.*use subtb"):
        FLGFN.for_data(Hypergrid())
    with pytest.raises(DataError, match="no energy"):
        FLGFN.for_data(Sets(items=4, size=2, reward=lambda x: 1.0 + x[:, 0]))
    with pytest.raises(MethodError, match="not as 'tb'"):
        FLGFN.for_data(SETS, objective="tb")


def test_prefixes_of_bits_help():
    bits = random_bits(12, 3, 2, seed=0, scale=1.0)
    found = {}
    for cls in (FLGFN, SubTB):
        method = cls.seeded(bits, 0, objective="db", epsilon=0.05, **QUICK)
        found[cls] = method.fit(bits, steps(150), batch_size=16, lr=3e-3).evaluate(bits)["l1"]
    assert found[FLGFN] < 0.7 * found[SubTB]
