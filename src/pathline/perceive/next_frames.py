"""The task of going on with a clip: given some frames, say what the next ones look like.

`perceive(context, n)` returns frames. Errors are mean squared errors over pixels and channels, and the peak
signal-to-noise ratio 10 log10(range^2 / mse) in decibel, with the range of the training part's pixels.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data.clips import Clips, Frames
from pathline.perceive.base import Perceiver

if TYPE_CHECKING:
    import pandas as pd

BATCH = 64
PANELS = 6


class NextFrames(Perceiver):
    """What all methods of the task share. A subclass writes `_go_on`.

    channels: of a frame
    """

    container = Clips
    lowest: Tensor
    highest: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("lowest", torch.tensor(-torch.inf))
        self.register_buffer("highest", torch.tensor(torch.inf))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**({"channels": part.frames.shape[2]} | config))
        method.lowest.copy_(part.frames.min())
        method.highest.copy_(part.frames.max())
        return method

    def _go_on(self, context: Tensor, n: int) -> Tensor:
        """(batch, n, channels, height, width), the frames after `context` (batch, time, channels, height, width)."""
        raise NotImplementedError

    @torch.no_grad()
    def perceive(self, signal: Tensor, n: int = 1) -> Tensor:
        """The `n` frames after signal (batch, time, channels, height, width): (batch, n, channels, height, width).

        Raises DataError for n < 1 or a signal of another shape, or with values that are not finite.
        """
        who = type(self).__name__
        if n < 1:
            raise DataError(f"{who}: asked for {n} frames; it must be at least 1")
        if signal.ndim != 5 or 0 in signal.shape or signal.shape[2] != self.channels:
            raise DataError(
                f"{who}: frames have shape {tuple(signal.shape)}; expected (batch, time, {self.channels}, height, "
                "width)"
            )
        if not bool(torch.isfinite(signal).all()):
            raise DataError(f"{who}: frames hold values that are not finite numbers")
        return self.within(self._go_on(signal.to(self.device), n))

    def within(self, frames: Tensor) -> Tensor:
        """Pixels brought into the range of those of the training part."""
        return frames.clamp(self.lowest.to(frames.dtype), self.highest.to(frames.dtype))

    def check(self, data: Any) -> Clips:
        """`data`, if its frames have the channels that were learned."""
        clips: Clips = self.require(data)
        if clips.frames.shape[2] != self.channels:
            raise DataError(
                f"{clips.name}: its frames have {clips.frames.shape[2]} channels; {type(self).__name__} learned from "
                f"{self.channels}"
            )
        return clips

    # -- metrics ------------------------------------------------------------------------------------------------------

    def errors(self, data: Clips) -> Tensor:
        """(horizon,) mean squared error of each of the next frames, over all items."""
        clips = self.check(data)
        total = torch.zeros(clips.horizon, dtype=torch.float64)
        for index in torch.arange(len(clips)).split(BATCH):
            batch = clips.gather(index)
            found = self.perceive(batch.context, clips.horizon).cpu()
            total += (found - batch.future).double().square().mean((2, 3, 4)).sum(0)
        return total / len(clips)

    def score(self, data: Clips, seed: int = 0) -> float:
        """Mean squared error over all of the next frames."""
        return float(self.errors(data).mean())

    def evaluate(self, data: Clips, seed: int = 0) -> dict[str, float]:
        """mse: over all of the next frames; final_mse: of the last one; psnr: of all, in decibel."""
        errors = self.errors(data)
        mse = float(errors.mean())
        span = max(float(self.highest - self.lowest), 1e-6)
        psnr = 10 * math.log10(span**2 / max(mse, 1e-12))
        return {"mse": mse, "final_mse": float(errors[-1]), "psnr": psnr}

    def predict(self, data: Clips, seed: int = 0) -> "pd.DataFrame":
        """The frames that follow each clip: a row per pixel with clip, step (from 1), channel, row, column, value."""
        import pandas as pd

        clips = self.check(data)
        found = self.perceive(clips.frames[:, -clips.history :], clips.horizon).cpu()
        places = torch.cartesian_prod(*(torch.arange(size) for size in found.shape)).numpy()
        table = dict(zip(("clip", "step", "channel", "row", "column"), places.T, strict=True))
        return pd.DataFrame({**table, "step": table["step"] + 1, "value": found.flatten().numpy()})

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """A moving picture of the last known frames and those that follow."""
        return {".gif": self._write_gif}

    def _write_gif(self, data: Clips, path: Path, seed: int) -> None:
        from pathline.core.animation import Animation

        clips = self.check(data)
        seen = clips.frames[:1, -clips.history :]
        film = torch.cat([seen, self.perceive(seen, clips.horizon).cpu()], 1)[0]
        low, high = float(clips.frames.min()), float(clips.frames.max())

        def draw(k: int) -> Any:
            kind = "seen" if k < clips.history else "predicted"
            return _row([film[k]], [f"{kind}, frame {k + 1}"], low, high)

        path.write_bytes(Animation(draw, len(film), clips.rate or 8.0).gif())

    @classmethod
    def figures(cls, methods: Mapping[str, Method], data: Clips) -> list[Figure]:
        """One clip beside the truth, moving, and the error of each next frame."""
        shown = {name: method for name, method in methods.items() if isinstance(method, NextFrames)}
        return [draw_clip(shown, data), draw_errors(shown, data)]


class LastFrame(NextFrames):
    """Nothing moves any more: the last frame is repeated."""

    trains = False

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Nothing is learned."""
        self.check(data)
        return self.eval()

    def loss(self, batch: Frames) -> Tensor:
        """Mean squared error."""
        return (self._go_on(batch.context, batch.future.shape[1]) - batch.future).square().mean()

    def _go_on(self, context: Tensor, n: int) -> Tensor:
        return context[:, -1:].expand(-1, n, -1, -1, -1)


