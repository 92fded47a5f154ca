"""Flying crops: pieces of photographs that move over one another, with the exact motion of every pixel.

A pair shows a background and some pieces in front of it. Layer k has a texture cut from a photograph, a shape (an
ellipse with a wavy rim; the background has none) and an affine motion about its own middle,

    y = m + A (x - m) + t,      A = scale x rotation,      |y - x| <= largest everywhere in the picture,

so that the first picture shows texture(x), the second texture(motion^-1(y)), and the true flow of a pixel is that of
the frontmost layer whose shape covers it in the first picture. Textures and shapes are sampled between pixels in both
pictures, and the second may be lit a little differently. In the spirit of FlyingChairs (Dosovitskiy et al., 2015,
arXiv:1504.06852), with photographs of scikit-image; training, validation and test pictures come from different
photographs.
"""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.data.pairs import Pairs
from pathline.data.photographs import photograph
from pathline.nn.warp import pixel_grid, sample_at

PHOTOGRAPHS = {
    "train": ("astronaut", "brick", "coffee", "grass", "hubble", "page", "retina", "tissue"),
    "validation": ("coins", "moon"),
    "test": ("camera", "chelsea", "gravel", "rocket"),
}
PARTS = tuple(PHOTOGRAPHS)
TILE = 128  # pixels of a piece of texture
WIDE = 800  # photographs of more pixels are shrunk first: their details are wider than a crop
AT_ONCE = 64  # pairs drawn together, which bounds the memory


