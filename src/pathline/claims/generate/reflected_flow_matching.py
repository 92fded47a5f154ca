"""The claim of reflected flow matching: no sample outside the domain, and no price for it, rather a gain.

A. Laws in a square, a simplex and a half-annulus, dense at the walls: flow matching from normal noise, the same with
its samples clipped to the nearest point of the domain, and reflected flow matching from the uniform law. One network,
one number of steps, 20 Euler steps; distances to 5,000 held-out draws.
B. Digits, whose pixels sit at their bounds more often than not, by class and with guidance. Distances are to the
training images, as in the claim of flow matching.
A sample of flow matching counts as outside only beyond a thousandth: on the simplex rounding alone would do.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.cache import trained
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.sets import load
from pathline.generate.base import DRAWN, distances
from pathline.generate.features import SPLIT_SEED, sliced_wasserstein
from pathline.generate.flow_matching import FlowMatching
from pathline.generate.reflected_flow_matching import ReflectedFlowMatching
from pathline.sims.constrained import DOMAINS, constrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, DIGIT_STEPS, EULER = 3000, 4000, 20
COUNT = 5000  # draws held out, and drawn
GUIDANCE = (0.0, 2.0, 6.0)
VISIBLE = 1e-3  # how far outside a sample of flow matching must lie to count


class StaysInside(Claim):
    """In a square, a simplex and a half-annulus no sample of reflected flow matching is outside, at least 1% of flow
    matching's are, and the sliced Wasserstein distance is at most 0.9 times that of flow matching clipped at the end.
    On digits no pixel is out of range (of flow matching's more than 5%, at every guidance), and at guidance 6 the
    Frechet distance is at most 0.8 times that of clipped flow matching."""

    system, baselines = "reflected-flow-matching", ("flow-matching",)
    paper = (
        "Low-dimensional domains: smaller KL than flow matching and reflected diffusion; CIFAR-10, ImageNet 64 x 64: "
        "FID as good or better, no pixel out of range, and no oversaturation at high guidance"
    )
    metric, better = "share outside, sliced Wasserstein-2, Frechet distance in digit features", "lower"
    require = (
        *(at_most(f"reflected, {name}, outside", 0.0, each_seed=True) for name in DOMAINS),
        *(at_least(f"flow matching, {name}, outside", 0.01, each_seed=True) for name in DOMAINS),
        *(at_most(f"reflected, {name}", 0.9, f"clipped, {name}") for name in DOMAINS),
        *(at_most(f"reflected, w = {w:g}, outside", 0.0, each_seed=True) for w in GUIDANCE),
        *(at_least(f"flow matching, w = {w:g}, outside", 0.05, each_seed=True) for w in GUIDANCE),
        at_most("reflected, w = 6", 0.8, "clipped, w = 6"),
    )

    tried = (
        "Settings are those of the plan and, for images, of the authors: a normal law cut at the range of pixels "
        "(their code has no low dimensions). Pilot seed 100, 20,000 draws against 50,000 others, sliced distance "
        "after 20 and after 100 Euler steps. Square: uniform law 0.040 and 0.015, cut normal law 0.041 and "
        "0.018, clipped flow matching 0.036 and 0.015; two sets of the law's own draws 0.013. Half-annulus: "
        "uniform law 0.042 and 0.022, trained and solved in polar coordinates 0.050 and 0.026, there with a cut "
        "normal law 0.045 and 0.018, clipped flow matching 0.027 and 0.015, the law itself 0.009. Simplex: "
        "0.0048 against 0.0058 in 20 steps, 0.0034 against 0.0031 in 100. The network is not the reason: with "
        "the exact velocity for 3,000 points 20 Euler steps from a cut normal law give 0.042 on the square and "
        "0.050 on the half-annulus in polar coordinates, from the same law uncut 0.027 and 0.033 (4,000 draws). "
        "On the square what Euler gets wrong is how many points go to the middle, not the wall: it (both "
        "coordinates within 0.45) holds 26% of the law, 30% of the samples of either method after 20 steps, and "
        "27 to 28% after 100. Digits at guidance 6, seed 100, 4,000 draws: cut normal law 1.33, uniform law "
        "1.35, clipped flow matching 1.16: the 0.84 of the claim owes much to one of its three seeds, and "
        "neither law reaches 0.8. Nothing was changed."
    )

    def run(self, seed: int) -> dict[str, float]:
        self.clouds: dict[str, dict[str, Tensor]] = {}
        found: dict[str, float] = {}
        for name in DOMAINS:
            found |= self.domain(name, seed)
        return found | self.digits(seed)

    def domain(self, name: str, seed: int) -> dict[str, float]:
        """Share outside and sliced distance on one domain."""
        data = self.uses(constrained(name, 2 * COUNT, seed=0))
        held_out = constrained(name, COUNT, seed=1)
        network: dict[str, Any] = {"classes": 0, "network": "mlp", "width": 128, "depth": 3}
        recipe = {"precision": "fp32"}
        plain = trained(FlowMatching, data, seed, steps(STEPS), network, **recipe)
        ours = trained(ReflectedFlowMatching, data, seed, steps(STEPS), network | {"domain": DOMAINS[name]}, **recipe)
        free = plain.sample(COUNT, EULER, seed, solver="euler").double()
        kept = ours.sample(COUNT, EULER, seed, solver="euler").double()
        clipped = ours.domain.project(free)
        self.clouds[name] = {"data": held_out.values, "flow matching": free, "reflected": kept}
        return {
            f"reflected, {name}, outside": float((~ours.domain.contains(kept, 1e-6)).double().mean()),
            f"flow matching, {name}, outside": float((~ours.domain.contains(free, VISIBLE)).double().mean()),
            f"reflected, {name}, before folding": ours.overshoot(COUNT, EULER, seed, solver="euler"),
            f"reflected, {name}": sliced_wasserstein(kept, held_out.values),
            f"clipped, {name}": sliced_wasserstein(clipped, held_out.values),
            f"flow matching, {name}": sliced_wasserstein(free, held_out.values),
        }

    def digits(self, seed: int) -> dict[str, float]:
        """Share of pixels out of range and Frechet distance by guidance."""
        parts = self.uses(load("digits")).split(SPLIT_SEED)
        plain = trained(FlowMatching, parts.train, seed, steps(DIGIT_STEPS), precision="fp32")
        config = {"prior": PRIOR}
        ours = trained(ReflectedFlowMatching, parts.train, seed, steps(DIGIT_STEPS), config, precision="fp32")
        found, self.images = {}, {}

        def distance(values: Tensor) -> float:
            return distances(values, parts.train)["frechet_distance"]

        for w in GUIDANCE:
            free = plain.sample(DRAWN, EULER, seed, solver="euler", guidance=w)
            kept = ours.sample(DRAWN, EULER, seed, solver="euler", guidance=w)
            found[f"reflected, w = {w:g}, outside"] = float((kept.abs() > 1).double().mean())
            found[f"flow matching, w = {w:g}, outside"] = float((free.abs() > 1 + VISIBLE).double().mean())
            found[f"reflected, w = {w:g}"], found[f"clipped, w = {w:g}"] = distance(kept), distance(free.clamp(-1, 1))
            found[f"flow matching, w = {w:g}"] = distance(free)
        labels = torch.arange(24) % 10
        for name, method in (("flow matching, clipped", plain), ("reflected", ours)):
            self.images[f"{name}, w = 6"] = method.sample(24, EULER, seed, labels, solver="euler", guidance=6.0)
        return found

    def picture(self) -> "Figure":
        """Held-out points, flow matching and reflected flow matching in each domain; guided digits below."""
        from matplotlib.figure import Figure

        from pathline.generate.pictures import COLOURS, REAL, tile

        picture = Figure(figsize=(9.0, 7.6), layout="constrained")
        axes: Any = picture.subplots(3, 4, width_ratios=(1, 1, 1, 1.25))
        for row, (name, clouds) in zip(axes, self.clouds.items(), strict=True):
            for axis, (title, values) in zip(row, clouds.items(), strict=False):
                x = flat(name, values[:3000].double())
                outside = ~outline_contains(name, values[:3000].double())
                axis.scatter(*x[~outside].T.numpy(), s=1.5, color=REAL if title == "data" else COLOURS[0], linewidths=0)
                axis.scatter(*x[outside].T.numpy(), s=3, color=COLOURS[1], linewidths=0)
                axis.plot(*walls(name).T.numpy(), color="black", linewidth=0.9)
                share = f": {100 * float(outside.double().mean()):.0f}% outside" if title != "data" else ""
                axis.set_title(f"{name}, {title}" if title == "data" else f"{title}{share}", fontsize=9)
                axis.set_aspect("equal")
                axis.set_axis_off()
        for axis, (title, values) in zip(axes[:2, 3], self.images.items(), strict=True):
            axis.imshow((tile(values.clamp(-1, 1)) + 1) / 2, cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
        axes[2, 3].set_axis_off()
        return picture


def outline_contains(name: str, values: Tensor) -> Tensor:
    """Whether points lie inside up to what a picture shows."""
    from pathline.spaces import space

    settings = DOMAINS[name] | ({"shape": tuple(values.shape[1:])} if name == "square" else {})
    return space(settings).contains(values, VISIBLE)


def flat(name: str, values: Tensor) -> Tensor:
    """Points as a picture shows them; of the simplex the sums of the coordinates that its three laws favour."""
    if name != "simplex":
        return values
    favoured = torch.stack([values[:, :3].sum(1), values[:, 3:6].sum(1), values[:, 6:].sum(1)], dim=1)
    return favoured @ TRIANGLE


def walls(name: str) -> Tensor:
    """The outline of a domain in its picture, (points, 2)."""
    if name == "square":
        return torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    if name == "simplex":
        return TRIANGLE[[0, 1, 2, 0]]
    angle = torch.linspace(0, torch.pi, 100)
    arc = torch.stack([angle.cos(), angle.sin()], dim=1)
    return torch.cat([2 * arc, arc.flip(0), 2 * arc[:1]])


TRIANGLE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
PRIOR = "normal"  # truncated to the range of pixels, as in the authors' code for images
