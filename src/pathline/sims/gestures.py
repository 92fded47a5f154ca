"""Gestures in the air as a worn accelerometer and gyroscope record them.

A template is a stroke in a plane, drawn at unit size. A user draws it at a speed, size and tilt of their own; the hand
turns with the stroke. At 50 samples a second,
    angular velocity  w = vee(R^T dR/dt)                 rad/s, in the frame of the sensor
    acceleration      a = R^T (d^2 p/dt^2 + g e_y) + b   m/s^2, with gravity (y is upwards), bias b and noise
with R the orientation of the hand. Twelve classes: circles both ways, triangle, square, V, Z, eight, four straight
strokes, and a push.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pathline.data.sequences import Sequences

CLASSES = (
    "circle-cw",
    "circle-ccw",
    "triangle",
    "square",
    "V",
    "Z",
    "eight",
    "left",
    "right",
    "up",
    "down",
    "push",
)
RATE = 50.0
GRAVITY = 9.81
CORNERS = {
    "triangle": [(0, 0), (1, 0), (0.5, 0.87), (0, 0)],
    "square": [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    "V": [(0, 1), (0.5, 0), (1, 1)],
    "Z": [(0, 1), (1, 1), (0, 0), (1, 0)],
    "left": [(0, 0), (-1, 0)],
    "right": [(0, 0), (1, 0)],
    "up": [(0, 0), (0, 1)],
    "down": [(0, 0), (0, -1)],
}


def template(name: str, phase: Tensor) -> Tensor:
    """The place of a stroke at `phase` from 0 to 1 (any shape): x to the right, y upwards, z towards the user; polygons
    are drawn with equal time for equal length."""
    zero = torch.zeros_like(phase)
    angle = 2 * math.pi * phase
    if name.startswith("circle"):
        sign = -1.0 if name == "circle-cw" else 1.0
        return torch.stack([0.5 * (sign * angle).sin(), 0.5 - 0.5 * angle.cos(), zero], -1)
    if name == "eight":
        return torch.stack([0.5 * angle.sin(), 0.5 * (2 * angle).sin(), zero], -1)
    if name == "push":
        return torch.stack([zero, zero, -(math.pi * phase).sin()], -1)
    corners = torch.tensor(CORNERS[name], dtype=phase.dtype)
    lengths = corners.diff(dim=0).norm(dim=1).cumsum(0)
    borders = torch.cat([lengths.new_zeros(1), lengths]) / lengths[-1]
    piece = torch.searchsorted(borders, phase.contiguous(), right=True).clamp(1, len(corners) - 1)
    share = (phase - borders[piece - 1]) / (borders[piece] - borders[piece - 1])
    flat = torch.lerp(corners[piece - 1], corners[piece], share[..., None])
    return torch.cat([flat, zero[..., None]], -1)


def rotation(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) about `vector` (..., 3), by its length in radians (Rodrigues)."""
    angle = vector.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    x, y, z = (vector / angle).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    return torch.eye(3, dtype=vector.dtype) + sine * cross + (1 - cosine) * (cross @ cross)


def angular_velocity(orientation: Tensor, rate: float) -> Tensor:
    """w in the moving frame of orientations (..., time, 3, 3), by central differences: (..., time, 3) rad/s."""
    change = torch.gradient(orientation, spacing=1 / rate, dim=-3)[0]
    skew = orientation.mT @ change
    return (
        torch.stack(
            [skew[..., 2, 1] - skew[..., 1, 2], skew[..., 0, 2] - skew[..., 2, 0], skew[..., 1, 0] - skew[..., 0, 1]],
            -1,
        )
        / 2
    )


