"""Pictures of rollouts on meshes: truth and prediction beside each other, still and moving, and how the error grows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.animation import Animation
from pathline.core.method import Figure
from pathline.data.meshes import Meshes
from pathline.simulate.pictures import COLOURS, PANELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from pathline.simulate.meshes import MeshSimulator

FRAMES = 80  # of an animation at most
VIEW = (18, -60)  # elevation and azimuth, degrees


def draw_rollout(methods: "Mapping[str, MeshSimulator]", data: Meshes) -> Figure:
    """The last frame of the rollout whose state changes by a median amount, beside the truth; pages show it moving."""
    moving = animate(methods, data)
    left_out = f"; {len(methods) - PANELS + 1} more methods are not drawn" if len(methods) >= PANELS else ""
    shown = "the mesh in space" if data.moving else f"the size of '{data.predicted}'"
    caption = (
        f"{data.name}: {shown}, simulated (left) and predicted, fed with the method's own predictions for "
        f"{data.state.shape[1] - 2} steps of {data.interval:g} time units{left_out}. Colour: "
        + ("distance from the true place." if data.moving else "the same scale everywhere.")
    )
    return Figure("Rollout, true and predicted", caption, moving.draw(moving.count - 1), moving)


def animate(methods: "Mapping[str, MeshSimulator]", data: Meshes) -> Animation:
    """A typical rollout: the truth in the first panel, then up to three methods."""
    state = data.state
    changed = (state[:, -1] - state[:, 1]).square().sum((1, 2))
    index = changed.argsort()[len(changed) // 2].reshape(1)
    steps = state.shape[1] - 2
    panels = {"truth": state[index[0], 1:]}
    for name, method in list(methods.items())[: PANELS - 1]:
        panels[name] = method.rollout(data.starts(index), steps)[0].cpu()
    every = -(-(steps + 1) // FRAMES)
    shown = list(range(0, steps + 1, every))
    draw = _in_space if data.moving and state.shape[3] == 3 else _in_the_plane
    return Animation(lambda k: draw(panels, data, shown[k]), len(shown))


def _title(name: str, panels: dict[str, Tensor], frame: int, data: Meshes) -> str:
    if name == "truth":
        return f"truth, t = {(frame + 1) * data.interval:.3g}"
    error = (panels[name][: frame + 1] - panels["truth"][: frame + 1]).square().mean().sqrt()
    return f"{name}, error so far {float(error):.2g}"


def _in_space(panels: dict[str, Tensor], data: Meshes, frame: int) -> "Picture":
    """Surfaces in three dimensions, coloured by how far each triangle is from its true place."""
    from matplotlib.figure import Figure as Picture
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    truth = panels["truth"]
    low, high = truth.amin((0, 1)), truth.amax((0, 1))
    middle, reach = (low + high) / 2, float((high - low).max()) / 2 * 1.02
    farthest = 0.5 * reach
    picture = Picture(figsize=(3.2 * len(panels), 3.4))
    for place, (name, path) in enumerate(panels.items(), start=1):
        panel: Any = picture.add_subplot(1, len(panels), place, projection="3d")
        surface = Poly3DCollection(path[frame][data.cells].numpy(), edgecolor="#00000055", linewidth=0.3)
        if name == "truth":
            surface.set_facecolor("#9ecae1")
        else:
            away = (path[frame] - truth[frame]).norm(dim=-1)[data.cells].mean(1)
            surface.set_array(away.clamp(max=farthest).numpy())
            surface.set_clim(0, farthest)
            surface.set_cmap("YlOrRd")
        panel.add_collection3d(surface)
        for axis, centre in zip("xyz", middle.tolist(), strict=True):
            getattr(panel, f"set_{axis}lim")(centre - reach, centre + reach)
            getattr(panel, f"set_{axis}ticklabels")([])
        panel.view_init(*VIEW)
        panel.set_box_aspect((1, 1, 1), zoom=1.15)
        panel.set_title(_title(name, panels, frame, data), fontsize=9, y=1.0)
    picture.subplots_adjust(left=0.01, right=0.99, bottom=0.03, top=0.92, wspace=0.02)
    return picture


def _in_the_plane(panels: dict[str, Tensor], data: Meshes, frame: int) -> "Picture":
    """A moving mesh of two dimensions with its edges, or the size of the field on a mesh that stands still."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(3.4 * len(panels), 3.2), layout="constrained")
    axes = picture.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    size = panels["truth"].norm(dim=-1)
    low, high = float(size.min()), float(size.max())
    cells = data.cells.numpy()
    for panel, (name, path) in zip(axes, panels.items(), strict=True):
        if data.moving:
            x, y = path[frame, :, 0], path[frame, :, min(1, path.shape[-1] - 1)]
            panel.triplot(x.numpy(), y.numpy(), cells, color="#0072b2", linewidth=0.6)
        else:
            x, y = data.mesh[:, 0], data.mesh[:, 1]
            values = path[frame].norm(dim=-1).numpy()
            drawn = panel.tripcolor(x.numpy(), y.numpy(), cells, values, vmin=low, vmax=high, shading="gouraud")
        panel.set_aspect("equal")
        panel.set_axis_off()
        panel.set_title(_title(name, panels, frame, data), fontsize=9)
    if not data.moving:
        picture.colorbar(drawn, ax=list(axes), shrink=0.8, label=f"|{data.predicted}|")
    return picture


def draw_errors(methods: "Mapping[str, MeshSimulator]", data: Meshes) -> Figure:
    """Root mean squared error after each step of a rollout."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 4), layout="constrained")
    panel = picture.subplots()
    for colour, (name, method) in zip(COLOURS, methods.items(), strict=False):
        error = method.rollout_errors(data).sqrt()
        time = torch.arange(1, len(error) + 1) * data.interval
        panel.plot(time, error, "-", color=colour, label=name)
    panel.set_yscale("log")
    panel.set_xlabel("time since the given state")
    panel.set_ylabel(f"error per channel (RMS){f' [{data.unit}]' if data.unit else ''}")
    panel.grid(True, which="major", axis="y", color="#e6e6e6")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    caption = (
        f"Root mean squared error over the free nodes in {data.name} ({data.state.shape[0]} rollouts), when each "
        "method is fed with its own predictions."
    )
    return Figure("Error over time", caption, picture)
