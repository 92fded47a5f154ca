"""The task of motion between two pictures: for every pixel of the first, how far it moves to the second.

The verb is `perceive(pairs)`, a flow in pixels. A method says what it sees in a batch of pairs (`estimate`); pictures
of any size, grey or in colour, are made fit for it here. Where the true flow is known, errors are distances in pixels
(EPE, end-point error). Where it is not, the photometric error says how far the second picture, drawn back along the
flow, is from the first: what a person can check on a film of their own, though it also rewards a flow that merely
matches colours.

A network cannot learn from a film whose motion nobody knows. It then learns from simulated flying crops instead, and
says so.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Computed, Figure, Method, Recipe, key_of
from pathline.data.container import Split
from pathline.data.pairs import Pairs, TwoFrames
from pathline.nn.warp import warp
from pathline.perceive.base import Perceiver

if TYPE_CHECKING:
    import pandas as pd

PIXELS = 1 << 19  # looked at together, which bounds the memory
CROPS = (3000, 200, 200)  # simulated pairs for training, validation and test where data teach nothing
GREY_LEVELS = 255


def in_colour(images: Tensor) -> Tensor:
    """(batch, 2, 3, height, width); grey pictures get three equal channels."""
    return images if images.shape[2] == 3 else images.expand(-1, -1, 3, -1, -1)


def in_grey(images: Tensor) -> Tensor:
    """(batch, 2, 1, height, width), the brightness of Rec. 601."""
    if images.shape[2] == 1:
        return images
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(3, 1, 1)
    return (images * weights).sum(2, keepdim=True)


def end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """(batch, height, width): the distance between where a pixel is said to go and where it goes."""
    return (flow - truth).square().sum(1).sqrt()


def accuracy(error: Tensor, length: Tensor) -> dict[str, float]:
    """Metrics of flow over pixels: epe and its median, shares off by more than 1, 3, 5 px, and F1-all: the share off by
    more than 3 px and 5 % of the true motion.

    error, length: (pixels,) end-point errors and lengths of the true flow
    """
    return {
        "epe": float(error.mean()),
        "epe_median": float(error.median()),
        **{f"over_{px}px": float((error > px).double().mean()) for px in (1, 3, 5)},
        "f1_all": float(((error > 3) & (error > 0.05 * length)).double().mean()),
    }


def photometric_error(images: Tensor, flow: Tensor) -> Tensor:
    """(batch,) mean absolute difference, in grey levels of 255, of the first picture and the second drawn back.

    Points that leave the picture are given the nearest colour of its border, so that nothing is won by leaving it.
    """
    back = warp(images[:, 1], flow)
    return GREY_LEVELS * (back - images[:, 0]).abs().mean((1, 2, 3))


class FlowEstimator(Perceiver):
    """What all methods of this task share. A subclass writes `estimate`; `stride` is what sizes must divide by."""

    container = Pairs
    stride: int = 1

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        cls.require(data)
        return cls(**config)

    def estimate(self, images: Tensor) -> Tensor:
        """The flow (batch, 2, height, width) in pixels of images (batch, 2, 3, height, width) from 0 to 1."""
        raise NotImplementedError

    @torch.no_grad()
    def flow_of(self, images: Tensor) -> Tensor:
        """`estimate` for pictures of any size: they are continued at their borders up to multiples of the stride."""
        height, width = images.shape[-2:]
        below, right = -height % self.stride, -width % self.stride
        top, left = below // 2, right // 2
        padded = F.pad(in_colour(images).flatten(1, 2), (left, right - left, top, below - top), mode="replicate")
        flow = self.estimate(padded.unflatten(1, (2, 3)).to(self.device)).float().cpu()
        return flow[..., top : top + height, left : left + width]

    def perceive(self, signal: Pairs) -> Tensor:
        """The flow of every pair, (pairs, 2, height, width) in pixels, x first."""
        pairs = self.require(signal)
        return torch.cat([self.flow_of(batch.images) for batch in pairs.blocks(PIXELS)])

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Pairs, seed: int = 0) -> dict[str, float]:
        """epe, epe_median, over_1px, over_3px, over_5px, f1_all over all pixels whose motion is known, then
        photometric_error; that one alone where no truth is known."""
        pairs: Pairs = self.require(data)
        flow = self.perceive(pairs)
        errors, lengths, photometric, begin = [], [], [], 0
        for batch in pairs.blocks(PIXELS):
            part = flow[begin : (begin := begin + len(batch))]
            photometric.append(photometric_error(batch.images, part))
            if batch.flow is not None and batch.valid is not None:
                errors.append(end_point_error(part, batch.flow)[batch.valid])
                lengths.append(batch.flow.square().sum(1).sqrt()[batch.valid])
        found = {"photometric_error": float(torch.cat(photometric).mean())}
        if not errors:
            return found
        error, length = torch.cat(errors), torch.cat(lengths)
        if not len(error):
            raise DataError(f"{pairs.name}: its mask says that the motion of no pixel is known; leave the flow out")
        return accuracy(error, length) | found

    def predict(self, data: Pairs, seed: int = 0) -> "pd.DataFrame":
        """A row per pair: the mean flow and how fast points move, in pixels, and the errors that can be told."""
        import pandas as pd

        pairs: Pairs = self.require(data)
        flow = self.perceive(pairs)
        speed = flow.square().sum(1).sqrt().flatten(1)
        table = {
            "pair": torch.arange(len(pairs)),
            "mean_x": flow[:, 0].mean((1, 2)),
            "mean_y": flow[:, 1].mean((1, 2)),
            "mean_speed": speed.mean(1),
            "median_speed": speed.median(1).values,
            "largest_speed": speed.amax(1),
        }
        pairs_of = pairs.gather(torch.arange(len(pairs)))
        table["photometric_error"] = photometric_error(pairs_of.images, flow)
        if pairs_of.flow is not None and pairs_of.valid is not None:
            error = end_point_error(flow, pairs_of.flow) * pairs_of.valid
            table["epe"] = error.sum((1, 2)) / pairs_of.valid.sum((1, 2)).clamp(min=1)
        return pd.DataFrame({name: column.numpy() for name, column in table.items()})

    def writers(self) -> dict[str, Any]:
        """.flo (Middlebury, one pair), .npz (all pairs), .png (colours of the flow) and .gif (frames beside them)."""
        from pathline.perceive import flow_pictures

        def flo(data: Pairs, path: Path, seed: int) -> None:
            from pathline.data.readers.flow_files import write_flo

            if len(data) != 1:
                raise DataError(
                    f"a .flo file holds one flow, but {data.name} has {len(data)} pairs; write .npz instead"
                )
            write_flo(path, self.perceive(data)[0])

        def npz(data: Pairs, path: Path, seed: int) -> None:
            import numpy as np

            with open(path, "wb") as file:
                np.savez_compressed(file, flow=self.perceive(data).numpy())

        def png(data: Pairs, path: Path, seed: int) -> None:
            path.write_bytes(flow_pictures.colours_png(self.perceive(data)))

        def gif(data: Pairs, path: Path, seed: int) -> None:
            path.write_bytes(flow_pictures.film_gif(data, self.perceive(data)))

        return {".flo": flo, ".npz": npz, ".png": png, ".gif": gif}

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Pairs) -> list[Figure]:
        """Frames, flow and errors of one pair, and the film if there is one."""
        from pathline.perceive import flow_pictures

        chosen = {name: method for name, method in methods.items() if isinstance(method, FlowEstimator)}
        return flow_pictures.figures(chosen, data) if chosen else []


class FixedFlow(Computed, FlowEstimator):
    """A method that learns nothing."""

    def loss(self, batch: TwoFrames) -> Tensor:
        """Mean end-point error, or photometric error without truth."""
        flow = self.flow_of(batch.images)
        if batch.flow is None or batch.valid is None:
            return photometric_error(batch.images, flow).mean()
        return end_point_error(flow, batch.flow)[batch.valid].mean()


class LearnedFlow(FlowEstimator):
    """A network that learns from pairs whose motion is known. A subclass writes `sequence`.

    gamma: weight of an earlier estimate relative to the one after it noise: standard deviation of the noise on
    training pictures, drawn anew for each batch up to this; grey levels of 255
    """

    recipe = Recipe(steps=500, batch_size=8, lr=4e-4, weight_decay=1e-4, clip=1.0, warmup=25, validations=5)
    largest = 400.0  # pixels; motion beyond is left out of the loss
    simulated: Tensor

    def __init__(self, gamma: float = 0.8, noise: float = 5.0) -> None:
        super().__init__()
        self.gamma, self.noise = gamma, noise
        self.register_buffer("simulated", torch.tensor(False))

    def sequence(self, images: Tensor) -> list[Tensor]:
        """Estimates of the flow (batch, 2, height, width), each better than the one before; images as in `estimate`."""
        raise NotImplementedError

    def estimate(self, images: Tensor) -> Tensor:
        return self.sequence(images)[-1]

    def loss(self, batch: TwoFrames) -> dict[str, Tensor]:
        """sum over i of gamma^(N - i) |f_i - f|_1, a mean over pixels whose motion is known, x and y."""
        if batch.flow is None or batch.valid is None:
            raise DataError(f"{type(self).__name__} learns from pairs whose motion is known; these come without")
        images = in_colour(batch.images)
        if self.training and self.noise:
            strength = torch.rand((), device=images.device) * self.noise / GREY_LEVELS
            images = (images + strength * torch.randn_like(images)).clamp(0, 1)
        known = batch.valid & (batch.flow.square().sum(1) < self.largest**2)
        weight = known[:, None] / (2 * known.sum()).clamp(min=1)
        estimates = self.sequence(images)
        terms = [(weight * (flow.float() - batch.flow).abs()).sum() for flow in estimates]
        total = torch.stack([self.gamma ** (len(terms) - 1 - i) * term for i, term in enumerate(terms)]).sum()
        error = (end_point_error(estimates[-1].detach().float(), batch.flow) * known).sum() / known.sum().clamp(min=1)
        return {"loss": total, "epe": error}

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train on pairs with known motion; where `data` teach nothing, on simulated flying crops, and say so."""
        part: Pairs = self.require(data)
        if part.teaches:
            return super().fit(data, budget, seed=seed, validation=validation, **options)
        from pathline.sims.flying_crops import flying_crops_in_parts

        why = "is kept for testing" if part.flow is not None else "has no true motion to learn from"
        print(
            f"{key_of(type(self))}: {part.name} {why}; the network learns from simulated flying crops",
            file=sys.stderr,
            flush=True,
        )
        self.simulated.fill_(True)
        crops: Split[Pairs] = flying_crops_in_parts(*CROPS).split()
        return super().fit(crops, budget, seed=seed, **options)
