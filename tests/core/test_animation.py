"""Moving pictures hold every frame, in order, and repeat."""

import io

from matplotlib.figure import Figure
from PIL import Image

from pathline.core.animation import Animation


def _bar(k: int) -> Figure:
    """A picture whose left k tenths are black."""
    picture = Figure(figsize=(1, 1))
    axes = picture.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 10), ylim=(0, 1))
    axes.axvspan(0, k, color="black")
    return picture


def test_a_gif_holds_every_frame_in_order_and_rests_on_the_last():
    image = Image.open(io.BytesIO(Animation(_bar, 5, rate=20.0).gif()))
    assert image.n_frames == 5 and image.info["loop"] == 0
    dark, durations = [], []
    for k in range(5):
        image.seek(k)
        grey = image.convert("L")
        dark.append(sum(grey.histogram()[:128]) / (grey.width * grey.height))
        durations.append(image.info["duration"])
    assert all(abs(share - k / 10) < 0.03 for k, share in enumerate(dark))
    assert durations[:4] == [50] * 4 and durations[4] == 400
