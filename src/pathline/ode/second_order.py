"""Integrate q'' = a(q, q', h): positions, velocities, and features h that a network carries along.

    semi-implicit Euler   q' <- q' + dt a;              q  <- q + dt q'            order 1, symplectic
    velocity Verlet       q <- q + dt q' + dt^2/2 a;    q' <- q' + dt/2 (a + a+)   order 2, and reversible
    Runge-Kutta           on the first-order system (q, q')' = (q', a)

where a+ is the acceleration at the new position.

Hairer, Lubich, Wanner, 2003, "Geometric numerical integration illustrated by the Stormer-Verlet method";
the carried features follow Liu, Cheng et al., 2024, "SEGNO", arXiv:2308.13212.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.ode.integrate import Parts, checked_nodes, runge_kutta_step
from pathline.ode.tableaus import FIXED_STEP

Acceleration = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class SecondOrderSolution:
    """States at the nodes: q, qdot (len(times), *q.shape), h (len(times), *h.shape) or None.

    evaluations: calls of the acceleration
    """

    q: Tensor
    qdot: Tensor
    h: Tensor | None
    evaluations: int


def integrate_second_order(
    acceleration: Acceleration,
    q: Tensor,
    qdot: Tensor,
    times: Tensor | Sequence[float],
    method: str = "semi-implicit-euler",
    h: Tensor | None = None,
    scale_h: bool = False,
    positions_only: bool = False,
) -> SecondOrderSolution:
    """Solve q'' = a(q, q', h) with one step per interval of `times`, which may decrease.

    acceleration:   (q, qdot, h) -> (qddot, h_next); h and h_next are None where nothing is carried. It does
                    not see the time: autonomy makes the trajectory between two states unique
    q, qdot:        (bodies, ..., dims), the same shape
    method:         "semi-implicit-euler", "verlet", or "euler", "midpoint", "heun", "rk3", "rk4"
    h:              carried features, any shape; a step moves h by (h_next - h), the residual form of SEGNO
    scale_h:        move h by dt (h_next - h) instead: features that follow an ODE of their own
    positions_only: promises that the acceleration ignores qdot. Then Verlet shares each evaluation between
                    two steps (n + 1 instead of 2 n) and is reversible; otherwise its second slope uses the
                    predicted velocity qdot + dt a, which keeps order 2

    Raises ValueError on an unknown method, shapes that differ, or nodes that are not monotone.
    """
    nodes = checked_nodes(times)
    choices = ["semi-implicit-euler", "verlet", *FIXED_STEP]
    if method not in choices:
        raise ValueError(f"unknown method '{method}'; choose one of {', '.join(choices)}")
    if q.shape != qdot.shape:
        raise ValueError(f"q has shape {tuple(q.shape)} but qdot {tuple(qdot.shape)}; they must agree")
    field = _Acceleration(acceleration, scale_h)
    history: list[Parts] = [(q, qdot) if h is None else (q, qdot, h)]
    shared: Parts | None = None
    for begin, end in itertools.pairwise(nodes):
        state = history[-1]
        if method == "verlet":
            state, shared = _verlet(field, state, end - begin, shared if positions_only else None)
        elif method == "semi-implicit-euler":
            state = _semi_implicit_euler(field, state, end - begin)
        else:
            state, _ = runge_kutta_step(FIXED_STEP[method], field.first_order(end - begin), state, begin, end)
        history.append(state)
    stacked = [torch.stack(parts) for parts in zip(*history, strict=True)]
    return SecondOrderSolution(stacked[0], stacked[1], None if h is None else stacked[2], field.evaluations)


class _Acceleration:
    """Counts calls and turns h_next into the change of h over a whole step."""

    def __init__(self, acceleration: Acceleration, scale_h: bool) -> None:
        self.acceleration, self.scale_h, self.evaluations = acceleration, scale_h, 0

    def __call__(self, state: Parts, dt: float) -> Parts:
        """(qddot,) or (qddot, change of h over the step)."""
        self.evaluations += 1
        h = state[2] if len(state) == 3 else None
        qddot, h_next = self.acceleration(state[0], state[1], h)
        if qddot.shape != state[0].shape:
            raise ValueError(f"acceleration has shape {tuple(qddot.shape)} for q of {tuple(state[0].shape)}")
        if h is None:
            return (qddot,)
        if h_next is None or h_next.shape != h.shape:
            raise ValueError("features h are carried, so the acceleration must return (qddot, h_next) like h")
        return qddot, (h_next - h) * (dt if self.scale_h else 1.0)

    def first_order(self, dt: float) -> Callable[[Parts, Parts, float], Parts]:
        """(q, qdot, h)' = (qdot, a, change / dt), as `runge_kutta_step` wants it."""

        def slope(start: Parts, stage: Parts, t: float) -> Parts:
            qddot, *change = self(stage, dt)
            return (stage[1], qddot, *(part / dt for part in change))

        return slope


def _semi_implicit_euler(field: _Acceleration, state: Parts, dt: float) -> Parts:
    qddot, *change = field(state, dt)
    qdot = state[1] + dt * qddot
    return (state[0] + dt * qdot, qdot, *(h + dh for h, dh in zip(state[2:], change, strict=True)))


def _verlet(field: _Acceleration, state: Parts, dt: float, known: Parts | None) -> tuple[Parts, Parts]:
    """One step, and what was evaluated at its end; `known` is what the step before evaluated there."""
    q, qdot = state[:2]
    qddot, *change = field(state, dt) if known is None else known
    h = tuple(part + dh for part, dh in zip(state[2:], change, strict=True))
    half = qdot + 0.5 * dt * qddot
    q = q + dt * half
    ahead = field((q, qdot + dt * qddot, *h), dt)
    return (q, half + 0.5 * dt * ahead[0], *h), ahead