@cache
def tiles(part: str) -> Tensor:
    """Overlapping squares of the photographs of `part`, at their size and halved ones: (count, 3, TILE, TILE) uint8."""
    squares = []
    for name in PHOTOGRAPHS[part]:
        picture = photograph(name)[None].float()
        if min(picture.shape[-2:]) > WIDE:
            picture = F.avg_pool2d(picture, 2)
        while min(picture.shape[-2:]) >= TILE:
            step = max(TILE // 2, min(picture.shape[-2:]) // 5)
            cut = picture[0].unfold(1, TILE, step).unfold(2, TILE, step)
            cut = cut.permute(1, 2, 0, 3, 4).flatten(0, 1)
            squares.append(cut[cut.std((1, 2, 3)) > 6].to(torch.uint8))  # an empty sky shows no motion
            picture = F.avg_pool2d(picture, 2)
    return torch.cat(squares)


def flying_crops(
    count: int,
    size: int = 64,
    seed: int = 0,
    part: str = "train",
    largest: float = 12.0,
    pieces: int = 3,
    light: float = 0.1,
) -> Pairs:
    """`count` pairs of size x size in colour, bytes, with flow everywhere.

    Args:
        part:    whose photographs: "train", "validation" or "test".
        largest: displacement in pixels that no point exceeds.
        pieces:  at most so many in front of the background, at least one.
        light:   relative change of brightness and contrast from the first picture to the second, at most.
    """
    generator = torch.Generator().manual_seed(seed * len(PARTS) + PARTS.index(part))
    made = [
        _drawn(min(AT_ONCE, count - begin), size, part, largest, pieces, light, generator)
        for begin in range(0, count, AT_ONCE)
    ]
    images, flow = (torch.cat(each) for each in zip(*made, strict=True))
    return Pairs(images=images, flow=flow, name=f"flying-crops-{part}")


def flying_crops_in_parts(train: int, validation: int, test: int, size: int = 64, seed: int = 0, **law: Any) -> Pairs:
    """All three parts in one container, which `split` takes apart again: no photograph is in two of them."""
    counts = dict(zip(PARTS, (train, validation, test), strict=True))
    made = [flying_crops(count, size, seed, part, **law) for part, count in counts.items()]
    flows = [pairs.flow for pairs in made if pairs.flow is not None]
    return Pairs(
        images=torch.cat([pairs.images for pairs in made]),
        flow=torch.cat(flows),
        parts=torch.arange(len(PARTS)).repeat_interleave(torch.tensor([train, validation, test])),
        name="flying-crops",
    )


def _drawn(
    count: int, size: int, part: str, largest: float, pieces: int, light: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """images (count, 2, 3, size, size) uint8 and flow (count, 2, size, size)."""
    layers = pieces + 1

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    # where layers are and how they move, (count, layers, ...)
    middle = uniform(count, layers, 2, high=size - 1.0)
    middle[:, 0] = (size - 1) / 2
    turn = uniform(count, layers, low=-0.25, high=0.25)
    grow = uniform(count, layers, low=-0.15, high=0.15).exp()
    linear = grow[..., None, None] * _rotation(turn)
    way, length = uniform(count, layers, high=2 * math.pi), uniform(count, layers, high=largest)
    shift = length[..., None] * torch.stack([way.cos(), way.sin()], -1)
    linear, shift = _bounded(linear, shift, middle, size, largest)

    grid = pixel_grid(size, size)  # (2, size, size)
    offset = grid - middle[..., None, None]  # x - m
    flow = torch.einsum("nlij,nljhw->nlihw", linear - torch.eye(2), offset) + shift[..., None, None]
    back = torch.einsum("nlij,nljhw->nlihw", torch.linalg.inv(linear), offset - shift[..., None, None])

    # textures: position, size and turn of each layer's cut
    chosen = torch.randint(len(tiles(part)), (count, layers), generator=generator)
    cut = uniform(count, layers, low=-0.35, high=0.35).exp()[..., None, None] * _rotation(
        uniform(count, layers, high=2 * math.pi)
    )
    texture = tiles(part)[chosen].flatten(0, 1).float()
    texture_middle = (TILE - 1) / 2 + uniform(count, layers, 2, low=-12, high=12)

    # shapes: radius of an ellipse as a function of the direction, with waves on its rim
    axes = uniform(count, layers, 2, low=0.14 * size, high=0.4 * size)
    waves = uniform(count, layers, 3, high=0.18)
    phases = uniform(count, layers, 3, high=2 * math.pi)

    def seen(local: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (n, layers, 3, h, w) and cover (n, layers, 1, h, w) at offsets from each layer's middle."""
        points = torch.einsum("nlij,nljhw->nlihw", cut, local) + texture_middle[..., None, None]
        colours = sample_at(texture, _reflected(points).flatten(0, 1), "border").unflatten(0, (count, layers))
        x, y = (local / axes[..., None, None]).unbind(2)
        angle, radius = torch.atan2(y, x), (x.square() + y.square()).sqrt()
        orders = torch.arange(2, 5).view(3, 1, 1)
        rim = 1 + (waves[..., None, None] * torch.cos(orders * angle[:, :, None] + phases[..., None, None])).sum(2)
        sharp = axes.mean(-1)[..., None, None]
        cover = ((rim - radius) * sharp + 0.5).clamp(0, 1)  # a rim one pixel wide
        cover[:, 0] = 1
        return colours, cover[:, :, None]

    images = []
    top = torch.zeros(count, size, size, dtype=torch.long)
    shown = torch.randint(1, layers, (count, 1), generator=generator) if layers > 1 else torch.zeros(count, 1).long()
    present = (torch.arange(layers) <= shown).view(count, layers, 1, 1, 1)
    for frame, local in enumerate((offset, back)):
        colours, cover = seen(local)
        cover = cover * present
        picture = colours[:, 0]
        for layer in range(1, layers):
            picture = torch.lerp(picture, colours[:, layer], cover[:, layer])
            if frame == 0:
                top = torch.where(cover[:, layer, 0] >= 0.5, layer, top)
        images.append(picture)
    contrast, brightness = (uniform(count, 1, 1, 1, low=-light, high=light) for _ in range(2))
    images[1] = (images[1] - 127.5) * (1 + contrast) + 127.5 * (1 + brightness)
    index = top[:, None, None].expand(-1, 1, 2, -1, -1)
    true = flow.gather(1, index)[:, 0]
    return torch.stack(images, 1).round().clamp(0, 255).to(torch.uint8), true


def _rotation(angle: Tensor) -> Tensor:
    """(..., 2, 2)"""
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def _bounded(linear: Tensor, shift: Tensor, middle: Tensor, size: int, largest: float) -> tuple[Tensor, Tensor]:
    """The motions, weakened where a point of the picture would move farther than `largest`: that is a corner."""
    ends = torch.tensor([[0.0, 0.0], [0.0, size - 1.0], [size - 1.0, 0.0], [size - 1.0, size - 1.0]])
    offset = ends - middle[..., None, :]
    moved = torch.einsum("nlij,nlkj->nlki", linear - torch.eye(2), offset) + shift[..., None, :]
    weaker = (largest / moved.norm(dim=-1).amax(-1).clamp(min=1e-6)).clamp(max=1)
    return torch.eye(2) + (linear - torch.eye(2)) * weaker[..., None, None], shift * weaker[..., None]


def _reflected(points: Tensor) -> Tensor:
    """Coordinates folded back into the tile at its borders."""
    last = TILE - 1
    return last - (points.remainder(2 * last) - last).abs()
