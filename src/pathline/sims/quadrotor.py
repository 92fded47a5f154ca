"""Flights of a quadrotor: a point mass whose thrust turns with a lag, led along a reference by a PD controller.

    a_wanted = k_p (r - p) + k_d (r' - v),  |a_wanted| <= 12 m/s^2
    da/dt = (a_wanted - a) / 0.15 s                       the attitude needs time: jerk is limited
    dv/dt = a - 0.1 v + gust,  |v| <= 15 m/s              drag; gust is an Ornstein-Uhlenbeck process of 0.5 m/s^2
    dp/dt = v

References are waypoints (straight legs at constant speed), lemniscates, helices and racing gates (a closed smooth
course); each flight draws its own kind, size, speed and attitude. Measured positions carry 1 cm of noise. All flights
advance together, one tensor operation per step.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.tracks import Tracks

KINDS = ("waypoints", "lemniscate", "helix", "gates")
STEP = 0.02  # seconds, of the dynamics
LAG, DRAG = 0.15, 0.1  # seconds, 1/s
MOST_ACCELERATION, MOST_SPEED = 12.0, 15.0
GUST, GUST_MEMORY = 0.5, 1.0  # m/s^2 and seconds
STIFFNESS, DAMPING = 5.0, 3.2  # k_p in 1/s^2, k_d in 1/s
MEASUREMENT = 0.01  # metres


@dataclass(frozen=True)
class Flights:
    """positions: (flights, frames, 3) as measured; true, velocities, accelerations: the same shape, without noise.

    reference: (flights, frames, 3) where the controller wanted to be; kind: (flights,) place in `KINDS`
    """

    positions: Tensor
    true: Tensor
    velocities: Tensor
    accelerations: Tensor
    reference: Tensor
    kind: Tensor
    interval: float

    def tracks(self, history: int = 20, horizon: int = 10, name: str = "quadrotor") -> Tracks:
        """Measured positions, one scene per flight."""
        count, frames, _ = self.positions.shape
        return Tracks(
            positions=self.positions.float(),
            observed=torch.ones(count, frames, dtype=torch.bool),
            interval=self.interval,
            scene=torch.arange(count),
            scenes=tuple(f"{KINDS[kind]} {i}" for i, kind in enumerate(self.kind.tolist())),
            history=history,
            horizon=horizon,
            neighbours=0,
            name=name,
        )


def simulate_quadrotor(
    count: int = 600,
    seed: int = 0,
    seconds: float = 20.0,
    interval: float = 0.1,
    half: float = 10.0,
    noise: float = MEASUREMENT,
    gust: float = GUST,
) -> Flights:
    """`count` flights within about [-half, half]^3 metres, measured every `interval` seconds.

    The first 2 seconds, in which the drone catches up with its reference, are flown and not recorded.
    """
    every = round(interval / STEP)
    if count < 1 or every < 1 or abs(every * STEP - interval) > 1e-9:
        raise ValueError(f"{count} flights every {interval} s: bring at least one flight, and multiples of {STEP} s")
    generator = torch.Generator().manual_seed(seed)
    before = round(2.0 / STEP)
    steps = before + round(seconds / interval) * every
    kind = torch.arange(count) % len(KINDS)
    reference = _reference(kind, steps + 1, half, generator)
    speed = reference.diff(dim=1) / STEP

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    wind = gust * normal(count, 3)
    position, velocity = reference[:, 0].clone(), speed[:, 0].clone()
    acceleration = torch.zeros_like(position)
    kept = []
    fade, kick = math.exp(-STEP / GUST_MEMORY), gust * math.sqrt(1 - math.exp(-2 * STEP / GUST_MEMORY))
    for step in range(steps):
        if step >= before and (step - before) % every == 0:
            kept.append(torch.stack([position, velocity, acceleration, reference[:, step]]))
        wanted = STIFFNESS * (reference[:, step] - position) + DAMPING * (speed[:, step] - velocity)
        acceleration = acceleration + STEP / LAG * (_at_most(wanted, MOST_ACCELERATION) - acceleration)
        velocity = _at_most(velocity + STEP * (acceleration - DRAG * velocity + wind), MOST_SPEED)
        position = position + STEP * velocity
        wind = fade * wind + kick * normal(count, 3)
    true, velocities, accelerations, led = torch.stack(kept, 2)
    return Flights(true + noise * normal(*true.shape), true, velocities, accelerations, led, kind, interval)


def _at_most(vector: Tensor, length: float) -> Tensor:
    return vector * (length / vector.norm(dim=-1, keepdim=True).clamp(min=length))


def _reference(kind: Tensor, steps: int, half: float, generator: torch.Generator) -> Tensor:
    """(flights, steps, 3); every kind is made for every flight, which is cheaper than to tell them apart."""
    count = len(kind)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, dtype=torch.float64)

    time = STEP * torch.arange(steps, dtype=torch.float64)
    turn = _rotations(count, generator)
    centre = uniform(-0.25 * half, 0.25 * half, 1, 3)
    size = uniform(0.35 * half, 0.75 * half, 1)

    corners = uniform(-0.9 * half, 0.9 * half, 40, 3)
    waypoints = _along(corners, uniform(3.0, 6.5, 1) * time, smooth=False)

    rate = uniform(3.0, 6.5, 1) / size
    angle = rate * time + uniform(0, 2 * math.pi, 1)
    eight = torch.stack([angle.sin(), angle.sin() * angle.cos(), 0.3 * angle.cos()], -1) * size[..., None]
    lemniscate = (eight @ turn) + centre

    period = uniform(6.0, 14.0, 1)
    climb = (2 * ((time / period) % 1) - 1).abs() * 2 - 1
    circle = torch.stack([angle.cos() * size, angle.sin() * size, climb * size], -1)
    helix = circle + centre

    around = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    ring = torch.stack([around.cos(), around.sin(), torch.zeros(8, dtype=torch.float64)], -1)
    gates = ring * size[..., None] * uniform(0.7, 1.3, 8, 1) + uniform(-0.3 * half, 0.3 * half, 8, 3)
    gates = (gates + centre).clamp(-0.9 * half, 0.9 * half)
    course = _along(gates, uniform(3.5, 7.0, 1) * time, smooth=True)
    every = torch.stack([waypoints, lemniscate, helix, course])
    return every[kind, torch.arange(count)]


def _rotations(count: int, generator: torch.Generator) -> Tensor:
    """Uniform rotations (count, 3, 3), from the QR decomposition of Gaussian matrices."""
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]


def _along(corners: Tensor, way: Tensor, smooth: bool) -> Tensor:
    """Where one is after `way` (flights, steps) metres on the closed course through corners (flights, corners, 3).

    Straight legs, or with `smooth` Catmull-Rom arcs, on which a leg takes as long as its chord.
    """
    following = corners.roll(-1, 1)
    length = (following - corners).norm(dim=-1)
    ends = length.cumsum(1)
    way = way % ends[:, -1:]
    leg = torch.searchsorted(ends, way, right=True).clamp(max=corners.shape[1] - 1)

    def at(points: Tensor) -> Tensor:
        return points.gather(1, leg[..., None].expand(-1, -1, 3))

    share = ((way - (ends - length).gather(1, leg)) / length.gather(1, leg))[..., None]
    start, end = at(corners), at(following)
    if not smooth:
        return start + share * (end - start)
    before, after = at(corners.roll(1, 1)), at(corners.roll(-2, 1))
    slope, slope_end = (end - before) / 2, (after - start) / 2
    s2, s3 = share**2, share**3
    return (
        (2 * s3 - 3 * s2 + 1) * start + (s3 - 2 * s2 + share) * slope + (3 * s2 - 2 * s3) * end + (s3 - s2) * slope_end
    )
