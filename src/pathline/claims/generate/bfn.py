"""The claim of Bayesian flow networks: categories sent in noisy messages cost fewer nats than uniform diffusion does.

Black and white digits and letters of text; one network for every method, with the same inputs and outputs. The bound of
a Bayesian flow network is L_inf plus what is left at the end; that of uniform diffusion is over 1000 steps, that of
absorbing diffusion in continuous time. Data are split by `SPLIT_SEED` whatever the seed of the run. beta(1) of digits
was chosen among 2, 3 and 5 on another seed by the bound on the validation part; uniform diffusion is the published one
(cosine schedule, auxiliary loss of 0.001) and had less tuning, which favours the first; beta(1) of letters is the
paper's for text8.

The paper's "better than known discrete diffusion" is required against uniform diffusion alone. Absorbing diffusion is
recorded beside it, as are letters, the samples of 20 steps, and a Bayesian flow network whose belief is not added to
the network's logits, as in the paper.
"""

from typing import TYPE_CHECKING, Any

import torch

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_most
from pathline.data.sets import load
from pathline.generate.bfn import BayesianFlowNetwork
from pathline.generate.features import SPLIT_SEED, energy_distance
from pathline.generate.rivals import AbsorbingDiffusion, UniformDiffusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, TEXT_STEPS = 2500, 800
COUNT, MESSAGES = 1000, 20
DIGITS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bfn": (BayesianFlowNetwork, {"accuracy": 3.0}),
    "bfn as published": (BayesianFlowNetwork, {"accuracy": 3.0, "add_belief": False}),
    "uniform": (UniformDiffusion, {"schedule": "cosine", "auxiliary": 0.001}),
    "absorbing": (AbsorbingDiffusion, {}),
}
TEXT: dict[str, tuple[Any, dict[str, Any]]] = {
    "bfn": (BayesianFlowNetwork, {"accuracy": 0.75}),
    "uniform": DIGITS["uniform"],
}


class FewerNats(Claim):
    """On black and white digits a Bayesian flow network's bound is at most 0.97 times that of uniform diffusion."""

    system = "bfn"
    paper = (
        "text8: 1.41 bits per character, better than all known discrete diffusion models; binarised MNIST: 77.87 nats "
        "per image without data augmentation"
    )
    metric, better = "nats per held-out sample", "lower"
    seeds = (3, 4, 5)  # 0 belongs to the run in which the margin was chosen
    require = (at_most("digits, bfn", 0.97, "digits, uniform"),)
    tried = (
        "A network as published, whose belief is not added to its logits, first: 18.32 nats on seed 3 against "
        "17.73 of uniform diffusion read by Bayes' rule; that run was stopped, so seed 3 is not quite fresh. "
        "Then the belief was added to the logits, chosen on a pilot seed (17.9 against 21.5 nats after 500 "
        "steps), and uniform diffusion got the published reading, which is the stronger rival. beta(1) = 2, 3 "
        "and 5: 16.85, 16.77 and 16.88 nats on the validation part of a pilot seed, where uniform diffusion has "
        "17.15. An auxiliary loss of 0 would have served uniform diffusion better (18.18 against 18.54 nats "
        "after 500 steps). The margin of 0.97 comes from a run in which uniform diffusion had 19.9 nats. A "
        "second round on pilot seed 100 (2,500 steps, validation part): with dropout of 0.1, 0.25 and 0.4 16.78, "
        "16.73 and 16.73 nats, uniform diffusion 16.99, 17.02 and 17.08, so 0.984 times at the best of each. "
        "With dropout of 0.25 besides: beta(1) = 5 16.83; an eighth of every batch spent on the loss at the end, "
        "so that the whole bound is trained, 16.81, with beta(1) = 5 16.87; cross-entropy of weight 0.1 added "
        "16.73; weight decay of 0.3 16.79 against 17.10. Both learn the 1,439 images by heart, at dropout of 0.1 "
        "14.5 and 15.2 nats on 200 of them. Inputs, flow, loss and what is left at the end agree with the "
        "authors' code, whose binary images have beta(1) = 9, dropout of 0.5 and a U-Net with its input joined "
        "to the last layer. Nothing was changed."
    )

    def run(self, seed: int) -> dict[str, float]:
        return self.digits(seed) | self.text(seed)

    def digits(self, seed: int) -> dict[str, float]:
        """Nats per image of 64 pixels, and the energy distance of samples."""
        parts = self.uses(load("binary-digits")).split(SPLIT_SEED)
        found: dict[str, float] = {}
        self.drawn = {"real": parts.test.values}
        common = {"classes": 0, "width": 256, "depth": 3, "dropout": 0.1}
        for name, (cls, config) in DIGITS.items():
            method = cls.seeded(parts.train, seed, **common, **config)
            method.fit(parts.train, steps(STEPS), seed=seed, batch_size=128, precision="fp32")
            bound = method.nats(parts.test, draws=500, seed=seed)
            found[f"digits, {name}"] = bound["nats"]
            if bound["last"]:
                found[f"digits, {name}, at the end"] = bound["last"]
            values = method.sample(COUNT, MESSAGES, seed)
            found[f"digits, {name}, energy distance of {MESSAGES} steps"] = energy_distance(values, parts.test.values)
            self.drawn[f"{name}, {MESSAGES} steps"] = values
        return found

    def text(self, seed: int) -> dict[str, float]:
        """Nats per letter of stretches of 32."""
        parts = self.uses(load("pydoc-text")).split(SPLIT_SEED)
        some, found = parts.test.take(torch.arange(500)), {}
        for name, (cls, config) in TEXT.items():
            method = cls.seeded(parts.train, seed, width=64, depth=2, **config)
            method.fit(parts.train, steps(TEXT_STEPS), seed=seed, batch_size=64, precision="fp32")
            found[f"letters, {name}"] = method.nats(some, draws=32, seed=seed)["nats"] / 32
        return found

    def picture(self) -> "Figure":
        from pathline.generate.pictures import grids

        return grids(self.drawn, (0.0, 1.0))
