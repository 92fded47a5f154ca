"""CoNHD on threads of questions: who asked, who answered, and whose answer was chosen, for each user in each thread.

Users have no features: all arms see log-degree, an embedding of the clique expansion, and for each user in a thread the
ranks by four centralities, computed on the same 3000 threads, which each seed draws anew. Arms have as many parameters
within 10 %, the same batches of hyperedges, epochs and rate; the published split tells the parts. CoNHD reads its
answer off h_{v,e} by a linear map, the others off [z_v || z_e || ranks] by a network with a hidden layer, so that they
can compare a user with a thread. Settings come from a few pilot runs on the validation part, not from a search.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least, widest_within
from pathline.data.hypergraph import Hypergraph
from pathline.data.sets import load
from pathline.graphs.conhd import CoNHD
from pathline.graphs.hypergraph_model import HypergraphModel, Incidences
from pathline.graphs.hypergraph_rivals import EDHNN, HGNN, AllSetMean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THREADS, WIDTH = 3000, 32
BUDGET = Budget(epochs=40)
RECIPE: dict[str, Any] = {"batch_size": 128, "lr": 3e-3, "weight_decay": 0.0, "validations": 10}
NETWORK: dict[str, Any] = {
    "layers": 2,
    "orders": ["degree", "eigenvector", "pagerank", "kcore"],
    "per_node": 40,
}
ARMS: dict[str, tuple[type[HypergraphModel], dict[str, Any]]] = {
    "CoNHD(ADMM, UNP)": (CoNHD, {"dropout": 0.1, "block_norm": True}),
    "HGNN": (HGNN, {"dropout": 0.3}),
    "AllSet-mean": (AllSetMean, {"dropout": 0.3}),
    "ED-HNN": (EDHNN, {"dropout": 0.3}),
}
PARTS = ("asked", "answered", "chosen answer")


class PartsOfUsers(Claim):
    """On 3000 threads of StackOverflow Biology, CoNHD(ADMM, UNP) has at least 3 points more macro F1 than each of HGNN,
    AllSet with means, and an ED-HNN-like network of as many parameters, in the mean of three seeds."""

    system, baselines = "conhd", ()
    paper = "best on all ten sets of edge-dependent labels, against networks with vectors of nodes and of hyperedges"
    metric, better = "macro F1", "higher"
    tried = (
        "Pilots on seeds 100 and 101, validation macro F1 (AllSet's in brackets). These threads: without ranks 0.581 "
        "(0.583); with ranks, dropout 0.2 and rate 1e-3 0.638 (0.607) on seed 100; dropout 0.3 and rate 3e-3 0.608 "
        "(0.621, with a linear readout 0.619) on seed 101; with norms in the blocks and dropout 0.1 0.634 there, which "
        "was taken. Outsiders among authors' papers, seed 100: one layer 0.778 (0.744), two layers 0.778 (0.788), so "
        "the 3 points there are those of shallow networks. AllSet here adds a node to what it hears and sees the "
        "ranks; as published, it does neither. Wider networks, GD and attention blocks were not tried."
    )
    require = tuple(at_least("CoNHD(ADMM, UNP)", 1.0, rival, plus=0.03) for rival in list(ARMS)[1:])

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        threads = load("stackoverflow-biology")
        drawn = torch.randperm(threads.sets, generator=torch.Generator().manual_seed(seed))[:THREADS]
        split = self.uses(threads.take_sets(drawn.sort().values).with_structure()).split()
        self.shown: dict[str, HypergraphModel] = {}
        allowed = 0
        for name, (cls, own) in ARMS.items():
            config = NETWORK | own
            width = widest_within(allowed, _of_width(cls, split.train, config)) if allowed else WIDTH
            method = cls.seeded(split.train, seed, width=width, **config)
            allowed = allowed or round(1.05 * method.parameter_count())
            method.fit(split, BUDGET, seed=seed, **RECIPE)
            said = method.evaluate(split.test)
            found[name] = said["macro_f1"]
            found[f"{name}, micro F1"] = said["accuracy"]
            self.shown[name] = method
        self.split = split
        return found

    @torch.no_grad()
    def picture(self) -> "Figure":
        """What is read for each user in each thread of the test part, and one user of several parts in it."""
        from matplotlib.figure import Figure as Picture

        picture = Picture(figsize=(10.4, 4.3), layout="constrained")
        for panel, name in zip(picture.subplots(1, 2), ("CoNHD(ADMM, UNP)", "AllSet-mean"), strict=True):
            method = self.shown[name].eval()
            batch = method.prepared(self.split.test).whole()
            assert batch.pairs is not None and batch.labels is not None
            flat = _two_numbers(_read(method, batch))
            user = _of_many_parts(batch.pairs[0], batch.labels)
            for part, colour in zip(range(len(PARTS)), ("C0", "C7", "C1"), strict=True):
                of_part = batch.labels == part
                panel.scatter(*flat[of_part].T, s=9, alpha=0.45, color=colour, label=PARTS[part], linewidths=0)
                own = of_part & (batch.pairs[0] == user)
                panel.scatter(*flat[own].T, s=46, color=colour, edgecolors="black", linewidths=1.1, zorder=3)
            panel.set_title(f"{name}: macro F1 {method.evaluate(self.split.test)['macro_f1']:.3f}", fontsize=10)
            panel.set_xticks([])
            panel.set_yticks([])
        count = int((batch.pairs[0] == user).sum())
        panel.legend(fontsize=8, markerscale=2, title=f"circled: one user in {count} threads", title_fontsize=8)
        picture.suptitle("What the answer is read off, one point for each user in each thread (test part)", fontsize=11)
        return picture


def _of_width(cls: type[HypergraphModel], data: Hypergraph, config: dict[str, Any]) -> Callable[[int], HypergraphModel]:
    return lambda width: cls.seeded(data, 0, width=width, **config)


def _read(method: HypergraphModel, batch: Any) -> Tensor:
    """(k, width) the vectors before the last linear map."""
    if isinstance(method, CoNHD):
        return method.encode(method.features(batch), batch)[Incidences.of(batch).places(batch.pairs)]
    assert isinstance(method, AllSetMean)
    hidden: Tensor = nn.Sequential(*list(method.head.children())[:-1])(method.told(batch))
    return hidden


def _two_numbers(x: Tensor) -> Tensor:
    """(k, 2) along the directions of most variance."""
    centred = x - x.mean(0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


def _of_many_parts(user: Tensor, part: Tensor) -> int:
    """The user whose rarest part is the most frequent."""
    table = torch.zeros(int(user.max()) + 1, len(PARTS)).index_put((user, part), torch.ones(len(user)), accumulate=True)
    return int((table.sort(1, descending=True).values[:, 1] + table.min(1).values).argmax())