def _row(pictures: list[Tensor], titles: list[str], low: float, high: float) -> Any:
    """Frames (channels, height, width) side by side."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(2.1 * max(2, len(pictures)), 2.5), layout="constrained")
    panels = picture.subplots(1, len(pictures), squeeze=False)[0]
    for panel, frame, title in zip(panels, pictures, titles, strict=True):
        if len(frame) == 3:
            panel.imshow(((frame.movedim(0, -1) - low) / max(high - low, 1e-9)).clamp(0, 1).numpy())
        else:
            panel.imshow(frame[0].numpy(), vmin=low, vmax=high, cmap="gray")
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
    return picture


def draw_clip(methods: Mapping[str, NextFrames], data: Clips) -> Figure:
    """The first item of `data`: truth and up to five methods, the last frame as a picture and all as an animation."""
    from pathline.core.animation import Animation

    item: Any = data.gather(torch.tensor([0]))
    chosen = dict(list(methods.items())[: PANELS - 1])
    films = {"truth": torch.cat([item.context, item.future], 1)[0]}
    for name, method in chosen.items():
        films[name] = torch.cat([item.context, method.perceive(item.context, data.horizon).cpu()], 1)[0]
    low, high = float(data.frames.min()), float(data.frames.max())

    def draw(k: int) -> Any:
        when = f"frame {k + 1}" if k < data.history else f"{k + 1 - data.history} ahead"
        titles = [f"{name}\n{when}" for name in films]
        return _row([film[k] for film in films.values()], titles, low, high)

    count = data.history + data.horizon
    animation = Animation(draw, count, rate=4.0)
    caption = (
        f"The first clip of {data.name}: {data.history} frames are given, {data.horizon} follow, each fed with the "
        "method's own predictions."
    )
    return Figure("A clip, true and predicted", caption, draw(count - 1), animation)


def draw_errors(methods: Mapping[str, NextFrames], data: Clips) -> Figure:
    """Mean squared error of each next frame."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(8, 3.8), layout="constrained")
    panel = picture.subplots()
    for name, method in methods.items():
        panel.plot(range(1, data.horizon + 1), method.errors(data), "o-", label=name, markersize=4)
    panel.set_xlabel("frames ahead")
    panel.set_ylabel("mean squared error")
    panel.set_ylim(bottom=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    return Figure("Error over time", f"Mean over {len(data)} items of {data.name}.", picture)
