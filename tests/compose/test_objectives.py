"""Flows that must balance: the vectorised residuals against loops, and the limits of lambda."""

import itertools
from dataclasses import replace

import pytest
import torch

from pathline.compose.objectives import (
    WEIGHTINGS,
    Trajectories,
    detailed_balance,
    residuals,
    sub_trajectory_balance,
    trajectory_balance,
)


def ragged(batch: int = 5, longest: int = 7, seed: int = 0, **leaf) -> Trajectories:
    """Random numbers in float64; everything beyond the end is nan, so that it would show."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(1, longest + 1, (batch,), generator=generator)
    length[0] = longest
    log_pf, log_pb = -torch.rand(2, batch, longest, generator=generator, dtype=torch.float64)
    log_flow = torch.randn(batch, longest + 1, generator=generator, dtype=torch.float64)
    moves = torch.arange(longest) < length[:, None]
    inside = torch.arange(longest + 1) <= length[:, None]
    log_flow = torch.where(inside, log_flow, torch.nan)
    log_pf, log_pb = (torch.where(moves, value, torch.nan) for value in (log_pf, log_pb))
    return Trajectories(log_pf, log_pb, log_flow, length, log_flow.gather(1, length[:, None])[:, 0])


def residual_by_hand(paths: Trajectories, row: int, i: int, j: int) -> float:
    flow, pf, pb = paths.log_flow[row], paths.log_pf[row], paths.log_pb[row]
    return float(flow[i] + sum(pf[t] for t in range(i, j)) - flow[j] - sum(pb[t] for t in range(i, j)))


def test_residuals_equal_a_triple_loop_on_ragged_trajectories():
    paths = ragged()
    found, real = residuals(paths)
    for row, length in enumerate(paths.length.tolist()):
        for i, j in itertools.product(range(8), range(8)):
            assert bool(real[row, i, j]) == (i < j <= length)
            wanted = residual_by_hand(paths, row, i, j) if i < j <= length else 0.0
            assert abs(float(found[row, i, j]) - wanted) < 1e-12


def test_residuals_telescope():
    paths = ragged(seed=1)
    found, real = residuals(paths)
    for i, j, k in itertools.combinations(range(8), 3):
        both = real[:, i, j] & real[:, j, k]
        torch.testing.assert_close(found[both, i, k], found[both, i, j] + found[both, j, k])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("lamda", [0.3, 1.0, 1.9])
def test_every_weighting_equals_a_loop(weighting, lamda):
    paths = ragged(seed=2)
    rows = []
    for row, length in enumerate(paths.length.tolist()):
        pairs = [(i, j) for j in range(1, length + 1) for i in range(j)]
        if weighting == "db":
            pairs = [(i, j) for i, j in pairs if j == i + 1]
        if weighting == "tb":
            pairs = [(0, length)]
        rate = lamda if weighting.startswith("geometric") else 1.0
        rows.append([(rate ** (j - i), residual_by_hand(paths, row, i, j) ** 2) for i, j in pairs])
    if weighting.endswith("within"):
        wanted = sum(sum(w * r for w, r in row) / sum(w for w, _ in row) for row in rows) / len(rows)
    else:
        every = list(itertools.chain(*rows))
        wanted = sum(w * r for w, r in every) / sum(w for w, _ in every)
    assert float(sub_trajectory_balance(paths, lamda, weighting)) == pytest.approx(wanted, rel=1e-10)


def gradients_of(loss, paths: Trajectories) -> list[torch.Tensor]:
    leaves = [value.clone().requires_grad_() for value in (paths.log_pf, paths.log_pb, paths.log_flow)]
    loss(replace(paths, log_pf=leaves[0], log_pb=leaves[1], log_flow=leaves[2])).backward()
    return [leaf.grad for leaf in leaves]


def test_a_tiny_lambda_is_detailed_balance_averaged_within_trajectories_and_a_huge_one_is_trajectory_balance():
    paths = ragged(longest=8, seed=3)
    same = replace(paths, length=torch.full_like(paths.length, 8))  # equal lengths: both means are one
    same = replace(
        same,
        log_pf=paths.log_pf.nan_to_num(-0.3),
        log_pb=paths.log_pb.nan_to_num(-0.7),
        log_flow=paths.log_flow.nan_to_num(0.1),
    )
    pairs = [
        (lambda p: sub_trajectory_balance(p, 1e-8), detailed_balance),
        (lambda p: sub_trajectory_balance(p, 1e8), trajectory_balance),
    ]
    for limit, wanted in pairs:
        torch.testing.assert_close(limit(same), wanted(same), rtol=1e-5, atol=1e-8)
        for mine, theirs in zip(gradients_of(limit, same), gradients_of(wanted, same), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
    steps = [residual_by_hand(paths, row, t, t + 1) ** 2 for row in range(5) for t in range(int(paths.length[row]))]
    assert float(detailed_balance(paths)) == pytest.approx(sum(steps) / len(steps))


def test_nothing_is_nan_at_lambda_1_or_beyond_an_end():
    for loss in (detailed_balance, trajectory_balance, lambda p: sub_trajectory_balance(p, 1.0)):
        paths = ragged(seed=4)
        assert torch.isfinite(loss(paths))
        for gradient in gradients_of(loss, paths):
            assert torch.isfinite(gradient).all()


def test_gradients_flow_through_both_ends_of_a_piece():
    gradient = gradients_of(lambda p: sub_trajectory_balance(p, 0.9), ragged(seed=5))[2]
    length = ragged(seed=5).length
    for row, n in enumerate(length.tolist()):
        assert (gradient[row, : n + 1].abs() > 0).all() and (gradient[row, n + 1 :] == 0).all()


def test_an_unknown_weighting_is_named():
    with pytest.raises(ValueError, match="unknown weighting 'linear'"):
        sub_trajectory_balance(ragged(), weighting="linear")
