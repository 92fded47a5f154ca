"""Pieces of a teacher's trajectories as data: where a flow was, where it went, and when."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, random_split_indices


@dataclass(frozen=True)
class Segment(Batch):
    """states: (batch, K + 1, *shape) of whole trajectories at the nodes; labels: (batch,) int64 or None."""

    states: Tensor
    labels: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Trajectories(Container):
    """Trajectories of a flow at the K + 1 nodes of a schedule.

    states: (count, K + 1, *shape) in the units of the network; nodes: (K + 1,) float64, increasing;
    labels: (count,) int64 or None
    """

    states: Tensor
    nodes: Tensor
    labels: Tensor | None = None
    name: str = "trajectories"

    def __len__(self) -> int:
        return len(self.states)

    def gather(self, index: Tensor) -> Segment:
        return Segment(self.states[index], None if self.labels is None else self.labels[index])

    def take(self, index: Tensor) -> "Trajectories":
        """The trajectories `index` as a container."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, states=self.states[index], labels=labels)

    def split(self, seed: int = 0) -> Split["Trajectories"]:
        """80, 10 and 10 percent at random."""
        return Split(*(self.take(i) for i in random_split_indices(len(self), seed, self.name, "trajectories")))

    def held_out(self, share: float, seed: int) -> tuple["Trajectories", "Trajectories"]:
        """What is left to train on, and a random `share` of the trajectories, at least one."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        held = max(1, round(share * len(self)))
        return self.take(order[held:]), self.take(order[:held])

    def describe(self) -> dict[str, Any]:
        return {"container": "Trajectories", "count": len(self), "nodes": self.nodes.tolist()}
