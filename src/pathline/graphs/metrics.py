"""How good answers on graphs are.

classes   accuracy (which for one class per item is micro F1) and macro F1 over the classes that occur or are said to
numbers   mean absolute error, root of the mean squared error, and R^2, over all targets alike
links     hits@K: share of the links that score above the K-th best of the pairs that are none; AP and AUC of links
          against those pairs; MRR: mean of 1 / (1 + pairs that score higher + half of those that score alike)
"""

import torch
from torch import Tensor


def class_metrics(said: Tensor, true: Tensor, classes: int) -> dict[str, float]:
    """said, true: (m,) int64."""
    table = torch.bincount(true * classes + said, minlength=classes * classes).view(classes, classes).double()
    hits, involved = table.diagonal(), table.sum(0) + table.sum(1)
    f1 = 2 * hits[involved > 0] / involved[involved > 0]
    return {"accuracy": float(hits.sum() / table.sum()), "macro_f1": float(f1.mean())}


def number_metrics(said: Tensor, true: Tensor) -> dict[str, float]:
    """said, true: (m, k)."""
    said, true = said.double(), true.double()
    error = said - true
    spread = (true - true.mean(0)).square().sum()
    return {
        "mae": float(error.abs().mean()),
        "rmse": float(error.square().mean().sqrt()),
        "r2": float(1 - error.square().sum() / spread) if float(spread) > 0 else 0.0,
    }


def hits_at(links: Tensor, others: Tensor, k: int) -> float:
    """Share of the scores `links` above the k-th largest of `others`; 1 where there are fewer than k others."""
    if len(others) < k:
        return 1.0
    return float((links > others.topk(k).values[-1]).double().mean())


def chosen_k(negatives: int) -> int:
    """100 where at least 500 pairs are no links, 20 from 100 on, else a tenth of them: small enough to tell apart."""
    return 100 if negatives >= 500 else 20 if negatives >= 100 else max(1, negatives // 10)


def link_metrics(score: Tensor, truth: Tensor) -> dict[str, float]:
    """score: (m,);  truth: (m,) bool, with links and pairs that are none among them."""
    score, truth = score.double(), truth.bool()
    links, others = score[truth], score[~truth]
    k = chosen_k(len(others))
    ordered = others.sort().values
    below = torch.searchsorted(ordered, links)
    not_above = torch.searchsorted(ordered, links, right=True)
    ties = (not_above - below).double()
    higher = (len(others) - not_above).double()
    return {
        f"hits@{k}": hits_at(links, others, k),
        "ap": average_precision(score, truth),
        "auc": float((below.double() + ties / 2).mean() / max(1, len(others))),
        "mrr": float((1 / (1 + higher + ties / 2)).mean()),
    }


def average_precision(score: Tensor, truth: Tensor) -> float:
    """sum_n (R_n - R_(n-1)) P_n over distinct thresholds, as equal scores cannot be told apart."""
    order = score.argsort(descending=True, stable=True)
    score, hits = score[order], truth[order].double().cumsum(0)
    last = torch.ones(len(score), dtype=torch.bool)
    last[:-1] = score[1:] != score[:-1]
    found = hits[last]
    precision = found / (last.nonzero()[:, 0] + 1).double()
    gained = found.diff(prepend=found.new_zeros(1))
    return float((gained * precision).sum() / hits[-1].clamp(min=1))
