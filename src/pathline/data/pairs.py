"""Two pictures of the same scene, one after the other, and how every point of the first moves to the second."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.data.container import Batch, Container, Split, random_split_indices, require_finite
from pathline.data.errors import DataError

LEAST = 8  # pixels of height and width


@dataclass(frozen=True)
class TwoFrames(Batch):
    """A batch of pairs.

    images: (batch, 2, channels, height, width) float32 from 0 (black) to 1 (white)
    flow:   (batch, 2, height, width) pixels, x (to the right) first and y (downwards) second, or None
    valid:  (batch, height, width) bool, where the flow is known, or None with it
    """

    images: Tensor
    flow: Tensor | None
    valid: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Pairs(Container):
    """Pairs of pictures of one size, with the true motion between them where it is known.

    images:      (n, 2, channels, height, width), 1 or 3 channels; uint8 from 0 to 255 or float32 from 0 to 1
    flow:        (n, 2, height, width) float32 pixels, x first: the point at (x, y) of the first picture is at
                 (x + flow_x, y + flow_y) in the second; or None where nobody knows. Arbitrary where not valid
    valid:       (n, height, width) bool, where the flow is known; None: everywhere
    parts:       (n,) int64, 0 training, 1 validation, 2 test, where that is fixed beforehand; None: `split` draws
    consecutive: the pairs are frames 0 and 1, 1 and 2, ... of one film; `split` then cuts by time
    test_only:   nobody learns from these pairs, and every part of `split` is all of them
    """

    images: Tensor
    flow: Tensor | None = None
    valid: Tensor | None = None
    parts: Tensor | None = None
    consecutive: bool = False
    test_only: bool = False

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.images.shape)
        if self.images.ndim != 5 or shape[1] != 2 or shape[2] not in (1, 3):
            raise DataError(f"{name}: images have shape {shape}; expected (pairs, 2, 1 or 3 channels, height, width)")
        if not shape[0]:
            raise DataError(f"{name}: there is no pair of pictures; bring at least one")
        if min(shape[3:]) < LEAST:
            raise DataError(f"{name}: pictures are {shape[3]} x {shape[4]}; motion needs at least {LEAST} x {LEAST}")
        if self.images.dtype != torch.uint8:
            require_finite(self.images, "image", name)
            low, high = float(self.images.min()), float(self.images.max())
            if low < 0 or high > 1:
                raise DataError(f"{name}: brightness runs from {low:g} to {high:g}; scale it to 0 .. 1, or bring bytes")
        wanted = (shape[0], 2, *shape[3:])
        if self.flow is not None and tuple(self.flow.shape) != wanted:
            raise DataError(f"{name}: the flow has shape {tuple(self.flow.shape)}; expected {wanted}")
        if self.valid is not None and self.flow is None:
            raise DataError(f"{name}: there is a mask of validity but no flow; bring both or neither")
        if self.valid is not None and tuple(self.valid.shape) != (shape[0], *shape[3:]):
            expected = (shape[0], *shape[3:])
            raise DataError(f"{name}: the mask has shape {tuple(self.valid.shape)}; expected {expected}")
        if self.flow is not None:
            known = self.flow if self.valid is None else self.flow.masked_fill(~self.valid[:, None], 0)
            require_finite(known, "flow", name)

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[3], self.images.shape[4]

    @property
    def teaches(self) -> bool:
        """Whether a network can learn from these pairs: the truth is known, and they are not kept for testing."""
        return self.flow is not None and not self.test_only

    def gather(self, index: Tensor) -> TwoFrames:
        images = self.images[index]
        if images.dtype == torch.uint8:
            images = images.float() / 255
        if self.flow is None:
            return TwoFrames(images, None, None)
        flow = self.flow[index]
        if self.valid is None:
            return TwoFrames(images, flow, torch.ones_like(flow[:, 0], dtype=torch.bool))
        valid = self.valid[index]
        return TwoFrames(images, flow.masked_fill(~valid[:, None], 0), valid)

    def take(self, index: Tensor) -> "Pairs":
        """The pairs `index` as a container."""
        return replace(
            self,
            images=self.images[index],
            flow=None if self.flow is None else self.flow[index],
            valid=None if self.valid is None else self.valid[index],
            parts=None if self.parts is None else self.parts[index],
        )

    def split(self, seed: int = 0) -> Split["Pairs"]:
        """The given `parts`; by time for a film; else 80, 10 and 10 percent at random.

        One or two pairs cannot be parted: all three parts are then these pairs and `test_only`.
        """
        count = len(self)
        if self.parts is not None:
            return Split(*(self.take((self.parts == part).nonzero().flatten()) for part in range(3)))
        if self.test_only or count < 3:
            whole = replace(self, test_only=True)
            return Split(whole, whole, whole)
        if self.consecutive:
            held = max(1, count // 10)
            cuts = torch.arange(count).split([count - 2 * held, held, held])
            return Split(*(self.take(index) for index in cuts))
        return Split(*(self.take(index) for index in random_split_indices(count, seed, self.name, "pairs")))

    def shrunk(self, factor: int) -> "Pairs":
        """Every block of factor x factor pixels becomes one: mean brightness, and mean flow over what is known of it,
        in the new, larger pixels. Rows and columns that fill no block are cut off below and on the right."""
        count = len(self)
        images = self.gather(torch.arange(count)).images.flatten(0, 1)
        images = F.avg_pool2d(images, factor).unflatten(0, (count, 2)).clamp(0, 1)
        if self.flow is None:
            return replace(self, images=images)
        known = torch.ones_like(self.flow[:, :1]) if self.valid is None else self.valid[:, None].float()
        share = F.avg_pool2d(known, factor)
        flow = F.avg_pool2d(self.flow.masked_fill(known == 0, 0), factor) / share.clamp(min=1e-6) / factor
        return replace(self, images=images, flow=flow, valid=share[:, 0] >= 0.5)

    def crops(self, height: int, width: int) -> "Pairs":
        """Every pair cut into tiles of height x width, as many as fit in its middle."""
        rows, columns = self.size[0] // height, self.size[1] // width
        if not rows or not columns:
            raise DataError(f"{self.name}: pictures of {self.size} hold no crop of {height} x {width}")
        top, left = (self.size[0] - rows * height) // 2, (self.size[1] - columns * width) // 2

        def cut(tensor: Tensor) -> Tensor:
            inside = tensor[..., top : top + rows * height, left : left + columns * width]
            tiles = inside.unflatten(-2, (rows, height)).unflatten(-1, (columns, width))
            tiles = tiles.movedim((-4, -2), (1, 2))
            return tiles.flatten(0, 2)

        return replace(
            self,
            images=cut(self.images),
            flow=None if self.flow is None else cut(self.flow),
            valid=None if self.valid is None else cut(self.valid),
            parts=None if self.parts is None else self.parts.repeat_interleave(rows * columns),
            consecutive=self.consecutive and rows * columns == 1,
        )

    def blocks(self, pixels: int) -> Iterator[TwoFrames]:
        """All pairs in order, as batches of at most about so many pixels, but at least one pair."""
        height, width = self.size
        return self.batches(max(1, pixels // (height * width)), shuffle=False)  # type: ignore[return-value]

    def describe(self) -> dict[str, Any]:
        height, width = self.size
        return {
            "container": "Pairs",
            "pairs": len(self),
            "height": height,
            "width": width,
            "channels": self.images.shape[2],
            "truth": "known" if self.flow is not None else "unknown",
            "consecutive": self.consecutive,
            "unit": "pixels",
        }


def consecutive_pairs(frames: Tensor, name: str) -> Pairs:
    """Frames (count, channels, height, width) of a film as pairs of neighbours."""
    if len(frames) < 2:
        raise DataError(f"{name}: {len(frames)} frame shows no motion; bring at least 2")
    return Pairs(images=torch.stack([frames[:-1], frames[1:]], 1), consecutive=True, name=name)