def _smooth(path: Tensor, width: float) -> Tensor:
    """Paths (count, time, 3) under a normal window of `width` samples: hands do not turn corners at once."""
    reach = max(1, math.ceil(3 * width))
    window = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=path.dtype) / width) ** 2)
    window = (window / window.sum()).expand(3, 1, -1)
    padded = torch.nn.functional.pad(path.mT, (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(padded, window, groups=3).mT


class Style(NamedTuple):
    """How each of `count` gestures is drawn by the user it is by.

    seconds, size (m), warp, wrist (rad/m), noise (m/s^2): (count,);   tilt, hold: (count, 3) rotation vectors in rad
    """

    seconds: Tensor
    size: Tensor
    warp: Tensor
    tilt: Tensor
    hold: Tensor
    wrist: Tensor
    noise: Tensor


def record(labels: Tensor, style: Style, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gestures of the classes `labels` (count,): (count, time, 6), acceleration in m/s^2 and angular velocity in rad/s,
    0 after their ends, and their lengths (count,) in samples."""
    count = len(labels)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, dtype=torch.float64)

    still = (RATE * 0.1 * (1 + torch.rand(count, generator=generator, dtype=torch.float64))).floor()[:, None]
    moving = (style.seconds * (0.12 * drawn()).exp() * RATE).round().clamp(min=20)[:, None]
    lengths = (moving + 2 * still).long()[:, 0]
    sample = torch.arange(int(lengths.max()), dtype=torch.float64)
    steady = ((sample - still) / (moving - 1)).clamp(0, 1)
    warp = (style.warp + 0.15 * drawn())[:, None]
    phase = (steady + warp / (4 * math.pi) * (math.pi * steady).sin()).clamp(0, 1)
    path = torch.zeros(*phase.shape, 3, dtype=torch.float64)
    for label, name in enumerate(CLASSES):
        path[labels == label] = template(name, phase[labels == label])
    path = _smooth((style.size * (0.15 * drawn()).exp())[:, None, None] * path, 2.5)
    drift = (sample / (lengths[:, None] - 1)).clamp(max=1)[..., None]
    path = path @ rotation(style.tilt + 0.12 * drawn(3)).mT + 0.03 * drift * drawn(1, 3)
    # The wrist turns with the stroke: about the view's axis with sideways motion, about the arm's with upward motion.
    turns = style.wrist[:, None, None] * torch.tensor([-1.0, 1.0, 0.6], dtype=torch.float64)
    hold = rotation(style.hold + 0.1 * drawn(3))[:, None]
    orientation = hold @ rotation(turns * path[..., [1, 0, 0]] + 0.05 * drift * drawn(1, 3))
    lift = torch.gradient(torch.gradient(path, spacing=1 / RATE, dim=1)[0], spacing=1 / RATE, dim=1)[0]
    lift = lift + torch.tensor([0.0, GRAVITY, 0.0], dtype=torch.float64)
    acceleration = torch.einsum("ntji,ntj->nti", orientation, lift)
    turning = angular_velocity(orientation, RATE)
    noise, each = style.noise[:, None, None], (len(sample), 3)
    acceleration = acceleration + 0.15 * drawn(1, 3) + noise * drawn(*each)
    turning = turning + 0.03 * drawn(1, 3) + 0.2 * noise * drawn(*each)
    within = (sample < lengths[:, None])[..., None]
    return (torch.cat([acceleration, turning], -1) * within).float(), lengths


def simulated_gestures(per_class: int = 5, users: int = 12, seed: int = 0) -> Sequences:
    """`per_class` recordings of every class by every user."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(users, *shape, generator=generator, dtype=torch.float64)

    habits = Style(
        seconds=1.0 * (0.25 * drawn()).exp(),
        size=0.3 * (0.3 * drawn()).exp(),
        warp=0.5 * drawn(),
        tilt=0.2 * drawn(3),
        hold=0.15 * drawn(3),
        wrist=1.5 * (0.4 * drawn()).exp(),
        noise=0.5 * (0.3 * drawn()).exp(),
    )
    each = len(CLASSES) * per_class
    groups = torch.arange(users).repeat_interleave(each)
    labels = torch.arange(len(CLASSES)).repeat_interleave(per_class).repeat(users)
    values, lengths = record(labels, Style(*(habit[groups] for habit in habits)), generator)
    return Sequences(
        values=values,
        lengths=lengths,
        labels=labels,
        classes=CLASSES,
        groups=groups,
        channels=tuple(
            f"{what}_{axis} [{unit}]" for what, unit in (("acc", "m/s2"), ("gyr", "rad/s")) for axis in "xyz"
        ),
        rate=RATE,
        name="simulated-gestures",
    )
