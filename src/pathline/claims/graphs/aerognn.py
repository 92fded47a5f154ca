"""AERO-GNN: depth does not hurt it, and on pages that link to others than their like it is better than fixed hops.

All arms have the same width, rate, looks at the validation part, which keeps the best weights, and up to 200 epochs, of
which 100 without improvement are the last. Dropout, decay and residual are one choice for each data set and arm, made
on validation parts at seeds from 103 on. Stacked attention is GATv2 with an initial residual, and without. A seed is a
start on Cora, whose published split is one, and a published mask of Chameleon; the depth there is the one that is best
on the validation part, for both arms alike.
"""

from typing import TYPE_CHECKING, Any

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least
from pathline.data.sets import load
from pathline.graphs.aerognn import AEROGNN
from pathline.graphs.base import LearnedGraphModel
from pathline.graphs.deep_rivals import APPNP, GATv2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (2, 8, 32)
WIDTH, EPOCHS = 32, 200
RECIPE: dict[str, Any] = {"lr": 1e-2, "validations": 20, "patience": 10}
METHODS: dict[str, type[LearnedGraphModel]] = {
    "AERO-GNN": AEROGNN,
    "GATv2": GATv2,
    "GATv2 without residual": GATv2,
    "APPNP": APPNP,
}
ARMS: dict[str, dict[str, dict[str, Any]]] = {  # data set -> arm -> decay and settings
    "cora": {
        "AERO-GNN": {"weight_decay": 0.5, "dropout": 0.8, "memory": 0.5},
        "GATv2": {"weight_decay": 0.05, "dropout": 0.2, "alpha": 0.4},
        "GATv2 without residual": {"weight_decay": 0.05, "dropout": 0.2, "alpha": 0.0},
    },
    "chameleon-filtered": {
        "AERO-GNN": {"weight_decay": 0.5, "dropout": 0.8, "memory": 0.5, "layers": 2},
        "APPNP": {"weight_decay": 0.05, "dropout": 0.5, "alpha": 0.1},
    },
}


class DeepAttention(Claim):
    """With 32 hops AERO-GNN is at least 15 points of accuracy better on Cora than 32 layers of GATv2 with residual, and
    at most 1.5 points worse than with 2 hops; on Chameleon without duplicates it is at least 2 points better than
    APPNP, in the mean over three starts and masks."""

    system, baselines = "aerognn", ()
    paper = "Best on 9 of 12 node classification sets; accuracy rises up to 64 layers, where graph attention collapses"
    metric, better = "accuracy", "higher"
    require = (
        at_least("cora, AERO-GNN, 32 hops", 1.0, "cora, GATv2, 32 layers", plus=0.15),
        at_least("cora, AERO-GNN, 32 hops", 1.0, "cora, AERO-GNN, 2 hops", plus=-0.015),
        at_least("chameleon-filtered, AERO-GNN", 1.0, "chameleon-filtered, APPNP", plus=0.02),
    )

    tried = (
        "On Cora the residual decides. With a share of 0.1, the default of the authors' code, 32 layers reach 32 % on "
        "the validation part, 50 points below AERO-GNN, as without any on the test part; with 0.4 they reach 76 %, so "
        "that is the arm. On Chameleon, masks 3 to 5 by validation: AERO-GNN with decay 0.05, 0.5 and 2, dropout 0.5 "
        "to 0.8, one and two layers, lambda 0.5 and 1; APPNP with shares 0.1 and 0.9, decay 0.05 and 0.5, dropout 0.5 "
        "and 0.8: AERO-GNN was 1 to 2 points better there. Its authors train for up to 5000 epochs; here it is 200 "
        "for all."
    )

    def __init__(self) -> None:
        super().__init__()
        self.tested: dict[tuple[str, str], list[list[float]]] = {}

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for key, arms in ARMS.items():
            split = self.uses(load(key)).split(seed)
            for name, settings in arms.items():
                seen, tested = [], []
                for depth in DEPTHS:
                    own = dict(settings)
                    decay = own.pop("weight_decay")
                    method = METHODS[name].seeded(split.train, seed, hops=depth, width=WIDTH, **own)
                    method.fit(split, Budget(steps=EPOCHS), seed=seed, weight_decay=decay, **RECIPE)
                    seen.append(method.evaluate(split.validation)["accuracy"])
                    tested.append(method.evaluate(split.test)["accuracy"])
                    found[f"{key}, {name}, {depth} {'layers' if METHODS[name] is GATv2 else 'hops'}"] = tested[-1]
                if key != "cora":
                    found[f"{key}, {name}"] = tested[seen.index(max(seen))]
                self.tested.setdefault((key, name), []).append(tested)
        return found

    def picture(self) -> "Figure":
        """Accuracy against depth."""
        from matplotlib.figure import Figure as Picture

        picture = Picture(figsize=(8.6, 3.6), layout="constrained")
        panels = picture.subplots(1, len(ARMS))
        titles = {"cora": "Cora, published split", "chameleon-filtered": "Chameleon without duplicates"}
        colors = dict(zip(METHODS, ("tab:blue", "tab:red", "tab:orange", "tab:green"), strict=True))
        for panel, (key, arms) in zip(panels, ARMS.items(), strict=True):
            for name in arms:
                runs = [[100 * value for value in run] for run in self.tested[key, name]]
                mean = [sum(column) / len(column) for column in zip(*runs, strict=True)]
                label = "GATv2 with residual" if name == "GATv2" else name
                panel.plot(DEPTHS, mean, marker="o", color=colors[name], label=label)
                for run in runs:
                    panel.plot(DEPTHS, run, ".", color=colors[name], alpha=0.5)
            panel.set_xscale("log", base=2)
            panel.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
            panel.minorticks_off()
            panel.set_xlabel("hops, or layers")
            panel.set_title(titles[key], fontsize=10)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False, fontsize=9)
        panels[0].set_ylabel("test accuracy (%)")
        return picture
