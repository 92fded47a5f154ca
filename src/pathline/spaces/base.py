"""What every bounded domain can do.

A reflected flow is dx = v dt + n dL, where n is the inward normal and L grows only at the wall (Skorokhod). A solver
realises it by folding whatever steps over the wall back inside: see `hooks`.
Xie, Zhu, Yu, et al., 2024, "Reflected Flow Matching", arXiv:2405.16577.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.func import jvp

from pathline.ode import Moved

BOUNDARIES = ("reflect", "project", "none")


class Hooks(NamedTuple):
    """`post_stage` and `post_step` of `ode.integrate`; both None without a boundary."""

    post_stage: Callable[[Tensor, Tensor], Moved | Tensor] | None
    post_step: Callable[[Tensor, Tensor], Tensor] | None


class Space(ABC):
    """A closed bounded domain; points are (batch, *shape).

    convex:    whether segments between its points stay inside
    exactness: how far outside a point may lie and still count as inside, in float64; a millionth in float32
    shape:     of one point
    """

    shape: tuple[int, ...]
    convex: ClassVar[bool] = True
    exactness: ClassVar[float] = 1e-9

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` points uniform in the domain, float64 (count, *shape)."""

    @abstractmethod
    def excess(self, x: Tensor) -> Tensor:
        """How far each point is beyond the walls, at most 0 inside: (batch, *shape) -> (batch,)."""

    @abstractmethod
    def reflect(self, old: Tensor, new: Tensor) -> Moved:
        """Where the straight way from `old`, inside, to `new` ends if the walls are mirrors.

        Its `pull_back` carries a slope found there back through the mirrors.
        """

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the domain."""

    def contains(self, x: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether points lie inside up to `tolerance`: (batch, *shape) -> bool (batch,). NaN lies nowhere."""
        if tolerance is None:
            tolerance = self.exactness if x.dtype == torch.float64 else min(1e-6, 1e3 * self.exactness)
        return self.excess(x) <= tolerance

    def to_convex(self, x: Tensor) -> Tensor:
        """The map g to a convex set; the identity for a domain that is convex itself."""
        return x

    def from_convex(self, u: Tensor) -> Tensor:
        """The inverse of `to_convex`."""
        return u

    def between(self, x0: Tensor, x1: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The path from x0 to x1 inside the domain at times t (batch,), and its velocity, both like x0.

        psi = g^-1((1 - t) g(x0) + t g(x1)), which is the straight segment in a convex domain: it never meets a wall.
        """
        t = t.reshape(-1, *[1] * (x0.ndim - 1))
        if self.convex:
            return (1 - t) * x0 + t * x1, x1 - x0
        u0, u1 = self.to_convex(x0), self.to_convex(x1)
        moving: Any = jvp(self.from_convex, ((1 - t) * u0 + t * u1,), (u1 - u0,))
        return moving[0], moving[1]

    def hooks(self, boundary: str = "reflect", carry_back: bool = True) -> Hooks:
        """What a solver does at the wall: "reflect", "project", or "none".

        carry_back: whether slopes of reflected stages are mirrored back, which keeps the order of the solver where a
            path bounces. Where a velocity presses against the wall instead, they jump there, and steps that adapt to
            their error become tiny: False then, so that the error is that of the unfolded, smooth stages
        """
        if boundary not in BOUNDARIES:
            raise ValueError(f"boundary is '{boundary}'; choose one of {', '.join(BOUNDARIES)}")
        if boundary == "none":
            return Hooks(None, None)
        if boundary == "project":
            return Hooks(lambda old, new: self.project(new), lambda old, new: self.project(new))

        def end(old: Tensor, new: Tensor) -> Tensor:
            state: Tensor = self.reflect(old, new).state
            return state

        return Hooks(self.reflect if carry_back else end, end)
