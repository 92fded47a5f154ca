"""What every generator must beat: the normal law with the mean and covariance of the training part."""

from typing import Any, Self

import torch
import torch.nn.functional as F
from sklearn.covariance import oas
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.method import unwrap_split
from pathline.data import Samples
from pathline.generate.base import Carried, Generator


class Gaussian(Generator):
    """x = m + S^1/2 z, with one mean per class and the covariance S that the classes share.

    S is shrunk towards a multiple of the identity by the factor of least expected squared error on normal data:
    Chen, Wiesel, Eldar, Hero, 2010, "Shrinkage Algorithms for MMSE Covariance Estimation" (OAS), arXiv:0907.4698.
    """

    trains = False
    mean: Tensor
    root: Tensor

    def __init__(self, shape: list[int], classes: int = 0) -> None:
        super().__init__(shape, classes)
        size = self.shift.numel()
        self.register_buffer("mean", torch.zeros(max(classes, 1), size))
        self.register_buffer("root", torch.eye(size))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        method = super().for_data(data, **config)
        method.solve(cls.require(data))
        return method

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """The closed form; budget, seed and options change nothing."""
        part = self.check(unwrap_split(data))
        self.read_scale(part)
        self.solve(part)
        return self.eval()

    def solve(self, data: Samples) -> None:
        """Read mean and covariance off the training part."""
        x = self.scaled(data.values.to(self.device)).flatten(1).double()
        labels = self.training_labels(data.labels)
        labels = torch.zeros(len(x), dtype=torch.int64) if labels is None else labels
        member = F.one_hot(labels.to(x.device), len(self.mean)).to(x.dtype)
        mean = member.T @ x / member.sum(0).clamp(min=1)[:, None]
        centred = x - member @ mean
        covariance, _ = oas(centred.cpu().numpy(), assume_centered=True)
        values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
        self.mean.copy_(mean)
        self.root.copy_((vectors * values.clamp(min=0).sqrt()) @ vectors.T)

    def carry(self, noise: Tensor, labels: Tensor | None, steps: int, keep: str = "last", **options: Any) -> Carried:
        mean = self.mean[0] if labels is None else self.mean[labels]
        values = (mean + noise.flatten(1) @ self.root).reshape(noise.shape)
        return Carried(torch.stack([noise, values]), evaluations=0)
