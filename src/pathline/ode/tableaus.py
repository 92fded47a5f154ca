"""Runge-Kutta methods as data: one Butcher tableau each.

    k_i = f(x + dt sum_j a_ij k_j, t + c_i dt)         x_next = x + dt sum_i b_i k_i

Hairer, Norsett, Wanner, 1993, "Solving Ordinary Differential Equations I"; the embedded pair is Dormand and
Prince, 1980, "A family of embedded Runge-Kutta formulae".
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method.

    order:   of convergence in the step size
    nodes:   c, when each stage is evaluated, as a fraction of the step
    stages:  a, row i holds the weights of the slopes 0 .. i-1 that lead to stage i
    weights: b, of the slopes in the result
    error:   b - b*, the weights of the difference to the embedded method of lower order; empty without one
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] = ()

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage is the result, so that its slope opens the next step for free (FSAL)."""
        return (*self.stages[-1], 0.0) == self.weights


def _numbers(row: str) -> tuple[float, ...]:
    """Fractions, read exactly and rounded once."""
    return tuple(float(Fraction(entry)) for entry in row.split())


EULER = Tableau(order=1, nodes=(0.0,), stages=((),), weights=(1.0,))

MIDPOINT = Tableau(order=2, nodes=(0.0, 0.5), stages=((), (0.5,)), weights=(0.0, 1.0))

HEUN = Tableau(order=2, nodes=(0.0, 1.0), stages=((), (1.0,)), weights=(0.5, 0.5))

HEUN3 = Tableau(
    order=3,
    nodes=_numbers("0 1/3 2/3"),
    stages=((), _numbers("1/3"), _numbers("0 2/3")),
    weights=_numbers("1/4 0 3/4"),
)

RK4 = Tableau(
    order=4,
    nodes=(0.0, 0.5, 0.5, 1.0),
    stages=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    weights=_numbers("1/6 1/3 1/3 1/6"),
)

_FIFTH = _numbers("35/384 0 500/1113 125/192 -2187/6784 11/84")
_FOURTH = _numbers("5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40")

DORMAND_PRINCE = Tableau(
    order=5,
    nodes=_numbers("0 1/5 3/10 4/5 8/9 1 1"),
    stages=(
        (),
        _numbers("1/5"),
        _numbers("3/40 9/40"),
        _numbers("44/45 -56/15 32/9"),
        _numbers("19372/6561 -25360/2187 64448/6561 -212/729"),
        _numbers("9017/3168 -355/33 46732/5247 49/176 -5103/18656"),
        _FIFTH,
    ),
    weights=(*_FIFTH, 0.0),
    error=tuple(b - c for b, c in zip((*_FIFTH, 0.0), _FOURTH, strict=True)),
)

FIXED_STEP = {"euler": EULER, "midpoint": MIDPOINT, "heun": HEUN, "rk3": HEUN3, "rk4": RK4}
