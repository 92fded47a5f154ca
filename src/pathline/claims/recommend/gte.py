"""GTE beside LightGCN on a sparse shop and on dense ratings.

Amazon beauty products: the published parts, of whose training part one purchase per user is held out for validation;
5000 users are ranked for. MovieLens-100K: every rating is positive, of each user's a fifth tests, 8 percent validate.
Time is processor time: of GTE from the training part to the lists, of LightGCN the training steps alone, looks at the
validation part not counted. LightGCN's rate and pull (both sets) were chosen on seed 100 by the validation part, and
the numbers of steps and of layers are the card's; GTE has k = 3 as its authors.
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least
from pathline.data import Interactions
from pathline.data.container import Split
from pathline.data.sets import load
from pathline.recommend.base import Recommender
from pathline.recommend.baselines import Popularity
from pathline.recommend.gte import GTE
from pathline.recommend.lightgcn import LightGCN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USERS = 5000
OURS, NORMALISED, NETWORK, POPULAR = "gte", "gte, normalised", "lightgcn", "popularity"
SHOP, FILMS = "amazon-beauty", "movielens-100k"


class NoTraining(Claim):
    """On Amazon beauty products raw GTE reaches at least 0.95 times the Recall@20 and NDCG@20 of a trained LightGCN, in
    at most a twentieth of its time. On MovieLens-100K, which is dense, GTE of normalised walks reaches at least those
    of LightGCN, in at most a twentieth of its time; raw GTE, whose counts follow popularity there, is reported."""

    system, baselines = "gte", ("lightgcn", "popularity")
    paper = "on Yelp, Douban, Tmall, Gowalla, Amazon-beauty on a par with or better than trained graph networks"
    metric, better = "Recall@20, NDCG@20 and processor time", "higher"
    seeds = (3, 4, 5)
    require = (
        *(at_least(f"{OURS}, {SHOP} {name}", 0.95, f"{NETWORK}, {SHOP} {name}") for name in ("recall", "ndcg")),
        at_least(f"{SHOP}: seconds of lightgcn / gte", 20.0),
        *(at_least(f"{NORMALISED}, {FILMS} {name}", 1.0, f"{NETWORK}, {FILMS} {name}") for name in ("recall", "ndcg")),
        at_least(f"{FILMS}: seconds of lightgcn / gte", 20.0),
    )
    tried = (
        "By the validation part of MovieLens-100K, on seed 100: normalised GTE with 3, 5, 7 and 9 hops (3 is best). On "
        "seeds 100 to 102, no longer by both roots, walks weighed by other powers of the degrees: 0.3 of the users' "
        "and 0.55 of the items' are best and reach NDCG@20 0.221 and Recall@20 0.310 on seed 100, and with two powers "
        "for items 0.223 and 0.316, where LightGCN has 0.226 and 0.318 at a rate of 0.02, and 0.228 and 0.323 at one "
        "of 0.05, which it has here. A run before, on seeds 0 to 2 with 0.02, gave ratios of 0.94. In the test part "
        "LightGCN at a rate of 5e-3 and a pull of 1e-4 ends at NDCG@20 0.369 and Recall@20 0.307, below normalised "
        "GTE's 0.394 and 0.331; with the pull of 1e-3 and higher rates it is better, and it is this one that GTE is "
        "held against. The first run of all had a time ratio of 18.0 on Amazon beauty products; since then the sparse "
        "product ends in dense rows at once, in 0.11 s instead of 0.28 s for 5000 users."
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        shop = asked_of(self.uses(load(SHOP)).split(seed), seed)
        films = replace(self.uses(load(FILMS)), hold_out="random", shares=(0.08, 0.2)).split(seed)
        self.arms: dict[str, dict[str, Recommender]] = {SHOP: {}, FILMS: {}}
        self.tests = {SHOP: shop.test, FILMS: films.test}
        plans = (
            (SHOP, shop, {"width": 32, "l2": 1e-4}, {"batch_size": 4096, "validations": 4, "lr": 0.02}, 800),
            (FILMS, films, {"width": 64, "l2": 1e-3}, {"batch_size": 2048, "validations": 4, "lr": 0.05}, 1200),
        )
        for name, split, own, recipe, count in plans:
            network = Timed.seeded(split.train, seed, **own)
            network.looking = 0.0
            began = time.process_time()
            network.fit(split, steps(count), seed=seed, **recipe)
            trained = time.process_time() - began - network.looking
            arms: dict[str, Recommender] = {NETWORK: network, POPULAR: Popularity.for_data(split)}
            for arm, normalised in ((OURS, False), (NORMALISED, True)):
                began = time.process_time()
                arms[arm] = GTE.for_data(split, normalised=normalised)
                arms[arm].evaluate(split.test)
                if normalised == (name == FILMS):  # the arm that is required there
                    found[f"{name}: seconds of lightgcn / gte"] = trained / (time.process_time() - began)
            for arm, method in arms.items():
                metrics = method.evaluate(split.test)
                found |= {f"{arm}, {name} {what}": metrics[f"{what}@20"] for what in ("recall", "ndcg")}
            for arm in (OURS, NORMALISED):
                found[f"{arm}, {name} ndcg, ties at random"] = arms[arm].judge(split.test, ties=seed)["ndcg@20"]
            self.arms[name] = arms
        return found

    def picture(self) -> "Figure":
        from pathline.recommend.pictures import Lists, quality_by_set

        return quality_by_set(
            {name: {arm: Lists(m, self.tests[name]) for arm, m in arms.items()} for name, arms in self.arms.items()}
        )


class Timed(LightGCN):
    """LightGCN that knows how long it looked at the validation part."""

    looking = 0.0

    def score(self, data: Interactions, seed: int = 0) -> float:
        began = time.process_time()
        value = super().score(data, seed)
        self.looking += time.process_time() - began
        return value


def asked_of(split: Split[Interactions], seed: int) -> Split[Interactions]:
    """The same split, whose validation and test rows are those of `USERS` users drawn by the seed."""
    some = torch.randperm(len(split.train.users), generator=torch.Generator().manual_seed(seed))[:USERS]
    chosen = torch.zeros(len(split.train.users), dtype=torch.bool).index_fill(0, some, True)
    kept = [part.take(chosen[part.user].nonzero().flatten()) for part in (split.validation, split.test)]
    return Split(split.train, *kept)
