"""How the learning rate moves over a run."""

import math

from pathline.core.method import Recipe


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Learning rate of `step` (0-based) out of `total`: linear warm-up, then cosine to `final` x lr, or constant."""
    warmup = min(recipe.warmup, total // 2)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.lr
    through = (step - warmup) / max(1, total - warmup)
    return recipe.lr * (recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * through)))
