"""Recurrent cells whose hidden state has a copy for each velocity and flows with it.

    h_{t+1}(v) = relu(W * psi(v) h_t(v) + U * f_t)
for translations psi(v) = roll by v pixels, and for rotations, which turn the picture and shift the orientation axis of
a group convolution. If the input flows with a velocity u, the hidden state of v becomes that of v - u, carried along:
    h'_t(v) = psi((t - 1) u) h_t(v - u)
exactly where the velocities are all of a cyclic group, and otherwise for those v whose v - u is among them.
Keller, 2025, "Flow Equivariant Recurrent Neural Networks", arXiv:2507.14793.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rolled(field: Tensor, velocity: tuple[int, int]) -> Tensor:
    """`field` (..., height, width) on a torus, moved by (x, y) pixels: what was at (row, column) is then at
    (row + y, column + x)."""
    x, y = velocity
    return field if x == y == 0 else field.roll((y, x), (-2, -1))


class CircularConv(nn.Conv2d):
    """A convolution on a torus, without bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, padding_mode="circular", bias=False)


class TranslationCell(nn.Module):
    """The recurrence for translations. h: (batch, velocities, hidden, height, width).

    velocities: (x, y) in pixels per frame; [(0, 0)] makes it a plain convolutional recurrent cell
    """

    def __init__(self, channels: int, hidden: int, velocities: list[tuple[int, int]], kernel: int = 3) -> None:
        super().__init__()
        self.hidden = hidden
        self.velocities = [(int(x), int(y)) for x, y in velocities]
        self.recur = CircularConv(hidden, hidden, kernel)
        self.read = CircularConv(channels, hidden, kernel)

    def start(self, frame: Tensor) -> Tensor:
        """The hidden state before the first frame (batch, channels, height, width): zeros."""
        batch, _, height, width = frame.shape
        return frame.new_zeros(batch, len(self.velocities), self.hidden, height, width)

    def carried(self, h: Tensor) -> Tensor:
        """psi(v) h(v): every copy one frame further along its velocity."""
        return torch.stack([rolled(h[:, k], v) for k, v in enumerate(self.velocities)], 1)

    def forward(self, frame: Tensor, h: Tensor) -> Tensor:
        """h after `frame`."""
        within = self.recur(self.carried(h).flatten(0, 1)).view_as(h)
        return F.relu(within + self.read(frame)[:, None])

    def pooled(self, h: Tensor) -> Tensor:
        """The largest over velocities: (batch, hidden, height, width); moves as the input moves."""
        return h.amax(1)


def turned(field: Tensor, turns: int, order: int) -> Tensor:
    """`field` (..., size, size) turned by turns / order of a circle, counter-clockwise; exact for quarters, else by
    bilinear interpolation with zeros outside."""
    turns %= order
    if turns * 4 % order == 0:
        return field.rot90(turns * 4 // order, (-2, -1))
    angle = torch.tensor(2 * torch.pi * turns / order, dtype=field.dtype, device=field.device)
    cosine, sine = angle.cos(), angle.sin()
    zero = torch.zeros_like(cosine)
    matrix = torch.stack([torch.stack([cosine, -sine, zero]), torch.stack([sine, cosine, zero])])
    flat = field.reshape(1, -1, *field.shape[-2:])
    grid = F.affine_grid(matrix[None], list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).reshape(field.shape)


class LiftingConv(nn.Module):
    """From pictures (batch, in, size, size) to fields with an orientation axis (batch, out, order, size, size): one
    filter, turned to every orientation."""

    def __init__(self, inputs: int, outputs: int, order: int, kernel: int = 3) -> None:
        super().__init__()
        self.order, self.pad = order, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, picture: Tensor) -> Tensor:
        filters = torch.stack([turned(self.weight, k, self.order) for k in range(self.order)], 1)
        padded = F.pad(picture, (self.pad,) * 4, mode="circular")
        return F.conv2d(padded, filters.flatten(0, 1)).unflatten(1, filters.shape[:2])


class GroupConv(nn.Module):
    """Between fields with an orientation axis: for orientation k the filter is turned and its inputs shifted by k."""

    def __init__(self, inputs: int, outputs: int, order: int, kernel: int = 3) -> None:
        super().__init__()
        self.order, self.pad = order, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, order, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight.view(outputs, -1), a=5**0.5)

    def forward(self, field: Tensor) -> Tensor:
        filters = torch.stack([turned(self.weight, k, self.order).roll(k, 2) for k in range(self.order)], 1)
        padded = F.pad(field.flatten(1, 2), (self.pad,) * 4, mode="circular")
        return F.conv2d(padded, filters.flatten(2, 3).flatten(0, 1)).unflatten(1, filters.shape[:2])


def rotated(field: Tensor, turns: int, order: int) -> Tensor:
    """How a field (..., order, size, size) with an orientation axis turns: in space, and along that axis."""
    return turned(field, turns, order).roll(turns % order, -3)


class RotationCell(nn.Module):
    """The recurrence for rotations. h: (batch, velocities, hidden, order, size, size).

    velocities: in steps of 1 / order of a circle per frame; [0] makes it a plain rotation-equivariant cell
    """

    def __init__(self, channels: int, hidden: int, velocities: list[int], order: int = 4, kernel: int = 3) -> None:
        super().__init__()
        self.hidden, self.order, self.velocities = hidden, order, [int(v) for v in velocities]
        self.recur = GroupConv(hidden, hidden, order, kernel)
        self.read = LiftingConv(channels, hidden, order, kernel)

    def start(self, frame: Tensor) -> Tensor:
        """The hidden state before the first frame (batch, channels, size, size): zeros."""
        batch, _, height, width = frame.shape
        return frame.new_zeros(batch, len(self.velocities), self.hidden, self.order, height, width)

    def carried(self, h: Tensor) -> Tensor:
        """psi(v) h(v): every copy one frame further along its velocity."""
        return torch.stack([rotated(h[:, k], v, self.order) for k, v in enumerate(self.velocities)], 1)

    def forward(self, frame: Tensor, h: Tensor) -> Tensor:
        """h after `frame`."""
        within = self.recur(self.carried(h).flatten(0, 1)).view_as(h)
        return F.relu(within + self.read(frame)[:, None])

    def pooled(self, h: Tensor) -> Tensor:
        """The largest over velocities: (batch, hidden, order, size, size)."""
        return h.amax(1)


class ClipClassifier(nn.Module):
    """Classes of clips: the hidden state after the last frame, its largest over velocities, its mean over the picture
    (and over orientations), and a linear map. Indifferent to how the whole clip flows."""

    def __init__(self, cell: TranslationCell | RotationCell, classes: int) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """frames: (batch, time, channels, height, width) -> logits (batch, classes)."""
        h = self.cell.start(frames[:, 0])
        for frame in frames.unbind(1):
            h = self.cell(frame, h)
        logits: Tensor = self.head(self.cell.pooled(h).flatten(2).mean(2))
        return logits
