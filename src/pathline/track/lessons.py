"""A teacher's answers beside the windows they belong to, as data for a student; and shares of a budget."""

import time
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pathline.core.budget import Budget
from pathline.data.container import Batch, Container, Split, random_split_indices
from pathline.data.tracks import Encounters, Tracks


@dataclass(frozen=True)
class Lesson(Batch):
    """answers: (batch, K, agents, horizon, dims) metres, in own frames, to `window`."""

    window: Encounters
    answers: Tensor

    def map(self, function: Any) -> "Lesson":
        return Lesson(self.window.map(function), function(self.answers))

    def part(self, rank: int, world: int) -> "Lesson":
        return Lesson(self.window.part(rank, world), self.answers[rank::world])


@dataclass(frozen=True, kw_only=True)
class Lessons(Container):
    """windows: (count,) int64, which windows of `data`; answers: (count, K, agents, horizon, dims)."""

    data: Tracks
    windows: Tensor
    answers: Tensor

    def __len__(self) -> int:
        return len(self.windows)

    def gather(self, index: Tensor) -> Lesson:
        return Lesson(self.data.gather(self.windows[index]), self.answers[index])

    def take(self, index: Tensor) -> "Lessons":
        return replace(self, windows=self.windows[index], answers=self.answers[index])

    def split(self, seed: int = 0) -> Split["Lessons"]:
        parts = random_split_indices(len(self), seed, self.name, "lessons")
        return Split(*(self.take(index) for index in parts))

    def describe(self) -> dict[str, Any]:
        return {"container": "Lessons", "lessons": len(self), "answers": self.answers.shape[1]}


def part_of(budget: Budget, share: float) -> Budget:
    """A share of a budget, at least one step."""
    if budget.steps is not None:
        return Budget(steps=max(1, round(share * budget.steps)))
    if budget.epochs is not None:
        return Budget(epochs=share * budget.epochs)
    assert budget.minutes is not None
    return Budget(minutes=share * budget.minutes)


def rest_of(budget: Budget, began: float, share: float) -> Budget:
    """What is left of a budget in minutes that runs since `began`, but at least a tenth of `share` of it."""
    assert budget.minutes is not None
    return Budget(minutes=max(budget.minutes - (time.monotonic() - began) / 60, 0.1 * share * budget.minutes))
