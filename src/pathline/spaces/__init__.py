"""Bounded domains, and what happens at their walls: reflection or projection, as hooks of the solvers in `ode`.

from pathline.spaces import Box
walls = Box(-1.0, 1.0).hooks("reflect")
integrate(velocity, x, times, "midpoint", post_stage=walls.post_stage, post_step=walls.post_step)    # never leaves

`space({"name": "ball", "dims": 3, "radius": 2.0})` makes a domain from plain values.
"""

from pathline.spaces.annulus import HalfAnnulus
from pathline.spaces.ball import Ball
from pathline.spaces.base import BOUNDARIES, Hooks, Space
from pathline.spaces.box import Box
from pathline.spaces.named import space
from pathline.spaces.polytope import Polytope, polygon
from pathline.spaces.simplex import Simplex
from pathline.spaces.tracing import Faces, Sphere, trace

__all__ = [
    "BOUNDARIES",
    "Ball",
    "Box",
    "Faces",
    "HalfAnnulus",
    "Hooks",
    "Polytope",
    "Simplex",
    "Space",
    "Sphere",
    "polygon",
    "space",
    "trace",
]
