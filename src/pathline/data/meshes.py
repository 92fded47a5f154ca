"""Meshes: trajectories of a system whose state lives on the nodes of one triangle mesh."""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError
from pathline.graph.mesh import mesh_edges


class NodeType(IntEnum):
    """What a node is, numbered as in the data of Pfaff et al. 2021; two of the nine places are free."""

    NORMAL = 0
    OBSTACLE = 1
    AIRFOIL = 2
    HANDLE = 3
    INFLOW = 4
    OUTFLOW = 5
    WALL = 6


NODE_TYPES = 9
FEWEST_FRAMES = 3  # a step needs the frame before it and the frame after


@dataclass(frozen=True)
class MeshStep(Batch):
    """From one frame to the next.

    state, previous, target: (batch, nodes, channels) what is integrated, now, one frame ago and one frame ahead: world
                positions where `moving`, else a field such as velocity
    features:   (batch, nodes, F) inputs that are known and do not change (the wind, a material), or None
    outputs:    (batch, nodes, P) further fields one frame ahead, predicted directly (pressure), or None
    script:     (batch, steps, nodes, channels) the state 1, 2, .. frames ahead, of which only nodes that are not `free`
                are read; None holds them where they are
    mesh: (nodes, 2 or 3) coordinates on the mesh; node_type: (nodes,); cells: (triangles, 3); edge_index: (2, edges)
    """

    state: Tensor
    previous: Tensor
    target: Tensor
    features: Tensor | None
    outputs: Tensor | None
    script: Tensor | None
    mesh: Tensor
    node_type: Tensor
    cells: Tensor
    edge_index: Tensor
    moving: bool
    duration: float
    shared: ClassVar[tuple[str, ...]] = ("mesh", "node_type", "cells", "edge_index", "moving", "duration")

    @property
    def free(self) -> Tensor:
        """(nodes,) bool: the nodes whose future is predicted; all others follow their script."""
        return (self.node_type == NodeType.NORMAL) | (self.node_type == NodeType.OUTFLOW)


