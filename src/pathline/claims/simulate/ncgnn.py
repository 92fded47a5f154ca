"""NCGNN on five charged particles: an integral of three velocities against one, and against three calls in a row.

The learning rate, the weight of the alignment and the backbone's `normalize` were chosen by the validation error on two
other draws of the data, for all arms alike.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most
from pathline.data import Rollouts
from pathline.data.container import Split
from pathline.nn.macs import macs
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.ncgnn import NCGNN
from pathline.simulate.pictures import draw_trajectories
from pathline.simulate.rivals import TiedCalls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST = 300, 300, 1000
BUDGET, RECIPE = Budget(steps=500), {"batch_size": 100, "lr": 5e-3, "clip": 1.0, "validations": 20}
SIZE = {"width": 32, "layers": 2, "normalize": True}
ALIGN = 0.02
STEP, LONG = 4, 6  # frames per supervised step: 1.0 and 1.5 time units
ONE, RULE, EXTRA, TIED = "one velocity", "ncgnn", "ncgnn with extra data", "three calls in a row, extra data"
FORMS: dict[str, tuple[type[NCGNN], dict[str, Any]]] = {
    ONE: (NCGNN, {"intervals": 0, "align": 0.0}),
    RULE: (NCGNN, {"align": ALIGN}),
    EXTRA: (NCGNN, {"align": ALIGN, "extra": True}),
    TIED: (TiedCalls, {"align": ALIGN, "extra": True}),
    "three calls in a row": (TiedCalls, {"align": 0.0}),
}


class AnIntegralOfVelocities(Claim):
    """Trained on 300 trajectories of five charged particles for 500 steps, with an equivariant network of 2 layers as
    backbone and equal parameters in all arms: Simpson's rule over three predicted velocities, with the true velocity
    half-way as extra data (NC+), has at most 0.9 times the mean squared error at time 1 of the one velocity of its
    backbone, and no more than three calls of the backbone in a row that learn from the same velocities and cost the
    same, but answer with the last state. Without velocities half-way (but with the one at the end of the step,
    which the one velocity does not learn from) it is still no worse than one velocity.

    Recorded beside them: steps of 1.5 time units; trajectories that never met the simulator's limit of the force (which
    makes velocities jump); the three calls without extra data; medians, and what each arm costs.
    """

    system = "ncgnn"
    paper = "lower position error than its EGNN and GMN bases on constrained n-body, MD17 and CMU motion; NC+ is best"
    metric, better = "mean squared error of the position one time unit later", "lower"
    require = (
        at_most(EXTRA, 0.9, ONE),
        at_most(EXTRA, 1.0, TIED),
        at_most(RULE, 1.0, ONE),
    )

    tried = (
        "Three calls in a row that cost and see the same are as good as the rule here. On two other draws of the data, "
        "the ratio of the mean errors (extra data on both sides) is 1.08 and 1.04 with these options, 1.02 and 1.01 "
        "without normalize, 0.99 and 1.04 with alignment 0.1, 1.10 and 0.98 with 50 steps of warm-up; at the learning "
        "rate 2e-3 with alignment 0.1 it is 0.98 and 0.90, but all errors are larger there. The means hang on "
        "trajectories that meet the limit of the force: without them the ratio is 0.78, 1.07 and 0.56 on these seeds. "
        "One velocity has 1.3 to 2.1 times the rule's error there."
    )

    def run(self, seed: int) -> dict[str, float]:
        frames = range(3100, 4601, 250)
        data = self.uses(charged_nbody(TRAIN + VALIDATION + TEST, frames=frames, seed=seed, start=0, span=STEP))
        parts = [data.take(part) for part in torch.arange(len(data)).split([TRAIN, VALIDATION, TEST])]
        clean = [part.take((~part.flags["clamped"]).nonzero().flatten()) for part in parts]
        main = (ONE, EXTRA, TIED)
        long = self.compare(Split(*(part.step_between(0, LONG) for part in parts)), seed, main)
        smooth = self.compare(Split(*clean), seed, main)
        found = self.compare(Split(*parts), seed, tuple(FORMS))  # last, so that the picture shows it
        found |= {f"{name}, 1.5 time units": long[name] for name in main}
        return found | {f"{name}, unclamped": smooth[name] for name in main}

    def compare(self, split: Split[Rollouts], seed: int, names: tuple[str, ...]) -> dict[str, float]:
        self.test = split.test
        self.arms: dict[str, Simulator] = {}
        found: dict[str, float] = {}
        state = self.test.gather(torch.arange(len(self.test)))
        for name in names:
            kind, options = FORMS[name]
            arm = kind.seeded(split.train, seed, **SIZE, **options).fit(split, BUDGET, seed=seed, **RECIPE)
            errors = square_errors(arm, self.test)
            found |= {name: float(errors.mean()), f"{name}, median": float(errors.median())}
            found[f"{name}, thousand multiply-accumulates"] = macs(arm.step, state) / len(errors) / 1000
            assert arm.training_record is not None
            found[f"{name}, ms per training step"] = 1000 * arm.training_record.seconds / arm.training_record.steps
            self.arms[name] = arm
        return found

    def picture(self) -> "Figure | None":
        return draw_trajectories(self.arms, self.test).picture


@torch.no_grad()
def square_errors(arm: Simulator, data: Rollouts) -> Tensor:
    """(rollouts,) means over bodies and axes."""
    state = arm.checked(data.gather(torch.arange(len(data))))
    return (arm.step(state)[0] - state.target).square().mean((1, 2))
