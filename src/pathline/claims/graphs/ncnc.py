"""NCNC: common neighbours against none on citations, and missing ones completed where half the links are hidden.

GAE, NCN and NCNC share encoder, epochs, negatives, seeds and the loop that hides what it asks for; they differ in the
predictor. The GCN is what the room's comparison would fit, in as many epochs. Settings were chosen on pilot seeds and
validation parts.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least
from pathline.data.container import Split
from pathline.data.links import Links
from pathline.data.sets import load
from pathline.graph.links import keys_of
from pathline.graphs.base import GraphModel
from pathline.graphs.baselines import GCN
from pathline.graphs.link_baselines import AdamicAdar, CommonNeighbours, ResourceAllocation
from pathline.graphs.metrics import hits_at
from pathline.graphs.ncnc import NCNC, CommonNeighbourPredictor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CITATIONS, HALF = (0.1, 0.2), (0.05, 0.45)  # of the links, for validation and test
ARMS: dict[str, dict[str, Any]] = {"GAE": {"predictor": "hadamard"}, "NCN": {"depth": 0}, "NCNC": {"depth": 1}}
HEURISTICS = {"CN": CommonNeighbours, "AA": AdamicAdar, "RA": ResourceAllocation}
CORA: dict[str, Any] = {"width": 64, "conv": "puregcn", "feature_dropout": 0.7}
BUDGET, CORA_RECIPE = Budget(epochs=60), {"lr": 4.3e-3}
FEATURELESS: dict[str, Any] = {"width": 64, "conv": "gcn", "scale": 2.0, "offset": 1.0}
HIDDEN = ("usair", "celegans")


class CompletedNeighbours(Claim):
    """On Cora, with a random split of 70, 10 and 20 percent of the links, width 64 and 60 epochs, NCN finds at least 5
    points more links before the hundredth other pair than a graph autoencoder with the same encoder, and NCNC at most
    half a point fewer than NCN; on USAir and C. elegans with half the links hidden NCNC's average precision is at least
    half a point above NCN's, in the mean over five seeds."""

    system, baselines = "ncnc", ("gcn", "common-neighbours", "adamic-adar", "resource-allocation")
    paper = "Cora HR@100: 89.05 NCN, 89.65 NCNC, 88.00 BUDDY, 66.79 GCN"
    metric, better = "hits@100, and average precision", "higher"
    tried = (
        "NCN is 0.5 points better than the autoencoder in hits@100 (3.2 in hits@50), not 5: with one encoder, one "
        "rate and targets hidden from both, the encoder does most on Cora. The room's GCN, with two layers, words "
        "scaled to sum to 1 and targets that it sees, is 35 points behind NCN; the GCN of the paper's table is 22 "
        "behind. On a pilot seed NCN was 2.5 points ahead with learned layers and words scaled to sum to 1 (72.9 "
        "against 70.5), 1.3 with words as they are (74.0 against 72.6), 1.0 behind with layers without weights "
        "(82.7 against 83.6), which validation preferred for both, and there 0.6 ahead of an autoencoder whose "
        "targets stay in the graph. On US airports NCNC gains 0.45 points in the mean (0.2 to 0.9 on five seeds), "
        "not 0.5; with the authors' default calibration (scale 5, offset 3) it lost 1.3 on the pilot seed, with "
        "scale 2 and offset 1 it gained 1.0 and 2.6 on two."
    )
    seeds = (0, 1, 2, 3, 4)
    require = (
        at_least("cora, NCN gain over GAE in points", 5.0),
        at_least("cora, NCNC gain over NCN in points", -0.5),
        at_least("usair, NCNC gain over NCN in points", 0.5),
        at_least("celegans, NCNC gain over NCN in points", 0.5),
    )

    def run(self, seed: int) -> dict[str, float]:
        citations = replace(load("cora").links(), shares=CITATIONS).split(seed)
        self.uses(citations.test)
        self.shown: dict[str, GraphModel] = {
            name: NCNC.seeded(citations.train, seed, **CORA, **arm).fit(citations, BUDGET, seed=seed, **CORA_RECIPE)
            for name, arm in ARMS.items()
        }
        self.shown["GCN"] = GCN.seeded(citations.train, seed).fit(citations, BUDGET, seed=seed)
        self.citations = citations
        found: dict[str, float] = {}
        hits = {
            name: self.hits(method, citations.test) for name, method in (self.shown | self.known(citations)).items()
        }
        for name, (first, second) in hits.items():
            found |= {f"cora, {name}": first, f"cora, {name}, hits@50": second}
        found["cora, NCN gain over GAE in points"] = 100 * (hits["NCN"][0] - hits["GAE"][0])
        found["cora, NCNC gain over NCN in points"] = 100 * (hits["NCNC"][0] - hits["NCN"][0])
        for key in HIDDEN:
            split = replace(load(key), published=None, shares=HALF).split(seed)
            self.uses(split.test)
            arms = {
                name: NCNC.seeded(split.train, seed, **FEATURELESS, **arm).fit(split, BUDGET, seed=seed)
                for name, arm in ARMS.items()
            }
            if key == "usair":
                self.completed, self.airports = arms["NCNC"], split.test
            precision = {name: arm.evaluate(split.test)["ap"] for name, arm in (arms | self.known(split)).items()}
            found |= {f"{key}, {name}": value for name, value in precision.items()}
            found[f"{key}, NCNC gain over NCN in points"] = 100 * (precision["NCNC"] - precision["NCN"])
        return found

    def known(self, split: Split[Links]) -> dict[str, GraphModel]:
        """The heuristics, which learn nothing."""
        return {name: cls.for_data(split.train) for name, cls in HEURISTICS.items()}

    def hits(self, method: GraphModel, data: Links) -> tuple[float, float]:
        """hits@100 and hits@50."""
        score, truth = method.said(data).double(), method.truth(data)
        first, second = (hits_at(score[truth], score[~truth], k) for k in (100, 50))
        return first, second

    def picture(self) -> "Figure":
        """How soon links are found on citations, and what completion believes where half the links are hidden; both of
        the last seed."""
        from matplotlib.figure import Figure as Picture

        picture = Picture(figsize=(10.2, 4.1), layout="constrained")
        left, right = picture.subplots(1, 2)
        for name, method in (self.shown | self.known(self.citations)).items():
            score, truth = method.said(self.citations.test), method.truth(self.citations.test)
            links, others = score[truth].sort().values, score[~truth].sort(descending=True).values
            above = len(links) - torch.searchsorted(links, others, right=True)
            style: dict[str, Any] = {"lw": 1.8} if name in self.shown else {"lw": 1, "ls": "--"}
            left.plot(range(1, len(others) + 1), above / len(links), label=name, **style)
        left.axvline(100, color="0.6", lw=0.8)
        left.set_xscale("log")
        left.set_xlabel("K")
        left.set_ylabel("share of the links above the K-th best other pair")
        left.set_title("Cora, a fifth of the links asked for", fontsize=10)
        left.legend(fontsize=8, loc="upper left")
        chance, hidden = self.believed()
        bins = torch.linspace(0, float(chance.max()), 31).tolist()
        for which, name in ((hidden, "links that were hidden"), (~hidden, "pairs that are no links")):
            right.hist(chance[which].tolist(), bins, density=True, alpha=0.6, label=f"{name} ({int(which.sum())})")
        right.set_xlabel("probability that completion gives to a missing link")
        right.set_ylabel("density")
        right.set_title("US airports, half the links hidden", fontsize=10)
        right.legend(fontsize=8)
        return picture

    @torch.no_grad()
    def believed(self) -> tuple[Tensor, Tensor]:
        """Of all pairs that completion looks at for the airports' test part, its probability and whether they are links
        that were hidden."""
        method, test = self.completed, self.airports
        assert isinstance(method.head, CommonNeighbourPredictor) and test.pairs is not None
        batch = test.whole()
        h, near = method.encode(method.features(batch), batch), method.neighbourhoods(batch)
        overlap = near.overlap(test.pairs)
        ends = torch.cat([test.pairs[1][overlap.first.pair], test.pairs[0][overlap.second.pair]])
        missing = torch.stack([ends, torch.cat([overlap.first.node, overlap.second.node])]).sort(0).values.unique(dim=1)
        missing = missing[:, missing[0] != missing[1]]
        logits = method.head.judged(h, near, missing, 0)
        chance = method.head.probability(logits, h[:1], torch.zeros(len(logits), dtype=torch.int64))
        return chance, torch.isin(keys_of(missing, near.nodes), load("usair").keys)
