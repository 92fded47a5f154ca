"""Tiny movers before real textures: what a camera far away sees of a drone.

Two grey frames of size x size show a cut of a photograph, shifted by a fraction of a pixel from one to the next (the
camera's jitter), perhaps lit otherwise (flicker), and a square of two to three pixels that is a little brighter or
darker than what is behind it and moves by one to three pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.nn.warp import pixel_grid, sample_at
from pathline.sims.flying_crops import PARTS, TILE, tiles


@dataclass(frozen=True)
class TinyTargets:
    """frames: (count, 2, 1, size, size) float32 from 0 to 1; centre: (count, 2) x, y of the mover at first."""

    frames: Tensor
    centre: Tensor


def tiny_targets(
    count: int,
    size: int = 64,
    seed: int = 0,
    part: str = "train",
    flicker: float = 0.2,
    jitter: float = 0.5,
    contrast: tuple[float, float] = (0.06, 0.15),
    noise: float = 0.005,
) -> TinyTargets:
    """`count` scenes on photographs of `part` ("train", "validation" or "test").

    Args:
        flicker:  the second frame's light is 1 +- up to this times the first's.
        jitter:   of the camera from frame to frame, up to so many pixels in each direction.
        contrast: of the mover against what is behind it, least and most, in brightness from 0 to 1.
        noise:    standard deviation of each pixel's.
    """
    generator = torch.Generator().manual_seed(seed * len(PARTS) + PARTS.index(part))

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    chosen = torch.randint(len(tiles(part)), (count,), generator=generator)
    texture = tiles(part)[chosen].float().mean(1, keepdim=True) / 255
    corner = uniform(count, 2, low=2, high=TILE - size - 2)
    shift = uniform(count, 2, low=-jitter, high=jitter)
    centre = uniform(count, 2, low=7, high=size - 8)
    way, far = uniform(count, high=2 * math.pi), uniform(count, low=1, high=3)
    moved = torch.stack([way.cos(), way.sin()], 1) * far[:, None]
    side = uniform(count, 1, 1, low=2, high=3)
    sign = torch.where(uniform(count) < 0.5, -1.0, 1.0)
    strength = uniform(count, low=contrast[0], high=contrast[1])
    light = 1 + uniform(count, 1, 1, 1, low=-flicker, high=flicker)

    grid = pixel_grid(size, size)
    ground = sample_at(texture, (centre + corner)[..., None, None]).flatten()
    sign = torch.where(ground > 1 - contrast[1], -1.0, sign)  # white hides white, and black hides black
    sign = torch.where(ground < contrast[1], 1.0, sign)
    frames = []
    for step, gain in ((0.0, torch.ones(())), (1.0, light)):
        behind = sample_at(texture, grid + (corner - step * shift)[..., None, None])
        offset = (grid - (centre + step * (moved + shift))[..., None, None]).abs()
        cover = ((side / 2 + 0.5)[:, None] - offset).clamp(0, 1).prod(1, keepdim=True)  # of each pixel's area
        frames.append(gain * (behind + (sign * strength).view(count, 1, 1, 1) * cover))
    images = torch.stack(frames, 1)
    images = images + noise * torch.randn(images.shape, generator=generator)
    return TinyTargets(images.clamp(0, 1), centre)
