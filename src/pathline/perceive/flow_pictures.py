"""Pictures of motion: the colour wheel, frames beside flow and error, and films of both.

Hue says where to (right is red, down yellow-green, left cyan, up violet), paleness how little: the wheel of Baker et
al., 2011, "A Database and Evaluation Methodology for Optical Flow", whose 55 hues are spaced as the eye tells them
apart.
"""

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data.pairs import Pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from pathline.perceive.flow_estimation import FlowEstimator

ARMS = 5  # methods drawn below one another
FRAMES = 40  # of a film in a report
SHOWN = 16  # flows in one png
# from hue to hue, and in how many steps: red, yellow, green, cyan, blue, magenta
HUES = (
    ((255, 0, 0), 15),
    ((255, 255, 0), 6),
    ((0, 255, 0), 4),
    ((0, 255, 255), 11),
    ((0, 0, 255), 13),
    ((255, 0, 255), 6),
)


def colour_wheel() -> Tensor:
    """The 55 colours of the wheel from 0 to 1, (55, 3), beginning at red and going round."""
    corners = [torch.tensor(colour, dtype=torch.float32) / 255 for colour, _ in HUES]
    arcs = [
        torch.lerp(corners[i], corners[(i + 1) % len(corners)], (torch.arange(steps) / steps)[:, None])
        for i, (_, steps) in enumerate(HUES)
    ]
    return torch.cat(arcs)


def flow_colours(flow: Tensor, largest: float | Tensor | None = None) -> Tensor:
    """Flow (batch, 2, height, width) as colours (batch, 3, height, width) from 0 to 1: white stands still.

    largest: the length of the most vivid colour; None: the longest of all. What is longer still grows darker.
    """
    length = flow.square().sum(1).sqrt()
    top = torch.as_tensor(float(length.max()) if largest is None else largest).clamp(min=1e-6)
    radius = length / top
    wheel = colour_wheel().to(flow.device)
    count = len(wheel)
    place = (torch.atan2(-flow[:, 1], -flow[:, 0]) / math.pi + 1) / 2 * (count - 1)
    below = place.floor().long().clamp(0, count - 1)
    hue = torch.lerp(wheel[below], wheel[(below + 1) % count], (place - below)[..., None]).movedim(-1, 1)
    radius = radius[:, None]
    return torch.where(radius <= 1, 1 - radius * (1 - hue), 0.75 * hue)


def colours_png(flow: Tensor) -> bytes:
    """The colours of the flow of one pair, or of the first 16 below one another, as a png of their own size."""
    return pictures_png(flow_colours(flow[:SHOWN]))


def pictures_png(pictures: Tensor) -> bytes:
    """Pictures (batch, 3, height, width) from 0 to 1, the first 16 below one another, as a png of their own size."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_bytes(pictures[:SHOWN].movedim(1, -1).flatten(0, 1))).save(buffer, format="PNG")
    return buffer.getvalue()


def film_gif(data: Pairs, flow: Tensor, rate: float = 10.0) -> bytes:
    """The first frame of every pair and the colours of its flow beside it, as a gif."""
    from PIL import Image

    images = data.gather(torch.arange(len(data))).images[:, 0].expand(-1, 3, -1, -1)
    both = torch.cat([images, flow_colours(flow)], 3).movedim(1, -1)
    frames = [Image.fromarray(one).quantize(128) for one in _bytes(both)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / rate),
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()


def figures(methods: "Mapping[str, FlowEstimator]", data: Pairs) -> list[Figure]:
    """One pair seen by every method, and, of a film, the first method's flow as it plays."""
    shown = dict(list(methods.items())[:ARMS])
    from pathline.perceive.flow_estimation import LearnedFlow

    index = typical(data)
    picture = draw_pair(shown, data.take(index))
    simulated = [n for n, m in shown.items() if isinstance(m, LearnedFlow) and bool(m.simulated)]
    said = (
        f" {' and '.join(simulated)} learned from simulated flying crops, not from these pictures." if simulated else ""
    )
    left_out = f" {len(methods) - len(shown)} more methods are not drawn." if len(methods) > len(shown) else ""
    what = (
        "the end-point error in pixels"
        if data.flow is not None
        else "how far the second frame, drawn back along the flow, is from the first (grey levels of 255)"
    )
    where = f"Pair {int(index)} of {data.name}"
    caption = f"{where}: colours say where to and how far (wheel); below them {what}.{said}{left_out}"
    found = [Figure("Motion", caption, picture)]
    if data.consecutive and len(data) > 2:
        name, method = next(iter(shown.items()))
        part = data.take(torch.arange(min(FRAMES, len(data))))
        flow = method.perceive(part)
        top = float(flow.square().sum(1).sqrt().flatten().quantile(0.99)) if flow.numel() < 1 << 24 else None

        def frame(k: int) -> "Picture":
            return draw_flow(part.gather(torch.tensor([k])).images[0, 0], flow[k], top)

        film = Animation(frame, len(part), rate=8.0)
        found.append(Figure("Film", f"{data.name}, and its motion as {name} sees it.", frame(0), film))
    return found


