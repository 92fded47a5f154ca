"""The norm of gradients, dense and sparse, and its limit."""

import torch
from torch import Tensor, nn


def clipped_norm(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """The norm of all gradients together, which are scaled down to `limit` where it is larger; of sparse ones too."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(gradient.is_sparse for gradient in gradients):
        return torch.nn.utils.clip_grad_norm_(parameters, limit)
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    values = [p.grad.values() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([value.norm() for value in values]).norm()
    if norm > limit:
        for value in values:
            value.mul_(limit / norm)
    return norm
