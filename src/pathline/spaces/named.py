"""Domains by name and plain values, as a method's settings hold them."""

from collections.abc import Callable
from typing import Any

from pathline.spaces.annulus import HalfAnnulus
from pathline.spaces.ball import Ball
from pathline.spaces.base import Space
from pathline.spaces.box import Box
from pathline.spaces.polytope import Polytope, polygon
from pathline.spaces.simplex import Simplex

SPACES: dict[str, Callable[..., Space]] = {
    "box": Box,
    "simplex": Simplex,
    "ball": Ball,
    "polytope": Polytope,
    "polygon": polygon,
    "half-annulus": HalfAnnulus,
}


def space(settings: dict[str, Any]) -> Space:
    """The domain that `settings` name, such as {"name": "half-annulus", "inner": 1.0, "outer": 2.0}.

    Raises ValueError that says which names there are, or what is wrong with the values.
    """
    values = dict(settings)
    name = values.pop("name", None)
    if name not in SPACES:
        raise ValueError(f"there is no domain '{name}'; choose one of {', '.join(SPACES)}")
    try:
        return SPACES[name](**values)
    except TypeError as error:
        raise ValueError(f"domain '{name}': {error}") from None
