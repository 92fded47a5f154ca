"""Scatter of features within and between classes: Fisher's criterion as something to minimise.

    S_w = sum_i |x_i - m_c(i)|^2        S_b = sum_c n_c |m_c - m|^2        S_t = S_w + S_b = sum_i |x_i - m|^2
The last holds for the means of the batch itself, m_c and m. With small batches, centres that follow the batches slowly
are steadier: m_c <- m_c - a sum_{i in c} (m_c - x_i) / (1 + n_c), as in center loss.
Fisher, 1936, Annals of Eugenics 7; center loss: Wen, Zhang, Li, Qiao, 2016, ECCV.
"""

import torch
from torch import Tensor, nn

FORMS = ("difference", "ratio", "margin")


def class_means(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Means (classes, dims), zero where a class does not occur, and counts (classes,)."""
    counts = torch.bincount(labels, minlength=classes).to(features.dtype)
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    return sums / counts.clamp(min=1)[:, None], counts


def scatters(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """S_w and S_b about the means of the batch: features (batch, dims), labels (batch,) int64."""
    means, counts = class_means(features, labels, classes)
    within = (features - means[labels]).square().sum()
    between = (counts[:, None] * (means - features.mean(0)).square()).sum()
    return within, between


class Centres(nn.Module):
    """Class centres that follow the batches; they are buffers, so no gradient moves them.

    rate: a in the update
    """

    def __init__(self, classes: int, dims: int, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("value", torch.zeros(classes, dims))

    value: Tensor

    @torch.no_grad()
    def follow(self, features: Tensor, labels: Tensor) -> None:
        """One update by a batch."""
        means, counts = class_means(features.detach().to(self.value.dtype), labels, len(self.value))
        self.value -= self.rate * (counts / (1 + counts))[:, None] * (self.value - means)

    def scatters(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """S_w about the centres, and S_b of the batch's means about the average centre: the centres themselves do not
        depend on the features, so their own spread would pull nothing."""
        within = (features - self.value[labels]).square().sum()
        means, counts = class_means(features, labels, len(self.value))
        between = (counts[:, None] * (means - self.value.mean(0)).square()).sum()
        return within, between


def discriminant_term(
    within: Tensor, between: Tensor, count: int, theta: float, eta: float, form: str = "difference"
) -> Tensor:
    """What is added to a classification loss.

    "difference": theta S_w / B - eta S_b / B, which is unbounded below unless features are
    "ratio":      theta S_w / (S_b + eps)
    """
    if form == "ratio":
        return theta * within / (between + torch.finfo(within.dtype).eps)
    return (theta * within - eta * between) / count


def margin_term(means: Tensor, present: Tensor, centre: Tensor, delta: float) -> Tensor:
    """sum_c max(0, delta - |m_c - m|)^2 over the classes that are `present`: pushes means apart, but only so far."""
    distance = (means - centre).square().sum(1).clamp(min=torch.finfo(means.dtype).tiny).sqrt()
    return (present * (delta - distance).clamp(min=0).square()).sum()
