"""Metrics of what was answered about each snapshot of an evolving graph.

MAP is the average precision of a snapshot's pairs, averaged over snapshots with their numbers of pairs as weights, and
MRR ranks, for every node that has a link, its links among all of its pairs that were asked about. Both depend on how
many pairs without a link there are for each link, so that their names say it. Pareja et al., 2020, arXiv:1902.10191.
"""

import torch
from torch import Tensor

Answers = list[tuple[Tensor, Tensor, Tensor]]  # nodes (2, questions), logits (questions, classes), classes (questions,)


def link_metrics(answers: Answers, negatives: int) -> dict[str, float]:
    """MAP, AUC (pooled over snapshots as MAP is) and MRR of links (class 1)."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    sums, weights = torch.zeros(3, dtype=torch.float64), 0
    for asked, logits, label in answers:
        score, count = logits[:, 1] - logits[:, 0], len(label)
        if not 0 < int(label.sum()) < count:
            continue
        found = [judge(label.numpy(), score.numpy()) for judge in (average_precision_score, roc_auc_score)]
        sums += count * torch.tensor([*found, reciprocal_rank(asked[0], score, label)], dtype=torch.float64)
        weights += count
    stated = f"{negatives} negative{'s' * (negatives > 1)} per edge"
    return {
        f"{name}, {stated}": value
        for name, value in zip(("MAP", "AUC", "MRR"), (sums / max(weights, 1)).tolist(), strict=True)
    }


def reciprocal_rank(node: Tensor, score: Tensor, label: Tensor) -> float:
    """Mean over nodes with a link of the mean of 1 / rank of its links, among the pairs of that node.

    node, score, label: (questions,)
    """
    order = score.argsort(descending=True, stable=True)
    order = order[node[order].argsort(stable=True)]
    node, label = node[order], label[order]
    first = torch.searchsorted(node, node)
    inverse = label.double() / (torch.arange(len(node)) - first + 1)
    count = int(node.max()) + 1
    zero = torch.zeros(count, dtype=torch.float64)
    links = zero.index_add(0, node, label.double())
    means = zero.index_add(0, node, inverse)[links > 0] / links[links > 0]
    return float(means.mean())


def classification_metrics(answers: Answers, classes: int) -> dict[str, float]:
    """Micro-averaged F1 (with one class for each question: the accuracy) and the F1 of the rarest class."""
    truth = torch.cat([label for _, _, label in answers])
    guess = torch.cat([logits.argmax(1) for _, logits, _ in answers])
    counts = torch.bincount(truth, minlength=classes)
    rare = int(torch.where(counts > 0, counts, counts.max() + 1).argmin())
    hits = int(((guess == rare) & (truth == rare)).sum())
    asked = int((guess == rare).sum() + (truth == rare).sum())
    return {
        "micro F1": float((guess == truth).double().mean()),
        "F1 of the rarest class": 2 * hits / asked if asked else 0.0,
    }
