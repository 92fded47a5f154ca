"""Vortices behind a cylinder in a channel, computed on a lattice and seen on the nodes of a graded triangle mesh.

The fluid is the lattice Boltzmann method's. Each trajectory has an inflow of its own, at Reynolds numbers from 60 to
108 with the cylinder's diameter and the mean speed, and begins with the flow tilted at random, so that vortices soon
part from the cylinder in turn. Nodes are dense at the cylinder and sparse far from it, as on meshes of finite elements;
types are those of the data of Pfaff et al., 2021, whose cylinders are walls too.

Lengths are in channel heights, velocities in the mean speed of the slowest inflow, times in one over the other.
"""

import math

import torch
from torch import Tensor

from pathline.data.meshes import Meshes, NodeType
from pathline.graph.mesh import delaunay
from pathline.nn.warp import sample_at
from pathline.sims.cache import cached
from pathline.sims.lattice_boltzmann import Lattice, parabola

HEIGHT, WIDTH = 60, 150  # cells
MIDDLE, RADIUS = (0.5, 0.52), 0.125  # of the cylinder, in channel heights; a little off the middle line
SLOWEST, PEAK = 60.0, (0.05, 0.09)  # Reynolds number of the slowest inflow; least and largest speed, cells a step
TILT = 0.1  # of the first velocity across the channel, as a share of that along
SETTLING = 4000  # steps before the first frame
FINE, COARSE = 0.03, 0.13  # distances of nodes at the cylinder and far from it


def cylinder_flow(rollouts: int = 12, frames: int = 60, every: int = 60, seed: int = 0) -> Meshes:
    """`rollouts` flows of `frames` frames, `every` so many steps of the lattice; velocity to integrate, pressure to
    predict beside it. Results are on disk after the first time."""
    sizes = {"rollouts": rollouts, "frames": frames, "every": every, "seed": seed}
    mesh, cells, node_type = graded_mesh(seed)
    values = cached("cylinder-flow", _simulate, **sizes)["values"]
    seen = at_nodes(values, mesh)
    still = node_type == NodeType.WALL
    velocity = torch.where(still[:, None], 0.0, seen[..., :2])
    unit = PEAK[0] * 2 / 3
    return Meshes(
        mesh=mesh.float(),
        cells=cells,
        fields={"velocity": velocity / unit, "pressure": seen[..., 2:] / unit**2},
        predicted="velocity",
        outputs=("pressure",),
        node_type=node_type,
        interval=every * unit / HEIGHT,
        unit="mean speeds",
        name="simulated-cylinder-flow",
    )


def graded_mesh(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes (nodes, 2) float64, triangles (triangles, 3) and types (nodes,) of the channel round the cylinder."""
    length = WIDTH / HEIGHT
    middle = torch.tensor(MIDDLE, dtype=torch.float64)
    circle = _circle(RADIUS, FINE)
    sides = torch.linspace(0, length, round(length / (0.7 * COARSE)) + 1, dtype=torch.float64)
    ends = torch.linspace(0, 1, round(1 / (0.7 * COARSE)) + 1, dtype=torch.float64)[1:-1]
    border = torch.cat(
        [
            torch.stack([sides, torch.zeros_like(sides)], 1),
            torch.stack([sides, torch.ones_like(sides)], 1),
            torch.stack([torch.zeros_like(ends), ends], 1),
            torch.stack([torch.full_like(ends, length), ends], 1),
        ]
    )
    rings, radius, gap = [circle + middle], RADIUS, FINE
    while radius + gap < math.hypot(length, 1):
        radius, gap = radius + gap, min(COARSE, gap * 1.2)
        rings.append(_circle(radius, gap, turned=len(rings)) + middle)
    inner = torch.cat(rings[1:])
    generator = torch.Generator().manual_seed(seed)
    inner = inner + 0.15 * FINE * torch.randn(inner.shape, generator=generator, dtype=torch.float64)
    room = 0.45 * _spacing(inner, middle)
    inside = (inner > room[:, None]).all(1) & (inner < torch.tensor([length, 1.0]) - room[:, None]).all(1)
    points = torch.cat([border, rings[0], inner[inside]])
    cells = delaunay(points)
    centre = points[cells].mean(1)
    cells = cells[(centre - middle).norm(dim=1) > RADIUS * math.cos(math.pi / len(circle))]
    x, y = points.T
    node_type = torch.full((len(points),), int(NodeType.NORMAL))
    node_type[x == 0] = int(NodeType.INFLOW)
    node_type[x == length] = int(NodeType.OUTFLOW)
    node_type[(y == 0) | (y == 1)] = int(NodeType.WALL)
    node_type[len(border) : len(border) + len(circle)] = int(NodeType.WALL)
    return points, cells, node_type


def _circle(radius: float, gap: float, turned: int = 0) -> Tensor:
    count = max(8, round(2 * math.pi * radius / gap))
    angle = 2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.5 * (turned % 2)) / count
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def _spacing(points: Tensor, middle: Tensor) -> Tensor:
    """Distance of nodes to expect at `points`: from FINE at the cylinder it grows with the distance up to COARSE."""
    return (FINE + 0.17 * ((points - middle).norm(dim=1) - RADIUS)).clamp(FINE, COARSE)


def at_nodes(values: Tensor, mesh: Tensor) -> Tensor:
    """Fields (..., 3, height, width) at cell centres as (..., nodes, 3) at points in channel heights: linear between
    centres; beyond the last ones velocities go on to 0 at the walls and everything is level at the ends."""
    across = torch.tensor([-1.0, -1.0, 1.0]).view(3, 1, 1)
    below, above = values[..., :1, :], values[..., -1:, :]
    padded = torch.cat([across * below, values, across * above], -2)
    flat = padded.flatten(0, -4)
    place = mesh.float() * values.shape[-2] + torch.tensor([-0.5, 0.5])
    seen = sample_at(flat, place.T[None, :, None].expand(len(flat), -1, -1, -1), outside="border")
    return seen[:, :, 0].mT.unflatten(0, values.shape[:-3])


def _simulate(rollouts: int, frames: int, every: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    peak = PEAK[0] + (PEAK[1] - PEAK[0]) * torch.rand(rollouts, generator=generator, dtype=torch.float64)
    inflow = peak[:, None] * parabola(HEIGHT, 1.0)
    along = inflow[:, :, None].expand(-1, -1, WIDTH)
    tilt = TILT * (2 * torch.rand(rollouts, 1, 1, generator=generator, dtype=torch.float64) - 1)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    away = torch.stack([columns + 0.5, rows + 0.5], -1).double() / HEIGHT - torch.tensor(MIDDLE, dtype=torch.float64)
    solid = (away.norm(dim=-1) < RADIUS).expand(rollouts, -1, -1).contiguous()
    viscosity = PEAK[0] * 2 / 3 * 2 * RADIUS * HEIGHT / SLOWEST
    lattice = Lattice(solid, viscosity, inflow, torch.stack([along, tilt * along], 1))
    seen = []
    for frame in range(frames):
        for _ in range(every if frame else SETTLING):
            lattice.step()
        density, *velocity = lattice.moments()
        pressure = density / 3
        pressure = pressure - pressure[..., -1].mean(1)[:, None, None]
        seen.append(torch.stack([*velocity, pressure], 1) * ~solid[:, None])
    return {"values": torch.stack(seen, 1)}
