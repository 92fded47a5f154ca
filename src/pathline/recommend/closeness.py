"""Topological closeness: how many walks lead from a user to an item, and whether scores order pairs in the same way."""

import torch
from torch import Tensor

from pathline.data import Interactions
from pathline.graph import interaction_matrix
from pathline.recommend.base import Recommender
from pathline.recommend.gte import walk_weights, walks


def closeness(data: Interactions, hops: int = 3) -> Tensor:
    """(users, items) walks of `hops` steps, each of which moves along a positive interaction or stays: float64."""
    user, item = data.user[data.positive], data.item[data.positive]
    matrix = interaction_matrix(user, item, len(data.users), len(data.items))
    return walks(matrix, torch.arange(len(data.users)), walk_weights(hops))


def closeness_agreement(method: Recommender, data: Interactions, hops: int = 3) -> float:
    """Kendall's tau between the scores and the closeness of all pairs that are not in `data`; 1 for the same order.

    tau = (concordant - discordant) / sqrt of pairs untied in scores * pairs untied in closeness. Of small data: all
    pairs of pairs are compared.
    """
    from scipy.stats import kendalltau

    near = closeness(data, hops)
    free = torch.ones_like(near, dtype=torch.bool)
    free[data.user, data.item] = False
    with torch.no_grad():
        scores = method.scorer()(torch.arange(len(data.users))).double().cpu()
    return float(kendalltau(scores[free].numpy(), near[free].numpy()).statistic)
