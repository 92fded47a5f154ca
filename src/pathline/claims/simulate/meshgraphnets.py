"""MeshGraphNets on a flag in the wind: with and without the mesh, with and without noise, against the clock.

The noise is the method's default. The cloth was chosen on seeds from 100 on: a sheet whose waves run about one edge in
a frame, so that five blocks can see what moves a node.
"""

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.container import Split
from pathline.data.meshes import Meshes
from pathline.sims.cloth import Cloth, simulated_cloth
from pathline.simulate.mesh_baselines import MeshConstantVelocity, MeshPersistence
from pathline.simulate.mesh_pictures import animate
from pathline.simulate.mesh_rivals import RadiusGraphNet
from pathline.simulate.meshes import MeshSimulator
from pathline.simulate.meshgraphnets import MeshGraphNets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST, FRAMES = 24, 3, 6, 60
HORIZON = 40  # steps of the rollouts that are compared
BUDGET, RECIPE = Budget(steps=800), {"batch_size": 4, "lr": 1e-3, "validations": 4}
TIMED, REPEATS = 10, 5  # frames on the clock, and how often


class TheMeshAndTheNoise(Claim):
    """On a flag of 12 x 12 masses in random winds, learned from 24 trajectories of 60 frames, the root mean
    squared error of rollouts over 40 steps is at most 0.7 times that of the same network on a radius graph with as many
    edges and no mesh coordinates, and at most 0.7 times that of MeshGraphNets trained without noise; and a frame takes
    less time than the simulator takes at the longest step at which it is stable, one trajectory at a time.

    Recorded beside them: persistence, constant velocity, errors of single steps, and the speed on six trajectories at a
    time, where the simulator's own vectorisation tells.
    """

    system, baselines = "meshgraphnets", ("mesh-persistence", "mesh-constant-velocity")
    paper = (
        "flag, cylinder, plate, airfoil: rollout error far below GNS, GCN and U-Net; without training noise or without "
        "mesh edges rollouts fail; 11 to 290 times as fast as the solver"
    )
    metric, better = "root mean squared error of the position over 40 steps, m; and a ratio of seconds", "lower"
    require = (
        at_most("meshgraphnets", 0.7, "radius graph"),
        at_most("meshgraphnets", 0.7, "without noise"),
        at_least("times as fast as the simulator", 1.0, each_seed=True),
    )
    tried = (
        "The sheet was varied on seed 100 in runs of 60 to 500 steps. Where it is so stiff (60 N/m and more) or so "
        "damped that the simulator needs 12 or more steps in a frame, which would take longer than a frame of the "
        "network, what moves a node comes from farther than five blocks see, and neither arm beat constant velocity "
        "at one step by more than a tenth. This soft one is learned, but the simulator steps it twice in a frame, "
        "at 0.4 ms a step against 4.2 ms for the network. The three arms have 800 steps; a run with 1500 was "
        "stopped after two seeds: 0.057 and 0.056 m against 0.066 and 0.055 of the radius graph and 0.082 and 0.072 "
        "without noise, so longer training parts it from the last and not from the first. Other noise was not tried "
        "on it."
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(simulated_cloth(TRAIN + VALIDATION + TEST, FRAMES, seed=seed))
        split = Split(*(data.take(part) for part in torch.arange(len(data.state)).split([TRAIN, VALIDATION, TEST])))
        self.test = split.test
        self.arms: dict[str, MeshSimulator] = {
            "meshgraphnets": MeshGraphNets.seeded(split.train, seed),
            "radius graph": RadiusGraphNet.seeded(split.train, seed),
            "without noise": MeshGraphNets.seeded(split.train, seed, noise=0.0),
        }
        for arm in self.arms.values():
            arm.fit(split, BUDGET, seed=seed, **RECIPE)
        trivial = {"persistence": MeshPersistence(), "constant velocity": MeshConstantVelocity()}
        found = {name: rmse(arm, self.test) for name, arm in (self.arms | trivial).items()}
        found |= {f"{name}, one step": arm.evaluate(self.test)["step_rmse"] for name, arm in self.arms.items()}
        single, several = (speed(self.arms["meshgraphnets"], self.test, count, seed) for count in (1, TEST))
        return found | {"times as fast as the simulator": single, f"times as fast, {TEST} at a time": several}

    def picture(self) -> "Figure | None":
        moving = animate(self.arms, self.test)
        return moving.draw(HORIZON)


def rmse(arm: MeshSimulator, data: Meshes) -> float:
    """Root mean squared error over the rollout's steps, free nodes and axes."""
    return float(arm.rollout_errors(data, HORIZON).mean().sqrt())


def speed(arm: MeshSimulator, data: Meshes, count: int, seed: int) -> float:
    """Seconds that the simulator takes for a frame, over those of `arm`; `count` trajectories at a time, in turn, the
    median of `REPEATS`."""
    cloth, start = Cloth(), data.starts(torch.arange(count))
    x, v, wind = cloth.hung(count, torch.Generator().manual_seed(seed))
    substeps = fewest_substeps(cloth, data.interval)
    ratios: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        cloth.run(x, v, wind, TIMED + 1, data.interval, substeps)
        between = time.perf_counter()
        arm.rollout(start, TIMED)
        ratios.append((between - began) / (time.perf_counter() - between))
    return sorted(ratios)[REPEATS // 2]


def fewest_substeps(cloth: Cloth, interval: float, frames: int = 30) -> int:
    """The smallest number of time steps in a frame with which four flags stay whole."""
    x, v, wind = cloth.hung(4, torch.Generator().manual_seed(0))

    def whole(substeps: int) -> bool:
        path: Tensor = cloth.run(x, v, wind, frames, interval, substeps)
        return bool((path.abs() < 3).all())

    low, high = 1, 20  # unstable, stable
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if whole(middle) else (middle, high)
    return high
