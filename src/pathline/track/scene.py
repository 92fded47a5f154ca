"""A window as each of its agents sees it: from where the agent is, looking where it walks.

    own = R_i^T (world - x_i)       x_i: where agent i was last, R_i turns the x axis towards its recent movement
Histories and futures are in the agent's own frame, so a network on them commutes with moving and turning the world;
what i has to know of j (where j is, how it moves and faces, seen by i) comes with the ordered pair. In three dimensions
frames turn about the vertical axis only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.tracks import Encounters

STANDING = 1e-6  # metres; who moved less than that faces where the target does


@dataclass(frozen=True)
class Scene:
    """origin: (batch, agents, dims) metres; turn: (batch, agents, 2) cosine and sine of the heading
    history:  (batch, agents, history * (2 dims + 1)): positions, steps and whether seen, in each agent's frame
    pairs:    (batch, agents, agents, 2 dims + 4): row i what i sees of j: place, step, cosine and sine of the turn from
              i to j, distance and nearness
    present:  (batch, agents) bool, who was seen last
    """

    origin: Tensor
    turn: Tensor
    history: Tensor
    pairs: Tensor
    present: Tensor

    def to_own(self, world: Tensor) -> Tensor:
        """World positions (batch, agents, steps, dims), or (batch, k, agents, ..), in the frame of each agent."""
        return turned(world - self._spread(self.origin, world), self._spread(self.turn, world), back=True)

    def to_world(self, own: Tensor) -> Tensor:
        """The reverse of `to_own`."""
        return turned(own, self._spread(self.turn, own)) + self._spread(self.origin, own)

    def _spread(self, per_agent: Tensor, paths: Tensor) -> Tensor:
        lead = (len(per_agent), *(1,) * (paths.ndim - 4), per_agent.shape[1], 1, per_agent.shape[2])
        return per_agent.reshape(lead)


def scene_of(window: Encounters, step: Tensor | float) -> Scene:
    """The past of `window`, in units of `step`, a typical distance between two steps, and of what takes that many."""
    past, seen = window.past, window.past_observed
    reach = step * past.shape[2]
    origin, present = past[:, :, -1], seen[:, :, -1]
    both = (seen[:, :, 1:] & seen[:, :, :-1])[..., None]
    steps = torch.where(both, past.diff(dim=2), 0.0)
    turn = headings(steps)
    rows = turn[:, :, None]
    place = torch.where(seen[..., None], turned(past - origin[:, :, None], rows, back=True), 0.0) / reach
    steps = turned(steps, rows, back=True) / step
    moved = torch.cat([torch.zeros_like(steps[:, :, :1]), steps], 2)
    history = torch.cat([place, moved, seen[..., None].to(place.dtype)], -1).flatten(2)
    return Scene(origin, turn, history, _pairs(origin, turn, moved[:, :, -1], present, reach), present)


def headings(steps: Tensor) -> Tensor:
    """Cosine and sine of where each agent walks, recent steps counting most: (batch, agents, steps, dims) in the world,
    0 where unseen -> (batch, agents, 2)."""
    weights = torch.linspace(0, 1, steps.shape[2] + 1, device=steps.device, dtype=steps.dtype)[1:].pow(4)
    moved = (steps[..., :2] * weights[:, None]).sum(2)
    length = moved.norm(dim=-1, keepdim=True)
    east = moved.new_tensor([1.0, 0.0]).expand_as(moved[:, :1])
    unit = moved / length.clamp(min=STANDING)
    target = torch.where(length[:, :1] > STANDING, unit[:, :1], east)
    return torch.where(length > STANDING, unit, target)


def turned(vectors: Tensor, turn: Tensor, back: bool = False) -> Tensor:
    """Vectors (..., dims) turned about the vertical axis by `turn` (..., 2), cosine and sine; or back by it."""
    x, y = vectors[..., 0], vectors[..., 1]
    cos, sin = turn[..., 0], -turn[..., 1] if back else turn[..., 1]
    return torch.cat([torch.stack([cos * x - sin * y, sin * x + cos * y], -1), vectors[..., 2:]], -1)


def _pairs(origin: Tensor, turn: Tensor, moved: Tensor, present: Tensor, reach: Tensor | float) -> Tensor:
    """What i sees of j, 0 where one of them is absent; moved: (batch, agents, dims) last steps in own frames."""
    rows, columns = turn[:, :, None], turn[:, None]
    apart = turned(origin[:, None] - origin[:, :, None], rows, back=True) / reach
    relative = turned(columns.expand(-1, turn.shape[1], -1, -1), rows, back=True)
    step = turned(moved[:, None].expand(-1, turn.shape[1], -1, -1), relative)
    distance = apart.norm(dim=-1, keepdim=True)
    pairs = torch.cat([apart, step, relative, distance, (-4 * distance).exp()], -1)
    return pairs * (present[:, :, None] & present[:, None])[..., None]


def history_features(history: int, dims: int) -> int:
    return history * (2 * dims + 1)


def pair_features(dims: int) -> int:
    return 2 * dims + 4
