"""Rollouts: trajectories of interacting bodies, all with the same number of bodies."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Step(Batch):
    """From one frame to a later one.

    position, velocity: (batch, nodes, dims)
    features:           (batch, nodes, F) invariants of the nodes, or None
    edge_index:         (2, edges), row 0 the sender and row 1 the receiver; the same for the whole batch
    edge_features:      (batch, edges, A) or None
    target:             (batch, nodes, dims), the positions `duration` time units later
    velocities:         (batch, parts, nodes, dims), true velocities at the ends of the equal parts of the step, the
                        last one at its end; or None
    """

    position: Tensor
    velocity: Tensor
    features: Tensor | None
    edge_index: Tensor
    edge_features: Tensor | None
    target: Tensor
    duration: float
    velocities: Tensor | None = None
    shared: ClassVar[tuple[str, ...]] = ("edge_index", "duration")


@dataclass(frozen=True, kw_only=True)
class Rollouts(Container):
    """Trajectories of bodies that act on each other.

    positions, velocities: (rollouts, frames, nodes, dims) float32
    features:      (rollouts, nodes, F) per-node invariants (charge, mass, one-hot species), or None
    edge_index:    (2, edges) int64: sender, receiver
    edge_features: (rollouts, edges, A), or None
    interval:      time units from one frame to the next
    start:         the input frame of the supervised step; None: every frame that has a target
    span:          frames from input to target
    flags:         (rollouts,) bool each, for subsets that must not be mixed (such as `clamped`)
    nodes:         a name per node for pictures (element symbols), or ()
    parts:         equal parts of a supervised step at whose ends a `Step` holds the true velocities
    groups:        rollouts of one group (pieces of one recording) stay together when the data are split; () for none
    """

    positions: Tensor
    velocities: Tensor
    edge_index: Tensor
    features: Tensor | None = None
    edge_features: Tensor | None = None
    interval: float = 1.0
    start: int | None = None
    span: int = 1
    flags: dict[str, Tensor] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    unit: str = ""
    parts: int = field(default=1, metadata=IF_USED)
    groups: tuple[int, ...] = field(default=(), metadata=IF_USED)

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.positions.shape)
        if self.positions.ndim != 4:
            raise DataError(f"{name}: positions have shape {shape}; expected (rollouts, frames, nodes, dims)")
        if tuple(self.velocities.shape) != shape:
            raise DataError(f"{name}: velocities have shape {tuple(self.velocities.shape)}, positions {shape}")
        rollouts, frames, nodes, _ = shape
        if not rollouts or not nodes:
            raise DataError(f"{name}: there are {rollouts} rollouts of {nodes} bodies; bring at least one of each")
        if self.edge_index.ndim != 2 or self.edge_index.shape[0] != 2:
            raise DataError(f"{name}: edge_index has shape {tuple(self.edge_index.shape)}; expected (2, edges)")
        if self.edge_index.numel() and not 0 <= int(self.edge_index.min()) <= int(self.edge_index.max()) < nodes:
            raise DataError(f"{name}: edge_index names node {int(self.edge_index.max())}, but there are {nodes} nodes")
        for label, tensor, count in (
            ("features", self.features, nodes),
            ("edge_features", self.edge_features, self.edge_index.shape[1]),
        ):
            if tensor is not None and tuple(tensor.shape[:2]) != (rollouts, count):
                raise DataError(
                    f"{name}: {label} have shape {tuple(tensor.shape)}; expected ({rollouts}, {count}, ...)"
                )
        if self.span < 1 or (self.start or 0) + self.span >= frames:
            raise DataError(
                f"{name}: {frames} frames do not hold a step of {self.span} frames from frame {self.start or 0}; "
                "bring longer rollouts or choose a shorter span"
            )
        if self.parts < 1 or self.span % self.parts:
            raise DataError(
                f"{name}: a step of {self.span} frames does not fall into {self.parts} equal parts; choose a number of "
                "parts that divides it"
            )
        if self.groups and len(self.groups) != rollouts:
            raise DataError(f"{name}: there are {len(self.groups)} groups for {rollouts} rollouts; name one for each")
        require_finite(self.positions, "position", name)
        require_finite(self.velocities, "velocity", name)

    @property
    def _starts(self) -> Tensor:
        frames = self.positions.shape[1]
        return torch.arange(frames - self.span) if self.start is None else torch.tensor([self.start])

    def __len__(self) -> int:
        """How many supervised steps there are."""
        return self.positions.shape[0] * len(self._starts)

    def gather(self, index: Tensor) -> Step:
        starts = self._starts
        rollout, frame = index // len(starts), starts[index % len(starts)]
        ends = self.span // self.parts * torch.arange(1, self.parts + 1)
        return Step(
            position=self.positions[rollout, frame],
            velocity=self.velocities[rollout, frame],
            features=None if self.features is None else self.features[rollout],
            edge_index=self.edge_index,
            edge_features=None if self.edge_features is None else self.edge_features[rollout],
            target=self.positions[rollout, frame + self.span],
            duration=self.interval * self.span,
            velocities=self.velocities[rollout[:, None], frame[:, None] + ends],
        )

    def take(self, index: Tensor) -> "Rollouts":
        """The rollouts `index` as a container."""
        return replace(
            self,
            positions=self.positions[index],
            velocities=self.velocities[index],
            features=None if self.features is None else self.features[index],
            edge_features=None if self.edge_features is None else self.edge_features[index],
            flags={key: flag[index] for key, flag in self.flags.items()},
            groups=tuple(self.groups[i] for i in index.tolist()) if self.groups else (),
        )

    def step_between(self, start: int | None, span: int, parts: int = 1) -> "Rollouts":
        """The same rollouts, supervised on the step of `span` frames from frame `start` (None: from every frame), with
        true velocities at the ends of its `parts`."""
        return replace(self, start=start, span=span, parts=parts)

    def split(self, seed: int = 0) -> Split["Rollouts"]:
        """80, 10 and 10 percent of the rollouts (or of their groups) at random: no trajectory is in two parts."""
        if self.groups:
            group = torch.tensor(self.groups)
            kinds = group.unique()
            chosen = random_split_indices(len(kinds), seed, self.name, "groups of rollouts")
            return Split(*(self.take(torch.isin(group, kinds[index]).nonzero().flatten()) for index in chosen))
        count = self.positions.shape[0]
        return Split(*(self.take(index) for index in random_split_indices(count, seed, self.name, "rollouts")))

    def describe(self) -> dict[str, Any]:
        rollouts, frames, nodes, dims = self.positions.shape
        return {
            "container": "Rollouts",
            "rollouts": rollouts,
            "frames": frames,
            "nodes": nodes,
            "dims": dims,
            "interval": self.interval,
            "span": self.span,
            "unit": self.unit,
        }
