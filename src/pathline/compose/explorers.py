"""Explorers: the policy that draws training trajectories, wider than the one that is trained.

    mixed    (1 - epsilon) P_F + epsilon uniform over the legal moves
    tempered P_F^(1 / temperature), renormalised

The objectives are minimised at any visited trajectory, so an explorer needs no correction.
"""

import torch
from torch import Tensor


def mixed(log_p: Tensor, mask: Tensor, epsilon: float) -> Tensor:
    """Probabilities (n, actions) from log P_F and the legal moves."""
    legal = mask.to(log_p.dtype)
    return (1 - epsilon) * log_p.exp() + epsilon * legal / legal.sum(-1, keepdim=True).clamp(min=1)


def tempered(log_p: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Probabilities (n, actions) of P_F^(1 / temperature); 1 changes nothing, more is flatter."""
    return (log_p / temperature).masked_fill(~mask, -torch.inf).softmax(-1)
