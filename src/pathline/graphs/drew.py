"""DRew: layer l hears nodes up to l + 1 steps away, each distance with weights of its own, and may hear them late.

    h_i^(l+1) = h_i^l + ReLU( W_0 h_i^l + sum_{k=1..l+1} sum_{j: d(i,j)=k} W_k h_j^(l - s(k)) / sqrt(d_i^k d_j^k) )
    s(k) = max(0, k - nu)                                               d_i^k: how many nodes are k steps from i
Every layer adds a ring of neighbours. With the delay nu = 1 a node at distance k is heard as it was k - 1 layers ago,
as if what it says moved one step a layer, yet it arrives unmixed; without (nu = None) it is heard as it is now.
    gin:   (1 + e) MLP_0(h_i) + sum_k sum_j MLP_k(h_j)
    gated: h_i + ReLU(LN(W_0 h_i + sum_k sum_j g_ij * W_k h_j)),  g_ij = s_ij / (sum_j s_ij + 1e-6),
           s_ij = sigmoid(U_k h_i + V_k h_j)
Gutteridge, Dong, Bronstein, Di Giovanni, 2023, "DRew: Dynamically Rewired Message Passing with Delay", ICML,
arXiv:2305.08018. Use it where answers depend on nodes far away; pairs of nodes within `layers` steps are listed, so
graphs should be small or sparse; weights of edges are not used. As what it is compared with: `reach=1` is a residual
network of the same kind; `dynamic=False` hears all distances in every layer; `last_full` hears all nodes of the graph
in the last layer.
Departs: W_0 is separate; the authors' layers add each node to its neighbours at every distance instead. In "gated",
U_k is one for each distance and the norm is over a node's numbers (theirs: one U, and over the batch).
"""

from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.data.graph_list import Graphs
from pathline.graph.encodings import laplacian_eigenvectors
from pathline.graph.hops import hop_sets
from pathline.graph.segment import segment_mean
from pathline.graph.sparse import Edges
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.mlp import MLP

MOST = 20_000_000  # pairs of nodes that are listed
SHARES = ("none", "layers", "distances")


class HopGraph:
    """The edge sets E_1 .. E_r of pairs at distance 1 .. r, sorted for sparse products, with their normalisation."""

    def __init__(self, pairs: Tensor, distance: Tensor, nodes: int, reach: int) -> None:
        """pairs: (2, P) sender and receiver;  distance: (P,) int64; those beyond `reach` are left out."""
        self.rings = [Edges(pairs[:, distance == k], nodes) for k in range(1, reach + 1)]
        self.weights = []
        for ring in self.rings:
            sender, receiver = ring.edge_index
            scale = ring.in_degree.clamp(min=1).double().rsqrt()
            leaving = torch.bincount(sender, minlength=nodes).clamp(min=1).double().rsqrt()
            self.weights.append(leaving[sender] * scale[receiver])

    def heard(self, k: int, h: Tensor) -> Tensor:
        """sum_j h_j / sqrt(d_i^k d_j^k) over the nodes j at distance k: (nodes, width)."""
        return self.rings[k - 1].propagate(h, self.weights[k - 1])

    def summed(self, k: int, h: Tensor) -> Tensor:
        """sum_j h_j over the nodes at distance k."""
        return self.rings[k - 1].propagate(h)


class Distance(nn.Module):
    """What one layer makes of the nodes at a distance; where `itself`, of the node itself."""

    def __init__(self, kind: str, itself: bool, width: int) -> None:
        super().__init__()
        self.kind, self.itself = kind, itself
        if kind == "gin":
            self.value: nn.Module = MLP([width, width, width], nn.ReLU)
        else:
            self.value = nn.Linear(width, width, bias=itself)
        if kind == "gated" and not itself:
            self.receive, self.send = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor, then: Tensor, hops: HopGraph, k: int) -> Tensor:
        """h: (nodes, width) now;  then: the states that are heard, of the nodes at distance k."""
        if self.itself:
            found: Tensor = self.value(h)
        elif self.kind == "gin":
            found = hops.summed(k, self.value(then))
        elif self.kind == "gcn":
            found = self.value(hops.heard(k, then))
        else:
            ring = hops.rings[k - 1]
            sender, receiver = ring.edge_index
            gate = torch.sigmoid(self.receive(h)[receiver] + self.send(then)[sender])
            total = ring.weight_sum(gate * self.value(then)[sender])
            found = total / (ring.weight_sum(gate) + 1e-6)
        return found


