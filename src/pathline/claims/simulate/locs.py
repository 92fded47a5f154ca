"""LoCS on charged particles in the plane: everybody's own heading against the axes of the world.

The learning rate was chosen on other draws of the data, for all arms alike.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most
from pathline.data import Rollouts
from pathline.data.container import Split
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.locs import LoCS
from pathline.simulate.pictures import draw_trajectories
from pathline.simulate.rivals import GlobalAxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST = 300, 100, 300
DRAWN = 3600  # trajectories, a quarter of which never meet the simulator's limit of the force
STEPS, AHEAD = 25, 20  # of 0.1 time units: in a trajectory, and in a test rollout
DRIFT = 3.0  # along +x: in a thousandth of all states only does a body move the other way
BUDGET, RECIPE = Budget(steps=1500), {"batch_size": 100, "lr": 1e-2, "clip": 1.0, "validations": 15}
LOCAL, PLAIN, TURNED = "local frames", "global axes", "global axes, turned copies"


class OwnHeadings(Claim):
    """Five charged particles in the plane, 300 trajectories of 25 steps, one step at a time, 1500 optimiser steps; then
    rollouts of 20 steps from one observed state. The distance from the true positions, averaged over bodies, steps
    and rollouts, is for local frames (A) at most 0.95 times that of the same network on global differences and
    velocities; and (B), where all training scenes drift along +x and test scenes are turned at random, at most 0.5
    times its distance, and at most 0.95 times the distance of that network trained on randomly turned copies.

    The trajectories are those that never meet the simulator's limit of the force: it cuts forces along the axes of the
    world, so that the others (three of four in the plane) have no symmetry that a network could use.
    """

    system = "locs"
    paper = "lower errors than dNRI, NRI, EGNN and GRU on synthetic, inD, CMU motion and charged 3D data"
    metric, better = "mean distance from the true position over rollouts of 20 steps", "lower"
    require = (
        at_most(f"A, {LOCAL}", 0.95, f"A, {PLAIN}"),
        at_most(f"B, {LOCAL}", 0.5, f"B, {PLAIN}"),
        at_most(f"B, {LOCAL}", 0.95, f"B, {TURNED}"),
    )

    def run(self, seed: int) -> dict[str, float]:
        frames = range(0, 100 * STEPS + 1, 100)
        drawn = charged_nbody(DRAWN, frames=frames, dims=2, seed=seed)
        free = (~drawn.flags["clamped"]).nonzero().flatten()
        parts = torch.arange(TRAIN + VALIDATION + TEST).split([TRAIN, VALIDATION, TEST])
        data = self.uses(drawn.take(free[: TRAIN + VALIDATION + TEST]))
        drifting = drifted(data)
        same, other = (Split(*(one.take(part) for part in parts)) for one in (data, drifting))
        found = self.compare("A", same, same.test, seed)
        return found | self.compare("B", other, turned(other.test, seed), seed)

    def compare(self, label: str, split: Split[Rollouts], test: Rollouts, seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        options = {"width": 64}
        self.test = test.step_between(0, 1)
        self.arms: dict[str, Simulator] = {
            LOCAL: LoCS.seeded(split.train, seed, **options),
            PLAIN: GlobalAxes.seeded(split.train, seed, **options),
            TURNED: GlobalAxes.seeded(split.train, seed, augment=True, **options),
        }
        found: dict[str, float] = {}
        for name, arm in self.arms.items():
            arm.fit(split, BUDGET, seed=seed, **RECIPE)
            distance = distances(arm, self.test)
            found[f"{label}, {name}"] = float(distance.mean())
            found[f"{label}, {name}, median rollout"] = float(distance.mean((1, 2)).median())
        return found

    def picture(self) -> "Figure | None":
        return draw_trajectories(self.arms, self.test).picture


def drifted(data: Rollouts) -> Rollouts:
    """The same motion seen from a frame in which everything drifts along +x."""
    drift = torch.zeros(data.positions.shape[-1])
    drift[0] = DRIFT
    time = data.interval * torch.arange(data.positions.shape[1])[:, None, None]
    return replace(data, positions=data.positions + drift * time, velocities=data.velocities + drift)


def turned(data: Rollouts, seed: int) -> Rollouts:
    """Each rollout turned by an angle of its own."""
    angle = 2 * math.pi * torch.rand(len(data.positions), generator=torch.Generator().manual_seed(seed))
    c, s = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)[:, None]
    return replace(data, positions=data.positions @ turn, velocities=data.velocities @ turn)


@torch.no_grad()
def distances(arm: Simulator, data: Rollouts) -> Tensor:
    """(rollouts, steps, nodes) between predicted and true positions."""
    path = arm.rollout(data.gather(torch.arange(len(data))), AHEAD)
    return (path - data.positions[:, : AHEAD + 1]).norm(dim=-1)[:, 1:]
