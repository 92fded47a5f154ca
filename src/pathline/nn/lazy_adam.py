"""Adam for tables of which a step touches few rows: moments and weights of other rows are left as they are.

    m_r <- b1 m_r + (1 - b1) g_r,  v_r <- b2 v_r + (1 - b2) g_r^2        of the rows r in the gradient only
    w_r <- w_r - lr (m_r / (1 - b1^t)) / (sqrt(v_r / (1 - b2^t)) + eps)

A step costs as much as its rows, not as the table. Gradients that are dense move all rows: Adam without weight decay.
Kingma and Ba, 2015, "Adam", arXiv:1412.6980.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class LazyAdam(torch.optim.Optimizer):
    """State of every parameter is tensors (step, exp_avg, exp_avg_sq), so that a run resumes exactly."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        value = None if closure is None else closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
                state["step"] += 1
                count = state["step"].item()
                size = group["lr"] * (1 - second**count) ** 0.5 / (1 - first**count)
                eps = group["eps"] * (1 - second**count) ** 0.5
                if not weight.grad.is_sparse:
                    mean = state["exp_avg"].lerp_(weight.grad, 1 - first)
                    square = state["exp_avg_sq"].lerp_(weight.grad.square(), 1 - second)
                    weight.addcdiv_(mean, square.sqrt().add_(eps), value=-size)
                    continue
                gradient = weight.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                mean = state["exp_avg"][rows].lerp_(values, 1 - first)
                square = state["exp_avg_sq"][rows].lerp_(values.square(), 1 - second)
                state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
                weight.index_add_(0, rows, mean / square.sqrt().add_(eps), alpha=-size)
        return value
