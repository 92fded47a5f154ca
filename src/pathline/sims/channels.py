"""Channels with one obstacle each, and the flow through them: what a surrogate of a flow solver learns from.

`steady` holds flows that come to rest, at Reynolds numbers from 20 to 40 with the obstacle's height and the mean speed:
all channels share fluid and inflow, so that the shape alone decides. Results are on disk after the first time.
"""

from torch import Tensor

from pathline.sims.cache import cached
from pathline.sims.lattice_boltzmann import steady_flow
from pathline.sims.shapes import HIGH, cover, random_shapes

PEAK = 0.08  # cells a step: the largest speed that enters
MEAN = PEAK * 2 / 3  # of the parabola
SLOWEST = 20.0  # Reynolds number of the lowest obstacle


def steady(count: int, height: int = 40, width: int = 96, seed: int = 0) -> dict[str, Tensor]:
    """`count` random shapes and their flows.

    Returns solid (items, height, width) bool; kind (items,); velocity (items, 2, height, width) in mean speeds;
    pressure (items, height, width) in density times mean speed squared, 0 on average at the outlet; steps (items,).
    """
    return cached("steady-channels", _steady, count=count, height=height, width=width, seed=seed)


def viscosity(height: int) -> float:
    """In cells^2 a step, of the fluid in all steady channels of this height."""
    return MEAN * HIGH[0] * height / SLOWEST


def _steady(count: int, height: int, width: int, seed: int) -> dict[str, Tensor]:
    shapes = random_shapes(count, height, width, seed)
    solid = cover(shapes, height, width)
    flow = steady_flow(solid, viscosity(height), PEAK)
    return {
        "solid": solid,
        "kind": shapes.kind,
        "velocity": flow.velocity / MEAN,
        "pressure": flow.pressure / MEAN**2,
        "steps": flow.steps,
    }
