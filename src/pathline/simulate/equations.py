"""Simulating a transport equation: given where it starts and what carries it, say what it looks like at every time.

The verb is `solve(times)`. A method learns from the equation alone (its residual at collocation points and its initial
state), never from a solution. Errors are relative L2 norms over a grid of places and times, against a solution by
Fourier modes (`pathline.sims.pseudo_spectral`), which is made for judging only.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Computed, Figure, Method, Recipe
from pathline.data.equation import Equation, Nodes
from pathline.nn.collocation import grid_points
from pathline.nn.conditions import PENALTIES, penalty
from pathline.sims.pseudo_spectral import interpolate, solution

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LOOKED_AT = (97, 47)  # labels and times of `score`: a grid that shares few nodes with that of training
PANELS = 5


class EquationSolver(Method):
    """What all methods for an `Equation` share.

    points, speed, self_advection, viscosity, duration, period: of the equation; `for_data` reads them off
    """

    room = "simulate"
    container = Equation
    precision = "fp32"  # second derivatives in bf16 are noise
    initial: Tensor

    def __init__(
        self, points: int, speed: float, self_advection: float, viscosity: float, duration: float, period: float
    ) -> None:
        super().__init__()
        self.speed, self.self_advection, self.viscosity = speed, self_advection, viscosity
        self.duration, self.period = duration, period
        self.register_buffer("initial", torch.zeros(points))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        equation = cls.require(data)
        names = ("speed", "self_advection", "viscosity", "duration", "period")
        method = cls(**{"points": len(equation.initial)} | {name: getattr(equation, name) for name in names} | config)
        method.initial.copy_(equation.initial)
        return method

    def solve(self, times: Tensor) -> Tensor:
        """u at `times` (frames,) and the equation's places: (frames, points)."""
        raise NotImplementedError

    def check(self, data: Any) -> Equation:
        """`data`, if it is the equation that was learned."""
        equation: Equation = self.require(data)
        for name in ("speed", "self_advection", "viscosity", "period"):
            ours, theirs = getattr(self, name), getattr(equation, name)
            if abs(ours - theirs) > 1e-6 * max(1.0, abs(ours)):
                raise DataError(
                    f"{equation.name}: its {name} is {theirs:g}, but this {type(self).__name__} solves the equation "
                    f"with {ours:g}; fit it anew"
                )
        if equation.initial.shape != self.initial.shape or not torch.allclose(
            equation.initial, self.initial.cpu().float(), atol=1e-5
        ):
            raise DataError(f"{equation.name}: another initial state than {type(self).__name__} learned; fit it anew")
        if equation.duration > self.duration * (1 + 1e-6):
            raise DataError(
                f"{equation.name}: it lasts {equation.duration:g}, but {type(self).__name__} learned {self.duration:g}"
            )
        return equation

    def start(self, x: Tensor) -> Tensor:
        """u0 at any places x (batch,)."""
        return interpolate(self.initial.to(x.dtype), x, self.period)

    def carried(self, u: Tensor) -> Tensor:
        """The speed f(u)."""
        return self.speed + self.self_advection * u

    @property
    def fastest(self) -> float:
        """The largest speed at time 0, in periods/(2 pi) per duration, but at least 1: what displacements and their
        rates are measured by."""
        span = self.carried(self.initial).abs().max() * self.duration / (self.period / (2 * torch.pi))
        return max(1.0, float(span))

    # -- metrics ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, data: Equation, seed: int = 0) -> dict[str, float]:
        """relative_l2: |u - truth| / |truth| over all places and times; final_relative_l2: at the last time."""
        equation = self.check(data)
        truth = solution(equation)
        wrong = self.solve(equation.times).double().cpu() - truth
        final = wrong[-1].norm() / truth[-1].norm()
        return {"relative_l2": float(wrong.norm() / truth.norm()), "final_relative_l2": float(final)}

    def predict(self, data: Equation, seed: int = 0) -> "pd.DataFrame":
        """A row per time and place: t, x, u."""
        import pandas as pd

        equation = self.check(data)
        with torch.no_grad():
            u = self.solve(equation.times).cpu()
        t, x = torch.cartesian_prod(equation.times, equation.x).unbind(1)
        return pd.DataFrame({"t": t.numpy(), "x": x.numpy(), "u": u.flatten().numpy()})

    @classmethod
    def figures(cls, methods: Mapping[str, Method], data: Equation) -> list[Figure]:
        """u over place and time, and its last profile."""
        solvers = {name: method for name, method in methods.items() if isinstance(method, EquationSolver)}
        return [draw_solutions(solvers, data)]


