"""ReynoldsFlow: what optical flow explains, what it cannot, and the frame itself, as one picture for any detector.

Training-free. Take it as the input of a detector where targets are tiny and the light changes: one channel shows
smooth motion, one what brightness constancy leaves over, one the frame. As an estimate of motion alone it is
Horn-Schunck with a correction; where motion is large or breaks at edges, RAFT is the better choice.

Reynolds' transport theorem for a region that moves with v, and Helmholtz' split of v:

    d/dt integral of f = integral of (f_t + div(f v)),   v = v_o + v_r,   div v_o = 0,   v_r = grad phi
    rho = f^{n+1} - f^n + v_o . grad f                     what constant brightness along v_o leaves over
    rho + div(f v_r) = 0                                   so that v_r carries it
    poisson:  div(f grad phi) = -(rho - mean rho),  f >= 0.05,  no flux through the border
    local:    v_r = -G * (rho grad f) / (G * |grad f|^2 + eps),  G a Gaussian window: v_r . grad f = -rho around a point
    picture:  [ |v_o|, |v_r|, f^n ], each from its 1st to its 99th percentile

v_o is Horn and Schunck's flow, from coarse to fine, projected onto divergence-free fields if asked; grad f is that of
the mean of both frames, by central differences. Local is the default: it needs no solver.

Chen and Wu, 2025, "ReynoldsFlow: Exquisite Flow Estimation via Reynolds Transport Theorem", arXiv:2503.04500.
Departs: the paper's code was not available; the discrete v_r above is our derivation from the theorem. The motion of
the camera is taken out first where asked (`steady`): the mean translation, by least squares, as is a change of all
light (`evened`). Channels of a frame in which nothing moves are not stretched: the scale has a floor.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.core.errors import MethodError
from pathline.data.pairs import Pairs
from pathline.nn.warp import warp
from pathline.perceive.flow_baselines import gradient, horn_schunck
from pathline.perceive.flow_estimation import FixedFlow, in_grey
from pathline.spaces.helmholtz import centred, edge_gradient, helmholtz, weighted_poisson

FLOOR = 0.05  # of brightness in the Poisson variant, whose operator is singular where f = 0
LEAST_RANGE = 0.05  # pixels: channels of motion with a smaller range are not stretched to full brightness
LEAST_CONTRAST = 0.05  # of brightness: nor are frames with less
MOST = 1 << 20  # values that percentiles are taken of
VARIANTS = ("local", "poisson")


class ReynoldsFlow(FixedFlow):
    """Solenoidal flow, irrotational correction, and the three-channel picture made of them.

    variant:    of v_r, "local" or "poisson"
    alpha, levels, warps, iterations: of Horn and Schunck's v_o
    solenoidal: project v_o onto divergence-free fields
    steady:     take out the mean translation, the camera's, first
    evened:     divide out a change of the whole picture's light first
    window:     standard deviation of the Gaussian, in pixels; epsilon: of the local variant, in squared brightness
    solver_steps: conjugate gradients of the Poisson variant
    """

    def __init__(
        self,
        variant: str = "local",
        alpha: float = 0.05,
        levels: int = 3,
        warps: int = 2,
        iterations: int = 20,
        solenoidal: bool = False,
        steady: bool = False,
        evened: bool = False,
        window: float = 0.7,
        epsilon: float = 1e-3,
        solver_steps: int = 20,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise MethodError(f"ReynoldsFlow has no variant '{variant}'; choose {' or '.join(VARIANTS)}")
        if alpha <= 0 or epsilon <= 0 or window <= 0 or min(levels, warps, iterations, solver_steps) < 1:
            raise MethodError("ReynoldsFlow: alpha, epsilon and window must be above 0, and every count at least 1")
        self.variant, self.alpha, self.levels, self.warps, self.iterations = variant, alpha, levels, warps, iterations
        self.solenoidal, self.steady, self.evened = solenoidal, steady, evened
        self.window, self.epsilon, self.solver_steps = window, epsilon, solver_steps

    def estimate(self, images: Tensor) -> Tensor:
        """The whole flow v_o + v_r, with the camera's translation."""
        camera, smooth, rest, _ = self.parts(images)
        return camera + smooth + rest

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The camera's translation (batch, 2, 1, 1), v_o and v_r (batch, 2, height, width), rho (batch, 1, h, w).

        images: (batch, 2, 1 or 3, height, width) from 0 to 1; flows in pixels per frame
        """
        first, second = in_grey(images).unbind(1)
        second, camera = calmed(first, second, self.steady, self.evened)
        smooth = horn_schunck(first, second, self.alpha, self.levels, self.warps, self.iterations)
        if self.solenoidal:
            smooth = helmholtz(smooth)[0]
        rho, slope = residual(first, second, smooth)
        rest = (
            local_correction(rho, slope, self.window, self.epsilon)
            if self.variant == "local"
            else poisson_correction(rho, (first + second) / 2, self.solver_steps)
        )
        return camera, smooth, rest, rho

    def encoded(self, images: Tensor, clip: bool = False) -> Tensor:
        """ReynoldsFlow+: (batch, 3, height, width) from 0 to 1, red |v_o|, green |v_r|, blue the first frame.

        clip: the batch is one film, whose channels are stretched together, so that they can be compared over time
        """
        _, smooth, rest, _ = self.parts(images)
        speeds = [stretched(length(flow), LEAST_RANGE, clip) for flow in (smooth, rest)]
        return torch.cat([*speeds, stretched(in_grey(images)[:, 0], LEAST_CONTRAST, clip)], 1)

    def writers(self) -> dict[str, Any]:
        """As every method of the task, but .png is the picture for a detector, ReynoldsFlow+."""
        from pathline.perceive.flow_pictures import pictures_png

        def png(data: Pairs, path: Path, seed: int) -> None:
            images = data.gather(torch.arange(len(data))).images
            path.write_bytes(pictures_png(self.encoded(images, clip=data.consecutive)))

        return super().writers() | {".png": png}


def calmed(first: Tensor, second: Tensor, steady: bool, evened: bool) -> tuple[Tensor, Tensor]:
    """The second frame without the change of all light (`evened`) and drawn back along the mean translation (`steady`),
    and that translation (batch, 2, 1, 1). Frames are (batch, 1, height, width)."""
    camera = first.new_zeros(len(first), 2, 1, 1)
    if evened:
        second = second * (first.mean((1, 2, 3), keepdim=True) / second.mean((1, 2, 3), keepdim=True).clamp(min=1e-3))
    if steady:
        camera = mean_translation(first, second)
        second = warp(second, camera.expand(-1, -1, *first.shape[-2:]))
    return second, camera


def residual(first: Tensor, second: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """rho = f^{n+1} - f^n + v . grad f, (batch, 1, height, width), and grad f of the mean frame (batch, 2, h, w)."""
    slope = gradient((first + second) / 2)
    return second - first + (flow * slope).sum(1, keepdim=True), slope


def local_correction(rho: Tensor, slope: Tensor, window: float, epsilon: float) -> Tensor:
    """v_r of the local variant: the least-squares answer to v_r . grad f = -rho along the gradient, in a window."""
    return -blurred(rho * slope, window) / (blurred(slope.square().sum(1, keepdim=True), window) + epsilon)


def poisson_correction(rho: Tensor, frame: Tensor, steps: int = 20) -> Tensor:
    """v_r = grad phi of the Poisson variant at pixel centres, (batch, 2, height, width)."""
    potential = weighted_poisson(-rho[:, 0], frame[:, 0].clamp(min=FLOOR), steps)
    return centred(*edge_gradient(potential))


def mean_translation(first: Tensor, second: Tensor, rounds: int = 5) -> Tensor:
    """The one displacement (batch, 2, 1, 1) that fits both frames best, by Gauss and Newton: a camera's jitter."""
    shift = first.new_zeros(len(first), 2, 1, 1)
    inside = (..., slice(2, -2), slice(2, -2))
    for _ in range(rounds):
        back = warp(second, shift.expand(-1, -1, *first.shape[-2:]))
        slope = gradient((first + back) / 2)[inside].flatten(2)
        change = (back - first)[inside].flatten(2)
        normal = slope @ slope.mT + 1e-6 * torch.eye(2, device=first.device)
        step = torch.linalg.solve(normal, slope @ change.mT)
        shift = shift - step[..., None]
    return shift


