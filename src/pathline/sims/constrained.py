"""Laws inside bounded domains that crowd at the walls: touchstones for flows that must not leave.

    square         [-1, 1]^2: three corners of densities that are highest on two walls, and a cloud in the middle
    simplex        x_i >= 0, sum x_i = 1 in R^10: three Dirichlet laws, of concentrations from 0.5 to 5
    half-annulus   1 <= |x| <= 2, x_2 >= 0: radii near the inner wall, angles near both ends and the middle

Labels name the component.
"""

from collections.abc import Callable

import numpy as np
import torch

from pathline.data import Samples
from pathline.spaces import HalfAnnulus

DIMS = 10  # of the simplex
CORNERS = ((1.0, 6.0), (6.0, 1.0), (20.0, 20.0))  # parameters of Beta laws on [0, 1]: low, high, middle
DOMAINS = {
    "square": {"name": "box", "lower": -1.0, "upper": 1.0},
    "simplex": {"name": "simplex", "dims": DIMS},
    "half-annulus": {"name": "half-annulus", "inner": 1.0, "outer": 2.0},
}


def constrained(name: str, count: int, seed: int = 0) -> Samples:
    """`count` independent draws of the law `name`, inside `DOMAINS[name]`. The same seed gives the same points.

    Raises ValueError on an unknown name or a count below 1.
    """
    if name not in _LAWS:
        raise ValueError(f"unknown law '{name}'; choose one of {', '.join(_LAWS)}")
    if count < 1:
        raise ValueError(f"a law is sampled at least once, got count {count}")
    random = np.random.default_rng(seed)
    draw, components = _LAWS[name]
    labels = random.integers(components, size=count)
    return Samples(values=torch.from_numpy(draw(labels, random)), labels=torch.from_numpy(labels), name=name)


def _beta(kinds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One Beta draw per entry of `kinds`, which number the laws in CORNERS."""
    return random.beta(*np.array(CORNERS)[kinds].T)


def _square(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    kinds = np.array([[0, 0], [0, 1], [1, 0], [2, 2]])[labels]
    return 2 * np.stack([_beta(kinds[:, 0], random), _beta(kinds[:, 1], random)], axis=1) - 1


def _simplex(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    concentrations = np.full((3, DIMS), 0.5)
    concentrations[0, :3] = concentrations[1, 3:6] = concentrations[2, 6:] = 5.0
    weights = random.gamma(concentrations[labels])
    return weights / weights.sum(1, keepdims=True)


def _half_annulus(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    radius = 1 + random.beta(1.0, 5.0, size=len(labels))
    polar = torch.from_numpy(np.stack([radius, np.pi * _beta(labels, random)], axis=1))
    return HalfAnnulus(1.0, 2.0).from_convex(polar).numpy()


_LAWS: dict[str, tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], int]] = {
    "square": (_square, 4),
    "simplex": (_simplex, 3),
    "half-annulus": (_half_annulus, 3),
}
