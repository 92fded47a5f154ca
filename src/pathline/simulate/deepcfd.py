"""DeepCFD: draw an obstacle in a channel, get the steady laminar velocity and pressure in milliseconds.

    (distance to the obstacle, label of the region, distance to the walls)  ->  (u_x, u_y, p)
A convolutional encoder reads the shape, and every field has a decoder of its own, which sees the encoder's features at
each scale and puts the maxima of its pooling back to where they stood (UNetEx; `nn/unpooling.py`). Training minimises

    loss = sum over cells of (u_x - û_x)^2 / w_x + (u_y - û_y)^2 / w_y + |p - p̂| / w_p,   w a field's root mean square
Ribeiro, Rehman, Ahmed, Dengel, 2020, "DeepCFD: Efficient Steady-State Laminar Flow Approximation with Deep
Convolutional Neural Networks", arXiv:2004.08826. Their four architectures are settings: AE, AEx, UNet, UNetEx.

Use it where thousands of flows of one kind are wanted and some hundred are computed already: shapes to choose from, a
first guess for a solver. The network knows the flows that it has seen: another fluid, inflow or kind of shape needs
its own training, and nothing makes the answer conserve mass. It learns fields of any other kind the same way, and
fields that change in time, whose next frame it predicts as a change of the present one.

Departs: what is seen is standardised and outputs are in units of w, so that data may have any units; velocities in
the loss are in units of their common root mean square, for the same reason (with 1, this is the paper's loss). The
published program adds the three maps before it weighs them, so that its weights are one common factor: `legacy_loss`.
Loss and metrics leave out the cells of the obstacle, where the prediction is set to 0. The learning rate falls along a
cosine, and weights begin with the variance of He et al., 2015: after 100 steps the error is half of what it is then
from torch's own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Fields, Frame
from pathline.nn.unpooling import Autoencoder, UnpoolingUNet
from pathline.simulate.fields import FieldSimulator

PRESSURES, ACROSS = ("p", "pressure"), ("uy", "u_y", "vy", "v_y", "v")  # names of channels, in small letters


class DeepCFD(FieldSimulator):
    """A convolutional network from what is given of a flow to the flow.

    inputs, channels: of what is seen, and of the fields
    architecture: "UNetEx"; "UNet" has one decoder for all fields; "AEx" and "AE" are the same without pooling and
                  skips, one convolution for each filter at full resolution
    filters:      channels at each scale;  kernel: of the convolutions
    layers:       convolutions at each scale of a U-Net (3 in the published UNetEx, 2 in the published UNet)
    absolute:     places of the channels whose absolute error counts, not the squared one (the pressure)
    across:       places of the channels that change sign when the channel is mirrored (the velocity across)
    mirror:       train on copies turned upside down at random; for data that are as likely that way
    legacy_loss:  weigh the errors as the published program does
    changes:      whether time passes: the network then predicts the change of the state
    """

    recipe = Recipe(steps=2000, batch_size=32, lr=1e-3, weight_decay=5e-3, validations=20, patience=6)
    shift: Tensor
    scale: Tensor
    unit: Tensor
    absolute: Tensor
    sign: Tensor

    def __init__(
        self,
        inputs: int,
        channels: int,
        architecture: str = "UNetEx",
        filters: Sequence[int] = (8, 16, 32, 32),
        kernel: int = 5,
        layers: int = 3,
        absolute: Sequence[int] = (),
        across: Sequence[int] = (),
        mirror: bool = False,
        legacy_loss: bool = False,
        changes: bool = False,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or not filters or layers < 1:
            raise MethodError(f"kernel {kernel} must be odd, and there is at least one filter and one layer")
        self.scales = len(filters) if "UNet" in architecture else 0
        self.inputs, self.mirror, self.legacy_loss, self.changes = inputs, mirror, legacy_loss, changes
        self.register_buffer("shift", torch.zeros(inputs, 1, 1))
        self.register_buffer("scale", torch.ones(inputs, 1, 1))
        self.register_buffer("unit", torch.ones(channels))
        self.register_buffer("absolute", _marks(absolute, channels), persistent=False)
        self.register_buffer("sign", 1.0 - 2.0 * _marks(across, channels)[:, None, None], persistent=False)
        self.network = network(architecture, inputs, channels, filters, kernel, layers)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        """Sizes, units, and which channel is which are read off the training part; scales that would leave no cell of
        its grid are left out."""
        part = cls.require(data)
        names = [name.lower() for name in part.channels]
        given, channels = len(part.given), len(names)
        sizes: dict[str, Any] = {
            "inputs": given if part.steady else given + channels,
            "channels": channels,
            "absolute": [k for k, name in enumerate(names) if name in PRESSURES],
            "across": [k for k, name in enumerate(names) if name in ACROSS],
            "changes": not part.steady,
        } | config
        filters = list(sizes.get("filters", (8, 16, 32, 32)))
        if "UNet" in sizes.get("architecture", "UNetEx"):
            filters = filters[: max(1, min(part.grid).bit_length() - 1)]
        method = cls(**(sizes | {"filters": filters}))
        method._measure(part)
        return method

    def _measure(self, data: Fields) -> None:
        assert data.inputs is not None and data.inside is not None
        inputs, cells = data.inputs, data.inside.sum() * data.values.shape[1]
        mean, std = inputs.mean((0, 2, 3)), inputs.std((0, 2, 3))
        target = data.values
        if self.changes:
            total, square = target.sum((0, 1, 3, 4)) / cells, target.square().sum((0, 1, 3, 4)) / cells
            mean, std = torch.cat([mean, total]), torch.cat([std, (square - total**2).clamp(min=0).sqrt()])
            target, cells = target[:, data.span :] - target[:, : -data.span], data.inside.sum() * data._steps
        self.shift.copy_(mean[:, None, None])
        self.scale.copy_(torch.where(std > 0, std, 1.0)[:, None, None])
        unit = (target.double().square().sum((0, 1, 3, 4)) / cells).sqrt()
        self.unit.copy_(torch.where(unit > 0, unit, 1.0))

    def checked(self, frame: Any) -> Frame:
        frame = super().checked(frame)
        seen = frame.seen.shape[1]
        if seen != self.inputs or bool(frame.state.shape[1]) != self.changes:
            raise DataError(f"{type(self).__name__} learned from {self.inputs} channels; these are {seen}")
        if min(frame.inputs.shape[2:]) < 2**self.scales:
            raise DataError(
                f"{type(self).__name__} halves the grid {self.scales} times; {frame.inputs.shape[2]} x "
                f"{frame.inputs.shape[3]} cells are too few"
            )
        return frame

    def step(self, frame: Frame) -> Tensor:
        seen = (frame.seen - self.shift) / self.scale
        seen = seen.contiguous(memory_format=torch.channels_last)  # in which convolutions of few channels are fastest
        found: Tensor = self.unit[:, None, None] * self.network(seen).float()
        return frame.state + found if self.changes else found

    def loss(self, batch: Frame) -> Tensor:
        if self.mirror and self.training and bool(torch.rand(()) < 0.5):
            batch = mirrored(batch, self.sign)
        return field_loss(self.predicted(batch), batch.target, batch.inside, self.unit, self.absolute, self.legacy_loss)


def field_loss(
    predicted: Tensor, target: Tensor, inside: Tensor, unit: Tensor, absolute: Tensor, legacy: bool = False
) -> Tensor:
    """The mean over the cells inside of what the fields' errors sum up to.

    predicted, target: (batch, channels, height, width);  inside: (batch, height, width) bool
    unit:     (channels,) root mean squares w of the fields
    absolute: (channels,) bool, whether |error| counts instead of error^2
    legacy:   (sum of the channels' errors) * (sum of the 1 / w), without a unit of velocity
    """
    error = (predicted - target) * inside[:, None]
    per_channel = torch.where(absolute[:, None, None], error.abs(), error.square()).sum((0, 2, 3)) / inside.sum()
    if legacy:
        return per_channel.sum() * (1 / unit).sum()
    common = (unit * ~absolute).norm()
    return (per_channel / torch.where(absolute, unit, unit * common)).sum()


def mirrored(frame: Frame, sign: Tensor) -> Frame:
    """Upside down: rows in reverse, and fields times their `sign` (channels, 1, 1)."""
    state = frame.state.flip(2) * sign if frame.state.shape[1] else frame.state
    return replace(
        frame, inputs=frame.inputs.flip(2), state=state, target=frame.target.flip(2) * sign, inside=frame.inside.flip(1)
    )


def network(
    architecture: str, inputs: int, channels: int, filters: Sequence[int], kernel: int, layers: int
) -> nn.Module:
    """One of the paper's four architectures by its name there."""
    separate = architecture.endswith("Ex")
    if architecture in ("UNet", "UNetEx"):
        return UnpoolingUNet(inputs, channels, filters, kernel, layers, separate)
    if architecture in ("AE", "AEx"):
        return Autoencoder(inputs, channels, filters, kernel, separate)
    raise MethodError(f"architecture is '{architecture}'; choose one of AE, AEx, UNet, UNetEx")


def _marks(places: Sequence[int], count: int) -> Tensor:
    """(count,) bool, True at `places`."""
    marks = torch.zeros(count, dtype=torch.bool)
    marks[list(places)] = True
    return marks
