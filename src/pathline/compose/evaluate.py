"""How close a sampler's law is to the reward: exactly, by one sweep over all states, where they can be enumerated.

    P(s') = sum over parents s of P(s) P_F(s' | s), from depth to depth       P_T(x) = P(x) at objects

Elsewhere log P_T(x) is estimated by backward trajectories: log mean_k P_F(tau_k) / P_B(tau_k | x), tau_k ~ P_B(. | x).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pathline.compose.policy import DiscretePolicy
from pathline.data.environment import DiscreteEnvironment

PART = 16384  # states passed through a network together


@torch.no_grad()
def exact_law(environment: DiscreteEnvironment, log_forward: Callable[[Tensor], Tensor]) -> Tensor:
    """P_T of `environment.objects` (count,) float64, for a policy log P_F(. | states) (n, actions)."""
    mass, found = torch.ones(1, dtype=torch.float64), []
    for level, following in zip(environment.levels, [*environment.levels[1:], None], strict=True):
        done = environment.is_terminal(level)
        found.append(mass[done])
        if following is None:
            break
        mask = environment.forward_mask(level)
        log_p = torch.cat([log_forward(part) for part in level.split(PART)])
        at, action = mask.nonzero(as_tuple=True)
        code = environment.code(environment.step(level[at], action))
        place = torch.searchsorted(environment.code(following), code)
        flow = mass[at] * log_p[at, action].double().exp()
        mass = torch.zeros(len(following), dtype=torch.float64).index_add(0, place, flow)
    return torch.cat(found)


def uniform_policy(environment: DiscreteEnvironment) -> Callable[[Tensor], Tensor]:
    """log P_F of moves chosen uniformly among the legal ones."""

    def log_forward(states: Tensor) -> Tensor:
        mask = environment.forward_mask(states)
        return torch.zeros(mask.shape).masked_fill(~mask, -math.inf).log_softmax(-1).nan_to_num(-math.inf)

    return log_forward


@torch.no_grad()
def estimated_log_law(
    policy: DiscretePolicy, objects: Tensor, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """log P_T of each object (n,), from `count` backward trajectories each; exp of it has no bias."""
    weights = []
    for part in objects.repeat_interleave(count, 0).split(PART):
        weights.append(policy.score(policy.draw_back(part, generator)).log_importance)
    return torch.cat(weights).view(len(objects), count).double().logsumexp(1) - math.log(count)


def l1(law: Tensor, target: Tensor) -> float:
    """sum_x |p(x) - q(x)|, between 0 and 2: twice the total variation."""
    return float((law.double() - target.double()).abs().sum())


def places(environment: DiscreteEnvironment, objects: Tensor) -> Tensor:
    """Where each of `objects` stands in `environment.objects`: (n,)."""
    every = environment.code(environment.objects)
    order = every.argsort()
    return order[torch.searchsorted(every[order], environment.code(objects))]


def mode_bar(environment: DiscreteEnvironment, share: float = 0.005) -> float:
    """The log reward from which an object is a mode: what the environment says, else what the best `share` of all
    objects reach."""
    if environment.mode_log_reward is not None:
        return environment.mode_log_reward
    every = environment.log_reward(environment.objects)
    return float(every.topk(max(1, round(len(every) * share))).values[-1])


def modes_found(environment: DiscreteEnvironment, objects: Tensor, bar: float) -> int:
    """How many different ones of `objects` have at least the log reward `bar`."""
    good = objects[environment.log_reward(objects) >= bar - 1e-6]
    return len(torch.unique(environment.code(good))) if len(good) else 0
