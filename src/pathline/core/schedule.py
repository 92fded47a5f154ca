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


def rate_groups(method: Method) -> list[dict[str, Any]]:
    """The trainable parameters of `method`, those that learn at one rate together; `relative` is that rate in units of
    the recipe's."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            relative = next((rate for prefix, rate in method.rates.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(relative, []).append(parameter)
    return [{"params": parameters, "relative": relative} for relative, parameters in groups.items()]
