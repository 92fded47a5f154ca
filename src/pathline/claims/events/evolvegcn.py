"""EvolveGCN where the graph as a whole changes its habits, where it does not, and where nodes move.

Switching blocks: only a look at all nodes tells how the next snapshot is linked, for the nodes that announce it have no
edges. (With edges, as a first sketch of this claim had it, two hops at 14 edges a node reach everybody, and a static
graph convolution on one snapshot did as well as moving weights: 0.687 and 0.687 on a seed that is not among these.)
Hospital: contacts of two hours are a snapshot. Moving blocks: ten nodes change their block at every step.
All networks have the same sizes, steps and windows, and are kept where they did best on the validation part.
"""

from typing import TYPE_CHECKING, Any

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least
from pathline.data.evolving_graphs import EvolvingGraph, evolving_graph_of
from pathline.data.sets import load
from pathline.events.evolvegcn import EvolveGCN
from pathline.events.snapshot_rivals import GCNGRU, StaticGCN
from pathline.events.snapshots import SnapshotModel
from pathline.sims.switching_blocks import moving_blocks, switching_blocks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUDGET, LOOKS, WINDOWS = steps(600), 20, 4
HOURS = 2
ARMS: dict[str, tuple[type[SnapshotModel], dict[str, Any]]] = {
    "-H": (EvolveGCN, {"version": "H"}),
    "-O": (EvolveGCN, {"version": "O"}),
    "GCN": (StaticGCN, {}),
    "GCN-GRU": (GCNGRU, {}),
}
NEGATIVES = 1


class MovingWeights(Claim):
    """On switching blocks, whose next snapshot is announced on a few nodes without edges, EvolveGCN-H has an area under
    the curve for the next snapshot's edges that is 0.08 higher than that of a static graph convolution and 0.05 higher
    than that of convolutions with a memory for each node (EvolveGCN-O, which looks at no node, is shown and expected to
    fail). On hospital contacts and on moving blocks the better of -H and -O is at most 0.01 below the static one.
    """

    system = "evolvegcn"
    paper = (
        "Block model, Bitcoin, UCI messages, AS, Reddit, Elliptic: generally better than GCN, GCN-GRU, DynGEM and "
        "dyngraph2vec in link prediction, edge and node classification (numbers not carried over)"
    )
    metric, better = f"area under the curve for the edges of the next snapshot, {NEGATIVES} non-edge for each", "higher"
    require = (
        at_least("-H, switching blocks", 1.0, "GCN, switching blocks", plus=0.08),
        at_least("-H, switching blocks", 1.0, "GCN-GRU, switching blocks", plus=0.05),
        at_least("better of -H and -O, hospital", 1.0, "GCN, hospital", plus=-0.01),
        at_least("better of -H and -O, moving blocks", 1.0, "GCN, moving blocks", plus=-0.01),
    )
    seeds = (6, 7, 8)  # 0 and 3 to 5 were seen with fewer steps
    tried = (
        "180 steps of 8 windows held on one seed that is not among these; on seed 0 -H had not yet found the "
        "beacons by then (0.43, and so had all arms), and that run was stopped there. On seeds 101 and 102 it finds "
        "them after 60 to 180 steps of 8 windows and after 60 to 90 of 4: hence 300 steps of 4 on seeds 3, 4 and 5, "
        "where -H leads by 0.19 and 0.30 but had not left 0.51 on seed 4: it learns in one jump, and when that "
        "comes depends on the start. With a learning rate of 1e-2 it found them on one of two seeds only. Hence 600 "
        "steps, on fresh seeds. The better of -H and -O is taken on the test part, as the requirement says."
    )

    def run(self, seed: int) -> dict[str, float]:
        hospital = evolving_graph_of(self.uses(load("events-hospital")), HOURS * 3600)
        found: dict[str, float] = {}
        for name, graph, arms in (
            ("switching blocks", switching_blocks(seed=seed), tuple(ARMS)),
            ("hospital", hospital, ("-H", "-O", "GCN")),
            ("moving blocks", moving_blocks(seed=seed), ("-H", "-O", "GCN")),
        ):
            made = {arm: trained(arm, graph, seed) for arm in arms}
            test = graph.split(seed).test
            for arm, model in made.items():
                metrics = model.evaluate(test, seed)
                found[f"{arm}, {name}"] = metrics[f"AUC, {NEGATIVES} negative per edge"]
                found[f"{arm}, {name}, MAP"] = metrics[f"MAP, {NEGATIVES} negative per edge"]
            found[f"better of -H and -O, {name}"] = max(found[f"-H, {name}"], found[f"-O, {name}"])
            if name == "switching blocks":
                self.shown, self.test = made, test
        return found

    def picture(self) -> "Figure | None":
        from pathline.events.snapshot_pictures import over_snapshots

        return over_snapshots(self.shown, self.test)


def trained(arm: str, graph: EvolvingGraph, seed: int) -> SnapshotModel:
    """One arm on the training part, with the weights that did best on the validation part."""
    kind, options = ARMS[arm]
    split = graph.split(seed)
    model = kind.seeded(split.train, seed, test_negatives=NEGATIVES, **options)
    return model.fit(split, BUDGET, seed=seed, validations=LOOKS, batch_size=WINDOWS, patience=None)
