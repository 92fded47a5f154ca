"""What a planner may ask of forecast paths, as differentiable costs on decoded paths in the world.

    reach     |s_agent,t - g|
    keep apart        mean over pairs and steps of max(0, 1 - d / r)
    speed limit       mean over agents and steps of max(0, |v| / limit - 1)
    stay in a lane    mean over agents and steps of max(0, distance to the line - half width)
0 means satisfied. Costs add up: `total(keep_apart(0.8), reach(goal, agent=0))`.
Jiang et al., 2023, "MotionDiffuser", arXiv:2306.03083 (attractor, repeller).
"""

from collections.abc import Callable

import torch
from torch import Tensor

# paths (batch, agents, steps, dims) in the world and present (batch, agents) bool -> (batch,)
PathCost = Callable[[Tensor, Tensor], Tensor]


def total(*costs: PathCost) -> PathCost:
    """The sum of several costs."""

    def cost(paths: Tensor, present: Tensor) -> Tensor:
        return torch.stack([one(paths, present) for one in costs]).sum(0)

    return cost


def times(cost: PathCost, weight: float) -> PathCost:
    """A cost, weighed."""
    return lambda paths, present: weight * cost(paths, present)


def reach(goal: Tensor, agent: int = 0, step: int = -1) -> PathCost:
    """Be at `goal` (dims,) or (batch, dims), metres, at that step."""
    return lambda paths, present: length(paths[:, agent, step] - goal) * present[:, agent]


def keep_apart(radius: float) -> PathCost:
    """No two agents nearer than `radius` metres."""

    def cost(paths: Tensor, present: Tensor) -> Tensor:
        count = paths.shape[1]
        first, second = torch.triu_indices(count, count, 1, device=paths.device)
        both = present[:, first] & present[:, second]
        distance = length(paths[:, first] - paths[:, second])
        close = (1 - distance / radius).clamp(min=0).mean(-1)
        return (close * both).sum(1) / both.sum(1).clamp(min=1)

    return cost


def speed_limit(limit: float, interval: float) -> PathCost:
    """No faster than `limit` metres a second; `interval` seconds from step to step."""

    def cost(paths: Tensor, present: Tensor) -> Tensor:
        speed = length(paths.diff(dim=2)) / interval
        return _over_agents((speed / limit - 1).clamp(min=0).mean(-1), present)

    return cost


def stay_in_lane(line: Tensor, half_width: float) -> PathCost:
    """No further than `half_width` metres from the polyline `line` (points, dims), at least two points."""
    begin, along = line[:-1], line.diff(dim=0)

    def cost(paths: Tensor, present: Tensor) -> Tensor:
        ahead = paths[..., None, :] - begin
        share = (ahead * along).sum(-1) / along.square().sum(-1).clamp(min=1e-12)
        distance = length(ahead - share.clamp(0, 1)[..., None] * along).amin(-1)
        return _over_agents((distance - half_width).clamp(min=0).mean(-1), present)

    return cost


def length(vectors: Tensor) -> Tensor:
    """Euclidean length, with gradient 0 instead of nan at 0."""
    return (vectors.square().sum(-1) + 1e-12).sqrt()


def _over_agents(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum(1) / present.sum(1).clamp(min=1)
