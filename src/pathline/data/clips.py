"""Clips: sequences of pictures in time, to go on with."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Frames(Batch):
    """context: (batch, history, channels, height, width); future: (batch, horizon, channels, height, width), what
    follows."""

    context: Tensor
    future: Tensor


@dataclass(frozen=True, kw_only=True)
class Clips(Container):
    """Videos of one size. Every stretch of history + horizon frames is an item.

    frames:  (clips, time, channels, height, width) float32, usually from 0 to 1
    history: frames that a method sees; horizon: frames that it goes on for
    rate:    frames a second, or None
    labels:  (clips,) int64 classes, or None
    """

    frames: Tensor
    history: int = 4
    horizon: int = 6
    rate: float | None = None
    labels: Tensor | None = field(default=None, metadata=IF_USED)

    def __post_init__(self) -> None:
        shape = tuple(self.frames.shape)
        if self.frames.ndim != 5 or 0 in shape:
            raise DataError(
                f"{self.name}: frames have shape {shape}; expected (clips, time, channels, height, width), none of "
                "them 0"
            )
        object.__setattr__(self, "frames", self.frames.float())
        if self.history < 1 or self.horizon < 1:
            raise DataError(f"{self.name}: history {self.history} and horizon {self.horizon} must be at least 1")
        if self.labels is not None and self.labels.shape != self.frames.shape[:1]:
            raise DataError(f"{self.name}: {len(self.labels)} labels for {shape[0]} clips")
        require_finite(self.frames, "frames", self.name)

    @property
    def starts(self) -> int:
        """Items in each clip."""
        return max(0, self.frames.shape[1] - self.history - self.horizon + 1)

    def __len__(self) -> int:
        return self.frames.shape[0] * self.starts

    def gather(self, index: Tensor) -> Frames:
        clip, start = index // self.starts, index % self.starts
        time = start[:, None] + torch.arange(self.history + self.horizon)
        chosen = self.frames[clip[:, None], time]
        return Frames(context=chosen[:, : self.history], future=chosen[:, self.history :])

    def take(self, index: Tensor) -> "Clips":
        """The clips `index`."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, frames=self.frames[index], labels=labels)

    def with_window(self, history: int, horizon: int) -> "Clips":
        """The same clips cut into other items."""
        return replace(self, history=history, horizon=horizon)

    def split(self, seed: int = 0) -> Split["Clips"]:
        """80, 10 and 10 percent of the clips at random; of fewer than ten, each is cut in time at 70 and 85 percent of
        its frames, and no item reaches across a cut."""
        clips, time = self.frames.shape[:2]
        if clips >= 10:
            return Split(*(self.take(index) for index in random_split_indices(clips, seed, self.name, "clips")))
        first, second = round(0.7 * time), round(0.85 * time)
        if min(first, second - first, time - second) < self.history + self.horizon:
            raise DataError(
                f"{self.name}: {clips} clip{'s' * (clips > 1)} of {time} frames cannot be cut into three parts of at "
                f"least {self.history + self.horizon} frames; bring longer clips, or a shorter history and horizon"
            )
        parts = (slice(0, first), slice(first, second), slice(second, time))
        return Split(*(replace(self, frames=self.frames[:, part]) for part in parts))

    def describe(self) -> dict[str, Any]:
        clips, time, channels, height, width = self.frames.shape
        return {
            "container": "Clips",
            "clips": clips,
            "frames": time,
            "channels": channels,
            "height": height,
            "width": width,
            "history": self.history,
            "horizon": self.horizon,
            "rate": self.rate,
        }