def length(flow: Tensor) -> Tensor:
    """(batch, 1, height, width) from (batch, 2, height, width)."""
    return flow.square().sum(1, keepdim=True).sqrt()


def stretched(values: Tensor, least: float, together: bool = False, low: float = 0.01, high: float = 0.99) -> Tensor:
    """Values (batch, ...) from 0 to 1 by the percentiles of each picture, or of all `together`; a range below `least`
    is not stretched to all of it."""
    flat = values.flatten()[None] if together else values.flatten(1)
    ends = torch.tensor([low, high], device=values.device, dtype=values.dtype)
    bottom, top = (
        flat[:, :: 1 + flat.shape[1] // MOST].quantile(ends, 1).view(2, -1, *[1] * (values.ndim - 1)).unbind(0)
    )
    return ((values - bottom) / (top - bottom).clamp(min=least)).clamp(0, 1)


def blurred(values: Tensor, deviation: float) -> Tensor:
    """A Gaussian filter, border repeated; (batch, channels, height, width)."""
    reach = max(1, round(3 * deviation))
    offset = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    weights = torch.exp(-0.5 * (offset / deviation) ** 2)
    weights = weights / weights.sum()
    channels = values.shape[1]
    padded = F.pad(values, (reach,) * 4, mode="replicate")
    along_x = F.conv2d(padded, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(along_x, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
