"""SEGNO on five charged particles: a continuous second-order motion against a stack of layers.

Eight integration steps as in the official runs. Of SEGNO's options, drag and `normalize` were chosen on two other draws
of the data: drag helps at time 1, an acceleration that does not grow with the distance helps beyond. EGNN has no
option that was chosen so; both learn at the rate of SEGNO's official runs.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most, widest_within
from pathline.data import Rollouts
from pathline.data.container import Split
from pathline.nn.macs import macs
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.egnn import EGNN
from pathline.simulate.pictures import draw_trajectories
from pathline.simulate.segno import SEGNO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST = 3000, 500, 500
BUDGET, RECIPE = Budget(steps=2000), {"batch_size": 100, "lr": 5e-3, "clip": 1.0, "validations": 30}
OPTIONS = {"drag": True, "normalize": True, "scale_h": True}
QUARTERS = 4  # frames per supervised step, so that its half is a frame too
CLOSE = 0.1  # below this distance a force changes within an integration step


class MeaningfulStatesBetween(Claim):
    """Trained to predict the positions of five charged particles at time 1 only, SEGNO with 8 integration steps and no
    more parameters than a 4-layer EGNN has at most 0.9 times its error at time 1 and 0.5 times at time 1/2 (SEGNO: the
    state half-way; EGNN: the output of half its layers); and at time 2, each fed with its own prediction, 0.8 times
    its error, in the mean and in the median (SEGNO goes on with its position and velocity; EGNN, which predicts no
    velocity, with the finite difference of its positions). As in the paper, there are 3000 trajectories to learn from.
    """

    system, baselines = "segno", ("egnn",)
    paper = (
        "charged n-body, MSE x 100 at 1000 / 1500 / 2000 steps: SEGNO 0.433 / 1.858 / 4.285, EGNN 0.711 / 2.998 / 6.836"
    )
    metric, better = "mean squared error of the position", "lower"
    require = (
        at_most("segno, end", 0.9, "egnn, end"),
        at_most("segno, half-way", 0.5, "egnn, half-way"),
        at_most("segno, twice as far", 0.8, "egnn, twice as far"),
        at_most("segno, twice as far, median", 0.8, "egnn, twice as far, median"),
    )
    tried = (
        "On two other draws of the data the ratio of the means at time 2 is 1.08 and 1.29 with drag and normalize, "
        "1.3 to 1.7 with either alone or neither, 3.4 with velocity Verlet, and 1.8 to 2.0 after 6000 steps. On a "
        "third the cause is the velocity at time 1, which nothing supervises: fed with the true one SEGNO's mean "
        "error at time 2 is 0.033, with the mean velocity of its own step 0.048, with its own 0.066 (EGNN 0.054); "
        "accelerations bounded smoothly at 32 units 0.082. The worst 5 % of the trajectories carry half of SEGNO's "
        "error."
    )

    def run(self, seed: int) -> dict[str, float]:
        frames = range(3100, 5101, 250)
        data = self.uses(charged_nbody(TRAIN + VALIDATION + TEST, frames=frames, seed=seed, start=0, span=QUARTERS))
        parts = [data.take(part) for part in torch.arange(len(data)).split([TRAIN, VALIDATION, TEST])]
        clean = self.compare(Split(*(part.take((~part.flags["clamped"]).nonzero().flatten()) for part in parts)), seed)
        found = self.compare(Split(*parts), seed)  # last, so that the picture shows it
        return found | {f"{name}, unclamped": value for name, value in clean.items()}

    def compare(self, split: Split[Rollouts], seed: int) -> dict[str, float]:
        """Errors of both arms at once, half and twice the supervised time, and what they cost."""
        self.test = split.test
        egnn = EGNN.seeded(split.train, seed, width=32, layers=4)

        def segno(width: int) -> SEGNO:
            return SEGNO.seeded(split.train, seed, width=width, substeps=8, **OPTIONS)

        self.arms: dict[str, EGNN | SEGNO] = {
            "egnn": egnn,
            "segno": segno(widest_within(egnn.parameter_count(), segno)),
        }
        found: dict[str, float] = {}
        for name, arm in self.arms.items():
            arm.fit(split, BUDGET, seed=seed, **RECIPE)
            found |= {f"{name}, {what}": value for what, value in self.measure(arm).items()}
        return found

    def measure(self, arm: EGNN | SEGNO) -> dict[str, float]:
        """Squared errors on the test part, and multiply-accumulates per trajectory."""
        data = self.test
        state = data.step_between(0, QUARTERS).gather(torch.arange(len(data)))
        with torch.no_grad():
            within = arm.states_within(arm.checked(state))
        end = square_error(within[-1], data.positions[:, QUARTERS])
        twice = square_error(arm.rollout(state, 2)[:, -1], data.positions[:, 2 * QUARTERS])
        near = closest(data.positions[:, : QUARTERS + 1]) < CLOSE
        return {
            "end": float(end.mean()),
            "end, median": float(end.median()),
            "half-way": float(square_error(within[len(within) // 2], data.positions[:, QUARTERS // 2]).mean()),
            "twice as far": float(twice.mean()),
            "twice as far, median": float(twice.median()),
            "end, no close encounter": float(end[~near].mean()),
            "close encounters, share": float(near.float().mean()),
            "thousand multiply-accumulates": macs(arm.step, state) / len(data) / 1000,
        }

    def picture(self) -> "Figure | None":
        arms: dict[str, Simulator] = dict(self.arms)
        return draw_trajectories(arms, self.test).picture


def square_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """(batch,) means over bodies and axes."""
    return (predicted - truth).square().mean((1, 2))


def closest(positions: Tensor) -> Tensor:
    """(batch,) the smallest distance of two bodies in any frame of (batch, frames, nodes, dims)."""
    distance = torch.cdist(positions, positions)
    itself = torch.eye(positions.shape[2], dtype=torch.bool)
    return distance.masked_fill(itself, torch.inf).amin((1, 2, 3))
