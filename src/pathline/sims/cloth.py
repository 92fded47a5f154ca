"""A rectangular piece of cloth as masses and springs, in wind: ground truth for simulators on meshes.

    m x'' = springs + m g + wind
    spring between i and j:  (k (|d| - L) + c d' . e) e  on i and its opposite on j,   d = x_j - x_i, e = d / |d|
    wind on a triangle:      drag A ((w - v) . n) n, a third on each corner,   v the mean velocity, n the unit normal

Springs join neighbours along the threads (stretch), along the diagonals (shear), and every second mass (bend). The
first column's corners, or all of that column, are held: a flag on a pole. Kick, drift, kick in float64: velocity Verlet
for the forces that depend on positions; damping and drag see the velocity at the middle of the step.
Provot, 1995, "Deformation Constraints in a Mass-Spring Model to Describe Rigid Cloth Behavior".
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pathline.data.meshes import Meshes, NodeType
from pathline.graph.segment import Segments

GRAVITY = 9.81  # m/s^2, along -z


@dataclass(frozen=True)
class Cloth:
    """rows x columns masses on a grid of `spacing` (m); density kg/m^2, springs N/m, damping N s/m, drag kg/(m^2 s).

    jitter: how far masses lie from the regular grid at rest, at most, in units of the spacing
    pins: "corners" of the first column, the whole "edge", or "none"
    """

    rows: int = 12
    columns: int = 12
    spacing: float = 1 / 11
    density: float = 0.2
    jitter: float = 0.25
    stretch: float = 10.0
    shear: float = 5.0
    bend: float = 1.0
    damping: float = 0.05
    drag: float = 0.12
    gravity: float = GRAVITY
    pins: Literal["corners", "edge", "none"] = "edge"

    @cached_property
    def mesh(self) -> Tensor:
        """(nodes, 2) float64 material coordinates, row by row: along the row, then up. Masses stay on the border."""
        row, column = torch.meshgrid(torch.arange(self.rows), torch.arange(self.columns), indexing="ij")
        grid = torch.stack([column, row], -1).double()
        shift = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
        shift[:, [0, -1], 0] = 0.0
        shift[[0, -1], :, 1] = 0.0
        return self.spacing * (grid + 2 * self.jitter * shift).flatten(0, 1)

    @cached_property
    def _grid(self) -> Tensor:
        return torch.arange(self.rows * self.columns).view(self.rows, self.columns)

    @cached_property
    def cells(self) -> Tensor:
        """(triangles, 3), counter-clockwise in material coordinates; diagonals alternate: no side is favoured."""
        g = self._grid
        a, b, c, d = (part.flatten() for part in (g[:-1, :-1], g[:-1, 1:], g[1:, 1:], g[1:, :-1]))
        row, column = torch.meshgrid(torch.arange(self.rows - 1), torch.arange(self.columns - 1), indexing="ij")
        even = ((row + column) % 2 == 0).flatten()[:, None]
        first = torch.where(even, torch.stack([a, b, c], 1), torch.stack([a, b, d], 1))
        second = torch.where(even, torch.stack([a, c, d], 1), torch.stack([b, c, d], 1))
        return torch.cat([first, second])

    @cached_property
    def held(self) -> Tensor:
        """(nodes,) bool: the masses that never move."""
        held = torch.zeros(self.rows, self.columns, dtype=torch.bool)
        if self.pins == "edge":
            held[:, 0] = True
        elif self.pins == "corners":
            held[[0, -1], 0] = True
        return held.flatten()

    @cached_property
    def springs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ends (2, S), stiffness (S,) and rest length (S,)."""
        g = self._grid
        kinds = (
            (self.stretch, [(g[:, :-1], g[:, 1:]), (g[:-1], g[1:])]),
            (self.shear, [(g[:-1, :-1], g[1:, 1:]), (g[:-1, 1:], g[1:, :-1])]),
            (self.bend, [(g[:, :-2], g[:, 2:]), (g[:-2], g[2:])]),
        )
        ends = [torch.stack([i.flatten(), j.flatten()]) for _, pairs in kinds for i, j in pairs]
        counts = torch.tensor([sum(i.numel() for i, _ in pairs) for _, pairs in kinds])
        stiffness = torch.tensor([k for k, _ in kinds], dtype=torch.float64).repeat_interleave(counts)
        joined = torch.cat(ends, 1)
        return joined, stiffness, (self.mesh[joined[1]] - self.mesh[joined[0]]).norm(dim=1)

    @property
    def mass(self) -> float:
        """Kilograms of every mass: equal shares of the whole."""
        area = (self.rows - 1) * (self.columns - 1) * self.spacing**2
        return self.density * area / (self.rows * self.columns)

    @cached_property
    def _ends(self) -> Segments:
        """Where spring forces act: on their first ends, then on their second ends."""
        return Segments(self.springs[0].flatten(), len(self.mesh))

    @cached_property
    def _corners(self) -> Segments:
        return Segments(self.cells.T.flatten(), len(self.mesh))

    @cached_property
    def _weight(self) -> Tensor:
        return torch.tensor([0.0, 0.0, -self.gravity * self.mass], dtype=torch.float64)

    def force(self, x: Tensor, v: Tensor, wind: Tensor) -> Tensor:
        """Newtons on every mass; x, v: (nodes, copies, 3), wind: (copies, 3) m/s."""
        (i, j), stiffness, rest = self.springs
        d = x.index_select(0, j) - x.index_select(0, i)
        length = d.norm(dim=2, keepdim=True)
        e = d / length
        pull = stiffness[:, None, None] * (length - rest[:, None, None])
        if self.damping:
            pull = pull + self.damping * ((v.index_select(0, j) - v.index_select(0, i)) * e).sum(2, keepdim=True)
        pull = pull * e
        total = self._ends.sum(torch.cat([pull, -pull]))
        if self.drag:
            a, b, c = (x.index_select(0, corner) for corner in self.cells.T)
            normal = torch.linalg.cross(b - a, c - a)  # of length 2 A
            slip = wind - sum(v.index_select(0, corner) for corner in self.cells.T) / 3
            pressure = (slip * normal).sum(2, keepdim=True) / normal.norm(dim=2, keepdim=True)
            total = total + self._corners.sum((self.drag / 6 * pressure * normal).repeat(3, 1, 1))
        return total + self._weight

    def step(self, x: Tensor, v: Tensor, a: Tensor, wind: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
        """Position, velocity and acceleration after dt seconds, each (nodes, copies, 3)."""
        half = v + 0.5 * dt * a
        x = x + dt * half
        a = self.acceleration(x, half, wind)
        return x, half + 0.5 * dt * a, a

    def acceleration(self, x: Tensor, v: Tensor, wind: Tensor) -> Tensor:
        """m/s^2, 0 for those that are held."""
        return (self.force(x, v, wind) / self.mass).masked_fill(self.held[:, None, None], 0.0)

    def run(self, x: Tensor, v: Tensor, wind: Tensor, frames: int, interval: float, substeps: int) -> Tensor:
        """Positions (copies, frames, nodes, 3) every `interval` seconds from the given state on (nodes, copies, 3)."""
        kept, a = [x], self.acceleration(x, v, wind)
        for _ in range(frames - 1):
            for _ in range(substeps):
                x, v, a = self.step(x, v, a, wind, interval / substeps)
            kept.append(x)
        return torch.stack(kept).permute(2, 0, 1, 3)

    def energy(self, x: Tensor, v: Tensor) -> Tensor:
        """(copies,) joules: of motion, springs and height."""
        (i, j), stiffness, rest = self.springs
        stretched = (x[j] - x[i]).norm(dim=2) - rest[:, None]
        height = self.gravity * x[:, :, 2:]
        moving = self.mass * (0.5 * v.square().sum(2, keepdim=True) + height)
        return moving.sum((0, 2)) + (0.5 * stiffness[:, None] * stretched.square()).sum(0)

    def hung(self, copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Random beginnings: the cloth flat in an upright plane, turned at random about its pole, and at rest but for
        a smooth swing out of that plane, and a wind of 2 to 5 m/s within a right angle of the plane's own direction."""
        draw = torch.rand(5, copies, generator=generator, dtype=torch.float64)
        turn = math.pi / 3 * (draw[0] - 0.5)
        along = torch.stack([turn.cos(), turn.sin(), torch.zeros_like(turn)], 1)
        across = torch.stack([-turn.sin(), turn.cos(), torch.zeros_like(turn)], 1)
        u = self.mesh
        x = u[:, :1, None] * along + u[:, 1:, None] * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        swing = (2 * draw[1] - 1) * torch.sin(math.pi * u[:, :1] / u[:, 0].max().clamp(min=1e-12) * (0.5 + draw[2]))
        v = (swing[:, :, None] * across).masked_fill(self.held[:, None, None], 0.0)
        angle = turn + (draw[3] - 0.5) * math.pi * 2 / 3
        wind = (2 + 3 * draw[4])[:, None] * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], 1)
        return x, v, wind


def simulated_cloth(
    rollouts: int = 30,
    frames: int = 60,
    interval: float = 0.01,
    substeps: int = 20,
    seed: int = 0,
    cloth: Cloth | None = None,
) -> Meshes:
    """`rollouts` flags from random beginnings in random steady winds, as `Meshes` whose node features are the wind.

    interval: seconds between frames;  substeps: time steps of the simulator within one
    Raises ValueError when the steps are too long to be stable.
    """
    cloth = cloth or Cloth()
    x, v, wind = cloth.hung(rollouts, torch.Generator().manual_seed(seed))
    positions = cloth.run(x, v, wind, frames, interval, substeps)
    if not bool((positions.abs() < 100 * (cloth.rows + cloth.columns) * cloth.spacing).all()):
        raise ValueError(f"{substeps} steps of {interval / substeps:g} s are unstable for this cloth: take more")
    return Meshes(
        mesh=cloth.mesh.float(),
        cells=cloth.cells,
        node_type=torch.where(cloth.held, int(NodeType.HANDLE), int(NodeType.NORMAL)),
        positions=positions.float(),
        features=wind.float()[:, None].expand(-1, len(cloth.mesh), -1).clone(),
        interval=interval,
        unit="m",
        name="simulated-cloth",
    )