@dataclass(frozen=True, kw_only=True)
class Meshes(Container):
    """Trajectories on one triangle mesh: cloth and solids that move (positions), or fields on a mesh that stands still.

    mesh:      (nodes, 2 or 3) coordinates on the mesh: of the material where it moves, else of space
    cells:     (triangles, 3) int64
    positions: (rollouts, frames, nodes, dims) world positions; None where the mesh stands still
    fields:    name -> (rollouts, frames, nodes, channels)
    predicted: the field that is integrated in time; "" for the positions
    outputs:   names of fields that are predicted directly, for the same frame as the state
    features:  (rollouts, nodes, F) known inputs that stay the same over a rollout, or None
    node_type: (nodes,) int64 of `NodeType`; None means all normal
    interval:  time units from one frame to the next
    """

    mesh: Tensor
    cells: Tensor
    positions: Tensor | None = None
    fields: dict[str, Tensor] = field(default_factory=dict)
    predicted: str = ""
    outputs: tuple[str, ...] = ()
    features: Tensor | None = None
    node_type: Tensor | None = None
    interval: float = 1.0
    unit: str = ""

    def __post_init__(self) -> None:
        name, nodes = self.name, len(self.mesh)
        if self.mesh.ndim != 2 or self.mesh.shape[1] not in (2, 3) or not nodes:
            raise DataError(f"{name}: mesh has shape {tuple(self.mesh.shape)}; expected (nodes, 2) or (nodes, 3)")
        if self.cells.ndim != 2 or self.cells.shape[1] != 3 or not len(self.cells):
            raise DataError(
                f"{name}: cells have shape {tuple(self.cells.shape)}; expected (triangles, 3), at least one"
            )
        if not 0 <= int(self.cells.min()) <= int(self.cells.max()) < nodes:
            wrong = int(self.cells.min()) if int(self.cells.min()) < 0 else int(self.cells.max())
            raise DataError(f"{name}: a triangle names node {wrong}, but there are {nodes} nodes, numbered from 0")
        if self.positions is None and self.predicted not in self.fields:
            known = ", ".join(self.fields) or "none"
            raise DataError(
                f"{name}: nothing moves, and there is no field '{self.predicted}' to predict; it has {known}"
            )
        for label in (self.predicted, *self.outputs):
            if label and label not in self.fields:
                raise DataError(f"{name}: there is no field '{label}'; fields: {', '.join(self.fields) or 'none'}")
        shape = tuple(self.state.shape)
        if len(shape) != 4 or shape[2] != nodes or 0 in shape:
            raise DataError(f"{name}: the state has shape {shape}; expected (rollouts, frames, {nodes}, channels)")
        if shape[1] < FEWEST_FRAMES:
            raise DataError(f"{name}: {shape[1]} frames hold no step; a rollout has at least {FEWEST_FRAMES}")
        for label, values in self.fields.items():
            if values.ndim != 4 or tuple(values.shape[:3]) != shape[:3]:
                raise DataError(
                    f"{name}: field '{label}' has shape {tuple(values.shape)}; expected {shape[:3]} and channels"
                )
            require_finite(values, label, name)
        if self.positions is not None and tuple(self.positions.shape[:3]) != shape[:3]:
            raise DataError(
                f"{name}: positions have shape {tuple(self.positions.shape)}; expected {shape[:3]} and axes"
            )
        if self.features is not None and tuple(self.features.shape[:2]) != (shape[0], nodes):
            raise DataError(
                f"{name}: features have shape {tuple(self.features.shape)}; expected ({shape[0]}, {nodes}, ...)"
            )
        types = self.types
        if tuple(types.shape) != (nodes,) or not 0 <= int(types.min()) <= int(types.max()) < NODE_TYPES:
            raise DataError(f"{name}: node_type is a number from 0 to {NODE_TYPES - 1} for each of the {nodes} nodes")
        if not bool(((types == NodeType.NORMAL) | (types == NodeType.OUTFLOW)).any()):
            raise DataError(f"{name}: no node is normal or outflow, so there is nothing to predict")
        require_finite(self.mesh, "mesh", name)
        require_finite(self.state, "state", name)

    @property
    def moving(self) -> bool:
        """Whether what is integrated is the world positions."""
        return not self.predicted

    @property
    def state(self) -> Tensor:
        """(rollouts, frames, nodes, channels) what is integrated in time."""
        values = self.fields[self.predicted] if self.predicted else self.positions
        assert values is not None
        return values

    @property
    def types(self) -> Tensor:
        """(nodes,) int64."""
        return torch.zeros(len(self.mesh), dtype=torch.int64) if self.node_type is None else self.node_type

    @cached_property
    def edge_index(self) -> Tensor:
        """(2, edges) both directions of every edge of a triangle, each once."""
        return mesh_edges(self.cells)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the state's channels: axes, or the field and a number."""
        count = self.state.shape[3]
        if self.moving:
            return tuple("xyz"[:count]) if count <= 3 else tuple(f"x{axis}" for axis in range(count))
        return (self.predicted,) if count == 1 else tuple(f"{self.predicted}_{axis}" for axis in range(count))

    def output_columns(self) -> tuple[str, ...]:
        """Names of the channels of the fields that are predicted directly."""
        sizes = {name: self.fields[name].shape[3] for name in self.outputs}
        return tuple(f"{name}_{k}" if size > 1 else name for name, size in sizes.items() for k in range(size))

    def _starts(self) -> int:
        return self.state.shape[1] - 2

    def __len__(self) -> int:
        """How many steps there are: every frame that has one before and one after it."""
        return self.state.shape[0] * self._starts()

    def gather(self, index: Tensor) -> MeshStep:
        return self._steps(index // self._starts(), index % self._starts() + 1, scripted=False)

    def starts(self, rollouts: Tensor) -> MeshStep:
        """The second frame of the given rollouts, with the script of everything after it: where a rollout begins."""
        return self._steps(rollouts, torch.ones_like(rollouts), scripted=True)

    def _steps(self, rollout: Tensor, frame: Tensor, scripted: bool) -> MeshStep:
        state = self.state
        direct = [self.fields[name][rollout, frame + 1] for name in self.outputs]
        return MeshStep(
            state=state[rollout, frame],
            previous=state[rollout, frame - 1],
            target=state[rollout, frame + 1],
            features=None if self.features is None else self.features[rollout],
            outputs=torch.cat(direct, -1) if direct else None,
            script=state[rollout, 2:] if scripted else None,
            mesh=self.mesh,
            node_type=self.types,
            cells=self.cells,
            edge_index=self.edge_index,
            moving=self.moving,
            duration=self.interval,
        )

    def _cut(self, rollouts: Any, frames: slice) -> "Meshes":
        return replace(
            self,
            positions=None if self.positions is None else self.positions[rollouts][:, frames],
            fields={name: values[rollouts][:, frames] for name, values in self.fields.items()},
            features=None if self.features is None else self.features[rollouts],
        )

    def take(self, index: Tensor) -> "Meshes":
        """The rollouts `index` as a container."""
        return self._cut(index, slice(None))

    def between(self, begin: int, end: int) -> "Meshes":
        """The frames begin .. end - 1 of every rollout."""
        return self._cut(slice(None), slice(begin, end))

    def split(self, seed: int = 0) -> Split["Meshes"]:
        """80, 10 and 10 percent of the rollouts at random: no trajectory is in two parts. Fewer than three rollouts are
        cut in time instead, the first 80 percent of the frames to learn from and the last 10 to test."""
        count, frames = self.state.shape[:2]
        if count >= 3:
            parts = random_split_indices(count, seed, self.name, "rollouts")
            return Split(*(self.take(index) for index in parts))
        held = max(FEWEST_FRAMES, frames // 10)
        if frames < 3 * FEWEST_FRAMES:
            raise DataError(
                f"{self.name}: {count} rollout{'s' * (count > 1)} of {frames} frames cannot be split into train, "
                f"validation and test: bring at least 3 rollouts, or {3 * FEWEST_FRAMES} frames"
            )
        cuts = (0, frames - 2 * held, frames - held, frames)
        return Split(*(self.between(cuts[k], cuts[k + 1]) for k in range(3)))

    def describe(self) -> dict[str, Any]:
        rollouts, frames, nodes, channels = self.state.shape
        return {
            "container": "Meshes",
            "rollouts": rollouts,
            "frames": frames,
            "nodes": nodes,
            "triangles": len(self.cells),
            "edges": self.edge_index.shape[1] // 2,
            "predicted": self.predicted or "positions",
            "channels": channels,
            "outputs": list(self.outputs),
            "interval": self.interval,
            "unit": self.unit,
        }
