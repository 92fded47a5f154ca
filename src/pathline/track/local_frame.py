"""The frame in which densities are learned: where the target was last, turned along its movement, and drifting with it.

    y_t = R^T (x_t - x_T - t d) / s_t,    log p(x_t) = log p(y_t) - dims log s_t

d is the mean movement over the last four steps, R turns the horizontal axes so that it points along the first one, and
s_t the root mean square of what remains in the training data. A walker who keeps going straight is at 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pathline.data.tracks import Encounters, Tracks
from pathline.track.point import heading, into_frame

RECENT = 4  # steps


@dataclass(frozen=True)
class Frame:
    """origin: (batch, dims), drift: (batch, dims) per step, direction: (batch, 2)."""

    origin: Tensor
    drift: Tensor
    direction: Tensor

    @classmethod
    def of(cls, window: Encounters) -> "Frame":
        past = window.past[:, 0]
        steps = min(RECENT, past.shape[1] - 1)
        return cls(past[:, -1], (past[:, -1] - past[:, -1 - steps]) / steps, heading(window))

    def straight(self, horizon: int) -> Tensor:
        """Where the target is if it keeps going, (batch, 1, horizon, dims)."""
        ahead = torch.arange(1, horizon + 1, device=self.origin.device)[:, None]
        return (self.origin[:, None] + ahead * self.drift[:, None])[:, None]


class LocalFuture(nn.Module):
    """World to local and back; scale: (horizon,) metres."""

    scale: Tensor

    def __init__(self, dims: int, horizon: int) -> None:
        super().__init__()
        self.dims, self.horizon = dims, horizon
        self.register_buffer("scale", torch.ones(horizon))

    def read(self, data: Tracks, count: int = 20_000) -> None:
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
        window = data.gather(chosen)
        apart = window.future[:, :1] - Frame.of(window).straight(self.horizon)
        size = apart.square().mean((0, 1, 3)).sqrt()
        self.scale.copy_(size.clamp(min=max(1e-4, 1e-3 * float(size.max()))))

    def enter(self, world: Tensor, frame: Frame) -> Tensor:
        """(batch, k, horizon, dims) -> the same, local."""
        return into_frame(world - frame.straight(self.horizon), frame.direction) / self.scale[:, None]

    def leave(self, local: Tensor, frame: Frame) -> Tensor:
        return into_frame(local * self.scale[:, None], frame.direction, back=True) + frame.straight(self.horizon)

    def log_volume(self) -> Tensor:
        """What a local log-density has to lose to become one per metre^dims, (horizon,)."""
        return self.dims * self.scale.log()


class HistoryEncoder(nn.Module):
    """What was seen, as one condition: a GRU over the target's positions, velocities and accelerations, and one over
    each neighbour's place and movement relative to it, averaged over who is there.

    All in the target's frame and in units of its typical step, so that moving and turning the world changes nothing.
    """

    def __init__(self, dims: int, width: int = 32, condition: int = 16) -> None:
        super().__init__()
        self.target = nn.GRU(3 * dims, width, batch_first=True)
        self.others = nn.GRU(2 * dims + 1, width, batch_first=True)
        self.join = nn.Linear(2 * width, condition)

    def forward(self, window: Encounters, typical_step: Tensor) -> Tensor:
        """(batch, condition)."""
        frame = Frame.of(window)
        past = into_frame(window.past - frame.origin[:, None, None], frame.direction) / typical_step
        mine = past[:, 0]
        velocity = torch.nn.functional.pad(mine.diff(dim=1), (0, 0, 1, 0))
        acceleration = torch.nn.functional.pad(velocity[:, 1:].diff(dim=1), (0, 0, 2, 0))
        summary = self.target(torch.cat([mine, velocity, acceleration], -1))[1][0]
        others, seen = past[:, 1:], window.past_observed[:, 1:, :, None]
        pooled = torch.zeros_like(summary)
        if others.shape[1]:
            apart = torch.where(seen, others - mine[:, None], 0.0)
            both = seen[:, :, 1:] & seen[:, :, :-1]
            moved = torch.nn.functional.pad(torch.where(both, others.diff(dim=2), 0.0), (0, 0, 1, 0))
            rows = torch.cat([apart, moved, seen.to(apart.dtype)], -1)
            states = self.others(rows.flatten(0, 1))[1][0].unflatten(0, others.shape[:2])
            there = window.past_observed[:, 1:].any(-1, keepdim=True).to(states.dtype)
            pooled = (states * there).sum(1) / there.sum(1).clamp(min=1)
        condition: Tensor = torch.tanh(self.join(torch.cat([summary, pooled], -1)))
        return condition
