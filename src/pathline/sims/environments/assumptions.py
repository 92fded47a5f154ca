"""Checks, by walking, that an environment is a measurable pointed graph on which flow balance means what it should.

(a) finitely absorbing   every walk ends within `bound` moves
(b) reachable            walks pass (or, where they cannot stop, end in) every cell of the target that holds mass
(c) consistent measures  nu(ds) kappa(s, ds') = nu(ds') kappa_b(s', ds): then E[r(x) p_B(tau | x) / p_F(tau)] = Z over
                         forward walks, which a missing Jacobian upsets
(d) bounded              densities along walks are finite, rewards positive
Lahlou et al., 2023, "A theory of continuous generative flow networks", arXiv:2301.12594.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.sims.environments.continuous import ContinuousEnvironment, Paths, walk

TOLERANCE = 5.0  # standard errors
LEAST = 1e-4  # a cell with less mass than this need not be visited


@dataclass(frozen=True)
class Assumptions:
    """longest: moves of the longest walk; unreached: mass of the cells that no walk visited; ratio, error: estimated
    Z over the known one and its standard error; worst: the largest |log density| or |log reward| met."""

    longest: int
    unreached: float
    ratio: float
    error: float
    worst: float


@torch.no_grad()
def check_assumptions(environment: ContinuousEnvironment, count: int = 40_000, seed: int = 0) -> Assumptions:
    """Walk with plain kernels and compare with what is known of the target.

    Raises:
        DataError: the assumption that is broken, and by how much.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        paths = walk(environment, environment.plain, count)  # raises on (a)
    weight, worst = _weights(environment, paths)
    if not math.isfinite(worst):
        raise DataError(f"{environment.name}: a density or reward on a walk is infinite or not a number")
    places = paths.states[:, 1:][paths.live] if environment.stops else paths.objects  # where a walk could have ended
    reached = torch.bincount(environment.cells(places), minlength=len(environment.masses())) > 0
    missed = environment.masses()[~reached]
    unreached = float(missed[missed > LEAST].sum())
    if unreached:
        raise DataError(
            f"{environment.name}: moves from the source do not reach cells that hold {unreached:.3g} of the target's "
            "mass; widen the kernel, or the sampler will fit the rest and never know"
        )
    known = environment.log_mass
    scaled = weight.double() - (0.0 if known is None else known)
    ratio, error = float(scaled.exp().mean()), float(scaled.exp().std() / math.sqrt(count))
    if known is not None and abs(ratio - 1) > TOLERANCE * error:
        raise DataError(
            f"{environment.name}: walks estimate {ratio:.3g} +- {error:.2g} times the known mass, so the reference "
            "measures of forward and backward kernels do not agree: look for a missing Jacobian"
        )
    return Assumptions(int(paths.length.max()), unreached, ratio, error, worst)


def _weights(environment: ContinuousEnvironment, paths: Paths) -> tuple[Tensor, float]:
    """log r + sum log p_B - sum log p_F of each path, and the largest absolute term."""
    log_reward = environment.log_reward(paths.objects)
    total, worst = log_reward.clone(), float(log_reward.abs().max())
    for move in range(paths.actions.shape[1]):
        live = move < paths.length
        states, children, actions = paths.states[:, move], paths.states[:, move + 1], paths.actions[:, move]
        forward = environment.log_forward(environment.plain(states, move == 0), states, actions, move == 0)
        moved = live & ~environment.is_stop(actions) if move else torch.zeros_like(live)
        raw = torch.zeros(len(states), environment.backward_size(1))
        backward = torch.where(moved, environment.log_backward(raw, children, actions), 0.0)
        terms = torch.stack([torch.where(live, forward, 0.0), backward])
        worst = max(worst, float(terms.abs().nan_to_num(math.inf).max()))
        total += terms[1] - terms[0]
    return total, worst
