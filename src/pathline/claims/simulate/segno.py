"""SEGNO on five charged particles: a continuous second-order motion against a stack of layers."""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most
from pathline.data import Rollouts
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.egnn import EGNN
from pathline.simulate.rivals import widest_within
from pathline.simulate.segno import SEGNO

if TYPE_CHECKING:
    pass

TRAIN, TEST = 300, 500
BUDGET, RECIPE = Budget(steps=600), {"batch_size": 100, "lr": 5e-3, "clip": 1.0}


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
        every = charged_nbody(1900, frames=range(3100, 5101, 250), seed=seed, start=0, span=4)
        every = self.uses(every)
        unclamped = every.take((~every.flags["clamped"]).nonzero().flatten())
        subset = {f"{name}, unclamped": error for name, error in self.compare(unclamped, seed).items()}
        return self.compare(every, seed) | subset  # the picture shows all trajectories

    def compare(self, data: Rollouts, seed: int) -> dict[str, float]:
        """Errors of both arms at half, once and twice the supervised time, and what they cost."""
        train, self.test = data.take(torch.arange(TRAIN)), data.take(torch.arange(TRAIN, TRAIN + TEST))
        egnn = EGNN.seeded(train, seed, width=32, layers=4)

        def segno(width: int) -> SEGNO:
            return SEGNO.seeded(train, seed, width=width, substeps=6, speed=False)

        width = widest_within(egnn.parameter_count(), segno)
        self.arms: dict[str, Simulator] = {"egnn": egnn, "segno": segno(width)}
        return {name: value for key, arm in self.arms.items() for name, value in self.measure(key, arm, train, seed)}
