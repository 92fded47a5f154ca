"""Normalise numbers by the mean and deviation of all that was seen so far, while training goes on.

    mean = S / n,   deviation^2 = Q / n - mean^2,      S = sum x, Q = sum x^2 over every row seen in training
Pfaff et al., 2021, "Learning Mesh-Based Simulation with Graph Networks", arXiv:2010.03409, appendix A.1.

Sums are kept in float64, where a million batches still add up. They are buffers, hence saved with the weights, and
frozen in evaluation mode. A column that never varied is shifted, not stretched.
"""

import torch
from torch import Tensor, nn

CONSTANT = 1e-7  # deviations below this share of the mean are rounding


class Normalizer(nn.Module):
    """(..., size) -> (..., size) with mean 0 and deviation 1 over the rows seen; `inverse` undoes it.

    limit: after how many batches nothing is accumulated any more
    """

    count: Tensor
    batches: Tensor
    total: Tensor
    squares: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, limit: int = 10**6) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    @torch.no_grad()
    def accumulate(self, values: Tensor) -> None:
        """Take in the rows of `values` (..., size), unless the limit is reached."""
        if int(self.batches) >= self.limit or not values.numel():
            return
        rows = values.double().reshape(-1, values.shape[-1])
        self.count += len(rows)
        self.batches += 1
        self.total += rows.sum(0)
        self.squares += rows.square().sum(0)
        mean = self.total / self.count
        deviation = (self.squares / self.count - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > CONSTANT * mean.abs(), deviation, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Normalised `values`; in training mode their rows are taken in first."""
        if self.training:
            self.accumulate(values)
        return (values - self.mean) / self.deviation

    def inverse(self, values: Tensor) -> Tensor:
        """Numbers of mean 0 and deviation 1 in the units of what was seen."""
        return values * self.deviation + self.mean
