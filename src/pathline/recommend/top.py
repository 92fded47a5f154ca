"""Exact top-k with ties that are broken by a stated rule, and what a list of recommendations is worth."""

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of every row, sorted; equal scores go to the lower column: (rows, k) columns and scores.

    Only rows in which more columns than fit share the k-th score are looked at a second time: among those columns, the
    lowest are the largest of `width - column`, which float32 holds exactly up to 2^24 columns.
    """
    width = scores.shape[1]
    values, columns = scores.topk(min(k + 1, width), dim=1)
    least = values[:, k - 1 : k]
    crowded = (values[:, k:] == least).any(1).nonzero().flatten() if width > k else columns.new_zeros(0)
    values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
    if len(crowded):
        exact = torch.float32 if width < 1 << 24 else torch.float64
        descending = torch.arange(width, 0, -1, dtype=exact, device=scores.device)
        level = (scores[crowded] == least[crowded]) * descending
        lowest = level.topk(k, dim=1).indices  # in order of column; past the last of the level they are not used
        above = (values[crowded] > least[crowded]).sum(1, keepdim=True)
        place = torch.arange(k, device=scores.device) - above
        columns[crowded] = torch.where(place < 0, columns[crowded], lowest.gather(1, place.clamp(min=0)))
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, order), values


def ranking_metrics(ranked: Tensor, start: Tensor, truth: Tensor, items: int) -> dict[str, float]:
    """What lists of recommendations are worth, as means over users.

    ranked: (users, k) items, best first, -1 where there was none left;  start: (users + 1,) and truth: the items that
    each user turned out to like, `truth[start[u] : start[u + 1]]`, at least one per user;  items: how many there are.

    ndcg:     sum of 1 / log2(1 + rank) over hits, divided by the same sum of min(k, liked) hits at the top
    recall:   hits / liked
    mrr:      1 / rank of the first hit, 0 without one
    f1:       of precision hits / k and recall, per user: 2 hits / (k + liked)
    coverage: share of all items that are recommended to somebody; of the lists, not of their truth
    """
    users, k = ranked.shape
    liked = start.diff()
    owner = torch.arange(users, device=ranked.device).repeat_interleave(liked)
    key = (owner * (items + 1) + truth).sort().values
    wanted = torch.arange(users, device=ranked.device)[:, None] * (items + 1) + ranked.clamp(min=0)
    place = torch.searchsorted(key, wanted).clamp(max=len(key) - 1)
    hit = ((key[place] == wanted) & (ranked >= 0)).double()
    gain = 1 / torch.arange(2, k + 2, device=ranked.device, dtype=torch.float64).log2()
    ideal = gain.cumsum(0)[liked.clamp(max=k) - 1]
    rank = torch.arange(1, k + 1, device=ranked.device, dtype=torch.float64)
    hits = hit.sum(1)
    shown = ranked[ranked >= 0].unique()
    found = {
        "ndcg": ((hit * gain).sum(1) / ideal).mean(),
        "recall": (hits / liked).mean(),
        "mrr": (hit / rank).amax(1).mean(),
        "f1": (2 * hits / (k + liked)).mean(),
    }
    return {f"{name}@{k}": float(value) for name, value in found.items()} | {f"coverage@{k}": len(shown) / items}
