"""MoFlow on pedestrians of a scene that was held out: the best of six answers, and the same from a single call.

Arms share frames, network, parameters (the plain flow has no queries: 192 fewer of 100 000), steps, batches and
learning rate. All scenes but zara1 are learned from, every sixth step. The plain flow's six answers are six independent
draws by the same ten steps, with the reading and the scaling of paths that suit it best; the teacher's and the
regressor's six come out of one set; the student is asked with fresh latents.
Latency is the median of a window of 64 encounters, one call after the other, teacher and student in turn; that of one
encounter and of a teacher of 100 steps is recorded. The share of the busiest answer says whether a few win all.

Options were chosen on seed 100 and on the validation part. Neither the crossing nor the scene hotel is part of this.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import torch

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.sets import load
from pathline.data.tracks import Encounters
from pathline.flow.best_of import best_of_loss
from pathline.track.agents import evaluate_jointly
from pathline.track.base import Tracker, evaluating
from pathline.track.joint_rivals import FlowMatching, WinnerTakesAll
from pathline.track.moflow import MoFlow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCENE, STRIDE, WINDOWS, K = "zara1", 6, 1500, 6
TEACHER, STUDENT = 700, 300  # steps
OPTIONS = {"batch_size": 32, "lr": 2e-3}
NETWORK = {"width": 32}
TAUGHT, ONE_CALL, PLAIN, HEADS = "teacher", "student", "flow matching", "winner takes all"


class OneOfSix(Claim):
    """On held-out pedestrians the best of the teacher's six answers is at most 0.92 times as far off as the best of six
    draws of plain flow matching, and at most 1.03 times as far as that of winner-takes-all regression, with at least
    its diversity. The student, in one call, is at most 1.05 times as far off as its teacher and at least 7 times as
    fast."""

    system = "moflow"
    paper = (
        "NBA SportVU, ETH-UCY, SDD: state-of-the-art minADE and minFDE of 20 for teacher and student; the student "
        "samples 100 times as fast"
    )
    metric, better = "minADE of 6 answers, metres", "lower"
    require = (
        at_most(f"{TAUGHT}, minADE", 0.92, f"{PLAIN}, minADE"),
        at_most(f"{TAUGHT}, minADE", 1.03, f"{HEADS}, minADE"),
        at_least(f"{TAUGHT}, diversity", 1.0, f"{HEADS}, diversity"),
        at_most(f"{ONE_CALL}, minADE", 1.05, f"{TAUGHT}, minADE"),
        at_least("latency, teacher of 10 steps by student", 7.0),
    )

    tried = (
        "On the pilot seed, after 350 steps, plain flow matching that reads its output as a velocity or scaled was "
        "worse (minADE 9.1 and 1.3 m), and from -1 to 1 it answered with the mean (0.63 m); by step and axis, as here, "
        "0.47 m. With that scaling the teacher was more diverse than regression, but less accurate than without it. "
        "Diversity is above that of regression in the mean (0.884 against 0.882 m) and on seeds 0 and 2, not on 1. "
        "Latencies were measured while other programs ran: 6.4, 8.5 and 13.8 times."
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(replace(load("pedestrian-eth-ucy"), hold_out=SCENE))
        split = data.split(seed)
        train, test = replace(split.train, stride=STRIDE), split.test
        chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:WINDOWS]
        whole = TEACHER + STUDENT
        ours = MoFlow.seeded(train, seed, answers=K, candidates=K, share=STUDENT / whole, **NETWORK)
        ours.fit(train, steps(whole), seed=seed, **OPTIONS)
        heads = WinnerTakesAll.seeded(train, seed, answers=K, **NETWORK)
        plain = FlowMatching.seeded(train, seed, scaling="standard", **NETWORK)
        for rival in (heads, plain):
            rival.fit(train, steps(TEACHER), seed=seed, **OPTIONS)
        self.arms: dict[str, Tracker] = {ONE_CALL: ours, PLAIN: plain, HEADS: heads}
        found: dict[str, float] = {}
        for name, arm in self.arms.items():
            found |= named(name, evaluate_jointly(arm, test, K, seed, chosen))
        ours.distilled.fill_(False)
        found |= named(TAUGHT, evaluate_jointly(ours, test, K, seed, chosen))
        found[f"{TAUGHT}, share of wins of the busiest answer"] = busiest(ours, test.gather(chosen))
        ours.distilled.fill_(True)
        self.windows = test.gather(chosen)
        for name, count in (("", 64), (", one encounter", 1)):
            window = test.gather(chosen[:count])
            for steps_taken, repeats in ((10, 9), (100, 3)):
                label = f"latency, teacher of {steps_taken} steps by student{name}"
                found[label] = latency_ratio(ours, window, steps_taken, repeats)
        return found

    def picture(self) -> "Figure":
        """Three encounters: six answers of each arm, the truth, and where the others went."""
        from matplotlib.figure import Figure

        from pathline.track.joint_pictures import show_answers

        ours = self.arms[ONE_CALL]
        assert isinstance(ours, MoFlow)
        window = busy(self.windows)
        answers = {name: arm.forecast(window, K, seed=0).positions for name, arm in self.arms.items()}
        ours.distilled.fill_(False)
        taught = {f"{TAUGHT}, 10 calls": ours.forecast(window, K, seed=0).positions}
        ours.distilled.fill_(True)
        answers = taught | {f"{ONE_CALL}, 1 call": answers.pop(ONE_CALL)} | answers
        figure = Figure(figsize=(10.0, 7.2), layout="constrained")
        show_answers(figure, window, answers, target_only=True)
        return figure


def named(arm: str, numbers: dict[str, float]) -> dict[str, float]:
    """What concerns the target, and joint errors beside it."""
    return {f"{arm}, {name}": value for name, value in numbers.items() if "collisions" not in name}


def busy(window: Encounters) -> Encounters:
    """Three encounters in which the target moves and has company, spread over the set."""
    moved = (window.future[:, 0, -1] - window.past[:, 0, -1]).norm(dim=-1)
    company = window.past_observed[:, :, -1].sum(1)
    index = ((moved > moved.median()) & (company == company.max())).nonzero().flatten()
    chosen = index[torch.linspace(0, len(index) - 1, 3).long()]
    tensors = {name: getattr(window, name)[chosen] for name in ("past", "past_observed", "future", "future_observed")}
    return replace(
        window, **tensors, agent=window.agent[chosen], scene=window.scene[chosen], frame=window.frame[chosen]
    )


def busiest(method: MoFlow, window: Encounters) -> float:
    """The largest share of targets that one answer of the teacher is best for."""
    with evaluating(method):
        paths, scores, _ = method.taught(window, torch.Generator().manual_seed(0))
        own, known = method.truth(window, method.scene(window))
        winner = best_of_loss(paths, scores, own, known, torch.ones(len(own))).winner[:, 0]
    return float(torch.bincount(winner, minlength=method.answers).max() / len(winner))


def latency_ratio(method: MoFlow, window: Encounters, count: int, repeats: int) -> float:
    """Median seconds of the teacher in `count` calls over that of the student in one."""

    def seconds(draw: Callable[[], object]) -> float:
        began = time.perf_counter()
        draw()
        return time.perf_counter() - began

    generator = torch.Generator().manual_seed(0)
    taught, one = [], []
    with evaluating(method):
        for _ in range(repeats + 1):
            taught.append(seconds(lambda: method.drawn(window, generator, by="teacher", steps=count)))
            one += [seconds(lambda: method.drawn(window, generator, by="student")) for _ in range(3)]
    return median(taught[1:]) / median(one[3:])
