"""Stretches of trajectories, for simulators with a memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data import Batch, Rollouts, Step


@dataclass(frozen=True)
class Course(Batch):
    """Several frames in a row.

    positions, velocities: (batch, frames, nodes, dims);  features, edge_index, edge_features: as in `Step`;
    duration: from one frame to the next
    """

    positions: Tensor
    velocities: Tensor
    features: Tensor | None
    edge_index: Tensor
    edge_features: Tensor | None
    duration: float
    shared: ClassVar[tuple[str, ...]] = ("edge_index", "duration")

    def state(self, frame: int) -> Step:
        """The state at one frame; its target is the last frame's position."""
        return Step(
            self.positions[:, frame], self.velocities[:, frame], self.features, self.edge_index, self.edge_features,
            self.positions[:, -1], self.duration,
        )  # fmt: skip


def course(data: Rollouts, index: Tensor, begin: Tensor, frames: int) -> Course:
    """`frames` frames, `data.span` apart, of the rollouts `index` (batch,) from their frames `begin` (batch,) on."""
    when = begin[:, None] + data.span * torch.arange(frames)
    return Course(
        data.positions[index[:, None], when],
        data.velocities[index[:, None], when],
        None if data.features is None else data.features[index],
        data.edge_index,
        None if data.edge_features is None else data.edge_features[index],
        data.interval * data.span,
    )


def courses(data: Rollouts, size: int, generator: torch.Generator, frames: int) -> Iterator[Course]:
    """One epoch: a stretch of at most `frames` frames from a random place in each rollout, in random order; from
    `data.start` on if that is set."""
    rollouts, total = data.positions.shape[:2]
    first = data.start or 0
    frames = min(frames, (total - 1 - first) // data.span + 1)
    last = first if data.start is not None else total - 1 - (frames - 1) * data.span
    for index in torch.randperm(rollouts, generator=generator).split(size):
        begin = torch.randint(first, last + 1, (len(index),), generator=generator)
        yield course(data, index, begin, frames)


def cut(stretch: Course, first: int, last: int) -> Course:
    """Frames `first` .. `last` - 1 of a course."""
    return replace(stretch, positions=stretch.positions[:, first:last], velocities=stretch.velocities[:, first:last])
