"""The claim of mean flows: one, two and four network calls do what a plain flow needs many more for.

Two fair fights: flow matching with the same number of steps, and with as many steps as fit in the same time. A step of
a mean flow takes MEASURED times as long (ResidualMLP, batch 256, fp32, one thread); the ratio is a constant here, not a
clock in the run, so that the same seed gives the same numbers. Digits are split as in the claim of flow matching. The
power of the mean flow's weight was chosen on another seed, by the distance to the training images.
"""

from typing import TYPE_CHECKING

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_most
from pathline.data.samples import concatenate
from pathline.data.sets import load
from pathline.generate.base import DRAWN, distances
from pathline.generate.features import SPLIT_SEED
from pathline.generate.flow_matching import FlowMatching
from pathline.generate.meanflow import MeanFlow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 6000
MEASURED = 2.5  # 33.9 ms of processor time against 14.9 for the loss and its gradient: 2.3, rounded up for the rival
CALLS = (1, 2, 4, 32)
MEAN, FLOW, LONGER = "meanflow", "flow-matching", "flow-matching, equal time"


class FewCalls(Claim):
    """On digits a mean flow with one call has at most half the Frechet distance of flow matching with one call, with
    two at most 0.4 times that with two, and with four at most 1.2 times that with 32: at equal steps and equal time."""

    system, baselines = "meanflow", ("flow-matching",)
    paper = (
        "ImageNet 256 x 256, XL/2, from scratch: FID 3.43 with one call, against 7.77 (IMM) and 10.60 (shortcut models)"
    )
    metric, better = "Frechet distance in digit features", "lower"
    require = tuple(
        at_most(f"{MEAN}, {ours} call", factor, f"{rival}, {theirs} call", each_seed=True)
        for rival in (FLOW, LONGER)
        for ours, factor, theirs in ((1, 0.5, 1), (2, 0.4, 2), (4, 1.2, 32))
    )

    def run(self, seed: int) -> dict[str, float]:
        parts = self.uses(load("digits")).split(SPLIT_SEED)
        held_out = concatenate([parts.validation, parts.test])
        flow = {"classes": 0, "solver": "euler"}
        arms = {
            MEAN: (MeanFlow.seeded(parts.train, seed, classes=0), STEPS),
            FLOW: (FlowMatching.seeded(parts.train, seed, **flow), STEPS),
            LONGER: (FlowMatching.seeded(parts.train, seed, **flow), round(STEPS * MEASURED)),
        }
        found, self.drawn = {}, {"real": held_out.values}
        for name, (method, budget) in arms.items():
            method.fit(parts.train, steps(budget), seed=seed, precision="fp32")
            for calls in CALLS:
                drawn = method.draw(DRAWN, calls, seed)
                assert drawn.evaluations == calls
                found[f"{name}, {calls} call"] = distances(drawn.values, held_out)["frechet_distance"]
                if calls == 1:
                    self.drawn[f"{name}, 1 call"] = drawn.values
        return found

    def picture(self) -> "Figure":
        from pathline.generate.pictures import grids

        return grids(self.drawn, (-1.0, 1.0))
