"""NCGNN: a step as the integral of several predicted velocities, where other networks predict one constant velocity.

    x(T) = x(0) + int_0^T v(t) dt ~ x(0) + T sum_k w_k v_k / sum_k w_k       t_k = k T / K,  Newton-Cotes weights w_k
    (x_k, v_k) = f(x_{k-1}, v_{k-1}, h, edges)   for k = 0 .. K, from the input state: K + 1 calls of ONE network f
    loss = MSE(x(T)) + lambda A + rho ||theta||^2 / 2
        A = w_K MSE(v_K, v(T))  [ + sum_{0<k<K} w_k MSE(v_k, v(t_k)) with `extra`: NC+ ],        rho: 1, c, c^2, ...
Guo et al., 2023, "Newton-Cotes Graph Neural Networks: On the Time Evolution of Dynamic Systems", arXiv:2305.14642.

Use it for long steps, over which velocities turn; with `extra` where the data hold frames within a step. It costs K + 1
calls of its backbone. K = 2 (Simpson) is the paper's choice; beyond 7 weights of both signs amplify errors.

h holds ||v|| and a_ij holds ||x_i - x_j||^2 of the present prediction, both detached as in the official code; h is made
anew in every call, so that the K + 1 calls are one function of the state.

Departs: x(0) is the anchor as in the paper (the official code starts from the positions of the first call:
anchor = "first"). Each call moves the positions by its share of the step, T / (K + 1), and starts near the velocity it
is given; in the official code every layer moves them by the whole velocity. Velocities in A are multiplied by T, and
all is measured in the data's unit of motion, so that lambda means the same for every duration and unit; with T = 1 and
that unit 1 this is the official loss. rho is off unless asked for: at its official start of 1 it outweighs the data
for hundreds of steps, which short trainings do not have. The paper's fourth backbone, graph mechanics networks, needs
rigid sticks and is not here.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Rollouts, Step
from pathline.ode.newton_cotes import newton_cotes, newton_cotes_weights
from pathline.simulate.backbones import Backbone, EquivariantBackbone, PlainBackbone, RadialField
from pathline.simulate.base import LearnedSimulator


class NCGNN(LearnedSimulator):
    """A wrapper of a position-and-velocity network; another one: subclass and override `call`.

    width, layers: of the backbone, 64 and 4 in the paper
    intervals:     K; 0 is the backbone with its one velocity
    backbone:      "egnn", "radial-field" or "gnn" (`backbones.py`)
    anchor:        "start" of the step (the paper) or "first" call (the official code)
    align:         lambda
    extra:         NC+: learn from true velocities within the step too; its span must be a multiple of K frames
    l2_anneal:     c, 0.99 in the official runs; None: no L2 term
    normalize:     divide differences of positions by their length + 1 in the equivariant backbone; not so in the
                   official runs, but calls in a row multiply what they do, and long edges then drive training apart
    tanh:          see `pathline.nn.equivariant.EGCL`
    """

    recipe = Recipe(lr=1e-3, batch_size=100, steps=2000, clip=1.0)
    rho: Tensor

    def __init__(
        self,
        node_features: int = 0,
        edge_features: int = 0,
        dims: int = 3,
        width: int = 64,
        layers: int = 4,
        intervals: int = 2,
        backbone: Literal["egnn", "radial-field", "gnn"] = "egnn",
        anchor: Literal["start", "first"] = "start",
        align: float = 0.1,
        extra: bool = False,
        l2_anneal: float | None = None,
        normalize: bool = True,
        tanh: bool = False,
    ) -> None:
        super().__init__(node_features, edge_features)
        if anchor not in ("start", "first"):
            raise MethodError(f"NCGNN: anchor is '{anchor}'; choose start or first")
        self.weights = newton_cotes_weights(intervals)
        self.intervals, self.anchor, self.align = intervals, anchor, align
        self.extra, self.l2_anneal = extra, l2_anneal
        sizes = (1 + node_features, 1 + edge_features, width, layers)
        self.backbone: Backbone
        if backbone == "egnn":
            self.backbone = EquivariantBackbone(*sizes, normalize, tanh)
        elif backbone == "radial-field":
            self.backbone = RadialField(*sizes)
        elif backbone == "gnn":
            self.backbone = PlainBackbone(*sizes, dims)
        else:
            raise MethodError(f"NCGNN: backbone is '{backbone}'; choose egnn, radial-field or gnn")
        self.register_buffer("rho", torch.ones(()))  # saved with the weights: a resumed run goes on from there

    @classmethod
    def _sizes(cls, data: Rollouts) -> dict[str, int]:
        return super()._sizes(data) | {"dims": data.positions.shape[3]}

    def call(self, position: Tensor, velocity: Tensor, state: Step) -> tuple[Tensor, Tensor]:
        """f: the next (x, v) from the last, (batch, nodes, dims) each; edges and invariants are those of `state`."""
        units, (sender, receiver) = self.units, state.edge_index
        x, speed = position / units.length, velocity.norm(dim=-1, keepdim=True) / units.speed
        square = (x[:, receiver] - x[:, sender]).square().sum(-1, keepdim=True)
        per_step = units.motion / state.duration
        x, v = self.backbone(
            torch.cat([speed.detach(), *self.node_columns(state)], -1),
            x,
            velocity / per_step,
            state.edge_index,
            torch.cat([*self.edge_columns(state), square.detach()], -1),
            units.motion / units.length / (self.intervals + 1),
        )
        return x * units.length, v * per_step

    def nodes(self, state: Step) -> tuple[Tensor, Tensor]:
        """Predicted positions and velocities x_0 .. x_K, v_0 .. v_K: (K + 1, batch, nodes, dims) each."""
        position, velocity = state.position, state.velocity
        positions, velocities = [], []
        for _ in range(self.intervals + 1):
            position, velocity = self.call(position, velocity, state)
            positions.append(position)
            velocities.append(velocity)
        return torch.stack(positions), torch.stack(velocities)

    def position_after(self, positions: Tensor, velocities: Tensor, state: Step) -> Tensor:
        """x(T) by the rule, from what `nodes` returns."""
        anchor = state.position if self.anchor == "start" else positions[0]
        return anchor + newton_cotes(velocities, state.duration)

    def step(self, state: Step) -> tuple[Tensor, Tensor | None]:
        """x(T), and v_K as the velocity there if it was learned (align > 0)."""
        positions, velocities = self.nodes(state)
        return self.position_after(positions, velocities, state), velocities[-1] if self.align else None

    def batches(self, data: Rollouts, size: int, generator: torch.Generator) -> Iterator[Any]:
        """With `extra`, each step holds the true velocities at t_1 .. t_K."""
        if self.extra and self.intervals > 1:
            if data.span % self.intervals:
                raise DataError(
                    f"{data.name}: a step of {data.span} frames has no frame at every 1/{self.intervals} of it, where "
                    f"NC+ needs velocities; take a span that is a multiple of {self.intervals} or extra=False"
                )
            data = data.step_between(data.start, data.span, parts=self.intervals)
        return data.batches(size, generator)

    def loss(self, batch: Step) -> dict[str, Tensor]:
        """The sum, and its three terms."""
        positions, velocities = self.nodes(batch)
        found = self.position_after(positions, velocities, batch)
        terms = {"position": (found - batch.target).square().mean() / self.units.motion.square()}
        if self.align:
            terms["alignment"] = self.align * self.misalignment(velocities, batch)
        if self.l2_anneal is not None:
            terms["penalty"] = self.rho * sum(weight.square().sum() for weight in self.parameters()) / 2
            if self.training:
                self.rho.mul_(self.l2_anneal)
        return {"loss": torch.stack(list(terms.values())).sum()} | terms

    def misalignment(self, velocities: Tensor, batch: Step) -> Tensor:
        """A: squared errors of the velocities, weighted as integers as in the official code."""
        if batch.velocities is None:
            raise DataError("NCGNN learns from the velocity at the end of a step, which this step does not hold")
        truth = batch.velocities if self.extra else batch.velocities[:, -1:]
        if self.extra and truth.shape[1] != max(1, self.intervals):
            raise DataError(
                f"NC+ with {self.intervals} intervals learns from as many velocities within a step; this one holds "
                f"{truth.shape[1]}: use step_between(start, span, parts={self.intervals})"
            )
        miss = (velocities[-truth.shape[1] :] - truth.transpose(0, 1)).square().mean((1, 2, 3))
        weights = torch.tensor(self.weights[-truth.shape[1] :], dtype=miss.dtype, device=miss.device)
        return (weights * miss).sum() * (batch.duration / self.units.motion).square()
