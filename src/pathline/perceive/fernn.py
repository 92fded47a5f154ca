"""Flow equivariant recurrent network: one hidden state for each velocity, moving with it.

    h_{t+1}(v) = relu( W * psi(v) h_t(v) + U * f_t ),      h_0 = 0
    f_{t+1} = D( max_v psi(v) h_{t+1}(v) ),                D: convolutions without bias
W, U, D are shared by all velocities v of V, and psi(v) rolls a picture by v pixels. In the frame of its velocity a
moving thing stands still, so whatever is learned of it at one speed holds for all of V, and for as long as it moves: V
may even be enlarged after training (`with_reach`), for no weight depends on it. V = {0} is an ordinary convolutional
recurrent network (`reach=0`). With motion="rotation", psi(v) turns the picture, and the convolutions are those of the
rotation group. Keller, 2025, "Flow Equivariant Recurrent Neural Networks", NeurIPS, arXiv:2507.14793.
Use it where things move at steady velocities over a background that wraps around or is dark; a step takes time and
memory in proportion to the number of velocities. Predictions are fed back without their gradient, as in the paper, and
within the range of the pixels learned from.
Departs: the state is carried on by one frame before it is decoded, which makes predictions exactly flow equivariant;
the official code decodes it where the last frame was, after feeding that frame a second time (`readout="repeat"`). Next
frames only: classifying clips and the error by velocity are left out. Hidden 10, two hidden convolutions in the decoder
and velocities up to one pixel per frame by default (paper: 128, four, more).
"""

import itertools
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.clips import Frames
from pathline.nn.flow_equivariant import CircularConv, GroupConv, RotationCell, TranslationCell
from pathline.perceive.next_frames import NextFrames

MOTIONS = ("translation", "rotation")
READOUTS = ("carried", "repeat")


class FERNN(NextFrames):
    """A recurrent cell for each velocity, and a decoder of the largest hidden state.

    channels: of a frame
    reach:    translations: velocities have components -reach .. reach; rotations: -reach .. reach steps a frame
    hidden:   channels of the hidden state; depth: hidden convolutions of the decoder
    readout:  "carried" or "repeat", see above
    motion:   "translation" or "rotation" (square frames); order: orientations of the rotation group
    """

    recipe: ClassVar[Recipe] = Recipe(steps=400, batch_size=16, lr=1e-3, clip=1.0, validations=5)

    def __init__(
        self,
        channels: int,
        reach: int = 1,
        hidden: int = 10,
        depth: int = 2,
        readout: str = "carried",
        motion: str = "translation",
        order: int = 4,
    ) -> None:
        super().__init__(channels)
        for name, value, known in (("motion", motion, MOTIONS), ("readout", readout, READOUTS)):
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose {' or '.join(known)}")
        if reach < 0 or hidden < 1 or depth < 0:
            raise MethodError(f"reach {reach} and depth {depth} must not be negative, hidden {hidden} at least 1")
        self.reach, self.motion, self.readout = reach, motion, readout
        line = range(-reach, reach + 1)
        self.cell: TranslationCell | RotationCell
        if motion == "translation":
            self.cell = TranslationCell(channels, hidden, list(itertools.product(line, line)))
            layers: list[nn.Module] = [CircularConv(hidden, hidden) for _ in range(depth)]
            layers.append(CircularConv(hidden, channels))
        else:
            self.cell = RotationCell(channels, hidden, list(line), order)
            layers = [GroupConv(hidden, hidden, order) for _ in range(depth)]
            layers.append(GroupConv(hidden, channels, order))
        self.decoder = nn.Sequential(*itertools.chain(*((layer, nn.ReLU()) for layer in layers)))[:-1]

    def with_reach(self, reach: int) -> Self:
        """The same weights with another set of velocities: nothing is learned anew."""
        other = type(self)(**(self.config | {"reach": reach})).to(self.device)
        other.load_state_dict(self.state_dict())
        return other.train(self.training)

    def decoded(self, h: Tensor) -> Tensor:
        """The next frame after hidden state h: (batch, channels, height, width)."""
        ahead = self.cell.carried(h) if self.readout == "carried" else h
        frame: Tensor = self.decoder(self.cell.pooled(ahead))
        return frame if self.motion == "translation" else frame.mean(2)

    def _go_on(self, context: Tensor, n: int) -> Tensor:
        if self.motion == "rotation" and context.shape[-1] != context.shape[-2]:
            raise MethodError(
                f"motion=rotation needs square frames; these are {context.shape[-2]} x {context.shape[-1]}"
            )
        fed = list(context.unbind(1))
        if self.readout == "repeat":
            fed.append(fed[-1])
        h = self.cell.start(fed[0])
        for frame in fed:
            h = self.cell(frame, h)
        frames = [self.decoded(h)]
        for _ in range(n - 1):
            h = self.cell(self.within(frames[-1].detach()), h)
            frames.append(self.decoded(h))
        return torch.stack(frames, 1)

    def loss(self, batch: Frames) -> Tensor:
        """Mean squared error of all the next frames."""
        return (self._go_on(batch.context, batch.future.shape[1]) - batch.future).square().mean()
