"""FERNN against an ordinary convolutional recurrent network on digits that flow over a torus.

Both have the same weight shapes, so equally many numbers, the same clips, batches and rate. The ordinary one has the
readout that served it better on a pilot draw, which is not that of the official code. It is also trained three times as
long, which is about as much time.
"""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_most
from pathline.data.clips import Clips
from pathline.data.container import Split
from pathline.perceive.fernn import FERNN
from pathline.perceive.next_frames import LastFrame, NextFrames, draw_clip
from pathline.sims.flowing_digits import flowing_digits, velocities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, LONGER = 400, 3
RECIPE = {"lr": 3e-3}
TRAIN, HELD_OUT = 2000, 200
FAR = 24  # frames ahead, of which the last five are "steps 20 to 24"
NAMES = ("in distribution", "horizon 6", "steps 20 to 24", "unseen velocities")


class MovingThingsStandStill(Claim):
    """On digits that flow with velocities up to 1, seen for four frames and learned for six more, a FERNN with nine
    velocities has at most 0.6 times the squared error of an ordinary recurrent network of the same weight shapes, at
    most 0.5 times 20 to 24 frames ahead, and with 25 velocities, untrained for, at most 0.7 times on digits that move
    by 2; and it has no more error than the ordinary one trained three times as long."""

    system, baselines = "fernn", ("last-frame",)
    paper = (
        "Flowing MNIST: lower error with far fewer iterations than a group-equivariant recurrent network, which "
        "follows neither longer sequences nor unseen velocities"
    )
    metric, better = "mean squared error of the frames ahead", "lower"
    require = (
        at_most("fernn, in distribution", 0.6, "plain, in distribution"),
        at_most("fernn, steps 20 to 24", 0.5, "plain, steps 20 to 24"),
        at_most("fernn, unseen velocities", 0.7, "plain, unseen velocities"),
        at_most("fernn, in distribution", 1.0, "plain three times as long, in distribution"),
    )

    tried = (
        "On a pilot draw the state without a bound on what is fed back diverged (0.58 twenty frames ahead). With it, "
        "0.073 there and 0.052 on another, where the ordinary network has 0.130; a weight decay of 1: 0.089. On one of "
        "the three draws of the claim the frames still brighten without end. Longer training, and learning for more "
        "than six frames ahead, were not tried."
    )

    def run(self, seed: int) -> dict[str, float]:
        train = self.uses(flowing_digits(TRAIN, 10, seed=3 * seed))
        validation = flowing_digits(HELD_OUT // 2, 10, part="validation", seed=3 * seed + 1)
        long = flowing_digits(HELD_OUT, 4 + FAR, part="test", seed=3 * seed + 2, horizon=FAR)
        fast = velocities(2)
        fast = fast[fast.abs().amax(1) == 2]
        swift = flowing_digits(HELD_OUT, 10, fast, part="test", seed=3 * seed + 2)
        split = Split(train, validation, long.with_window(4, 6))
        arms = {
            "fernn": (FERNN.seeded(train, seed, reach=1), STEPS),
            "plain": (FERNN.seeded(train, seed, reach=0), STEPS),
            "plain three times as long": (FERNN.seeded(train, seed, reach=0), LONGER * STEPS),
        }
        found: dict[str, float] = {}
        self.swift, self.shown = swift, dict[str, NextFrames]()
        for name, (method, steps) in arms.items():
            method.fit(split, Budget(steps=steps), seed=seed, **RECIPE)
            wider = method.with_reach(2) if name == "fernn" else method
            found |= {f"{name}, {what}": value for what, value in self.errors(method, wider, long).items()}
            found[f"{name}, parameters"] = float(method.parameter_count())
            assert method.training_record is not None
            found[f"{name}, seconds"] = method.training_record.seconds
            self.shown[name] = wider
        last = LastFrame.for_data(train).fit(train)
        return found | {f"last frame, {what}": value for what, value in self.errors(last, last, long).items()}

    def errors(self, method: NextFrames, wider: NextFrames, long: Clips) -> dict[str, float]:
        """Errors six frames ahead, far ahead, and on swift digits (by the network with more velocities)."""
        ahead = method.errors(long)
        values = (ahead[:6].mean(), ahead[5], ahead[19:].mean(), torch.tensor(wider.score(self.swift)))
        return dict(zip(NAMES, map(float, values), strict=True))

    def picture(self) -> "Figure":
        """Swift digits, six frames ahead."""
        return draw_clip(self.shown, self.swift).picture
