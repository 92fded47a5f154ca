"""Couplings: which noise is sent to which data point, q(x0, x1).

A coupling maps a batch (x0, x1) to a paired batch. It reorders the noise only: labels stay with their data.
"""

import ot
import torch
from torch import Tensor


def independent(x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
    """q(x0, x1) = q(x0) q(x1): the batch as it was drawn."""
    return x0, x1


def minibatch_optimal_transport(x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
    """The permutation of x0 that minimises sum_i |x0_i - x1_i|^2, exactly, by POT's network simplex.

    x0, x1: (batch, ...) of the same shape. It straightens the paths and leaves both marginals alone.
    Tong et al., 2024, arXiv:2302.00482; Pooladian et al., 2023, arXiv:2304.14772.
    """
    if x0.shape != x1.shape:
        shapes = f"noise {tuple(x0.shape)} and data {tuple(x1.shape)}"
        raise ValueError(f"a coupling pairs equal shapes, got {shapes}")
    with torch.no_grad():
        cost = torch.cdist(x0.flatten(1).double(), x1.flatten(1).double()).square().cpu().numpy()
        plan = ot.emd([], [], cost, numItermax=1_000_000)
    # With equal weights an optimal vertex is a permutation: one entry per column, the row of its partner.
    partner = torch.as_tensor(plan.argmax(axis=0), device=x0.device)
    return x0[partner], x1
