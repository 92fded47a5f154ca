"""Fisher's criterion on gestures of users who were not in the training data.

All arms are one network on the same recordings, batches, steps and seeds; only the weights of the criterion differ.
They were chosen on the other users of four pilot draws, among both forms and theta from 0.05 to 2; rate and number of
steps without them.
"""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least
from pathline.data.container import Split
from pathline.perceive.classification import LinearClassifier, draw_confusion
from pathline.perceive.fisher import Fisher
from pathline.sims.gestures import simulated_gestures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USERS, PER_CLASS = 34, 4
TRAINED, WATCHED = 8, 2  # users; all others are tested: differences of a point drown in few
EVERY = 2  # samples: 25 Hz
BUDGET, RECIPE = Budget(steps=200), {"lr": 2e-3, "validations": 4}
SIZE = {"hidden": 48, "layers": 1}
FISHER = {"theta": 0.15, "eta": 0.015}
ARMS = {
    "F-BGRU": {"cell": "gru", **FISHER},
    "BGRU": {"cell": "gru", "theta": 0.0, "eta": 0.0},
    "center loss": {"cell": "gru", "theta": FISHER["theta"], "eta": 0.0},
    "F-BLSTM": {"cell": "lstm", **FISHER},
    "BLSTM": {"cell": "lstm", "theta": 0.0, "eta": 0.0},
}


class CompactAndFarApart(Claim):
    """On gestures of 24 users who were not in the training data, a bidirectional GRU with Fisher's criterion has at
    least half a point more accuracy than the same network with cross-entropy alone in the mean over five draws, more on
    at least four of them, and at least 1.5 times the ratio of scatter between to within classes. Recorded beside
    them: a linear classifier on summaries, better than all networks on every draw (0.940 against 0.876); center loss,
    better than F-BGRU on four of five; and F-BLSTM, worse than BLSTM on four of five."""

    system, baselines = "fisher", ("linear-classifier",)
    paper = "F-BLSTM and F-BGRU beat BLSTM and BGRU by a point or so on three sets of mobile gestures"
    metric, better = "accuracy", "higher"
    seeds = (10, 11, 12, 13, 14)  # 0 to 9 were seen with other weights
    require = (
        at_least("F-BGRU, gain in points", 0.5),
        at_least("F-BGRU, gains", 0.8),
        at_least("F-BGRU, trace ratio", 1.5, "BGRU, trace ratio"),
    )

    tried = (
        "Before, with eight users to test and gestures drawn in another order: on seeds 0 to 4 with theta 0.1 and eta "
        "0.01 a gain of 1.25 points, on four of five draws, but 1.43 times the trace ratio; on seeds 5 to 9 with twice "
        "these weights -0.73 points and 1.50 times. On four pilot draws with 24 users to test: theta 0.05, 0.1 and 0.2 "
        "with a tenth of it as eta gain -0.2, 0.8 and 0.6 points for 1.26, 1.45 and 1.60 times the trace ratio, so "
        "0.15 was taken; the ratio of the scatters with theta 0.2, 0.5 and 1 gains 1.2, 1.0 and 0.0 points for 1.14, "
        "1.26 and 1.47 times."
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(simulated_gestures(PER_CLASS, USERS, seed=seed).every(EVERY))
        assert data.groups is not None
        borders = (0, TRAINED, TRAINED + WATCHED, USERS)
        member = torch.bucketize(data.groups, torch.tensor(borders[1:]), right=True)
        split = Split(*(data.take((member == part).nonzero()[:, 0]) for part in range(3)))
        found: dict[str, float] = {}
        self.test, self.shown = split.test, dict[str, Fisher]()
        for name, options in ARMS.items():
            method = Fisher.seeded(split.train, seed, **SIZE, **options).fit(split, BUDGET, seed=seed, **RECIPE)
            found[name] = method.evaluate(split.test)["accuracy"]
            found[f"{name}, trace ratio"] = method.trace_ratio(split.test)
            self.shown[name] = method
        linear = LinearClassifier.for_data(split.train).fit(split.train)
        found["linear classifier"] = linear.evaluate(split.test)["accuracy"]
        for fisher, plain in (("F-BGRU", "BGRU"), ("F-BLSTM", "BLSTM"), ("F-BGRU", "center loss")):
            gain = 100 * (found[fisher] - found[plain])
            over = "" if plain == fisher.removeprefix("F-") else f" over {plain}"
            found[f"{fisher}, gain{over} in points"] = gain
            found[f"{fisher}, gains{over}"] = float(gain > 0)
        return found

    def picture(self) -> "Figure":
        """Confusion of both GRUs on the last draw."""
        return draw_confusion({name: self.shown[name] for name in ("BGRU", "F-BGRU")}, self.test).picture
