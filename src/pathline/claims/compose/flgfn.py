"""The claim of forward-looking flows: where half-built objects can be scored, few episodes suffice, even unfinished
ones.

Sets of 45 out of 60 items are drawn in proportion to exp of minus the sum of their energies. How often each item
should be in a set is known exactly (elementary symmetric polynomials), and how often it is in drawn ones is counted.
All arms have the same network, explorer and episodes; the forward-looking ones also ask for the energy of every state
on the way, which is recorded.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.compose.base import FlowComposer
from pathline.compose.flgfn import FLGFN
from pathline.compose.subtb import SubTB
from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.sets import load
from pathline.sims.environments import Sets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, DRAWN, PIECE = 120, 2048, 10  # batches of 16 episodes, sets drawn to count, moves of an unfinished episode
ARMS: dict[str, tuple[type[FlowComposer], str]] = {
    "FL-DB": (FLGFN, "db"),
    "DB": (SubTB, "db"),
    "FL-SubTB": (FLGFN, "subtb"),
    "SubTB": (SubTB, "subtb"),
    "TB": (SubTB, "tb"),
}
PIECES = ("FL-DB", "DB")


class LocalCredit(Claim):
    """After 1,920 episodes the mean error of the 60 inclusion probabilities is at most 0.7 times that of detailed
    balance and 0.4 times that of trajectory balance, in the form of sub-trajectories at most 0.4 times theirs; from
    pieces of 10 of the 45 moves it is at most twice that from whole episodes, where detailed balance stays above three
    times."""

    system, baselines = "flgfn", ("subtb",)
    paper = (
        "FL-GFN finds more modes, earlier, than DB, SubTB, TB, MCMC and PPO on sets, bit sequences and molecules, and "
        "learns from incomplete trajectories alone"
    )
    metric, better = "mean absolute error of inclusion probabilities", "lower"
    require = (
        at_most("FL-DB", 0.7, "DB", each_seed=True),
        at_most("FL-SubTB", 0.4, "SubTB", each_seed=True),
        at_most("FL-DB", 0.4, "TB", each_seed=True),
        at_most("FL-DB, pieces", 2.0, "FL-DB", each_seed=True),
        at_least("DB, pieces", 3.0, "FL-DB", each_seed=True),
    )

    def run(self, seed: int) -> dict[str, float]:
        sets: Sets = self.uses(load("sets"))
        found, self.inclusion = {}, {"exact": sets.inclusion()}
        arms: dict[str, tuple[type[FlowComposer], str, int | None]] = {a: (*kind, None) for a, kind in ARMS.items()}
        arms |= {f"{arm}, pieces": (*ARMS[arm], PIECE) for arm in PIECES}
        for arm, (cls, objective, piece) in arms.items():
            method = cls.seeded(sets, seed, width=128, objective=objective, epsilon=0.05, piece=piece)
            method.fit(sets, steps(STEPS), seed=seed, precision="fp32")
            self.inclusion[arm] = inclusion(method, seed)
            found[arm] = float((self.inclusion[arm] - self.inclusion["exact"]).abs().mean())
            if arm in PIECES:
                found[f"{arm}, energies asked for"] = float(method.energy_calls)
        return found

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure

        from pathline.compose.pictures import COLOURS, TARGET

        picture = Figure(figsize=(9.0, 3.0), layout="constrained")
        axes = picture.subplots(1, 3, sharey=True, squeeze=False)[0]
        pairs = (("FL-DB", "DB"), ("FL-SubTB", "SubTB"), ("FL-DB, pieces", "DB, pieces"))
        exact = self.inclusion["exact"]
        for axis, pair in zip(axes, pairs, strict=True):
            axis.plot([0, 1], [0, 1], color=TARGET, linewidth=0.8)
            for arm, colour in zip(pair, COLOURS, strict=False):
                axis.scatter(exact.numpy(), self.inclusion[arm].numpy(), s=14, color=colour, label=arm)
            axis.set(xlabel="exact probability of an item")
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8)
        axes[0].set(ylabel="share of drawn sets that hold it")
        return picture


def inclusion(method: FlowComposer, seed: int) -> Tensor:
    """How often each item is in drawn sets: (items,) float64."""
    generator = torch.Generator().manual_seed(seed)
    return method.build(DRAWN, generator).double().mean(0)
