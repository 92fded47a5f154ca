"""DRew on rings: a class has to travel from one side of a ring to the other.

All arms are one class of networks with as many layers as the ring needs, weights shared by all layers, as many
parameters (the plain network is wider for that), and the same rings, steps and seeds. Rate and number of steps were
chosen on pilot seeds. The network that hears all distances in every layer hears the source at once, so nothing is
asserted of it; it is shown. The paper's peptides are not part of this claim.
"""

from typing import TYPE_CHECKING, Any

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least, at_most, widest_within
from pathline.data.container import Split
from pathline.graphs.drew import DRew
from pathline.sims.graph_tasks import ring_transfer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED, WATCHED, TESTED = 500, 100, 200
EPOCHS, RECIPE = Budget(epochs=40), {"batch_size": 50, "lr": 1e-3, "weight_decay": 0.0, "validations": 10}
WIDTH = 32
ARMS: dict[str, dict[str, Any]] = {
    "nuDRew": {"nu": 1},
    "DRew": {"nu": None},
    "all hops in every layer": {"nu": None, "dynamic": False},
    "residual GCN": {"nu": None, "reach": 1},
}
SIZES = {10: tuple(ARMS), 20: tuple(ARMS), 30: ("nuDRew", "residual GCN")}


class AcrossTheRing(Claim):
    """On rings of 20 nodes nuDRew-GCN answers at least 99 % right in the mean of three seeds and a residual GCN of as
    many layers and parameters at most 60 %; on rings of 30 nodes nuDRew-GCN answers at least 95 % right."""

    system, baselines = "drew", ()
    paper = "RingTransfer is solved at lengths at which GCN fails; Peptides-func AP 0.715 against 0.593 of GCN"
    metric, better = "accuracy", "higher"
    require = (
        at_least("nuDRew, 20", 0.99),
        at_most("residual GCN, 20", 0.6),
        at_least("nuDRew, 30", 0.95),
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for nodes, names in SIZES.items():
            sizes = (TRAINED, WATCHED, TESTED)
            parts = [ring_transfer(count, nodes, seed=3 * seed + k) for k, count in enumerate(sizes)]
            split = Split(*parts)
            self.uses(split.test)
            allowed = DRew.for_data(split.train, **self.config(nodes, "nuDRew", WIDTH)).parameter_count()
            for name in names:
                width = self.width(split, nodes, name, allowed)
                method = DRew.seeded(split.train, seed, **self.config(nodes, name, width))
                method.fit(split, EPOCHS, seed=seed, **RECIPE)
                found[f"{name}, {nodes}"] = method.evaluate(split.test)["accuracy"]
        self.found = found
        return found

    @staticmethod
    def config(nodes: int, name: str, width: int) -> dict[str, Any]:
        """Settings of an arm."""
        return {"layers": nodes // 2, "share": "layers", "width": width, **ARMS[name]}

    def width(self, split: Split[Any], nodes: int, name: str, allowed: int) -> int:
        """The largest width with which an arm has no more parameters than nuDRew."""
        return widest_within(allowed, lambda width: DRew.for_data(split.train, **self.config(nodes, name, width)))

    def picture(self) -> "Figure":
        """Accuracy over the length of the ring, of the last seed."""
        from matplotlib.figure import Figure as Picture

        picture = Picture(figsize=(6.4, 4.0), layout="constrained")
        panel = picture.subplots()
        for place, name in enumerate(ARMS):  # thinner and thinner, as some lie upon each other
            known = [nodes for nodes, names in SIZES.items() if name in names]
            right = [self.found[f"{name}, {nodes}"] for nodes in known]
            panel.plot(known, right, marker="o", ms=13 - 3 * place, lw=7 - 2 * place, label=name)
        panel.axhline(0.2, color="0.6", lw=0.8, ls="--")
        panel.text(max(SIZES), 0.21, "chance", ha="right", fontsize=8, color="0.4")
        panel.set_xticks(list(SIZES))
        panel.set_xlabel("nodes of the ring (layers: half of them)")
        panel.set_ylabel("right answers")
        panel.set_ylim(0, 1.04)
        panel.legend(fontsize=8)
        return picture
