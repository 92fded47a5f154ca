"""SEGNO on five charged particles: a continuous second-order motion against a stack of layers."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most, widest_within
from pathline.data import Rollouts
from pathline.nn.macs import macs
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.egnn import EGNN
from pathline.simulate.pictures import draw_trajectories
from pathline.simulate.segno import SEGNO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, TEST = 300, 500
BUDGET, RECIPE = Budget(steps=600), {"batch_size": 100, "lr": 5e-3, "clip": 1.0}
QUARTERS = 4  # frames per supervised step, so that its half is a frame too
CLOSE = 0.1  # below this distance a force changes within an integration step


class MeaningfulStatesBetween(Claim):
    """Trained on 300 trajectories of five charged particles to predict positions at time 1 only, SEGNO with 6
    integration steps and no more parameters than a 4-layer EGNN has at most 0.9 times its error at time 1, 0.5 times
    at time 1/2 (SEGNO: the state half-way; EGNN: the output of half its layers), and 0.8 times at time 2, each fed
    with its own prediction (SEGNO with its position and velocity; EGNN, which predicts no velocity, with the finite
    difference of its positions).
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
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(charged_nbody(1900, frames=range(3100, 5101, 250), seed=seed, start=0, span=QUARTERS))
        unclamped = data.take((~data.flags["clamped"]).nonzero().flatten())
        subset = {f"{name}, unclamped": value for name, value in self.compare(unclamped, seed).items()}
        return self.compare(data, seed) | subset  # the picture shows the last two arms: those of all trajectories

    def compare(self, data: Rollouts, seed: int) -> dict[str, float]:
        """Errors of both arms at once, half and twice the supervised time, and what they cost."""
        train, self.test = data.take(torch.arange(TRAIN)), data.take(torch.arange(TRAIN, TRAIN + TEST))
        egnn = EGNN.seeded(train, seed, width=32, layers=4)

        def segno(width: int) -> SEGNO:
            return SEGNO.seeded(train, seed, width=width, substeps=6, speed=False)

        self.arms: dict[str, EGNN | SEGNO] = {
            "egnn": egnn,
            "segno": segno(widest_within(egnn.parameter_count(), segno)),
        }
        found: dict[str, float] = {}
        for name, arm in self.arms.items():
            arm.fit(train, BUDGET, seed=seed, **RECIPE)
            found |= {f"{name}, {what}": value for what, value in self.measure(arm).items()}
        return found

    def measure(self, arm: EGNN | SEGNO) -> dict[str, float]:
        """Mean squared errors on the test part, and multiply-accumulates per trajectory."""
        data = self.test
        state = data.step_between(0, QUARTERS).gather(torch.arange(TEST))
        with torch.no_grad():
            within = arm.states_within(arm.checked(state))
        end = square_error(within[-1], data.positions[:, QUARTERS])
        near = closest(data.positions[:, : QUARTERS + 1]) < CLOSE
        return {
            "end": float(end.mean()),
            "half-way": float(square_error(within[len(within) // 2], data.positions[:, QUARTERS // 2]).mean()),
            "twice as far": float(arm.rollout_errors(data)[1]),
            "end, close encounters": float(end[near].mean()),
            "end, no close encounter": float(end[~near].mean()),
            "thousand multiply-accumulates": macs(arm.step, state) / TEST / 1000,
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
