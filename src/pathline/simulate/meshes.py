"""Simulators on meshes: given the state on every node of a mesh, say what it will be.

The verb is `rollout(state, n)`. A method says how one step goes (`step`); boundaries, rollouts, metrics, tables and
pictures follow from that. Errors are root mean squared errors over the free nodes and all channels; nodes on a boundary
are given, so they do not count.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data.meshes import Meshes, MeshStep

if TYPE_CHECKING:
    import pandas as pd

NODES_AT_ONCE = 1 << 14  # of a batch in an evaluation: bounds its memory


class MeshSimulator(Method):
    """What all methods on meshes share. A subclass writes `step`."""

    room = "simulate"
    container = Meshes

    def step(self, state: MeshStep) -> tuple[Tensor, Tensor | None]:
        """The state one frame later (batch, nodes, channels), and the directly predicted outputs (batch, nodes, P) of
        that frame, or None from a method that predicts none. What it says about nodes that are not free is ignored."""
        raise NotImplementedError

    def advance(self, state: MeshStep, number: int = 0) -> tuple[MeshStep, Tensor | None]:
        """The state one frame later, and its outputs. Nodes that are not free follow entry `number` of the script, or
        stay where they are without one: walls, inflow and handles are known, not predicted."""
        predicted, outputs = self.step(state)
        given = state.state if state.script is None else state.script[:, number]
        return replace(state, previous=state.state, state=torch.where(state.free[:, None], predicted, given)), outputs

    @torch.no_grad()
    def rollout(self, state: MeshStep, n: int) -> Tensor:
        """The state at the start and after 1, 2, .. n frames, each predicted from the one before.

        Returns (batch, n + 1, nodes, channels).  Raises DataError for n < 1, a script of fewer than n frames, or a
        state that does not fit the method.
        """
        return self.rollout_with_outputs(state, n)[0]

    @torch.no_grad()
    def rollout_with_outputs(self, state: MeshStep, n: int) -> tuple[Tensor, Tensor | None]:
        """As `rollout`, with the outputs of the frames 1 .. n, (batch, n, nodes, P) or None."""
        if n < 1:
            raise DataError(f"a rollout of {n} steps was asked for; it has at least 1")
        state = self.checked(state)
        if state.script is not None and state.script.shape[1] < n:
            raise DataError(f"the script of the boundary has {state.script.shape[1]} frames, too few for {n} steps")
        states, outputs = [state.state], []
        for number in range(n):
            state, output = self.advance(state, number)
            states.append(state.state)
            outputs.append(output)
        made = [output for output in outputs if output is not None]
        return torch.stack(states, 1), torch.stack(made, 1) if made else None

    def checked(self, state: Any) -> MeshStep:
        """`state` on the method's device, or a DataError that names what is wrong with it."""
        who = type(self).__name__
        if not isinstance(state, MeshStep):
            raise DataError(f"{who} steps from a MeshStep, not from {type(state).__name__}")
        shape = tuple(state.state.shape)
        if state.state.ndim != 3 or 0 in shape:
            raise DataError(f"{who}: the state has shape {shape}; expected (batch, nodes, channels), none of them 0")
        if shape[1] != len(state.mesh):
            raise DataError(f"{who}: the state has {shape[1]} nodes, but the mesh {len(state.mesh)}")
        for name in ("state", "previous"):
            values = getattr(state, name)
            if tuple(values.shape) != shape:
                raise DataError(f"{who}: {name} has shape {tuple(values.shape)}; expected {shape}")
            if not bool(torch.isfinite(values).all()):
                raise DataError(f"{who}: {name} holds values that are not finite numbers")
        return state.to(self.device)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def _rolled(self, data: Meshes, steps: int) -> tuple[Tensor, Tensor | None]:
        """Rollouts of all of `data` from its second frame: (rollouts, steps + 1, nodes, channels), and outputs."""
        rollouts, _, nodes, _ = data.state.shape
        chunks = torch.arange(rollouts).split(max(1, NODES_AT_ONCE // nodes))
        parts = [self.rollout_with_outputs(data.starts(index), steps) for index in chunks]
        outputs = [part[1].cpu() for part in parts if part[1] is not None]
        return torch.cat([part[0].cpu() for part in parts]), torch.cat(outputs) if outputs else None

    def rollout_errors(self, data: Meshes, steps: int | None = None) -> Tensor:
        """(steps,) mean squared error after 1, 2, .. steps from the second frame; by default to the last frame."""
        steps = data.state.shape[1] - 2 if steps is None else steps
        predicted = self._rolled(data, steps)[0][:, 1:]
        free = data.starts(torch.tensor([0])).free
        error = (predicted - data.state[:, 2 : 2 + steps])[:, :, free].double().square()
        return torch.nan_to_num(error.mean((0, 2, 3)), nan=torch.inf)

    @torch.no_grad()
    def score(self, data: Meshes, seed: int = 0) -> float:
        """Root mean squared error of rollouts through all the data: errors of one step say little about them."""
        return float(self.rollout_errors(self.require(data)).mean().sqrt())

    @torch.no_grad()
    def evaluate(self, data: Meshes, seed: int = 0) -> dict[str, float]:
        """rollout_rmse: of rollouts from the second frame through all the data, fed with their own predictions (inf
        where they diverged); step_rmse: of single steps; outputs_rmse: of what is predicted directly, over single
        steps."""
        found = {"rollout_rmse": self.score(data)}
        square, direct, count = 0.0, 0.0, 0
        size = max(1, NODES_AT_ONCE // len(data.mesh))
        for batch in data.batches(size, shuffle=False):
            assert isinstance(batch, MeshStep)
            batch = self.checked(batch)
            predicted, outputs = self.step(batch)
            square += float((predicted - batch.target)[:, batch.free].double().square().mean((1, 2)).sum())
            if outputs is not None and batch.outputs is not None:
                direct += float((outputs - batch.outputs)[:, batch.free].double().square().mean((1, 2)).sum())
            count += len(batch)
        found["step_rmse"] = (square / count) ** 0.5
        if data.outputs and direct:
            found["outputs_rmse"] = (direct / count) ** 0.5
        return found

    def predict(self, data: Meshes, seed: int = 0) -> "pd.DataFrame":
        """A row per rollout, frame and node: the state, given at frame 1 and predicted from there on, and outputs."""
        import pandas as pd

        data = self.require(data)
        states, outputs = self._rolled(data, data.state.shape[1] - 2)
        rollout, frame, node = torch.cartesian_prod(*map(torch.arange, states.shape[:3])).unbind(1)
        table = {"rollout": rollout.numpy(), "frame": frame.numpy() + 1, "node": node.numpy()}
        columns = dict(zip(data.channels, states.flatten(0, 2).T.numpy(), strict=True))
        if outputs is not None and data.outputs:
            given = torch.cat([data.fields[name][:, 1:2] for name in data.outputs], -1)
            outputs = torch.cat([given, outputs], 1)
            columns |= dict(zip(data.output_columns(), outputs.flatten(0, 2).T.numpy(), strict=True))
        return pd.DataFrame(table | columns)

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """.gif: a rollout that moves, the truth beside it; .vtu: its last frame as a mesh for ParaView."""
        return {".gif": self._write_gif, ".vtu": self._write_mesh}

    def _write_gif(self, data: Meshes, path: Path, seed: int) -> None:
        from pathline.simulate.mesh_pictures import animate

        path.write_bytes(animate({type(self).__name__: self}, self.require(data)).gif())

    def _write_mesh(self, data: Meshes, path: Path, seed: int) -> None:
        from pathline.data.readers.meshio import write_mesh

        data = self.require(data)
        state, outputs = self._rolled(data.take(torch.tensor([0])), data.state.shape[1] - 2)
        last = state[0, -1]
        fields = {} if data.moving else {data.predicted: last}
        if outputs is not None and data.outputs:
            sizes = [data.fields[name].shape[3] for name in data.outputs]
            fields |= dict(zip(data.outputs, outputs[0, -1].split(sizes, -1), strict=True))
        fields["error"] = (last - data.state[0, -1]).norm(dim=-1, keepdim=True)
        write_mesh(path, last if data.moving else data.mesh, data.cells, fields)

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Meshes) -> list[Figure]:
        """The last frame beside the truth (a page shows it moving), and the error over time."""
        from pathline.simulate.mesh_pictures import draw_errors, draw_rollout

        simulators = {name: method for name, method in methods.items() if isinstance(method, MeshSimulator)}
        return [draw_rollout(simulators, data), draw_errors(simulators, data)]
