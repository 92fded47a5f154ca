"""A few joint futures that stand for many drawn ones.

Greedy non-maximum suppression: the draw with most weight within `radius` becomes a mode and silences that
neighbourhood, k times; k-medoids refine. A mode's probability is the weight of the draws that are nearest to it. Two
draws are as far apart as the root mean square distance of their agents over all steps, so a mode is a future of
everybody at once.
Jiang et al., 2023, "MotionDiffuser", arXiv:2306.03083, section 3.5 after Chai et al., 2019, arXiv:1910.05449.
"""

import torch
from torch import Tensor


def distances(paths: Tensor, present: Tensor) -> Tensor:
    """(batch, draws, agents, steps, dims), (batch, agents) bool -> (batch, draws, draws) metres."""
    rows = (paths * present[:, None, :, None, None]).flatten(2)
    apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return apart / (present.sum(1) * paths.shape[3]).clamp(min=1).sqrt()[:, None, None]


def density_weights(log_density: Tensor) -> Tensor:
    """Weights that say how dense each draw is instead of counting it: softmax over draws of log p (batch, draws)."""
    return log_density.softmax(dim=1)


def representatives(
    apart: Tensor, weights: Tensor, k: int, radius: Tensor | float | None = None, rounds: int = 3
) -> tuple[Tensor, Tensor]:
    """Which k draws are the modes (batch, k) int64, likeliest first, and their probabilities (batch, k).

    apart:   (batch, draws, draws) distances; weights: (batch, draws), summing to 1: equal ones count the draws,
             `density_weights` go by their density
    radius:  of a neighbourhood, metres; half the median distance by default
    rounds:  of k-medoids: within its cluster a mode moves to the draw with the smallest mean distance
    """
    batch, draws, _ = apart.shape
    if not 1 <= k <= draws:
        raise ValueError(f"{draws} draws have 1 to {draws} representatives, not {k}")
    reach = apart.flatten(1).median(1).values / 2 if radius is None else torch.as_tensor(radius).expand(batch)
    near = apart <= reach.to(apart)[:, None, None]
    rows = torch.arange(batch)
    chosen: list[Tensor] = []
    free = torch.ones(batch, draws, dtype=torch.bool)
    gap = torch.full((batch, draws), torch.inf)  # to the nearest mode so far
    for _ in range(k):
        weight = (near * (weights * free)[:, None]).sum(2) * free
        # where everything is silenced, the draw furthest from all modes is the next one
        score = torch.where(free.any(1, keepdim=True), weight, gap.clamp(max=1e6))
        if chosen:
            score = score.scatter(1, torch.stack(chosen, 1), -1.0)
        best = score.argmax(1)
        chosen.append(best)
        free &= ~near[rows, best]
        gap = torch.minimum(gap, apart[rows, best])
    modes = torch.stack(chosen, 1)
    for _ in range(rounds):
        modes = _medoids(apart, weights, modes)
    nearest = _columns(apart, modes).argmin(2)
    probability = torch.zeros(batch, k, dtype=weights.dtype).scatter_add_(1, nearest, weights)
    order = probability.argsort(dim=1, descending=True, stable=True)
    return modes.gather(1, order), probability.gather(1, order)


def cluster_means(paths: Tensor, apart: Tensor, weights: Tensor, modes: Tensor) -> Tensor:
    """The mean future of the draws nearest to each mode: (batch, draws, agents, steps, dims) -> (batch, k, ...).

    modes: (batch, k) from `representatives`. Members of a cluster differ by little, so that their mean is still a
    future of everybody at once, and a better guess than any one of them.
    """
    nearest = _columns(apart, modes).argmin(2)
    member = (nearest[:, :, None] == torch.arange(modes.shape[1])) * weights[..., None]
    share = member / member.sum(1, keepdim=True).clamp(min=1e-12)
    means = torch.einsum("bsk,bsatd->bkatd", share.to(paths), paths)
    index = modes[:, :, None, None, None].expand(-1, -1, *paths.shape[2:])
    empty = member.sum(1) == 0  # of draws that coincide with another mode
    return torch.where(empty[:, :, None, None, None], paths.gather(1, index), means)


def _columns(apart: Tensor, modes: Tensor) -> Tensor:
    """Distances of every draw to the modes: (batch, draws, k)."""
    return apart.gather(2, modes[:, None].expand(-1, apart.shape[1], -1))


def _medoids(apart: Tensor, weights: Tensor, modes: Tensor) -> Tensor:
    """Each mode moved to the best place in its cluster; an empty cluster's stays."""
    nearest = _columns(apart, modes).argmin(2)
    same = nearest[:, :, None] == nearest[:, None]
    spread = (apart * same * weights[:, None]).sum(2)  # of every draw to the others of its cluster
    member = nearest[:, :, None] == torch.arange(modes.shape[1])
    best = torch.where(member, spread[:, :, None], torch.inf).argmin(1)
    return torch.where(member.any(1), best, modes)
