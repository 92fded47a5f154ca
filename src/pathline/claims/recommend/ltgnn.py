"""LTGNN beside LightGCN and matrix factorisation, at equal steps; and how the time of an epoch grows with the data.

MovieLens-100K: every rating is positive, of each user's a fifth tests, 8 percent pick the best weights. All arms have
64 dimensions, batches of 2048, 1200 steps with ten looks at the validation part; each arm's rate and pull were chosen
on seed 100 by the validation part. Scaling: shops of power laws with 50000 to 400000 purchases, users and items in
proportion, batches of 512; the processor time of an epoch is the median of some of its steps times their number, and
the work that is done once per epoch.
"""

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data import Interactions
from pathline.data.sets import load
from pathline.recommend.base import Recommender
from pathline.recommend.baselines import MatrixFactorization
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.ltgnn import LTGNN
from pathline.recommend.pairwise import Pairwise
from pathline.sims.power_law_tastes import power_law_tastes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH = 1200, 2048
EDGES, SMALL_BATCH, SAMPLED_STEPS = (50_000, 100_000, 200_000, 400_000), 512, 8
OURS, NETWORK, FACTORS = "ltgnn", "lightgcn", "matrix-factorization"
ARMS: dict[str, tuple[type[Pairwise], dict[str, float], float]] = {
    OURS: (LTGNN, {"l2": 4e-3}, 0.05),
    NETWORK: (LightGCN, {"l2": 1e-3}, 0.05),
    FACTORS: (MatrixFactorization, {"l2": 2e-2}, 0.02),
}


class LinearTime(Claim):
    """On MovieLens-100K LTGNN with one layer and 15 sampled neighbours reaches at least 0.97 times the Recall@20 and
    NDCG@20 of LightGCN with three full layers and 1.03 times those of matrix factorisation, at equal steps, and reads
    at most half as many entries of the graph per step. From 50000 to 400000 purchases, the time of its epoch grows with
    their number to the power 0.8 to 1.2, and LightGCN's to at least 1.7."""

    system, baselines = "ltgnn", ("lightgcn", "matrix-factorization")
    paper = (
        "Yelp2018, Alibaba-iFashion, Amazon-Large: at least as good as LightGCN, with epochs about as long as those of "
        "matrix factorisation, an order of magnitude shorter than LightGCN's, and linear scaling"
    )
    metric, better = "Recall@20, NDCG@20, entries read per step, growth of the time per epoch", "higher"
    require = (
        *(at_least(f"{OURS} {name}", 0.97, f"{NETWORK} {name}") for name in ("recall", "ndcg")),
        *(at_least(f"{OURS} {name}", 1.03, f"{FACTORS} {name}") for name in ("recall", "ndcg")),
        at_most(f"{OURS} entries per step", 0.5, f"{NETWORK} entries per step"),
        at_least(f"{OURS} power of growth", 0.8),
        at_most(f"{OURS} power of growth", 1.2),
        at_least(f"{NETWORK} power of growth", 1.7),
    )
    seeds = (3, 4, 5)  # 0 to 2 were seen with other rates
    tried = (
        "On seed 100 by the validation part: LTGNN with rates 0.005 to 0.08, pulls 2e-4 to 3e-2, alpha 0.25, 0.35, "
        "0.45, 0.6 and 0.8, 30 neighbours and all of them, 0.2 of hop 0 or of the infinite hop taken out, half of the "
        "incoming gradient mixed in, and lists from the memory or from 2, 3, 5 and 10 exact iterations; LightGCN with "
        "rates 0.005 to 0.05 and pulls 1e-4 to 1e-2; matrix factorisation with rates 0.005 to 0.05 and pulls 1e-3 to "
        "5e-2. Neither all neighbours nor more iterations are better than 15 and 3 by more than 0.002, so it is not "
        "sampling that costs quality. At a rate of 5e-3 and pulls of 1e-3 and less matrix factorisation stays at "
        "NDCG@20 0.363 or below and LTGNN is 1.06 times that; a pull of 2e-2 takes it to 0.409 on seed 100, near "
        "LightGCN's 0.422, which leaves little room for 1.03 times it. On seeds 0 to 2, with a rate of 0.03, LTGNN "
        "came to 1.010 and 1.019 times matrix factorisation."
    )

    def run(self, seed: int) -> dict[str, float]:
        split = replace(self.uses(load("movielens-100k")), hold_out="random", shares=(0.08, 0.2)).split(seed)
        found: dict[str, float] = {}
        self.arms: dict[str, Recommender] = {}
        self.test = split.test
        for name, (kind, own, rate) in ARMS.items():
            arm = kind.seeded(split.train, seed, **own)
            arm.fit(split, steps(STEPS), seed=seed, batch_size=BATCH, lr=rate)
            metrics = arm.evaluate(split.test)
            found |= {f"{name} {what}": metrics[f"{what}@20"] for what in ("recall", "ndcg")}
            if isinstance(arm, (LTGNN, LightGCN)):
                found[f"{name} entries per step"] = arm.edges_touched / STEPS
            self.arms[name] = arm
        self.seconds: dict[str, list[float]] = {OURS: [], NETWORK: []}
        for count in EDGES:
            shop = power_law_tastes(count, count // 8, count // 16, seed=seed)
            for name, kind in ((OURS, LTGNN), (NETWORK, LightGCN)):
                self.seconds[name].append(epoch_seconds(kind.seeded(shop, seed), shop))
        for name, seconds in self.seconds.items():
            found[f"{name} power of growth"] = slope([math.log(n) for n in EDGES], [math.log(s) for s in seconds])
            found[f"{name} seconds per epoch at {EDGES[-1]}"] = seconds[-1]
        return found

    def picture(self) -> "Figure":
        from pathline.recommend.pictures import growth_picture

        return growth_picture(self.arms, self.test, EDGES, self.seconds)


def epoch_seconds(method: Pairwise, shop: Interactions) -> float:
    """Processor seconds of one epoch: the work at its beginning, and its steps at the median of some of them."""
    optimizer = method.optimizer(method.recipe) or torch.optim.AdamW(method.parameters(), fused=True)
    began = time.process_time()
    method.begin_epoch()
    once = time.process_time() - began
    batches = method.batches(shop, SMALL_BATCH, torch.Generator().manual_seed(0))
    laps = []
    for _ in range(SAMPLED_STEPS):
        batch = next(batches)
        began = time.process_time()
        optimizer.zero_grad()
        method.loss(batch)["loss"].backward()
        optimizer.step()
        laps.append(time.process_time() - began)
    laps = sorted(laps[2:])  # the first two allocate
    return once + laps[len(laps) // 2] * method.epoch_length(shop, SMALL_BATCH)


def slope(x: list[float], y: list[float]) -> float:
    """Least squares."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return across / sum((a - mean_x) ** 2 for a in x)
