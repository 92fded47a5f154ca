"""Pedestrians at a junction of two paths: a coin says which path goes first, and everybody can tell the coin only from
what happens next.

    dv_i/dt = (w_i e_i - v_i) / tau + sum_j A exp((r - d_ij) / B) n_ij + noise             social force
Helbing, Molnar, 1995, "Social force model for pedestrian dynamics", doi:10.1103/PhysRevE.51.4282.

Two to four agents come from different arms, at least one on each path, and walk straight on, a little to the right of
the middle. Until the last frame of the history they walk at their own speed w_i. Then the path that the coin names
keeps walking; the agents of the other one slow down before the junction, wait until everybody who goes first is across,
and go on. So a scene has two joint futures, equally likely, while each agent by itself has two futures (go, wait) that
combine freely only in a model that forgets the others. The same seed with the other coin gives the same histories.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.tracks import Tracks

ARMS = 4
SPACE, COLLISION = 0.6, 0.4  # metres: what two agents like to keep between them, and nearer than what they collide
INTERVAL, SUBSTEPS = 0.4, 4  # seconds between frames, and steps of the dynamics in them
RELAXATION = 0.4  # tau, seconds
STRENGTH, RANGE = 2.0, 0.2  # A in m/s^2 and B in metres
LANE = 0.45  # metres to the right of the middle
STOP, BRAKING, CLEAR = 1.6, 0.8, 1.1  # metres: stop line before the centre, braking before it, and when one is across
JITTER, MEASUREMENT = 0.3, 0.01  # deviation of the noise in acceleration (m/s^2, per frame) and in position (m)


@dataclass(frozen=True)
class Crossing:
    """Simulated scenes; agents that a scene does not have stand at 0 and are not present.

    positions: (scenes, frames, agents, 2) float32, metres
    present:   (scenes, agents) bool
    arm:       (scenes, agents) int64; arms 0 and 2 are one path, 1 and 3 the other
    first:     (scenes,) int64, the path that goes first: arm % 2 of its agents
    heading:   (scenes, agents, 2) float32 unit vectors, where each agent walks
    centre:    (scenes, 2) float32, the middle of the junction
    history:   frames before the coin shows
    """

    positions: Tensor
    present: Tensor
    arm: Tensor
    first: Tensor
    heading: Tensor
    centre: Tensor
    history: int
    interval: float = INTERVAL

    def progress(self, positions: Tensor) -> Tensor:
        """How far each agent is past the centre along its way: (scenes, ..., agents, 2) -> (scenes, ..., agents)."""
        between = (1,) * (positions.ndim - 3)
        centre = self.centre.reshape(-1, *between, 1, 2)
        heading = self.heading.reshape(len(self.heading), *between, *self.heading.shape[1:])
        return ((positions - centre) * heading).sum(-1)

    def order(self, futures: Tensor) -> Tensor:
        """Which path goes first in futures (scenes, samples, frames, agents, 2): (scenes, samples) int64 with 0, 1, or
        -1 if agents of both are near the middle at once, or no path is across before the other enters."""
        near = self.progress(futures)
        path, absent = (self.arm % 2)[:, None, None], ~self.present[:, None, None]
        inside, beyond = near > -STOP / 2, near > CLEAR / 2
        found = torch.full(futures.shape[:2], -1)
        for one in (0, 1):
            mine, others = (path == one) | absent, (path == 1 - one) & ~absent
            others_in = (inside & others).any(-1)
            mine_across = (beyond | ~mine | absent).all(-1)
            clean = (mine_across | ~others_in).all(-1) & mine_across.any(-1)
            found[clean] = one
        return found


def simulate_crossing(
    count: int = 2000, seed: int = 0, history: int = 8, horizon: int = 12, coin: int | None = None
) -> Crossing:
    """`count` scenes of history + horizon frames.

    coin: the path that goes first in every scene, 0 or 1; None flips a coin for each
    """
    if count < 1 or history < 2 or horizon < 1:
        raise ValueError(f"at least 1 scene, 2 past and 1 future frames are needed: got {count}, {history}, {horizon}")
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    arm, present = _arms(uniform(count, ARMS), uniform(count))
    flipped = (uniform(count) < 0.5).long()
    first = flipped if coin is None else torch.full_like(flipped, coin)
    speed = 1.3 + 0.12 * torch.randn(count, ARMS, generator=generator, dtype=torch.float64).clamp(-2, 2)
    distance = uniform(count, ARMS, low=2.3, high=3.1)  # to the centre when the coin shows
    turn, centre = uniform(count, high=2 * math.pi), uniform(count, 2, low=-5.0, high=5.0)
    frames = history + horizon
    noise = JITTER * torch.randn(frames, count, ARMS, 2, generator=generator, dtype=torch.float64)
    blur = MEASUREMENT * torch.randn(count, frames, ARMS, 2, generator=generator, dtype=torch.float64)

    angle = turn[:, None] + math.pi / 2 * arm
    heading = torch.stack([angle.cos(), angle.sin()], -1)
    right = torch.stack([heading[..., 1], -heading[..., 0]], -1)
    waits = present & (arm % 2 != first[:, None])
    x = LANE * right - (distance + (history - 1) * INTERVAL * speed)[..., None] * heading
    v = speed[..., None] * heading
    track = [x]
    for frame in range(1, frames):
        for _ in range(SUBSTEPS):
            decided = frame >= history
            wanted = _wanted_speed(x, heading, speed, present, waits) if decided else speed
            push = (wanted[..., None] * heading - v) / RELAXATION + _repulsion(x, present) + noise[frame]
            back_to_lane = -(x * right).sum(-1, keepdim=True) + LANE
            v = v + INTERVAL / SUBSTEPS * (push + back_to_lane * right)
            x = x + INTERVAL / SUBSTEPS * v
        track.append(x)
    positions = torch.stack(track, 1) + blur + centre[:, None, None]
    positions = torch.where(present[:, None, :, None], positions, 0.0)
    return Crossing(positions.float(), present, arm, first, heading.float(), centre.float(), history)


def crossing_tracks(scenes: Crossing, neighbours: int = ARMS - 1) -> Tracks:
    """The agents of `scenes` as tracks, each scene by itself; windows hold all frames."""
    count, frames = scenes.positions.shape[:2]
    scene, agent = scenes.present.nonzero(as_tuple=True)
    return Tracks(
        positions=scenes.positions[scene, :, agent],
        observed=torch.ones(len(scene), frames, dtype=torch.bool),
        interval=scenes.interval,
        scene=scene,
        scenes=tuple(f"scene {i}" for i in range(count)),
        history=scenes.history,
        horizon=frames - scenes.history,
        neighbours=neighbours,
        radius=COLLISION,
        name="simulated-crossing",
    )


def _arms(order: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct arms in random order, (scenes, 4), and who is there: 2 to 4 agents, always one of each path."""
    arm = order.argsort(dim=1)
    agents = 2 + (3 * size).long().clamp(max=2)
    # the first two must be of different paths: let the first agent of the other path change places with the second
    other = (arm % 2 != arm[:, :1] % 2).long().argmax(dim=1, keepdim=True)
    second, swapped = arm[:, 1:2].clone(), arm.gather(1, other)
    arm = arm.scatter(1, other, second)
    arm[:, 1:2] = swapped
    return arm, torch.arange(ARMS) < agents[:, None]


def _wanted_speed(x: Tensor, heading: Tensor, speed: Tensor, present: Tensor, waits: Tensor) -> Tensor:
    """w, (scenes, agents): that of who waits falls to 0 at the stop line until everybody else is across."""
    progress = (x * heading).sum(-1)
    across = (progress > CLEAR) | waits | ~present
    blocked = waits & ~across.all(1, keepdim=True)
    share = ((-STOP - progress) / BRAKING).clamp(0, 1)
    return torch.where(blocked, share * speed, speed)


def _repulsion(x: Tensor, present: Tensor) -> Tensor:
    """sum_j A exp((r - d_ij) / B) n_ij: (scenes, agents, 2)."""
    apart = x[:, :, None] - x[:, None]
    distance = apart.norm(dim=-1, keepdim=True)
    force = STRENGTH * ((SPACE - distance) / RANGE).exp().clamp(max=10) * apart / distance.clamp(min=1e-6)
    return (force * present[:, None, :, None]).sum(2)