class CollocationSolver(EquationSolver):
    """A solver that is trained on the residual of the equation at the nodes of a grid, all in one batch, and on the
    initial state.

    labels, times:  nodes of the grid around the period and from 0 to the duration
    initial_weight: of the penalty on the initial state
    norm:           "squared": mean squares; "root": their roots, as L2 norms
    """

    recipe: ClassVar[Recipe] = Recipe(steps=1500, lr=2e-3, validations=5)

    def __init__(
        self,
        points: int,
        speed: float,
        self_advection: float,
        viscosity: float,
        duration: float,
        period: float,
        labels: int = 64,
        times: int = 32,
        initial_weight: float = 10.0,
        norm: str = "squared",
    ) -> None:
        super().__init__(points, speed, self_advection, viscosity, duration, period)
        if norm not in PENALTIES:
            raise MethodError(f"norm is '{norm}'; choose one of {', '.join(PENALTIES)}")
        self.labels, self.times, self.initial_weight, self.norm = labels, times, initial_weight, norm

    def batches(self, data: Equation, size: int, generator: torch.Generator) -> Iterator[Nodes]:
        """The whole grid, once."""
        yield self.nodes(self.labels, self.times)

    def epoch_length(self, data: Equation, size: int) -> int:
        return 1

    def nodes(self, labels: int, times: int) -> Nodes:
        """A grid: `labels` places around the period for each of `times` times from 0 to the duration."""
        grid = grid_points([times, labels], [0.0, 0.0], [self.duration, self.period], [True, False])
        return Nodes(x=grid[:, 1], t=grid[:, 0])

    def losses(self, nodes: Nodes) -> dict[str, Tensor]:
        """Every term and, as 'loss', their weighted sum."""
        raise NotImplementedError

    def loss(self, batch: Nodes) -> dict[str, Tensor]:
        """The equation's residual and the initial state's, weighted."""
        return self.losses(batch)

    def score(self, data: Equation, seed: int = 0) -> float:
        """The loss on another grid: no solution is asked for, so none is learned from."""
        self.check(data)
        with torch.no_grad():
            return float(self.losses(self.nodes(*LOOKED_AT).to(self.device))["loss"])

    def penalty(self, residual: Tensor) -> Tensor:
        return penalty(residual, self.norm)


class InitialState(Computed, EquationSolver):
    """u stays as it was at time 0: what a solver must beat."""

    def read(self, data: Equation) -> None:
        """Refuse an equation other than the one it was built for."""
        self.check(data)

    def loss(self, batch: Nodes) -> Tensor:
        """Nothing is minimised."""
        return self.initial.new_zeros(())

    def solve(self, times: Tensor) -> Tensor:
        return self.initial.expand(len(times), -1)


def draw_solutions(solvers: "Mapping[str, EquationSolver]", data: Equation) -> Figure:
    """Truth and solutions as pictures of place and time, and their profiles at the last time."""
    from matplotlib.figure import Figure as Picture

    chosen = dict(list(solvers.items())[:PANELS])
    truth = solution(data)
    with torch.no_grad():
        found = {name: solver.solve(data.times).double().cpu() for name, solver in chosen.items()}
    picture = Picture(figsize=(2.6 * (len(chosen) + 1) + 0.8, 5.4), layout="constrained")
    upper = picture.subplots(2, len(chosen) + 1, squeeze=False, gridspec_kw={"height_ratios": [1.4, 1]})
    low, high = float(truth.min()), float(truth.max())
    for place, (name, u) in enumerate({"truth": truth, **found}.items()):
        panel: Axes = upper[0, place]
        image = panel.imshow(
            u, origin="lower", aspect="auto", extent=(0, data.period, 0, data.duration), vmin=low, vmax=high
        )
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("x")
        below: Axes = upper[1, place]
        below.plot(data.x, truth[-1], color="#b5b5b5", linewidth=3, label="truth")
        below.plot(data.x, u[-1], color="#0072b2", linewidth=1.2, label="found")
        below.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
        below.set_xlabel("x")
        below.spines[["top", "right"]].set_visible(False)
    upper[0, 0].set_ylabel("t")
    upper[1, 0].set_ylabel(f"u at t = {data.duration:g}")
    upper[1, -1].legend(frameon=False, fontsize=8)
    picture.colorbar(image, ax=upper[0, :], shrink=0.9, label="u")
    return Figure("Solutions", f"{data.words} in {data.name}: u over place and time, and at the last time.", picture)
