"""What a search for good objects is judged by, beside how many modes it finds.

    accuracy       100 min(E_{P_T}[R] / E_{p*}[R], 1)      E_{p*}[R] = sum R^2 / sum R: the target's own mean reward
    mean of best   mean reward of the 100 best different objects seen
    uniqueness     share of the objects drawn that are different ones
    diverse modes  modes of which no two differ in fewer than so many places
Kim et al., 2023, arXiv:2310.02710, after Shen et al., 2023, arXiv:2305.07170.
"""

import torch
from torch import Tensor

from pathline.data.environment import DiscreteEnvironment


def accuracy(environment: DiscreteEnvironment, law: Tensor) -> float:
    """100 min(E_{P_T}[R] / E_{p*}[R], 1) for the exact `law` of `environment.objects` (count,)."""
    reward = environment.log_reward(environment.objects).double()
    reward = (reward - reward.max()).exp()  # a common factor leaves the ratio as it is
    ratio = (law.double() * reward).sum() / (environment.target * reward).sum()
    return 100 * min(float(ratio), 1.0)


def mean_of_best(environment: DiscreteEnvironment, objects: Tensor, count: int = 100) -> float:
    """Mean reward of the `count` best different ones of `objects` (n, width), or of all if there are fewer."""
    different = torch.unique(objects, dim=0)
    reward = environment.log_reward(different).double().exp()
    return float(reward.topk(min(count, len(reward))).values.mean())


def uniqueness(objects: Tensor) -> float:
    """Share of `objects` (n, width) that are different ones, between 1 / n and 1."""
    return len(torch.unique(objects, dim=0)) / len(objects)


def diverse_modes(environment: DiscreteEnvironment, objects: Tensor, bar: float, distance: int) -> int:
    """How many of `objects` have at least the log reward `bar` and differ in `distance` places from all better ones
    that count. Greedy, best first; one pass over modes, of which there are few."""
    different = torch.unique(objects, dim=0)
    log_reward = environment.log_reward(different)
    order = log_reward.argsort(descending=True)
    good = different[order][log_reward[order] >= bar - 1e-6]
    kept = 0
    while len(good):
        kept += 1
        good = good[(good != good[0]).sum(-1) >= distance]
    return kept
