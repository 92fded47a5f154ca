"""The room of bodies that act on each other: given where they are and how they move, say where they will be.

The verb is `rollout(state, n)`. A method says how one step goes (`step`); everything else (rollouts, metrics, tables,
pictures) follows from that. Errors are mean squared errors over bodies and axes, as in the n-body benchmark of Satorras
et al. 2021, arXiv:2102.09844.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data import Rollouts, Step
from pathline.simulate.units import Units

if TYPE_CHECKING:
    import pandas as pd

EDGES_AT_ONCE = 1 << 16  # per batch of an evaluation: bounds its memory


class Simulator(Method):
    """What all methods of the room share. A subclass writes `step`."""

    room = "simulate"
    container = Rollouts
    precision = "fp32"  # bf16 rounds positions to 1 part in 256, far coarser than what a step moves them

    def step(self, state: Step) -> tuple[Tensor, Tensor | None]:
        """Positions and velocities after `state.duration`, each (batch, nodes, dims).

        None for the velocity means that the method predicts none; a rollout then feeds on the finite difference
        (new position - old position) / duration, the mean velocity over the step.
        """
        raise NotImplementedError

    def advance(self, state: Step) -> Step:
        """The state one step later; what never changes (features, edges) is carried along."""
        position, velocity = self.step(state)
        if velocity is None:
            velocity = (position - state.position) / state.duration
        return replace(state, position=position, velocity=velocity)

    @torch.no_grad()
    def rollout(self, state: Step, n: int) -> Tensor:
        """Positions at the start and after 1, 2, .. n steps of `state.duration`, each predicted from the one before.

        Returns (batch, n + 1, nodes, dims).  Raises DataError for n < 1 or a state that does not fit the method.
        """
        if n < 1:
            raise DataError(f"a rollout of {n} steps was asked for; it has at least 1")
        state = self.checked(state)
        positions = [state.position]
        for _ in range(n):
            state = self.advance(state)
            positions.append(state.position)
        return torch.stack(positions, 1)

    def checked(self, state: Any) -> Step:
        """`state` on the method's device, or a DataError that names what is wrong with it."""
        who = type(self).__name__
        if not isinstance(state, Step):
            raise DataError(f"{who} steps from a Step, not from {type(state).__name__}")
        shape = tuple(state.position.shape)
        if state.position.ndim != 3 or 0 in shape:
            raise DataError(f"{who}: position has shape {shape}; expected (batch, nodes, dims), none of them 0")
        if tuple(state.velocity.shape) != shape:
            raise DataError(f"{who}: velocity has shape {tuple(state.velocity.shape)}, but position {shape}")
        for name in ("position", "velocity", "features", "edge_features"):
            values = getattr(state, name)
            if values is not None and not bool(torch.isfinite(values).all()):
                raise DataError(f"{who}: {name} holds values that are not finite numbers")
        if state.edge_index.numel() and not 0 <= int(state.edge_index.min()) <= int(state.edge_index.max()) < shape[1]:
            raise DataError(f"{who}: edge_index names node {int(state.edge_index.max())}, but there are {shape[1]}")
        for name, count in (("features", shape[1]), ("edge_features", state.edge_index.shape[1])):
            values = getattr(state, name)
            if values is not None and tuple(values.shape[:2]) != (shape[0], count):
                raise DataError(f"{who}: {name} has shape {tuple(values.shape)}; expected ({shape[0]}, {count}, ...)")
        return state.to(self.device)

    # -- metrics ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self, data: Rollouts, seed: int = 0) -> float:
        """Mean squared error of the final state over all supervised steps of `data`."""
        total, count = 0.0, 0
        for batch in self.require(data).batches(_batch_size(data), shuffle=False):
            position = self.step(self.checked(batch))[0].cpu()
            total += float((position - batch.target).double().square().sum())
            count += batch.target.numel()
        return _finite(total / count)

    def rollout_errors(self, data: Rollouts) -> Tensor:
        """(steps,) mean squared error after 1, 2, .. steps, as many as `data` holds from its first input frame."""
        begin = data.start or 0
        frames = torch.arange(begin + data.span, data.positions.shape[1], data.span)
        total = torch.zeros(len(frames), dtype=torch.float64)
        for index in torch.arange(data.positions.shape[0]).split(_batch_size(data)):
            predicted = self.rollout(data.step_between(begin, data.span).gather(index), len(frames))
            truth = data.positions[index[:, None], frames]
            total += (predicted[:, 1:].cpu() - truth).double().square().sum((0, 2, 3))
        return total * len(frames) / data.positions[:, : len(frames)].numel()

    def evaluate(self, data: Rollouts, seed: int = 0) -> dict[str, float]:
        """mse: of the final state, over all supervised steps; rollout_mse: over a rollout from the first input frame
        through all the data, fed with its own predictions (inf where it diverged). Both are means over bodies and axes,
        in the data's unit squared."""
        return {"mse": self.score(data), "rollout_mse": _finite(float(self.rollout_errors(self.require(data)).mean()))}

    def predicted_rollouts(self, data: Rollouts) -> Tensor:
        """(rollouts, steps + 1, nodes, dims) from the first input frame of each rollout to the end of the data."""
        data = self.require(data)
        begin = data.start or 0
        steps = (data.positions.shape[1] - 1 - begin) // data.span
        start = data.step_between(begin, data.span)
        chunks = torch.arange(data.positions.shape[0]).split(_batch_size(data))
        return torch.cat([self.rollout(start.gather(index), steps).cpu() for index in chunks])

    def predict(self, data: Rollouts, seed: int = 0) -> "pd.DataFrame":
        """A row per rollout, step (0 is the given state) and node, with the predicted position."""
        import pandas as pd

        position, nodes = self.predicted_rollouts(data), data.positions.shape[2]
        rollout, step, node = torch.cartesian_prod(*map(torch.arange, position.shape[:3])).unbind(1)
        names: tuple[Any, ...] = data.nodes or tuple(range(nodes))
        table = {"rollout": rollout.numpy(), "step": step.numpy(), "node": [names[i] for i in node.tolist()]}
        axes = "xyz" if position.shape[3] <= 3 else [f"x{axis}" for axis in range(position.shape[3])]
        return pd.DataFrame(table | dict(zip(axes, position.flatten(0, 2).T.numpy(), strict=False)))

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """.gif: a rollout in a plane that moves, over the true paths; .xyz, .extxyz and .traj: rollouts of molecules as
        frames for ASE, one rollout after the other."""
        return {".gif": self._write_gif, **dict.fromkeys((".xyz", ".extxyz", ".traj"), self._write_atoms)}

    def _write_gif(self, data: Rollouts, path: Path, seed: int) -> None:
        from pathline.simulate.pictures import draw_trajectories

        moving = draw_trajectories({type(self).__name__: self}, self.require(data)).animation
        assert moving is not None
        path.write_bytes(moving.gif())

    def _write_atoms(self, data: Rollouts, path: Path, seed: int) -> None:
        from pathline.data.readers.atoms import atoms_from_positions, write_atoms

        if not data.nodes:
            raise DataError(f"{data.name}: nothing says which chemical elements its bodies are; write a table instead")
        interval = data.interval * data.span
        paths = self.predicted_rollouts(data)
        write_atoms(path, [frame for one in paths for frame in atoms_from_positions(one, data.nodes, interval)])

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Rollouts) -> list[Figure]:
        """Trajectories in a plane (a page shows them moving) and the error over time."""
        from pathline.simulate.pictures import draw_errors, draw_trajectories

        simulators = {name: method for name, method in methods.items() if isinstance(method, Simulator)}
        return [draw_trajectories(simulators, data), draw_errors(simulators, data)]


