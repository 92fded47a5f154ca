"""Choices that gradients pass through: the straight-through Gumbel softmax.

    soft = softmax((logits + g) / tau),  g_k = -log(-log u_k)          hard = one_hot(argmax soft)
The forward pass is `hard`, the backward pass that of `soft`. The argmax is a draw from softmax(logits), whatever tau.
Jang, Gu, Poole, 2017, arXiv:1611.01144; Maddison, Mnih, Teh, 2017, arXiv:1611.00712.
"""

import torch
from torch import Tensor


def gumbel_noise(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel numbers, from torch's global generator unless one is given."""
    uniform = torch.rand(shape, dtype=torch.float32, device=like.device, generator=generator)
    return -(-uniform.clamp(1e-20, 1 - 1e-7).log()).log().to(like.dtype)


def straight_through(logits: Tensor, tau: float | Tensor, noise: Tensor | None = None) -> Tensor:
    """(..., choices) one-hot; gradients are those of the softmax at temperature `tau`.

    tau: a number, or (..., 1); where it is 0, the gradient is 0.  noise: of `gumbel_noise`; None takes the argmax.
    """
    scores = logits if noise is None else logits + noise
    tau = torch.as_tensor(tau, dtype=scores.dtype, device=scores.device)
    soft = (scores / tau.clamp(min=1e-6)).softmax(-1)
    hard = torch.zeros_like(soft).scatter(-1, scores.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())
