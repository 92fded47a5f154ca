"""A picture that moves: matplotlib figures one after another, as a GIF that a page or a file can hold."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

DOTS_PER_INCH = 80
HOLD = 8  # how many times as long the last frame stays as the others


@dataclass(frozen=True)
class Animation:
    """draw: the picture of frame k, for k = 0 .. count - 1, all of one size; rate: frames a second."""

    draw: "Callable[[int], Picture]"
    count: int
    rate: float = 10.0

    def gif(self) -> bytes:
        """All frames as a GIF that repeats for ever and holds its last frame a little."""
        import numpy
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        frames = []
        for k in range(self.count):
            picture = self.draw(k)
            picture.set_dpi(DOTS_PER_INCH)
            canvas = FigureCanvasAgg(picture)
            canvas.draw()
            frames.append(Image.fromarray(numpy.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64))
        milliseconds = round(1000 / self.rate)
        durations = [milliseconds] * (self.count - 1) + [HOLD * milliseconds]
        buffer = io.BytesIO()
        frames[0].save(
            buffer, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )
        return buffer.getvalue()