def typical(data: Pairs) -> Tensor:
    """The pair with the median mean length of its true flow; without truth the middle one."""
    if data.flow is None:
        return torch.tensor([len(data) // 2])
    batch = data.gather(torch.arange(len(data)))
    assert batch.flow is not None
    return batch.flow.square().sum(1).sqrt().mean((1, 2)).argsort()[len(data) // 2].reshape(1)


def draw_pair(methods: "Mapping[str, FlowEstimator]", pair: Pairs) -> "Picture":
    """Both frames, the truth if known, and each method's flow and error; `pair` holds one."""
    return draw_rows([(pair, {name: method.perceive(pair)[0] for name, method in methods.items()})])


def draw_rows(rows: "list[tuple[Pairs, dict[str, Tensor]]]") -> "Picture":
    """One block of panels per pair: frames and truth on the left, then a column for each method, error below flow."""
    from matplotlib.figure import Figure as Picture

    names = list(rows[0][1])
    columns = 2 + len(names)
    tall = [1.9 * pair.size[0] / pair.size[1] for pair, _ in rows for _ in range(2)]
    picture = Picture(figsize=(1.9 * columns + 0.3, sum(tall) + 0.45 * len(tall)), layout="constrained")
    panels = picture.subplots(len(tall), columns, squeeze=False, height_ratios=tall)
    for row, (pair, flows) in enumerate(rows):
        upper, lower = panels[2 * row], panels[2 * row + 1]
        batch = pair.gather(torch.tensor([0]))
        valid = None if batch.valid is None else batch.valid[0]
        for panel, title, image in ((upper[0], "first", batch.images[0, 0]), (lower[0], "second", batch.images[0, 1])):
            _show(panel, image.expand(3, -1, -1), title)
        truth = None if batch.flow is None else batch.flow[0]
        lengths = torch.stack(list(flows.values()) if truth is None else [truth]).square().sum(1).sqrt()
        top = max(float(lengths.max()), 1e-3)
        wheel = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 65), torch.linspace(-1, 1, 65), indexing="xy"))
        legend = flow_colours(wheel[None], 1.0)[0]
        legend = torch.where(wheel.square().sum(0) <= 1, legend, torch.ones(()))
        if truth is not None:
            colours = flow_colours(truth[None], top)[0]
            _show(upper[1], torch.where(torch.ones(()).bool() if valid is None else valid, colours, 0.5), "truth")
        else:
            upper[1].axis("off")
        _show(lower[1], legend, f"wheel: up to {top:.3g} px")
        errors = {name: _error(batch.images, flow, truth, valid) for name, flow in flows.items()}
        ceiling = max(1e-3, float(torch.cat([e[torch.isfinite(e)] for e in errors.values()]).quantile(0.95)))
        for place, (name, flow) in enumerate(flows.items()):
            _show(upper[2 + place], flow_colours(flow[None], top)[0], name)
            error = errors[name]
            drawn = lower[2 + place].imshow(error.numpy(), cmap="magma", vmin=0, vmax=ceiling)
            mean = float(error[torch.isfinite(error)].mean())
            unit = "px" if truth is not None else "grey levels"
            lower[2 + place].set_title(f"off by {mean:.2f} {unit}", fontsize=8)
            lower[2 + place].axis("off")
        picture.colorbar(drawn, ax=list(lower[2:]), fraction=0.03, pad=0.01)
    return picture


def draw_flow(image: Tensor, flow: Tensor, largest: float | None) -> "Picture":
    """A frame and its flow beside it."""
    from matplotlib.figure import Figure as Picture

    height, width = image.shape[-2:]
    picture = Picture(figsize=(8, 4 * height / width + 0.3), layout="constrained")
    left, right = picture.subplots(1, 2)
    _show(left, image.expand(3, -1, -1), "")
    _show(right, flow_colours(flow[None], largest)[0], "")
    return picture


def _error(images: Tensor, flow: Tensor, truth: Tensor | None, valid: Tensor | None) -> Tensor:
    """(height, width); nan where the truth is not known."""
    from pathline.nn.warp import warp

    if truth is None:
        return 255 * (warp(images[:, 1], flow[None]) - images[:, 0]).abs().mean(1)[0]
    error = (flow - truth).square().sum(0).sqrt()
    return error if valid is None else torch.where(valid, error, torch.nan)


def _show(panel: "object", image: Tensor, title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    panel.imshow(image.movedim(0, -1).clamp(0, 1).numpy(), interpolation="nearest")
    panel.set_title(title, fontsize=8)
    panel.axis("off")


def _bytes(colours: Tensor) -> np.ndarray:
    array: np.ndarray = (colours.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return array
