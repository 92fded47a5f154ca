"""How a flow finds its way round an obstacle that was not there: the wake grows until the flow is steady.

The channels are those of `channels`, filled by the parabola that enters; at time 0 the obstacle stands in it.
"""

import torch
from torch import Tensor

from pathline.sims.cache import cached
from pathline.sims.channels import MEAN, PEAK, viscosity
from pathline.sims.lattice_boltzmann import Lattice, parabola
from pathline.sims.shapes import cover, random_shapes

SETTLING = 200  # steps before the first frame, in which the shock of the start leaves the channel


def starting(
    count: int, frames: int = 20, every: int = 100, height: int = 40, width: int = 96, seed: int = 0
) -> dict[str, Tensor]:
    """`count` random shapes and `frames` frames of their flows, `every` so many steps.

    Returns solid (items, height, width) bool; values (items, frames, 3, height, width): velocity along and across in
    mean speeds, pressure in density times mean speed squared, 0 on average at the outlet.
    """
    sizes = {"count": count, "frames": frames, "every": every, "height": height, "width": width, "seed": seed}
    return cached("starting-flow", _starting, **sizes)


def interval(every: int, height: int) -> float:
    """Time between frames, in channel heights over mean speed."""
    return every * MEAN / height


def _starting(count: int, frames: int, every: int, height: int, width: int, seed: int) -> dict[str, Tensor]:
    solid = cover(random_shapes(count, height, width, seed), height, width)
    inflow = parabola(height, PEAK)
    start = torch.stack([inflow[:, None].expand(height, width), torch.zeros(height, width, dtype=torch.float64)])
    lattice = Lattice(solid, viscosity(height), inflow, start)
    seen = []
    for frame in range(frames):
        for _ in range(every if frame else SETTLING):
            lattice.step()
        density, along, across = lattice.moments()
        pressure = density / 3
        pressure = pressure - pressure[..., -1].mean(1)[:, None, None]
        seen.append(torch.stack([along / MEAN, across / MEAN, pressure / MEAN**2], 1) * ~solid[:, None])
    return {"solid": solid, "values": torch.stack(seen, 1)}
