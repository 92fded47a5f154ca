"""Frame averaging for bodies: ordinary message passing on coordinates, made exactly equivariant by a few copies.

    h_i = Linear([x_i, v_i, features])  in each of the 2^d signed principal frames of the scene (8 in space)
    messages and updates as usual
    after each layer (levels = "all"): turn h, read as width / d vectors per node, back to the world, average over the
        copies, take the frame of these vectors and go on in it
    x_i' = x_i + T v_i + mean over the frame of g MLP(h_i)
Puny, Atzmon, Ben-Hamu, Smith, Grover, Lipman, 2022, "Frame Averaging for Invariant and Equivariant Network Design",
arXiv:2110.03336. The frames, and `symmetrize` for networks of any kind, are in `pathline.spaces.frames`.

Use it where the network that works best on the data knows nothing of symmetry: it keeps its expressiveness (an average
of universal networks is universal among equivariant maps) and costs 2^d forward passes. Where a frame is undefined (two
equal principal axes, neither told apart by velocities) answers depend on the axes, and where axes swap they jump.

Departs: the network predicts what a straight flight misses (residual = False: the position around the centroid, as in
the paper), in the data's own units; where positions alone leave a frame undefined, velocities help to define it.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Rollouts, Step
from pathline.nn.equivariant import EGCL
from pathline.nn.mlp import MLP
from pathline.simulate.base import LearnedSimulator
from pathline.spaces.frames import OrthogonalFrame, Turns


class FrameAveraging(LearnedSimulator):
    """Message passing on coordinates, averaged over frames.

    width, layers: 60 and 4 in the paper's runs; for levels = "all", dims must divide the width
    group:         "E" turns, flips and shifts; "SE" without flips, where mirror images behave differently
    levels:        a frame at the "input" only, or at "all" layers (the paper's n-body model)
    residual:      predict what a straight flight misses, not the position
    """

    recipe = Recipe(lr=2e-3, batch_size=100, steps=2000, clip=1.0)

    def __init__(
        self,
        dims: int = 3,
        node_features: int = 0,
        edge_features: int = 0,
        width: int = 60,
        layers: int = 4,
        group: Literal["E", "SE"] = "E",
        levels: Literal["input", "all"] = "all",
        residual: bool = True,
    ) -> None:
        super().__init__(node_features, edge_features)
        if group not in ("E", "SE"):
            raise MethodError(f"FrameAveraging: group is '{group}'; choose E or SE")
        if levels not in ("input", "all"):
            raise MethodError(f"FrameAveraging: levels is '{levels}'; choose input or all")
        if levels == "all" and width % dims:
            raise MethodError(
                f"FrameAveraging: width {width} is no whole number of {dims}-vectors; choose a multiple of {dims}"
            )
        self.dims, self.levels, self.residual = dims, levels, residual
        self.frame = OrthogonalFrame(dims, reflections=group == "E")
        self.embedding = nn.Linear(2 * dims + node_features, width)
        self.layers = nn.ModuleList(EGCL(width, edge_features, moves=False) for _ in range(layers))
        self.decoder = MLP([width, width, dims])

    @classmethod
    def _sizes(cls, data: Rollouts) -> dict[str, Any]:
        return super()._sizes(data) | {"dims": data.positions.shape[3]}

    def elements(self, x: Tensor, v: Tensor) -> Turns:
        """The frame of positions and velocities, (batch, nodes, dims) each."""
        return self.frame.elements(x, v, kinds=("point", "vector"))

    def copies(self, state: Step) -> Tensor:
        """The position after the step as each copy predicts it, in the world: (copies, batch, nodes, dims)."""
        units = self.units
        x, v = state.position / units.length, state.velocity / units.speed
        elements = self.elements(x, v)
        framed = [self.frame.act_inverse(elements, x, "point"), self.frame.act_inverse(elements, v, "vector")]
        count = len(elements.turn)
        h = self.embedding(torch.cat([*framed, *_repeated(self.node_columns(state), count)], -1))
        places, columns = x.expand(count, *x.shape), _repeated(self.edge_columns(state), count)
        for number, layer in enumerate(self.layers):
            if number and self.levels == "all":
                h, elements = self.reframed(h, elements)
            h, _ = layer(h, places, state.edge_index, columns[0] if columns else None)
        answer = self.frame.act(elements, self.decoder(h), "vector")
        if self.residual:
            return state.position + state.duration * state.velocity + units.bend * answer
        return state.position.mean(1, keepdim=True) + units.length * answer

    def reframed(self, h: Tensor, elements: Turns) -> tuple[Tensor, Turns]:
        """Features (copies, batch, nodes, width) as seen in the frame of their own average, and that frame."""
        nodes, width = h.shape[-2:]
        vectors = h.unflatten(-1, (width // self.dims, self.dims)).flatten(-3, -2)
        average = self.frame.act(elements, vectors, "vector").mean(0)
        elements = self.frame.elements(average)
        turned = self.frame.act_inverse(elements, average, "point")
        return turned.unflatten(-2, (nodes, width // self.dims)).flatten(-2), elements

    def step(self, state: Step) -> tuple[Tensor, None]:
        """The mean of the copies; a velocity is not predicted."""
        return self.copies(state).mean(0), None

    def checked(self, state: Any) -> Step:
        """Also refuses states in another number of dimensions."""
        state = super().checked(state)
        if state.position.shape[2] != self.dims:
            raise DataError(
                f"{type(self).__name__} learned in {self.dims} dimensions, the state has {state.position.shape[2]}"
            )
        return state


def _repeated(columns: list[Tensor], copies: int) -> list[Tensor]:
    return [column.expand(copies, *column.shape) for column in columns]
