"""Integrate dx/dt = v(x, t) over any monotone nodes, forwards or backwards, with fixed or adaptive steps.

Fixed-step methods take exactly one step per interval of `times`: the grid is the schedule, and few-step
schedules are just other grids. Dormand-Prince chooses its own steps inside every interval and lands on each
node. Gradients flow through the steps; wrap a call in `torch.no_grad()` where none are wanted.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from pathline.ode.tableaus import DORMAND_PRINCE, FIXED_STEP, Tableau

State = TypeVar("State", Tensor, tuple[Tensor, ...])
Parts = tuple[Tensor, ...]

# DOPRI5 in Hairer, Norsett, Wanner, section II.4: proportional-integral control with a safety factor.
SAFETY, PROPORTIONAL, INTEGRAL = 0.9, 0.17, 0.04
SHRINK, GROW = 0.2, 10.0


@dataclass(frozen=True)
class Solution(Generic[State]):
    """What a solver found, and what it cost.

    states:      (len(times), *x.shape) at the nodes, a tuple of such for a tuple state; (1, *x.shape) with
                 keep="last"
    evaluations: calls of the velocity (NFE); a slope that is reused counts once
    accepted, rejected: steps
    """

    states: State
    evaluations: int
    accepted: int
    rejected: int

    @property
    def final(self) -> State:
        """The state at the last node, shape (*x.shape)."""
        states: Any = self.states
        last: Any = states[-1] if isinstance(states, Tensor) else tuple(part[-1] for part in states)
        return last


@dataclass(frozen=True)
class Moved:
    """What `post_stage` may return when it moved a stage by an isometry, such as a reflection at a wall.

    state:     the stage, inside the domain
    pull_back: carries the slope found there back to where the stage came from, so that slopes of different
               stages can be combined; without it a method of higher order falls to first order at a wall
    """

    state: Any
    pull_back: Callable[[Any], Any]


def time_grid(steps: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """`steps` equal intervals from `start` to `end`: float64 nodes of shape (steps + 1,)."""
    if steps < 1:
        raise ValueError(f"a time grid needs at least 1 step, got {steps}")
    return torch.linspace(start, end, steps + 1, dtype=torch.float64)


def integrate(
    velocity: Callable[[State, Tensor], State],
    x: State,
    times: Tensor | Sequence[float],
    method: str = "euler",
    atol: float = 1e-5,
    rtol: float = 1e-5,
    post_stage: Callable[[State, State], State | Moved] | None = None,
    post_step: Callable[[State, State], State] | None = None,
    keep: str = "all",
) -> Solution[State]:
    """Solve dx/dt = velocity(x, t), x(times[0]) = x, at every node of `times`.

    velocity:   (x, t) -> dx/dt; t is a tensor of no dimension, in at least float32; for a tuple, a tuple
    x:          a tensor (batch, ...), or a tuple of tensors that are integrated together
    times:      strictly increasing or strictly decreasing nodes, at least two
    method:     "euler", "midpoint", "heun", "rk3", "rk4": one step per interval; "dopri5": adaptive, orders 5(4)
    atol, rtol: dopri5 accepts a step when RMS(error / (atol + rtol |x|)) over the batch is at most 1; in a
                tuple state every part must pass, so that one log-density weighs as much as all pixels
    post_stage: (start of the step, stage) -> stage, before a velocity is evaluated there; may return `Moved`
    post_step:  (start of the step, result) -> result, after each accepted step
    keep:       "all" nodes, or only the "last", which saves the memory of the others

    Hooks change the field between steps, so with a hook no slope is carried over from one step to the next.
    Raises ValueError on unknown methods, nodes that are not monotone, velocities of another shape than the
    state or not finite at the start, and when dopri5 needs steps too small to change t.
    """
    nodes = checked_nodes(times)
    if method != "dopri5" and method not in FIXED_STEP:
        raise ValueError(f"unknown method '{method}'; choose one of {', '.join([*FIXED_STEP, 'dopri5'])}")
    if keep not in ("all", "last"):
        raise ValueError(f"keep is 'all' or 'last', got '{keep}'")
    field = _Field(velocity, x, post_stage)
    state: Parts = (x,) if isinstance(x, Tensor) else x
    after: Callable[[Parts, Parts], Parts] | None = None
    if post_step is not None:
        hook: Any = post_step

        def after(start: Parts, end: Parts) -> Parts:
            return field.pack(hook(field.unpack(start), field.unpack(end)))

    walk = (
        _Adaptive(field, after, nodes, atol, rtol) if method == "dopri5" else _Fixed(field, after, FIXED_STEP[method])
    )
    history: list[Parts] = [state]
    for begin, end in itertools.pairwise(nodes):
        state = walk.advance(state, begin, end)
        if keep == "last":
            history.clear()
        history.append(state)
    states: Any = field.unpack(tuple(torch.stack(parts) for parts in zip(*history, strict=True)))
    return Solution(states, field.evaluations, walk.accepted, walk.rejected)


def runge_kutta_step(
    tableau: Tableau,
    slope: Callable[[Parts, Parts, float], Parts],
    start: Parts,
    begin: float,
    end: float,
    first: Parts | None = None,
) -> tuple[Parts, list[Parts]]:
    """One step of an explicit method from `begin` to `end`: the new state and the slopes of all stages.

    slope: (start, stage, t) -> dx/dt at the stage; first: the slope at the start, when it is known already
    """
    dt = end - begin
    slopes = [slope(start, start, begin) if first is None else first]
    stage = start
    for node, row in zip(tableau.nodes[1:], tableau.stages[1:], strict=True):
        stage = _combine(start, slopes, row, dt)
        # Exactly `end` at c = 1: rounding must not carry a field past the edge of its domain of t.
        slopes.append(slope(start, stage, end if node == 1.0 else begin + node * dt))
    return stage if tableau.first_same_as_last else _combine(start, slopes, tableau.weights, dt), slopes


def _combine(start: Parts, slopes: list[Parts], weights: tuple[float, ...], dt: float) -> Parts:
    """x + dt sum_i w_i k_i, for every part of the state."""
    for slope, weight in zip(slopes, weights, strict=False):
        if weight:
            start = tuple(torch.add(x, k, alpha=dt * weight) for x, k in zip(start, slope, strict=True))
    return start


def checked_nodes(times: Tensor | Sequence[float]) -> list[float]:
    """Times as floats; ValueError unless they are at least two and strictly monotone."""
    nodes = [float(t) for t in (times.tolist() if isinstance(times, Tensor) else times)]
    steps = [end - begin for begin, end in itertools.pairwise(nodes)]
    if not steps or not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
        raise ValueError(f"times must be at least two strictly increasing or decreasing nodes, got {nodes}")
    return nodes


class _Field:
    """The user's velocity on states as tuples: counts calls, checks shapes, applies the stage hook."""

    def __init__(self, velocity: Any, x: Any, post_stage: Any) -> None:
        self.velocity, self.post_stage, self.evaluations = velocity, post_stage, 0
        self.single = isinstance(x, Tensor)
        first = x if self.single else x[0]
        self.time_dtype = torch.promote_types(first.dtype, torch.float32)
        self.device = first.device

    def pack(self, state: Any) -> Parts:
        return (state,) if self.single else tuple(state)

    def unpack(self, parts: Parts) -> Any:
        return parts[0] if self.single else parts

    def __call__(self, start: Parts, stage: Parts, t: float) -> Parts:
        """Slope at a stage; the start of a step is inside the domain already and is not moved."""
        if self.post_stage is None or stage is start:
            return self.evaluate(stage, t)
        moved = self.post_stage(self.unpack(start), self.unpack(stage))
        if not isinstance(moved, Moved):
            return self.evaluate(self.pack(moved), t)
        slope = self.evaluate(self.pack(moved.state), t)
        return self.pack(moved.pull_back(self.unpack(slope)))

    def evaluate(self, parts: Parts, t: float) -> Parts:
        self.evaluations += 1
        now = torch.tensor(t, dtype=self.time_dtype, device=self.device)
        slope = self.pack(self.velocity(self.unpack(parts), now))
        expected, found = ([tuple(part.shape) for part in side] for side in (parts, slope))
        if expected != found:
            raise ValueError(f"velocity returned shapes {found} for a state of shapes {expected}")
        return slope


