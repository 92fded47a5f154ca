"""Flowing digits: hand-written digits that move over a torus at constant velocities, and may turn.

    f_t = min(1, sum_k roll(digit_k, place_k + t v_k))
After Flowing MNIST of Keller, 2025, arXiv:2507.14793, with the 8 x 8 digits that scikit-learn ships.
"""

import torch
from torch import Tensor

from pathline.data.clips import Clips
from pathline.data.errors import DataError

SIDE = 16
PARTS = ("train", "validation", "test")


def digits(part: str) -> Tensor:
    """Pictures of a part, from 0 to 1: (count, 8, 8); 70, 15 and 15 percent of the set, in an order of their own."""
    from sklearn.datasets import load_digits

    if part not in PARTS:
        raise DataError(f"there is no part '{part}' of the digits; choose one of {', '.join(PARTS)}")
    pictures = torch.tensor(load_digits().images).float() / 16
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    borders = [0, round(0.7 * len(order)), round(0.85 * len(order)), len(order)]
    place = PARTS.index(part)
    return pictures[order[borders[place] : borders[place + 1]]]


def velocities(reach: int) -> Tensor:
    """All velocities whose components go from -reach to reach, in pixels per frame along x and y: (count, 2)."""
    line = torch.arange(-reach, reach + 1)
    return torch.cartesian_prod(line, line)


def flowing_digits(
    clips: int,
    frames: int,
    allowed: Tensor | None = None,
    part: str = "train",
    seed: int = 0,
    side: int = SIDE,
    count: int = 2,
    history: int = 4,
    horizon: int = 6,
) -> Clips:
    """`clips` clips of `count` digits on a torus of `side` x `side` pixels.

    allowed: (n, 2) int64, the velocities (x, y) in pixels per frame that digits have with equal probability; by default
             all with components -1, 0, 1
    part:    the digits that may appear: "train", "validation" or "test"
    """
    generator = torch.Generator().manual_seed(seed)
    allowed = velocities(1) if allowed is None else allowed
    pictures = digits(part)
    shape = (clips, count)
    chosen = pictures[torch.randint(len(pictures), shape, generator=generator)]
    place = torch.randint(side, (*shape, 2), generator=generator)
    speed = allowed[torch.randint(len(allowed), shape, generator=generator)]
    canvas = torch.zeros(*shape, side, side)
    canvas[..., : chosen.shape[-2], : chosen.shape[-1]] = chosen
    shift = place[:, :, None] + torch.arange(frames)[:, None] * speed[:, :, None]  # (clips, count, frames, 2)
    line = torch.arange(side)
    row = (line - shift[..., 1, None]) % side
    column = (line - shift[..., 0, None]) % side
    moved = canvas[
        torch.arange(clips)[:, None, None, None, None],
        torch.arange(count)[:, None, None, None],
        row[..., :, None],
        column[..., None, :],
    ]
    stacked = moved.sum(1).clamp(max=1.0)[:, :, None]
    return Clips(frames=stacked, history=history, horizon=horizon, name="flowing-digits")