class LearnedSimulator(Simulator):
    """A simulator with weights: it computes in the data's units and minimises the squared error of the final state.

    node_features, edge_features: how many invariant columns it reads; 0 ignores those that the data have.
    """

    def __init__(self, node_features: int, edge_features: int) -> None:
        super().__init__()
        self.node_features, self.edge_features = node_features, edge_features
        self.units = Units()

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        """Column counts and units are read off the training part."""
        part = cls.require(data)
        method = cls(**(cls._sizes(part) | config))
        method.units.measure(part)
        return method

    @classmethod
    def _sizes(cls, data: Rollouts) -> dict[str, int]:
        columns = {"node_features": data.features, "edge_features": data.edge_features}
        return {name: 0 if values is None else values.shape[-1] for name, values in columns.items()}

    def checked(self, state: Any) -> Step:
        """Also refuses features other than those learned from, and steps of another duration."""
        state = super().checked(state)
        for name, values, count in (
            ("node", state.features, self.node_features),
            ("edge", state.edge_features, self.edge_features),
        ):
            given = 0 if values is None else values.shape[-1]
            if count and given != count:
                raise DataError(f"{type(self).__name__} learned from {count} {name} features; the state has {given}")
        self._check_duration(state.duration)
        return state

    def _check_duration(self, duration: float) -> None:
        learned = float(self.units.duration)
        if abs(duration - learned) > 1e-4 * learned:
            raise DataError(
                f"{type(self).__name__} learned steps of {learned:g} time units and has no answer for {duration:g}; "
                "train it on data with that step, or use a method with a clock of its own, such as segno"
            )

    def loss(self, batch: Step) -> Tensor | dict[str, Tensor]:
        """Mean squared error of the final positions, in units of the mean squared motion: 1 for standing still."""
        return (self.step(batch)[0] - batch.target).square().mean() / self.units.motion.square()

    def node_columns(self, state: Step) -> list[Tensor]:
        """The invariant node features that the method reads, as a list to concatenate."""
        return [state.features] if self.node_features and state.features is not None else []

    def edge_columns(self, state: Step) -> list[Tensor]:
        """The invariant edge features that the method reads, as a list to concatenate."""
        return [state.edge_features] if self.edge_features and state.edge_features is not None else []


def _batch_size(data: Rollouts) -> int:
    return max(1, EDGES_AT_ONCE // max(1, data.edge_index.shape[1], data.positions.shape[2]))


def _finite(error: float) -> float:
    """A diverged rollout has an infinite error, not an undefined one."""
    return error if error < float("inf") else float("inf")
