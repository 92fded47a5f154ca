"""The box: walk from the corner 0 of [0, 1]^2 in steps of length `delta` and stop somewhere.

    first move   radius rho = delta b1, angle phi = (pi/2) b2: area density p(b1) p(b2) / (delta (pi/2) rho)
    next moves   stop, or delta (cos phi, sin phi) with phi in the window that stays inside:
                 arccos(min(1, (1 - x1)/delta)) .. arcsin(min(1, (1 - x2)/delta)); arc density p(u) / (width delta)
    backward     |x| <= delta: s_0 with mass 1; else an angle in arccos(min(1, x1/delta)) .. arcsin(min(1, x2/delta))
    reward       0.1 + 0.5 prod 1[|x_d - 1/2| > 1/4] + 2 prod 1[0.3 < |x_d - 1/2| < 0.4]     Z = 0.305

b1, b2 and u are mixtures of Betas. kappa is area at s_0 and arc length elsewhere, kappa_b is arc length, nu is area
(and a point mass at s_0): translations keep area, so (c) of measurable pointed graphs holds. The window is empty
within delta of the far corner, and there alone a walk must stop.
Lahlou et al., 2023, arXiv:2301.12594.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.sims.environments.continuous import ContinuousEnvironment
from pathline.spaces.mixtures import BetaMixture

CELLS = 20  # along each side
THINNEST = 1e-6  # a window of angles narrower than this is empty


@dataclass(frozen=True, kw_only=True)
class Box(ContinuousEnvironment):
    """Points of the unit square.

    delta: length of a step; the class of the official code has 0.1, its experiments 0.1 and 0.25
    low, middle, high: the rewards of the floor, of the four outer squares and of the four small ones inside them
    span:  Beta parameters lie between 0.1 and 0.1 + span
    waves: harmonics pi, 2 pi, 4 pi, ... of each coordinate that a network sees beside the coordinate; ours, 0 for none

    States are points (n, 2); actions (n, 3) hold radius, angle and whether this is a stop.
    """

    delta: float = 0.25
    low: float = 0.1
    middle: float = 0.5
    high: float = 2.0
    span: float = 2.0
    waves: int = 6
    name: str = "box"

    fan: ClassVar[float] = math.pi / 2  # of the first move

    @property
    def width(self) -> int:
        return 2

    @property
    def features(self) -> int:
        return 2 + 4 * self.waves

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise DataError(f"{self.name}: delta is {self.delta:g}; a step's length lies between 0 and 1")
        if min(self.low, self.middle, self.high) < 0 or self.low == 0:
            raise DataError(f"{self.name}: rewards {self.low:g}, {self.middle:g}, {self.high:g} must be positive")

    @property
    def bound(self) -> int:
        """The first move, 2 / delta more since each adds at least delta to x1 + x2, and the stop."""
        return 2 + math.floor(2 / self.delta)

    def forward_size(self, components: int) -> int:
        return 1 + BetaMixture.size(components)

    def source_size(self, components: int) -> int:
        return 2 * BetaMixture.size(components)

    def backward_size(self, components: int) -> int:
        return BetaMixture.size(components)

    def plain(self, states: Tensor, first: bool) -> Tensor:
        """Betas of 0.4, which love the edges of a window, without which walks keep to the diagonal; few stops."""
        raw = torch.full_like(super().plain(states, first), _logit(0.3 / self.span))
        if first:
            raw[:, 1] = _logit(0.4 / self.span)  # alpha of the radius: enough walks keep away from 0 to weigh areas
        else:
            raw[:, 0] = -math.log(self.bound - 1)
        return raw

    def source(self, count: int) -> Tensor:
        return torch.zeros(count, 2)

    def encode(self, states: Tensor) -> Tensor:
        """The point in -1 .. 1, and waves of it that make edges within the box easy to draw."""
        frequency = math.pi * 2.0 ** torch.arange(self.waves, device=states.device, dtype=states.dtype)
        phase = (states[:, :, None] * frequency).flatten(1)
        return torch.cat([2 * states - 1, phase.sin(), phase.cos()], -1)

    # -- windows of angles --------------------------------------------------------------------------------------------

    def window(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Lowest angle and width of the moves that stay inside; the width is 0 where none does."""
        return self._angles((1 - states) / self.delta)

    def window_back(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the moves that could have led here."""
        return self._angles(states / self.delta)

    def _angles(self, room: Tensor) -> tuple[Tensor, Tensor]:
        room = room.clamp(0, 1)
        lowest = torch.arccos(room[..., 0])
        return lowest, (torch.arcsin(room[..., 1]) - lowest).clamp(min=0)

    def must_stop(self, states: Tensor) -> Tensor:
        """Within delta of the far corner, where the window is empty: (n,)."""
        return self.window(states)[1] <= THINNEST

    # -- moves --------------------------------------------------------------------------------------------------------

    def draw(self, raw: Tensor, states: Tensor, first: bool, explore: float = 0.0) -> Tensor:
        """explore: probability of a move (and, elsewhere than at s_0, of a stop) that is uniform instead."""
        uniform = torch.rand(len(states)) < explore if explore else torch.zeros(len(states), dtype=torch.bool)
        if first:
            mixtures = BetaMixture.of(raw.unflatten(-1, (2, -1)), self.span)
            share = torch.where(uniform[:, None], torch.rand(len(states), 2), mixtures.sample())
            return torch.stack([self.delta * share[:, 0], self.fan * share[:, 1], torch.zeros(len(states))], -1)
        lowest, width = self.window(states)
        chance = torch.where(uniform, 0.5, raw[:, 0].sigmoid())
        stop = (torch.rand(len(states)) < chance) | (width <= THINNEST)
        share = torch.where(uniform, torch.rand(len(states)), BetaMixture.of(raw[:, 1:], self.span).sample())
        return torch.stack([torch.full_like(lowest, self.delta), lowest + width * share, stop.float()], -1)

    def log_forward(self, raw: Tensor, states: Tensor, actions: Tensor, first: bool) -> Tensor:
        if first:
            share = torch.stack([actions[:, 0] / self.delta, actions[:, 1] / self.fan], -1)
            density = BetaMixture.of(raw.unflatten(-1, (2, -1)), self.span).log_density(share).sum(-1)
            return density - math.log(self.delta * self.fan) - actions[:, 0].clamp(min=1e-9).log()
        lowest, width = self.window(states)
        forced = width <= THINNEST
        stop = torch.where(forced, 0.0, torch.nn.functional.logsigmoid(raw[:, 0]))
        move = torch.nn.functional.logsigmoid(-raw[:, 0]) + self._arc(raw[:, 1:], lowest, width, actions[:, 1])
        return torch.where(self.is_stop(actions), stop, move)

    def _arc(self, raw: Tensor, lowest: Tensor, width: Tensor, angle: Tensor) -> Tensor:
        """Log density of an angle in a window, with respect to arc length."""
        width = width.clamp(min=THINNEST)
        share = ((angle - lowest) / width).clamp(0, 1)
        return BetaMixture.of(raw, self.span).log_density(share) - width.log() - math.log(self.delta)

    def draw_back(self, raw: Tensor, states: Tensor) -> Tensor:
        lowest, width = self.window_back(states)
        share = BetaMixture.of(raw, self.span).sample()
        return torch.stack([torch.full_like(lowest, self.delta), lowest + width * share, torch.zeros_like(lowest)], -1)

    def log_backward(self, raw: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        return self._arc(raw, *self.window_back(states), actions[:, 1])

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        moved = (states + _offset(actions)).clamp(0, 1)
        return torch.where(self.is_stop(actions)[:, None], states, moved)

    def undo(self, states: Tensor, actions: Tensor) -> Tensor:
        return (states - _offset(actions)).clamp(0, 1)

    def is_stop(self, actions: Tensor) -> Tensor:
        return actions[:, 2] > 0.5

    def from_source(self, states: Tensor) -> Tensor:
        return states.norm(dim=-1) <= self.delta

    def first_action(self, states: Tensor) -> Tensor:
        angle = torch.atan2(states[:, 1], states[:, 0])
        return torch.stack([states.norm(dim=-1), angle, torch.zeros_like(angle)], -1)

    def stop_action(self, states: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0], dtype=states.dtype).expand(len(states), 3)

    def parents(self, states: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        """Midpoints of equal arcs of the backward window, weighed by arc length."""
        lowest, width = self.window_back(states)
        share = (torch.arange(nodes, dtype=states.dtype) + 0.5) / nodes
        angle = lowest[:, None] + width[:, None] * share
        radius = torch.full_like(angle, self.delta)
        weight = (self.delta * width / nodes).clamp(min=1e-12).log()[:, None].expand(-1, nodes)
        return torch.stack([radius, angle, torch.zeros_like(angle)], -1), weight

    # -- the target ---------------------------------------------------------------------------------------------------

    def log_reward(self, objects: Tensor) -> Tensor:
        off = (objects - 0.5).abs()
        outer = (off > 0.25).all(-1)
        inner = ((off > 0.3) & (off < 0.4)).all(-1)
        return (self.low + self.middle * outer.to(objects.dtype) + self.high * inner.to(objects.dtype)).log()

    @property
    def log_mass(self) -> float:
        return math.log(self.low + self.middle * 0.25 + self.high * 0.04)

    def cells(self, objects: Tensor) -> Tensor:
        """A grid of 20 x 20, along whose lines all edges of the reward run."""
        place = (objects * CELLS).long().clamp(0, CELLS - 1)
        return place[:, 0] * CELLS + place[:, 1]

    def masses(self) -> Tensor:
        middle = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
        reward = self.log_reward(torch.cartesian_prod(middle, middle)).exp()
        return reward / reward.sum()


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _offset(actions: Tensor) -> Tensor:
    """The displacement of a radius and an angle: (n, 2)."""
    return actions[:, :1] * torch.stack([actions[:, 1].cos(), actions[:, 1].sin()], -1)
