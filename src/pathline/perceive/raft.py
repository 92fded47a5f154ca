"""RAFT: look up how alike all pairs of points are, and let a recurrent unit refine the flow step by step.

The standard estimator of dense motion between two pictures. Take it when points move far, when motion breaks at the
edges of things, or when you have examples with known motion; for sub-pixel motion of smooth textures Horn-Schunck
needs no training and does better on the real pair of the claim.

    g1, g2 = features of both pictures at 1 / stride,   h, c = tanh, relu of features of the first alone
    C(i, k) = <g1(i), g2(k)> / sqrt(channels), and its averages over 2^l x 2^l blocks
    repeat:  x' = x + f (held constant: no gradient flows through where one looks)
             m = motion features of [C_l looked up around x' / 2^l for all l, f]
             h = GRU(h, [c, m])
             f = f + head(h)
             output: every fine pixel a convex combination of its 3 x 3 coarse neighbours, weights from h
    loss = sum over i of gamma^(N - i) |f_i - f_true|_1

Teed and Deng, 2020, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", arXiv:2003.12039. Departs: the
learning rate warms up and then falls as a cosine (the paper: one cycle, linear); the loss is a mean over the pixels
whose motion is known (official runs: over all, unknown ones counting zero); beyond the border of the coarse flow the
combination repeats the border (official: zeros); at evaluation the fine flow is formed once, after the last step.
`desk` is ours: a size for pictures of 64 x 64 on a processor.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.pairs import Pairs
from pathline.nn.conv_gru import ConvGRU, SeparableConvGRU
from pathline.nn.correlation import AllPairs, OnTheFly
from pathline.nn.upsampling import convex_upsampled, linear_upsampled
from pathline.nn.warp import carried_forward, pixel_grid
from pathline.perceive.flow_encoders import MotionEncoder, PictureEncoder, two_convolutions
from pathline.perceive.flow_estimation import LearnedFlow, in_colour

# stem and stages of the encoders with their strides; channels of features, hidden state and context; lookup;
# channels of the motion encoder; of the heads; and iterations in training and at test
SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "stages": ((64, 1), (96, 2), (128, 2)), "features": 256, "hidden": 128, "context": 128, "levels": 4,
        "radius": 4, "motion": (256, 192, 128, 64, 128), "head": 256, "iterations": 12, "test_iterations": 24,
    },
    "small": {
        "stages": ((32, 1), (64, 2), (96, 2)), "features": 128, "hidden": 96, "context": 64, "levels": 4, "radius": 3,
        "motion": (96, None, 64, 32, 82), "head": 128, "iterations": 12, "test_iterations": 24,
    },
    "desk": {
        "stages": ((24, 1), (32, 2)), "features": 64, "hidden": 48, "context": 32, "levels": 3, "radius": 3,
        "motion": (48, 32, 24, 16, 32), "head": 48, "iterations": 6, "test_iterations": 6,
    },
}  # fmt: skip


class RAFT(LearnedFlow):
    """Recurrent all-pairs field transforms.

    size:            "desk" (0.4 M weights, 1/4 resolution), "small" (1.0 M: bottleneck blocks, a plain GRU, linear
                     up-sampling) or "full" (5.3 M), both at 1/8
    iterations, test_iterations: steps of refinement in training and afterwards; None: those of the size
    on_the_fly:      correlations where they are looked up, with memory linear in the picture, in place of the volume
    warm_start:      in a film, start each pair from the flow of the one before
    frozen_norm:     keep the context's batch statistics fixed, as when a trained network learns further
    """

    def __init__(
        self,
        size: str = "desk",
        iterations: int | None = None,
        test_iterations: int | None = None,
        on_the_fly: bool = False,
        warm_start: bool = False,
        frozen_norm: bool = False,
        gamma: float = 0.8,
        noise: float = 5.0,
    ) -> None:
        super().__init__(gamma, noise)
        if size not in SIZES:
            raise MethodError(f"RAFT has no size '{size}'; choose among {', '.join(SIZES)}")
        form = SIZES[size]
        small = size == "small"
        self.iterations = iterations or form["iterations"]
        self.test_iterations = test_iterations or iterations or form["test_iterations"]
        self.correlation = OnTheFly if on_the_fly else AllPairs
        self.warm_start, self.frozen_norm = warm_start, frozen_norm
        self.hidden, self.context, self.levels, self.radius = (
            form[name] for name in ("hidden", "context", "levels", "radius")
        )
        stages, head = form["stages"], form["head"]
        self.features = PictureEncoder(stages, form["features"], "instance", bottleneck=small)
        norm = "none" if small else "batch"
        self.start = PictureEncoder(stages, self.hidden + self.context, norm, bottleneck=small)
        self.stride = self.features.stride
        windows = self.levels * (2 * self.radius + 1) ** 2
        self.motion = MotionEncoder(windows, *form["motion"])
        unit = ConvGRU if small else SeparableConvGRU
        self.unit: nn.Module = unit(self.hidden, self.context, self.motion.channels)
        self.head = two_convolutions(self.hidden, head, 2, last=3)
        self.mask = None if small else two_convolutions(self.hidden, head, 9 * self.stride**2, last=1)

    def train(self, mode: bool = True) -> "RAFT":
        super().train(mode)
        if self.frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def sequence(self, images: Tensor) -> list[Tensor]:
        """Every iteration's fine flow in training, the last one's alone otherwise."""
        return self.refined(images, every=self.training)[0]

    def refined(
        self, images: Tensor, iterations: int | None = None, start: Tensor | None = None, every: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """Fine flows (batch, 2, height, width) after each iteration, or after the last, and the last coarse flow.

        images: (batch, 2, 3, height, width) from 0 to 1, sizes multiples of the stride
        start:  coarse flow (batch, 2, height / stride, width / stride) in coarse pixels; None: no motion
        """
        count = iterations or (self.iterations if self.training else self.test_iterations)
        images = 2 * images - 1
        batch = len(images)
        first, second = self.features(images.transpose(0, 1).flatten(0, 1)).float().split(batch)
        with torch.autocast(images.device.type, enabled=False):  # similarities are compared: bf16 would tie them
            pairs = self.correlation(first, second, self.levels, self.radius)
        hidden, context = self.start(images[:, 0]).split([self.hidden, self.context], 1)
        hidden, share = hidden.tanh(), self.unit.share(context.relu())  # type: ignore[operator]
        grid = pixel_grid(first.shape[-2], first.shape[-1], images.device)
        flow = first.new_zeros(batch, 2, *first.shape[-2:]) if start is None else start
        fine = []
        for step in range(count):
            flow = flow.detach()
            hidden = self.unit(hidden, self.motion(pairs.lookup(grid + flow), flow), share)
            flow = flow + self.head(hidden).float()
            if every or step == count - 1:
                fine.append(self.upsampled(flow, hidden))
        return fine, flow

    def upsampled(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """Coarse to fine; the logits are damped by 1/4, which balances their gradients."""
        if self.mask is None:
            return linear_upsampled(flow, self.stride)
        return convex_upsampled(flow, 0.25 * self.mask(hidden).float(), self.stride)

    def perceive(self, signal: Pairs) -> Tensor:
        pairs: Pairs = self.require(signal)
        if not (self.warm_start and pairs.consecutive):
            return super().perceive(pairs)
        self._start: Tensor | None = None
        flows = [self.flow_of(batch.images) for batch in pairs.batches(1, shuffle=False)]  # type: ignore[attr-defined]
        self._start = None
        return torch.cat(flows)

    _start: Tensor | None = None

    def estimate(self, images: Tensor) -> Tensor:
        follows = self.warm_start and len(images) == 1
        fine, coarse = self.refined(in_colour(images), start=self._start if follows else None)
        if follows:
            self._start = carried_forward(coarse)
        return fine[-1]
