"""Points that move in straight pieces: start, and one velocity for each of B equal pieces of time.

    r(t) = x0 + w sum_{b < k} v_b + (t - k w) v_k,        k = floor(t / w), w = length / B

The end of the last piece belongs to it. After it a point stays where it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PiecewisePaths:
    """start: (points, dims) at time 0;  velocity: (pieces, points, dims);  length: of all pieces together."""

    start: Tensor
    velocity: Tensor
    length: float = 1.0

    @property
    def pieces(self) -> int:
        return len(self.velocity)

    @property
    def width(self) -> float:
        """How long one piece lasts."""
        return self.length / self.pieces

    def corners(self) -> Tensor:
        """Where the points are at the ends of the pieces: (pieces + 1, points, dims)."""
        moved = (self.velocity * self.width).cumsum(0)
        return torch.cat([self.start[None], self.start + moved])

    def piece_of(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """The piece that each time (...) lies in, int64, and the time since its beginning, in the dtype of `time`."""
        piece = (time / self.width).long().clamp(0, self.pieces - 1)
        return piece, (time - piece.to(time.dtype) * self.width).clamp(0, self.width)

    def at(self, time: Tensor, point: Tensor) -> Tensor:
        """Places of `point` (...) int64 at `time` (...): (..., dims)."""
        piece, since = self.piece_of(time)
        return self.corners()[piece, point] + since[..., None].to(self.start.dtype) * self.velocity[piece, point]
