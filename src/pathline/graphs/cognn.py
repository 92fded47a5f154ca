"""Co-GNN: in every layer each node decides whether it listens to its neighbours and whether it speaks to them.

    in_i  = ST-Gumbel(pi_in(x)_i),  out_i = ST-Gumbel(pi_out(x)_i)      two small graph networks, shared by all layers
    w_uv  = out_u in_v                                                  u -> v is kept if u speaks and v listens
    x     <- act(dropout(eta_l(x, w)))  (+ x)                           eta: the network that learns the task
Listening and speaking is the standard action (S), listening alone L, speaking alone B, neither I (isolate). The graph
of a layer is directed, even where the given one is not. The choices are draws of hard one-hot vectors whose gradients
are those of a softmax at temperature tau, or at a learned 1 / (softplus(w . x_i) + tau_0) for each node.
Finkelshtein, Huang, Bronstein, Ceylan, 2024, "Cooperative Graph Neural Networks", ICML, arXiv:2310.01267.
Use it where only some neighbours matter or neighbours mislead (heterophily). It costs two small networks a layer, and
its answers are draws: `seed` repeats them, `samples` averages them, `deterministic` takes the likelier choice.
Departs: a mean is over the neighbours that were kept, so that the mean over a chosen few can be said exactly; the
authors' code divides by all of them (`mean_over="degree"`). Learned temperatures are a linear map of the features.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.graph.sparse import Edges, gcn_weights
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.graph_convolutions import GCNConv, GINConv, NeighbourConv
from pathline.nn.gumbel import gumbel_noise, straight_through

ACTIONS = ("S", "L", "B", "I")
KINDS = ("sum", "mean", "gcn", "gin")


class WeightedLayer(nn.Module):
    """A layer of either network, on a graph whose edges have weights; without any, only the node itself is left."""

    def __init__(self, kind: str, inputs: int, outputs: int, mean_over: str = "kept") -> None:
        super().__init__()
        if kind not in KINDS:
            raise MethodError(f"there is no network '{kind}'; choose one of {', '.join(KINDS)}")
        self.kind = kind
        if kind == "gcn":
            self.layer: nn.Module = GCNConv(inputs, outputs)
        elif kind == "gin":
            self.layer = GINConv(inputs, outputs)
        else:
            self.layer = NeighbourConv(inputs, outputs, kind, mean_over)  # type: ignore[arg-type]

    def forward(self, x: Tensor, edges: Edges, weight: Tensor | None, edge_features: Tensor | None) -> Tensor:
        if self.kind == "gcn":
            found: Tensor = self.layer(x, edges, gcn_weights(edges, weight), edge_features)
        else:
            found = self.layer(x, edges, weight, edge_features)
        return found


class ActionNetwork(nn.Module):
    """pi: logits (nodes, 2) of doing it (place 0) or not, from `layers` layers of width `width`."""

    def __init__(self, kind: str, inputs: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        sizes = [inputs] + [width] * (layers - 1) + [2]
        self.layers = nn.ModuleList([WeightedLayer(kind, a, b) for a, b in pairwise(sizes)])
        self.dropout = dropout

    def forward(
        self, x: Tensor, edges: Edges, weight: Tensor | None, first: Tensor | None, rest: Tensor | None
    ) -> Tensor:
        """weight: of the given graph;  first, rest: encoded features of edges for the first layer and the others."""
        for place, layer in enumerate(self.layers):
            x = x if place == 0 else F.relu(F.dropout(x, self.dropout, self.training))
            x = layer(x, edges, weight, rest if place else first)
        return x


class CoGNN(LearnedGraphModel):
    """Co-GNN(pi, eta).

    pi, eta:       kinds of the action and the environment network: sum, mean, gcn or gin
    layers, width: of eta;  pi_layers, pi_width: of pi
    tau:           temperature; with tau_end, training moves to it exponentially, over `anneal` steps
    learn_tau:     a temperature for each node instead, with tau0
    skip, norm:    whether layers add to what they got, and whether it is normalised (one LayerNorm for all layers)
    mean_over:     "kept" or "degree", see above
    samples:       draws that an answer averages;  deterministic: no draws but the likelier choices
    edge_inputs:   features of an edge, read off the data; they are scaled, and encoded once for eta and once for pi
    forced:        one of "S", "L", "B", "I" for all nodes, or None: the action network decides
    """

    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=64, lr=3e-3, schedule="constant", clip=1.0, validations=30)

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        pi: str = "mean",
        eta: str = "mean",
        layers: int = 3,
        width: int = 64,
        pi_layers: int = 1,
        pi_width: int = 16,
        dropout: float = 0.2,
        tau: float = 0.5,
        tau_end: float | None = None,
        anneal: int = 1000,
        learn_tau: bool = False,
        tau0: float = 0.5,
        skip: bool = True,
        norm: bool = True,
        pooling: str = "mean",
        mean_over: str = "kept",
        samples: int = 4,
        deterministic: bool = False,
        edge_inputs: int = 0,
        forced: str | None = None,
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, width, pooling, fanout)
        if forced is not None and forced not in ACTIONS:
            raise MethodError(f"there is no action '{forced}'; choose one of {', '.join(ACTIONS)}")
        if min(layers, pi_layers, pi_width, samples, anneal) < 1:
            raise MethodError(
                f"layers, pi_layers, pi_width, samples and anneal must be at least 1, but are {layers}, {pi_layers}, "
                f"{pi_width}, {samples} and {anneal}"
            )
        if tau <= 0 or (tau_end is not None and tau_end <= 0):
            raise MethodError(f"temperatures must be above 0, but tau is {tau} and tau_end {tau_end}")
        self.dropout, self.skip, self.samples, self.deterministic = dropout, skip, samples, deterministic
        self.forced, self.tau, self.tau_end, self.anneal, self.tau0 = forced, tau, tau_end, anneal, tau0
        self.encoder = nn.Linear(self.described, width)
        self.eta = nn.ModuleList([WeightedLayer(eta, width, width, mean_over) for _ in range(layers)])
        self.pi_in = ActionNetwork(pi, width, pi_width, pi_layers, dropout)
        self.pi_out = ActionNetwork(pi, width, pi_width, pi_layers, dropout)
        self.norm: nn.Module = nn.LayerNorm(width) if norm else nn.Identity()
        self.temperature = nn.Linear(width, 1, bias=False) if learn_tau else None
        self.eta_edges = nn.Linear(edge_inputs, width) if edge_inputs else None
        self.pi_edges = nn.Linear(edge_inputs, pi_width) if edge_inputs else None
        self.register_buffer("edge_mean", torch.zeros(edge_inputs))
        self.register_buffer("edge_scale", torch.ones(edge_inputs))
        self.register_buffer("passed", torch.zeros((), dtype=torch.int64))
        self.action_stats_: list[dict[str, float]] = []

    passed: Tensor
    edge_mean: Tensor
    edge_scale: Tensor

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> "CoGNN":
        part = cls.require(data)
        features = getattr(part, "edge_features", None) if part.task != "label-incidences" else None
        method = super().for_data(part, **({"edge_inputs": 0 if features is None else features.shape[1]} | config))
        if features is not None and len(features) and method.eta_edges is not None:
            method.edge_mean.copy_(features.double().mean(0))
            method.edge_scale.copy_(features.double().std(0, correction=0).clamp(min=1e-6))
        return method

    # -- the two choices ----------------------------------------------------------------------------------------------

    def current_tau(self, x: Tensor) -> float | Tensor:
        """The temperature, or (nodes, 1) learned ones."""
        if self.temperature is not None:
            found: Tensor = 1 / (F.softplus(self.temperature(x)) + self.tau0)
            return torch.where(found.isfinite(), found, torch.zeros_like(found))
        if self.tau_end is None:
            return self.tau
        share = min(1.0, float(self.passed) / self.anneal)
        return self.tau * (self.tau_end / self.tau) ** share

    def actions(self, x: Tensor, batch: GraphBatch, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Whether each node listens and whether it speaks: 1.0 or 0.0, (nodes,) both. noise: (2, nodes, 2) Gumbel."""
        if self.forced is not None:
            ones = x.new_ones(len(x))
            return ones * (self.forced in "SL"), ones * (self.forced in "SB")
        first, rest = self._encoded(batch, self.eta_edges), self._encoded(batch, self.pi_edges)
        tau = self.current_tau(x)
        if noise is None and not self.deterministic:
            noise = gumbel_noise((2, len(x), 2), x)
        logits = [pi(x, batch.edges, batch.weight, first, rest) for pi in (self.pi_in, self.pi_out)]
        listens = straight_through(logits[0], tau, None if noise is None else noise[0])
        speaks = straight_through(logits[1], tau, None if noise is None else noise[1])
        return listens[:, 0], speaks[:, 0]

    def _encoded(self, batch: GraphBatch, encoder: nn.Linear | None) -> Tensor | None:
        if encoder is None or batch.edge_features is None:
            return None
        encoded: Tensor = encoder((batch.edge_features - self.edge_mean) / self.edge_scale)
        return encoded

    def encode(self, x: Tensor, batch: GraphBatch, noise: Tensor | None = None) -> Tensor:
        """noise: (layers, 2, nodes, 2) Gumbel numbers; drawn if None."""
        edges = batch.edges
        sender, receiver = edges.edge_index
        own = self._encoded(batch, self.eta_edges)
        x = F.relu(F.dropout(self.encoder(x), self.dropout, self.training))
        stats = []
        for place, layer in enumerate(self.eta):
            x = self.norm(x)
            listens, speaks = self.actions(x, batch, None if noise is None else noise[place])
            weight = speaks[sender] * listens[receiver]
            stats.append((listens.detach(), speaks.detach(), weight.detach()))
            if batch.weight is not None:
                weight = weight * batch.weight
            out = F.relu(F.dropout(layer(x, edges, weight, own), self.dropout, self.training))
            x = x + out if self.skip else out
        self.__dict__["_choices"] = stats
        return self.norm(x)

    def loss(self, batch: GraphBatch) -> Tensor | dict[str, Tensor]:
        """That of the task; counts the steps by which the temperature falls."""
        if self.training:
            self.passed += 1
        return super().loss(batch)

    def scores(self, batch: GraphBatch) -> Tensor:
        """The mean over `samples` draws: of probabilities where there are classes, of answers elsewhere."""
        draws = 1 if self.deterministic or self.forced else self.samples
        answers = [super(CoGNN, self).scores(batch) for _ in range(draws)]
        if self.task in ("regress-graphs", "predict-links") or draws == 1:
            return torch.stack(answers).mean(0)
        return torch.stack(answers).softmax(-1).mean(0).clamp(min=1e-12).log()

    @torch.no_grad()
    def action_stats(self, batch: GraphBatch, nodes: Tensor | None = None, seed: int = 0) -> list[dict[str, float]]:
        """For each layer the shares of S, L, B and I and of the edges that are kept; with `nodes` (nodes,) bool of
        those nodes, and of edges among them. Kept as `action_stats_`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encode(self.features(batch), batch)
        inside = torch.ones(batch.nodes, dtype=torch.bool) if nodes is None else nodes
        edge = inside[batch.edge_index[0]] & inside[batch.edge_index[1]]
        self.action_stats_ = []
        for listens, speaks, weight in self.__dict__["_choices"]:
            place = (2 * (1 - listens[inside]) + (1 - speaks[inside])).long()  # S 0, L 1, B 2, I 3
            share = torch.bincount(place, minlength=4).double() / max(1, len(place))
            kept = float(weight[edge].double().mean()) if bool(edge.any()) else 0.0
            self.action_stats_.append(dict(zip(ACTIONS, share.tolist(), strict=True)) | {"kept": kept})
        return self.action_stats_
