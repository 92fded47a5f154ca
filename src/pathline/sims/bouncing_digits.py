"""Bouncing digits: hand-written digits that fly through a box and are reflected by its walls.

    place_{t+1} = reflect(place_t + v),   the digit is drawn at the nearest whole pixel
After Moving MNIST of Srivastava, Mansimov, Salakhutdinov, 2015, arXiv:1502.04681, with the 8 x 8 digits that
scikit-learn ships. `flowing_digits` is its sibling on a torus.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.sims.flowing_digits import SIDE, digits

if TYPE_CHECKING:
    from pathline.data.series import Series

DIGIT = 8  # pixels


def bouncing_digits(
    clips: int,
    frames: int,
    part: str = "train",
    seed: int = 0,
    side: int = SIDE,
    count: int = 1,
    speed: tuple[float, float] = (1.0, 2.0),
) -> Tensor:
    """(clips, frames, side, side) in 0 .. 1: `count` digits per clip, which may overlap (the brighter pixel is seen).

    part: the scans that may appear, "train", "validation" or "test";  speed: uniform between these, pixels per frame,
    in a direction that is uniform too
    """
    generator = torch.Generator().manual_seed(seed)
    pictures = digits(part)
    chosen = pictures[torch.randint(len(pictures), (clips, count), generator=generator)]
    free = side - DIGIT  # how far a digit's corner can go
    begin = free * torch.rand(clips, count, 1, 2, generator=generator)
    angle = 2 * torch.pi * torch.rand(clips, count, generator=generator)
    pace = speed[0] + (speed[1] - speed[0]) * torch.rand(clips, count, generator=generator)
    velocity = pace[..., None, None] * torch.stack([angle.sin(), angle.cos()], -1)[:, :, None]
    straight = begin + velocity * torch.arange(frames)[:, None]
    corner = (free - (straight % (2 * free) - free).abs()).round().long()  # walls fold the line: a triangle wave
    line = torch.arange(DIGIT)
    rows, columns = corner[..., :1] + line, corner[..., 1:] + line  # (clips, count, frames, 8)
    clip, which, frame = torch.meshgrid(*map(torch.arange, (clips, count, frames)), indexing="ij")
    layers = torch.zeros(clips, count, frames, side, side)
    layers[
        clip[..., None, None], which[..., None, None], frame[..., None, None], rows[..., :, None], columns[..., None, :]
    ] = chosen[:, :, None].expand(-1, -1, frames, -1, -1)
    return layers.amax(1)


def bouncing_pixels(clips: int, part: str = "train", seed: int = 0, frames: int = 10, side: int = SIDE) -> "Series":
    """The same as a Series whose sensors are the pixels of a lattice: one window per clip, half of it past.

    Edges join each pixel to its 8 neighbours with weights exp(-d^2), so that no direction is special.
    """
    return pixels_as_series(bouncing_digits(clips, frames, part, seed, side), f"bouncing-digits-{part}")


def pixels_as_series(clips: Tensor, name: str) -> "Series":
    """(clips, frames, height, width) -> a Series of height * width sensors; its windows are the clips."""
    from pathline.data.series import Series
    from pathline.graph import dense_adjacency, lattice_graph

    _, frames, height, width = clips.shape
    edges, apart = lattice_graph(height, width)
    values = clips.reshape(-1, height * width, 1)
    place = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1).float()
    return Series(
        values=values,
        observed=torch.ones_like(values, dtype=torch.bool),
        start=0,
        interval=86_400,
        adjacency=dense_adjacency(edges, height * width, torch.exp(-apart.square())),
        positions=place * torch.tensor([1.0, -1.0]),
        channels=("ink",),
        history=frames // 2,
        horizon=frames - frames // 2,
        stride=frames,
        name=name,
    )
