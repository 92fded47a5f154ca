"""How the learning rate moves over a run, and which weights learn at a rate of their own."""

import math
from typing import Any

from torch import nn

from pathline.core.method import Method, Recipe


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Learning rate of `step` (0-based) out of `total`: linear warm-up, then down to `final` x lr (cosine,
    exponential), or constant."""
    warmup = min(recipe.warmup, total // 2)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.lr
    through = (step - warmup) / max(1, total - warmup)
    if recipe.schedule == "exponential":
        return float(recipe.lr * recipe.final**through)
    return recipe.lr * (recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * through)))


def rate_groups(method: Method, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """The trainable parameters of `method`, those that learn at one rate and decay alike together; `relative` is that
    rate in units of the recipe's, and `weight_decay` that of the recipe times what `method.decays` says."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            relative, decay = (
                next((factor for prefix, factor in factors.items() if name.startswith(prefix)), 1.0)
                for factors in (method.rates, method.decays)
            )
            groups.setdefault((relative, decay), []).append(parameter)
    return [
        {"params": parameters, "relative": relative, "weight_decay": decay * weight_decay}
        for (relative, decay), parameters in groups.items()
    ]
