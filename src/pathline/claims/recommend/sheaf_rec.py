"""Sheaf4Rec beside LightGCN on MovieLens-100K, and on a graph that holds dislikes.

MovieLens-100K: ratings from 3 on are positive, of each user's a fifth tests and 8 percent validate; 64 dimensions, 3
layers, 1200 steps with batches of 2048. Signed taste: 400 users like one of two genres and rate 24 of 300 items of
both, a tenth of them against their taste. The graph is of who rated what, so that half of its edges are dislikes, and
says nothing of likes; every arm learns from the same likes. Of each user's ratings a fifth tests: how well scores tell
its likes from its dislikes (area under the curve).

"lightgcn with W per layer" is the same network at the same pace with all maps kept at 1, so that what its linear maps
do is not taken for what the sheaf does. On seed 100 the validation parts chose for every arm among the same rates and
pulls: 0.02 and 1e-3, 0.02 and 1e-4, 0.02 and 1e-2, 0.005 and 1e-3. What the sheaf alone has (its pace, where its maps
begin) was chosen there too.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least
from pathline.data import Interactions
from pathline.data.sets import load
from pathline.recommend.base import Recommender
from pathline.recommend.baselines import MatrixFactorization
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.pairwise import Pairwise
from pathline.recommend.sheaf_rec import SheafRec
from pathline.sims.signed_taste import signed_taste

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, NETWORK, CONTROL, FACTORS = "sheaf-rec", "lightgcn", "lightgcn with W per layer", "matrix-factorization"
SIGNED_STEPS, FILM_STEPS = 400, 1200
# Of each arm: its class, its settings, its rate and its pull.
FILMS: dict[str, tuple[type[Pairwise], dict[str, Any], float, float]] = {
    OURS: (SheafRec, {"pace": 0.01}, 0.02, 1e-3),
    CONTROL: (SheafRec, {"pace": 0.01, "learned": False}, 0.02, 1e-3),
    NETWORK: (LightGCN, {}, 0.02, 1e-3),
}
RATED: dict[str, Any] = {"edges": "rated", "pace": 1.0}
SIGNED: dict[str, tuple[type[Pairwise], dict[str, Any], float, float]] = {
    OURS: (SheafRec, RATED, 0.005, 1e-3),
    CONTROL: (SheafRec, {**RATED, "learned": False}, 0.005, 1e-3),
    NETWORK: (LightGCN, {"edges": "rated"}, 0.02, 1e-2),
    FACTORS: (MatrixFactorization, {}, 0.005, 1e-3),
}


class SignsOfTaste(Claim):
    """On MovieLens-100K the F1@20 of a sheaf is at least 1.02 times LightGCN's, and above it on every seed. On a graph
    of which half the edges are dislikes its scores tell likes from dislikes with an area under the curve at least 0.05
    above LightGCN's, on every seed. What the same network reaches without a sheaf is reported beside both."""

    system, baselines = "sheaf-rec", ("lightgcn", "matrix-factorization")
    paper = "F1@N 5.1 % above the best baseline on MovieLens-100K, 5.4 % on MovieLens-1M, 2.8 % on Book-Crossing"
    metric, better = "F1@20; area under the curve of held-out likes and dislikes", "higher"
    require = (
        at_least(f"{OURS}, films f1@20", 1.02, f"{NETWORK}, films f1@20"),
        at_least(f"{OURS}, signed auc", 1.0, f"{NETWORK}, signed auc", plus=0.05, each_seed=True),
    )
    tried = (
        "On seed 100 by the validation part of MovieLens-100K (NDCG@20; F1@20), at rate 0.02 and pull 1e-3: LightGCN "
        "0.227; 0.126, its form with W per layer 0.219; 0.125, the sheaf at a pace of 1, 0.1 and 0.01 of its maps and "
        "W 0.196, 0.204 and 0.218; 0.110, 0.116 and 0.124: the less it learns beyond LightGCN, the better it is. At a "
        "pace of 1 stalks of 2 gave 0.179 and two layers 0.188; maps that begin near tanh 0.5 (pace 0.1) 0.194, near "
        "tanh 3 (pace 0.02) 0.216. W at random and layers side by side, as published, 0.163 to 0.165. The authors' "
        "program adds its penalty without a factor, a pull of 1: there this form keeps 0.165, and LightGCN, which has "
        "nothing but the rows that are pulled, falls to 0.039 (both 400 steps, rate 0.005). Likes and dislikes (area "
        "under the curve, validation): the sheaf 0.782, the same with W and no sheaf 0.793, matrix factorisation "
        "0.718, LightGCN 0.519: what is won over LightGCN there is won by W, which can undo the averaging, and not by "
        "the sheaf. Maps that begin near tanh 0.5 end at 0.766 (with W at random 0.735), at 0 at 0.718."
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        films = replace(self.uses(load("movielens-100k")), threshold=3.0, hold_out="random", shares=(0.08, 0.2))
        split = films.split(seed)
        self.arms: dict[str, Recommender] = {}
        self.test = split.test
        for name, (kind, own, rate, pull) in FILMS.items():
            arm = kind.seeded(split.train, seed, width=64, l2=pull, **own)
            arm.fit(split, steps(FILM_STEPS), seed=seed, batch_size=2048, lr=rate)
            metrics = arm.evaluate(split.test)
            found |= {f"{name}, films {what}@20": metrics[f"{what}@20"] for what in ("f1", "ndcg")}
            found[f"{name}, films f1@10"] = arm.judge(split.test, 10)["f1@10"]
            found[f"{name}, parameters"] = float(arm.parameter_count())
            self.arms[name] = arm
        taste = replace(self.uses(signed_taste(400, 300, 24, seed=seed)), shares=(0.1, 0.2)).split(seed)
        self.areas: dict[str, float] = {}
        for name, (kind, own, rate, pull) in SIGNED.items():
            arm = kind.seeded(taste.train, seed, width=32, l2=pull, **own)
            arm.fit(taste.train, steps(SIGNED_STEPS), seed=seed, batch_size=1024, lr=rate)
            self.areas[name] = found[f"{name}, signed auc"] = area_under_curve(arm, taste.test)
            if isinstance(arm, SheafRec) and name == OURS:
                found["signed edges whose ends have opposed maps"] = arm.map_statistics()[0]["opposed"]
        return found

    def picture(self) -> "Figure":
        from pathline.recommend.pictures import bars_and_lists

        return bars_and_lists(self.areas, "area under the curve", "likes told from dislikes", self.arms, self.test)


def area_under_curve(arm: Pairwise, data: Interactions) -> float:
    """The chance that a liked row of `data` scores above a disliked one."""
    from sklearn.metrics import roc_auc_score

    x, y = arm.factors().detach().split([arm.users, arm.items])
    scores = (x[data.user] * y[data.item]).sum(1)
    return float(roc_auc_score(data.positive.numpy(), scores.numpy()))