class DRew(LearnedGraphModel):
    """nuDRew-GCN by default.

    kind:      "gcn", "gin" or "gated"
    layers:    how many, which is also how far the last one hears, unless `reach` is less
    nu:        the delay, from 1; None: no delay (DRew)
    share:     weights shared by "layers" (W_k^l = W_k), by "distances" (W_k^l = W^l), or "none"
    dynamic:   whether layer l hears distances up to l + 1 only; False: all up to `reach`
    last_full: whether the last layer hears every node of the graph alike, instead
    laplacian: eigenvectors of the Laplacian that nodes are described by; their signs are drawn in training
    """

    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=64, lr=2e-3, schedule="cosine", clip=1.0, validations=30)

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        kind: str = "gcn",
        layers: int = 4,
        width: int = 32,
        nu: int | None = 1,
        share: str = "none",
        reach: int | None = None,
        dynamic: bool = True,
        last_full: bool = False,
        laplacian: int = 0,
        dropout: float = 0.0,
        pooling: str = "mean",
    ) -> None:
        super().__init__(task, inputs, answers, width, pooling)
        for name, value, known in (("kind", kind, ("gcn", "gin", "gated")), ("share", share, SHARES)):
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")
        if layers < 1 or (reach is not None and reach < 1):
            raise MethodError(f"layers is {layers} and reach {reach}; both are at least 1")
        if nu is not None and (nu < 1 or not dynamic):
            raise MethodError(f"nu is {nu}; a delay is from 1 on, and needs dynamic=True")
        self.kind, self.depth, self.nu, self.share, self.dynamic = kind, layers, nu, share, dynamic
        self.last_full, self.laplacian, self.dropout = last_full, laplacian, dropout
        self.reach = min(layers, reach or layers) if dynamic else (reach or layers)
        self.encoder = nn.Linear(self.described + laplacian, width)
        self.messages = nn.ModuleDict()
        for layer in range(layers):
            for k in range(self.farthest(layer) + 1):
                if self._name(layer, k) not in self.messages:
                    self.messages[self._name(layer, k)] = Distance(kind, k == 0, width)
        self.epsilon = nn.Parameter(torch.zeros(layers)) if kind == "gin" else None
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)]) if kind == "gated" else None
        self.full = nn.Linear(width, width, bias=False) if last_full else None

    def _name(self, layer: int, k: int) -> str:
        if self.share == "layers":
            return f"distance {k}"
        if self.share == "distances":
            return f"layer {layer}" if k else f"layer {layer}, itself"
        return f"layer {layer}, distance {k}"

    def farthest(self, layer: int) -> int:
        """The largest distance that `layer` (from 0) hears."""
        return min(layer + 1, self.reach) if self.dynamic else self.reach

    def delay(self, k: int) -> int:
        """s(k): by how many layers the state of a node at distance k is old."""
        return 0 if self.nu is None else max(0, k - self.nu)

    # -- the graph ----------------------------------------------------------------------------------------------------

    def prepare(self, data: Any) -> Any:
        """Graphs with all pairs within reach as edges, their type the distance, and with eigenvectors as features."""
        if not isinstance(data, Graphs):
            return data
        edge_index, nodes = data.edge_index, len(data.features)
        ready = data.with_edges(*self._within_reach(edge_index, nodes))
        if self.laplacian:
            vectors, _ = laplacian_eigenvectors(edge_index, data.graph, self.laplacian)
            ready = replace(ready, features=torch.cat([data.features, vectors.to(data.features.dtype)], 1))
        return ready

    def _within_reach(self, edge_index: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        try:
            return hop_sets(edge_index, nodes, self.reach, MOST)
        except ValueError as error:
            raise MethodError(f"DRew: {error}; take fewer layers, or set a smaller reach") from None

    def hops(self, batch: GraphBatch) -> HopGraph:
        """Who is how far from whom, up to the reach."""

        def build() -> HopGraph:
            if batch.edge_type is not None:
                return HopGraph(batch.edge_index, batch.edge_type, batch.nodes, self.reach)
            return HopGraph(*self._within_reach(batch.edge_index, batch.nodes), batch.nodes, self.reach)

        return batch.remembered(f"hops up to {self.reach}", build)

    def features(self, batch: GraphBatch) -> Tensor:
        if not self.laplacian:
            return super().features(self._links_of(batch))
        own = self.inputs
        vectors = batch.features[:, own:]
        if not vectors.shape[1]:
            vectors = batch.remembered(
                f"laplacian {self.laplacian}",
                lambda: laplacian_eigenvectors(batch.edge_index, batch.graph, self.laplacian)[0],
            ).to(batch.features.dtype)
        if self.training:
            sign = 2.0 * torch.randint(2, (batch.graphs, self.laplacian), device=vectors.device) - 1
            vectors = vectors * sign.to(vectors.dtype)[batch.graph]
        plain = self._links_of(replace(batch, features=batch.features[:, :own]))
        return torch.cat([super().features(plain), vectors], 1)

    def _links_of(self, batch: GraphBatch) -> GraphBatch:
        """The batch with its links alone, where nodes are described by their degrees."""
        if self.inputs or batch.edge_type is None:
            return batch
        return replace(batch, edge_index=batch.edge_index[:, batch.edge_type == 1], edge_type=None, memo={})

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        hops = self.hops(batch)
        states = [self.encoder(x)]
        for layer in range(self.depth):
            h = states[-1]
            heard = self.messages[self._name(layer, 0)](h, h, hops, 0)
            if self.epsilon is not None:
                heard = (1 + self.epsilon[layer]) * heard
            if self.full is not None and layer == self.depth - 1:
                heard = heard + self.full(segment_mean(h, batch.graph, batch.graphs))[batch.graph]
            else:
                for k in range(1, self.farthest(layer) + 1):
                    old = layer - self.delay(k)
                    assert old >= 0, "a delay reaches no further back than the input"
                    message = self.messages[self._name(layer, k)]
                    heard = heard + message(h, states[old], hops, k)
            states.append(self._updated(h, heard, layer))
        return states[-1]

    def _updated(self, h: Tensor, heard: Tensor, layer: int) -> Tensor:
        if self.kind == "gin":
            return F.dropout(heard, self.dropout, self.training)
        if self.norms is not None:
            heard = self.norms[layer](heard)
        return h + F.dropout(F.relu(heard), self.dropout, self.training)
