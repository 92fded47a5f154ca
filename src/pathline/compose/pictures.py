"""Pictures of composers: their law against the target, the rewards they draw, and the modes that they find."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.compose.evaluate import mode_bar, places
from pathline.core.method import Figure
from pathline.data.environment import DiscreteEnvironment, Environment
from pathline.sims.environments.hypergrid import Hypergrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from pathline.compose.base import Composer

TARGET, DRAWN = "#444444", "#1f6fb4"
COLOURS = ("#1f6fb4", "#d1622b", "#3d8f5f", "#8a5fa8", "#b8902f", "#c04c6d", "#4aa3b5")
COUNT = 4000  # objects drawn for a picture
PANELS = 5  # methods shown at most
BINS = 30


def figures(methods: "dict[str, Composer]", data: Environment) -> list[Figure]:
    """Laws side by side on a hypergrid, rewards of drawn objects, and modes found against objects drawn."""
    for method in methods.values():
        method.adopted(data)
    drawn = {name: method.objects(COUNT) for name, method in methods.items()}
    found = []
    if isinstance(data, Hypergrid) and data.dims >= 2 and data.enumerable:
        laws = {}
        for name, method in list(methods.items())[:PANELS]:
            law = method.law(data)
            laws[name] = frequencies(data, drawn[name]) if law is None else law
        caption = (
            f"Probability of each cell of {data.name}"
            + (", added up over all axes but the first two" if data.dims > 2 else "")
            + ": what the reward asks for, and what each method samples."
        )
        found.append(Figure("Learned against exact distribution", caption, draw_laws(data, laws)))
    rewards = {name: data.log_reward(objects) for name, objects in drawn.items()}
    caption = f"log R of {COUNT} objects of {data.name} from each method."
    if isinstance(data, DiscreteEnvironment) and data.enumerable:
        caption += " The grey line is what the reward asks for."
    found.append(Figure("Rewards of drawn objects", caption, draw_rewards(data, rewards)))
    if isinstance(data, DiscreteEnvironment) and data.enumerable:
        caption = f"Different objects that are modes of {data.name} against the number of objects drawn."
        found.append(Figure("Modes found", caption, draw_modes(data, drawn)))
    return found


def frequencies(environment: DiscreteEnvironment, objects: Tensor) -> Tensor:
    """How often each of `environment.objects` is among `objects`: (count,), sums to 1."""
    return torch.bincount(places(environment, objects), minlength=len(environment.objects)) / len(objects)


def marginal(environment: Hypergrid, law: Tensor) -> Tensor:
    """(side, side): a law over `environment.objects` added up over all axes but the first two."""
    cell = environment.objects[:, 0] * environment.side + environment.objects[:, 1]
    table = torch.zeros(environment.side**2, dtype=torch.float64).index_add(0, cell, law.double())
    return table.view(environment.side, environment.side)


def draw_laws(environment: Hypergrid, laws: dict[str, Tensor]) -> "Picture":
    """Heat maps of the target and of each law, in one scale of colours."""
    from matplotlib.figure import Figure as Picture

    panels = {"target": marginal(environment, environment.target)}
    panels |= {name: marginal(environment, law) for name, law in laws.items()}
    picture = Picture(figsize=(min(11.0, 2.3 * len(panels) + 0.6), 2.7), layout="constrained")
    axes: Any = picture.subplots(1, len(panels), squeeze=False)[0]
    top = float(panels["target"].max())
    for axis, (name, table) in zip(axes, panels.items(), strict=True):
        shown = axis.imshow(table.T.numpy(), origin="lower", cmap="magma", vmin=0, vmax=top)
        axis.set_title(name, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    picture.colorbar(shown, ax=list(axes), shrink=0.8, label="probability", extend="max")
    return picture


def draw_rewards(environment: Environment, rewards: dict[str, Tensor]) -> "Picture":
    """Histograms of log rewards as outlines."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7.0, 3.2), layout="constrained")
    axis = picture.subplots()
    every = torch.cat(list(rewards.values()))
    low, high = float(every.min()), float(every.max())
    edges = torch.linspace(low, max(high, low + 1e-3), BINS + 1)
    if isinstance(environment, DiscreteEnvironment) and environment.enumerable:
        log_reward = environment.log_reward(environment.objects)
        inside = log_reward >= low
        place = torch.bucketize(log_reward[inside], edges[1:-1])
        mass = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, environment.target[inside])
        axis.stairs(mass.numpy(), edges.numpy(), fill=True, color=TARGET, alpha=0.2, label="target")
    for (name, values), colour in zip(rewards.items(), COLOURS, strict=False):
        counts = torch.bincount(torch.bucketize(values, edges[1:-1]), minlength=BINS) / len(values)
        axis.stairs(counts.numpy(), edges.numpy(), color=colour, linewidth=1.3, label=name)
    axis.set(xlabel="log reward", ylabel="share of objects")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return picture


def draw_modes(environment: DiscreteEnvironment, objects: dict[str, Tensor]) -> "Picture":
    """Different objects at or above the bar among the first 1, 2, .. drawn."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7.0, 3.2), layout="constrained")
    axis = picture.subplots()
    bar = mode_bar(environment) - 1e-6
    for (name, drawn), colour in zip(objects.items(), COLOURS, strict=False):
        good = environment.log_reward(drawn) >= bar
        axis.plot(fresh(environment.code(drawn), good).numpy(), color=colour, linewidth=1.3, label=name)
    total = int((environment.log_reward(environment.objects) >= bar).sum())
    axis.axhline(total, color=TARGET, linestyle="--", linewidth=1, label=f"all {total}")
    axis.set(xlabel="objects drawn", ylabel="modes found")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return picture


def fresh(codes: Tensor, counted: Tensor) -> Tensor:
    """How many different ones of the `counted` codes are among the first 1, 2, .., n: (n,)."""
    order = codes.argsort(stable=True)
    first = torch.ones(len(codes), dtype=torch.bool)
    first[1:] = codes[order].diff() != 0
    new = torch.zeros(len(codes), dtype=torch.int64)
    new[order] = first.long()
    return (new * counted).cumsum(0)
