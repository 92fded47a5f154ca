"""Trackers that forecast all agents of a window together, each in its own frame, and how well they do as a whole.

joint ADE_k = min_k mean over agents and steps |s_k - y|        one future has to be right for everybody at once
joint collision rate: share of futures in which two forecast agents come nearer than the radius of the data
"""

from typing import Any

import torch
from torch import Tensor

from pathline.data.tracks import Encounters, Tracks
from pathline.track import metrics
from pathline.track.base import EVALUATION_BATCH, Futures, Tracker
from pathline.track.scene import Scene, scene_of


class AgentTracker(Tracker):
    """Sees a window as a `Scene`; what it learns are futures (batch, agents, horizon, dims) in own frames, metres."""

    def scene(self, window: Encounters) -> Scene:
        """The past, in frames and units of the network."""
        return scene_of(window, self.typical_step)

    def truth(self, window: Encounters, scene: Scene) -> tuple[Tensor, Tensor]:
        """Futures in own frames, 0 where unknown, and (batch, agents) bool whose future is known to the end."""
        known = known_futures(window)
        return torch.where(known[:, :, None, None], scene.to_own(window.future), 0.0), known


def known_futures(window: Encounters) -> Tensor:
    """(batch, agents) bool: who was there last and is seen at every future step."""
    return window.future_observed.all(-1) & window.past_observed[:, :, -1]


def joint_displacement(futures: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """ADE and FDE, mean over the known agents: (batch, k, agents, horizon, dims), (batch, agents, horizon, dims),
    (batch, agents) -> (batch, k) each."""
    distance = torch.linalg.vector_norm(futures - truth[:, None], dim=-1)
    share = (known / known.sum(1, keepdim=True).clamp(min=1))[:, None]
    return (distance.mean(-1) * share).sum(-1), (distance[..., -1] * share).sum(-1)


def joint_collisions(futures: Tensor, known: Tensor, radius: float) -> Tensor:
    """Whether two known agents of the same future come nearer than `radius`: (batch, k) bool."""
    count = futures.shape[2]
    both = known[:, None, :, None] & known[:, None, None] & ~torch.eye(count, dtype=torch.bool, device=known.device)
    observed = both[..., None].expand(*futures.shape[:2], count, count, futures.shape[3])
    others = futures[:, :, None].expand(-1, -1, count, -1, -1, -1)
    return metrics.collisions(futures, others, observed, radius).any(-1)


def joint_diversity(futures: Tensor, known: Tensor) -> Tensor:
    """Mean distance between two different joint futures, over known agents and steps: (batch,)."""
    k = futures.shape[1]
    apart = torch.linalg.vector_norm(futures[:, :, None] - futures[:, None], dim=-1).mean(-1)
    share = known / known.sum(1, keepdim=True).clamp(min=1)
    return (apart * share[:, None, None]).sum((1, 2, 3)) / max(1, k * (k - 1))


@torch.no_grad()
def evaluate_jointly(
    method: Tracker, data: Any, k: int = 6, seed: int = 0, windows: Tensor | None = None
) -> dict[str, float]:
    """Joint minADE_k, minFDE_k, collision rate and diversity of a method that forecasts all agents, and minADE_k,
    minFDE_k and diversity of the target alone.

    windows: indices of those that count; all of them by default
    """
    part: Tracks = method._windows_of(data)
    index = torch.arange(len(part)) if windows is None else windows
    rows = []
    for number, some in enumerate(index.split(EVALUATION_BATCH)):
        window = part.gather(some)
        paths = method.forecast(window, k, seed=seed * 100_003 + number).positions.cpu()
        rows.append(joint_row(paths, window, part.radius))
    names = ("joint minADE", "joint minFDE", "joint collisions", "joint diversity", "minADE", "minFDE", "diversity")
    return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))


def joint_row(paths: Tensor, window: Encounters, radius: float) -> Tensor:
    """The seven numbers of `evaluate_jointly` for each window, (batch, 7) float64."""
    known = known_futures(window)
    average, final = joint_displacement(paths, window.future, known)
    own_average, own_final = joint_displacement(paths[:, :, :1], window.future[:, :1], known[:, :1])
    columns = [
        average.amin(1),
        final.amin(1),
        joint_collisions(paths, known, radius).double().mean(1),
        joint_diversity(paths, known),
        own_average.amin(1),
        own_final.amin(1),
        metrics.diversity(paths[:, :, 0]),
    ]
    return torch.stack([column.double() for column in columns], 1)


def all_agents(positions: Tensor, probability: Tensor, scene: Scene) -> Futures:
    """Futures of all agents, with those who are not there standing at 0."""
    return Futures(torch.where(scene.present[:, None, :, None, None], positions, 0.0), probability)
