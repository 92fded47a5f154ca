"""Frame averaging on five charged particles: eight chosen copies against one, and against eight random ones.

The learning rate was chosen by the validation error on another draw of the data, for all arms alike. All predict the
position around the centroid, as in the paper.
"""

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most
from pathline.data import Rollouts
from pathline.data.container import Split
from pathline.sims import charged_nbody
from pathline.simulate.base import Simulator
from pathline.simulate.frame_averaging import FrameAveraging
from pathline.simulate.pictures import draw_trajectories
from pathline.simulate.rivals import Augmented, Plain, random_turns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION, TEST = 300, 300, 1000
BUDGET, RECIPE = Budget(steps=400), {"batch_size": 50, "lr": 5e-3, "clip": 1.0, "validations": 20}
SIZE = {"width": 32, "layers": 2, "levels": "input", "residual": False}
FRAMES, PLAIN, RANDOM = "8 copies in frames", "1 copy", "8 random copies"


class SymmetryFromEightCopies(Claim):
    """Trained on 300 trajectories of five charged particles for 400 steps, message passing on coordinates in the 8
    copies of a frame has at most 0.75 times the mean squared error at time 1 of the same network alone, and at most
    0.9 times that of the same network trained on 8 random turns and flips of each sample, averaged over 8 in use, which
    costs as much. Its predictions turn and flip with the scene: they differ by less than 10^-8 of the distance moved.
    """

    system = "frame-averaging"
    paper = "n-body test MSE: FA-GNN 0.0057, EGNN 0.0071, GNN 0.0107 (3000 training trajectories)"
    metric, better = "mean squared error of the position one time unit later", "lower"
    require = (
        at_most(FRAMES, 0.75, PLAIN),
        at_most(FRAMES, 0.9, RANDOM),
        at_most(f"{FRAMES}, turned", 1e-8),
    )

    tried = (
        "Random copies catch up as training goes on. On another draw of the data the ratio to them is 0.76 at the "
        "learning rate 2e-3, 0.95 at 5e-3 (chosen, because all validation errors are smaller) and 1.20 at 1e-2, where "
        "random copies still improve at the last step and frames have been at their best at step 260 of 400: a frame "
        "shows each of the 300 trajectories in the same 8 poses for ever. Predicting what a straight flight misses: "
        "0.84 at 2e-3, 1.31 at 5e-3. Frames at all layers (width 33), the paper's form, 0.93 at 5e-3; averaged weights "
        "change nothing."
    )

    def run(self, seed: int) -> dict[str, float]:
        frames = range(3100, 4101, 250)
        data = self.uses(charged_nbody(TRAIN + VALIDATION + TEST, frames=frames, seed=seed, start=0, span=4))
        split = Split(*(data.take(part) for part in torch.arange(len(data)).split([TRAIN, VALIDATION, TEST])))
        self.test = split.test
        kinds: dict[str, type[FrameAveraging]] = {FRAMES: FrameAveraging, PLAIN: Plain, RANDOM: Augmented}
        self.arms: dict[str, Simulator] = {}
        found: dict[str, float] = {}
        for name, kind in kinds.items():
            arm = kind.seeded(split.train, seed, **SIZE).fit(split, BUDGET, seed=seed, **RECIPE)
            found |= {name: arm.score(self.test), f"{name}, turned": turned_apart(arm, self.test)}
            assert arm.training_record is not None
            found[f"{name}, ms per training step"] = 1000 * arm.training_record.seconds / arm.training_record.steps
            self.arms[name] = arm
        return found

    def picture(self) -> "Figure | None":
        return draw_trajectories(self.arms, self.test).picture


@torch.no_grad()
def turned_apart(arm: Simulator, data: Rollouts) -> float:
    """The largest distance along any axis between predictions of turned scenes and turned predictions, as a share of
    the root mean squared distance moved; in float64, so that rounding does not hide behind badly defined frames."""
    arm, data = (
        deepcopy(arm).double(),
        replace(data, positions=data.positions.double(), velocities=data.velocities.double()),
    )
    state = arm.checked(data.gather(torch.arange(len(data))))
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(random_turns((len(data),), data.positions.shape[-1], generator).double())[0]
    turned = replace(state, position=state.position @ turn, velocity=state.velocity @ turn)
    apart = arm.step(turned)[0] - arm.step(state)[0] @ turn
    return float(apart.abs().max() / (state.target - state.position).square().mean().sqrt())
