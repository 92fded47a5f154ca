"""The record of a training run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Training:
    """What a run did, in plain values for config.json.

    stopped is "budget" (all planned steps were done), "patience" or "deadline". recipe is the one that repeats the run:
    a budget in minutes may have left time for fewer validations than were asked for.
    """

    steps: int
    planned: int
    epochs: float
    seconds: float
    batch_size: int
    precision: str
    seed: int
    stopped: str
    loss: float
    best: float | None = None
    best_step: int | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