class _Fixed:
    """One step of a tableau per interval."""

    def __init__(self, field: _Field, post_step: Any, tableau: Tableau) -> None:
        self.field, self.post_step, self.tableau = field, post_step, tableau
        self.accepted = self.rejected = 0

    def advance(self, state: Parts, begin: float, end: float) -> Parts:
        result, _ = runge_kutta_step(self.tableau, self.field, state, begin, end)
        self.accepted += 1
        return result if self.post_step is None else self.post_step(state, result)


class _Adaptive:
    """Dormand-Prince 5(4) under PI control; step size, last error and last slope live on across nodes."""

    def __init__(self, field: _Field, post_step: Any, nodes: list[float], atol: float, rtol: float) -> None:
        self.field, self.post_step, self.atol, self.rtol = field, post_step, atol, rtol
        self.span = nodes[-1] - nodes[0]
        self.smallest = 16 * torch.finfo(field.time_dtype).eps
        self.reuse = post_step is None and field.post_stage is None
        self.slope: Parts | None = None
        self.dt: float | None = None
        self.last_error = 1.0  # no step yet: nothing for the integral part to remember
        self.accepted = self.rejected = 0

    def advance(self, state: Parts, begin: float, end: float) -> Parts:
        t, retry = begin, False
        if self.dt is None:
            self.slope = self.field(state, state, t)
            self.dt = self._first_step(state, self.slope, t)
        while t != end:
            if abs(self.dt) < self.smallest * max(abs(t), abs(self.span)):
                raise ValueError(
                    f"dopri5 cannot reach atol={self.atol:g}, rtol={self.rtol:g} at t={t:.6g}: its step fell "
                    f"to {abs(self.dt):.1e}; the velocity is stiff or not finite there. Stop before that "
                    "time, loosen the tolerances, work in float64, or use a fixed-step method"
                )
            lands = abs(end - t) <= 1.01 * abs(self.dt)
            target = end if lands else t + self.dt
            result, slopes = runge_kutta_step(DORMAND_PRINCE, self.field, state, t, target, self.slope)
            error = self._error(state, result, slopes, target - t)
            if error <= 1.0:
                factor = SAFETY * max(error, 1e-10) ** -PROPORTIONAL * self.last_error**INTEGRAL
                proposal = (target - t) * min(max(factor, SHRINK), 1.0 if retry else GROW)
                # A step cut short by a node says nothing against the longer step that was planned.
                self.dt = max(proposal, self.dt, key=abs) if lands and not retry else proposal
                self.last_error = max(error, 1e-4)
                state = result if self.post_step is None else self.post_step(state, result)
                self.slope = slopes[-1] if self.reuse else None
                t, retry = target, False
                self.accepted += 1
            else:
                # NaN and infinity come here too and shrink the step until it underflows.
                factor = SAFETY * error**-0.2 if math.isfinite(error) else SHRINK
                self.dt = (target - t) * max(factor, SHRINK)
                self.slope, retry = slopes[0], True
                self.rejected += 1
        return state

    def _error(self, start: Parts, end: Parts, slopes: list[Parts], dt: float) -> float:
        zero = tuple(torch.zeros_like(x) for x in start)
        size = tuple(torch.maximum(x.abs(), y.abs()) for x, y in zip(start, end, strict=True))
        return self._norm(_combine(zero, slopes, DORMAND_PRINCE.error, dt), size)

    @torch.no_grad()
    def _norm(self, parts: Parts, size: Parts) -> float:
        """Largest over the parts of RMS(part / (atol + rtol size))."""
        scaled = [part / (self.atol + self.rtol * x) for part, x in zip(parts, size, strict=True)]
        return float(torch.stack([part.square().mean().sqrt().double() for part in scaled]).amax())

    def _first_step(self, state: Parts, slope: Parts, t: float) -> float:
        """Hairer's automatic starting step (algorithm of section II.4); costs one evaluation.

        It aims at the whole tolerance and not at a hundredth of it: a velocity that carries noise to data is
        smooth at the start, and a step that was too bold costs six evaluations, a timid one a step or two.
        """
        size = tuple(x.abs() for x in state)
        d0, d1 = self._norm(state, size), self._norm(slope, size)
        if not math.isfinite(d1):
            raise ValueError(f"the velocity is not finite at the start, t={t:.6g}; start a little later")
        probe = min(1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1, abs(self.span))
        signed = math.copysign(probe, self.span)
        ahead = self.field(state, _combine(state, [slope], (1.0,), signed), t + signed)
        d2 = self._norm(tuple(b - a for a, b in zip(slope, ahead, strict=True)), size) / probe
        steepest = max(d1, d2) if math.isfinite(d2) else math.inf
        guess = max(1e-6, 1e-3 * probe) if steepest <= 1e-15 else (1.0 / steepest) ** 0.2
        return math.copysign(max(min(100 * probe, guess, abs(self.span)), 1e-6 * abs(self.span)), self.span)
