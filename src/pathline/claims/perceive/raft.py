"""RAFT on flying crops: looking up all pairs again and again, against an encoder-decoder of the same size.

The rivals have at most as many parameters as RAFT (95 and 92 %, widths are the largest that fit). All see the same 3000
pairs of 64 x 64 in the same order, with the same loss, augmentation and recipe. Photographs of validation and test are
others than those of training. All learn at one rate: on another seed, RAFT at 4e-4 learned too slowly, and in 40 to 60
steps rates from 1e-3 to 3e-3 did alike for each network. The real pair is Middlebury's motorcycle, shrunk five times so
that its disparity is below 12 pixels, cut to tiles of 64 x 64 in its middle; nobody learned from it.
"""

from typing import TYPE_CHECKING

from pathline.core.budget import steps
from pathline.core.cache import trained
from pathline.core.claim import Claim, at_most
from pathline.data.container import Split
from pathline.data.pairs import Pairs
from pathline.data.photographs import stereo_motorcycle
from pathline.perceive.flow_baselines import BlockMatching, HornSchunck, ZeroFlow
from pathline.perceive.flow_estimation import FlowEstimator, LearnedFlow
from pathline.perceive.flow_pictures import draw_rows, typical
from pathline.perceive.raft import RAFT
from pathline.perceive.rivals import PWC, FlowNetS, of_equal_size
from pathline.sims.flying_crops import flying_crops_in_parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 800
PAIRS = (3000, 60, 200)
RATE = 2e-3
SHRUNK, TILE = 5, 64


def learn(data: Split[Pairs], seed: int) -> dict[str, LearnedFlow]:
    """The three networks, trained alike."""
    count = RAFT().parameter_count()

    def network(cls: type[LearnedFlow], **config: int) -> LearnedFlow:
        return trained(cls, data, seed, steps(STEPS), config, lr=RATE)

    return {
        "raft": network(RAFT),
        "flownets-like": network(FlowNetS, width=of_equal_size(FlowNetS, count)),
        "pwc-like": network(PWC, width=of_equal_size(PWC, count)),
    }


class LookUpAndRefine(Claim):
    """On 64 x 64 crops of unseen photographs that move by up to 12 pixels, RAFT's mean end-point error is at most 0.7
    times that of a FlowNetS-like encoder-decoder with 95 % of its parameters after as many steps on the same pairs; on
    a real stereo pair with measured disparity its median error is at most 0.85 times. Recorded beside them:
    Horn-Schunck and block matching, which are better than RAFT on the real pair (0.74 and 0.57 against 1.55 pixels),
    and a PWC-like network, which after so few steps is no better than no flow at all."""

    system, baselines = "raft", ("horn-schunck",)
    paper = "KITTI: F1-all 5.10 % (best published before: 6.10 %); Sintel, final: EPE 2.855 pixels (before: 4.098)"
    metric, better = "end-point error in pixels", "lower"
    require = (
        at_most("raft, unseen photographs", 0.7, "flownets-like, unseen photographs"),
        at_most("raft, real pair, median", 0.85, "flownets-like, real pair, median"),
    )
    tried = (
        "300 steps on 2400 pairs, which took less time: 0.747 on unseen photographs (0.67, 0.90, 0.66 by seed), since "
        "on seed 1 RAFT had not begun to learn. On another seed 500 steps at 4e-4 gave 3.98 pixels."
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(flying_crops_in_parts(*PAIRS, seed=seed)).split()
        whole = self.uses(stereo_motorcycle(SHRUNK))
        real = whole.crops(TILE, TILE)
        learned = learn(data, seed)
        raft = learned["raft"]
        assert isinstance(raft, RAFT)
        self.arms: dict[str, FlowEstimator] = {
            **learned,
            "horn-schunck": HornSchunck(),
            "block-matching": BlockMatching(),
            "zero-flow": ZeroFlow(),
        }
        self.pairs = data.test.take(typical(data.test)), whole
        found: dict[str, float] = {}
        for name, arm in self.arms.items():
            found[f"{name}, unseen photographs"] = arm.evaluate(data.test)["epe"]
            found[f"{name}, real pair, median"] = arm.evaluate(real)["epe_median"]
            found[f"{name}, whole real pair, median"] = arm.evaluate(whole)["epe_median"]
            found[f"{name}, parameters"] = arm.parameter_count()
        for iterations in (1, 3):
            raft.test_iterations = iterations
            found[f"raft after {iterations} of {raft.iterations} iterations, unseen photographs"] = raft.evaluate(
                data.test
            )["epe"]
        raft.test_iterations = raft.iterations
        return found

    def picture(self) -> "Figure":
        shown = {name: arm for name, arm in self.arms.items() if name not in ("zero-flow", "block-matching")}
        return draw_rows([(pair, {name: arm.perceive(pair)[0] for name, arm in shown.items()}) for pair in self.pairs])
