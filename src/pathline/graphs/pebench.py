"""Any positional encoding on any graph network or graph transformer, and GRIT's attention along edges alone.

A graph network cannot tell nodes apart that refinement cannot; a transformer does not see edges at all. Both are helped
by numbers that say where a node lies (p_i) and how two nodes lie together (r_ij). Which numbers and which network go
together is the user's choice:
    x_i <- W x_i + W_p BN(p_i)  (or side by side),     e_ij <- kind_ij + W_e e_ij + W_r r_ij,     layers,     readout
    encoding   laplacian (signs by SignNet, SPE, flips in training, or not at all), eslap (eigenvectors only through
               distances |v_i - v_j|^2 of pairs), rwse diag(P^t), rwdiff (learned from it), rrwp [I, P, .., P^(k-1)]_ij
               (the diagonal for nodes, the rest for pairs), gckn (kernel of paths), wl (colours), gpse (an encoder
               trained to say the others from noise), ppr (page rank), none
    model      gin, gcn, gatedgcn, pna; gps, exphormer, san; grit, sparse-grit (see `nn.grit`)
    attention_graph  full, edges, khop or expander: among whom messages pass or attention is paid
A transformer on a graph G' is a message passing network on G' with the same update, hence whom to hear and what to do
with it are chosen apart: sparse GRIT is GRIT with attention_graph="edges", whose pairs cost O(edges), not O(nodes^2).
Grötschla, Xie, Wattenhofer, 2024, "Benchmarking Positional Encodings for GNNs and Graph Transformers",
arXiv:2411.12732; GRIT: Ma et al., 2023, arXiv:2305.17589.
Use it to find the encoding that your graphs ask for: settings are names, say model=gps encoding=laplacian. Encodings
are computed once for a container and kept with it. Full attention lists all pairs of nodes: choose edges or expander on
graphs of more than a few thousand nodes.
Departs: walks, page ranks and paths are scaled to deviation 1 over the training part, by a map that is then fixed,
since chances after many steps differ by little. "rwdiff" has layers of its own, "gckn" is the kernel of paths and "ppr"
the largest entries of a row; the authors' code has returns that a linear map reads, eigenvectors of a diffusion kernel,
and singular vectors.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_batch import GraphBatch
from pathline.graph.wiring import FROM_VIRTUAL, TO_VIRTUAL, Wired
from pathline.graphs.encoded import EncodedModel
from pathline.nn.gated_gcn import GatedGCNLayer
from pathline.nn.graph_convolutions import GCNConv, GINConv
from pathline.nn.graph_transformers import EdgeAttention, GpsLayer, SanAttention, TransformerLayer
from pathline.nn.grit import GritLayer
from pathline.nn.pna import PNAConv

# models, and among whom their messages pass unless said otherwise
MODELS = {
    "gin": "edges",
    "gcn": "edges",
    "gatedgcn": "edges",
    "pna": "edges",
    "gps": "full",
    "exphormer": "expander",
    "san": "full",
    "grit": "full",
    "sparse-grit": "edges",
}
MESSAGES = ("gin", "gcn", "gatedgcn", "pna")
JOINED = ("added", "concatenated")


class MessageLayer(nn.Module):
    """x <- x + ReLU(BN(conv(x, e)))."""

    def __init__(self, model: str, width: int, dropout: float) -> None:
        super().__init__()
        self.model, self.dropout = model, dropout
        kinds: dict[str, Any] = {"gin": GINConv, "gcn": GCNConv}
        self.conv: nn.Module = PNAConv(width) if model == "pna" else kinds[model](width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, e: Tensor, wired: Wired) -> Tensor:
        """e: (L, width) of the pairs that messages take."""
        if self.model == "gcn":
            heard = self.conv(x, wired.local, wired.gcn, e)
        elif self.model == "gin":
            heard = self.conv(x, wired.local, None, e)
        else:
            heard = self.conv(x, e, wired.local)
        return x + F.dropout(F.relu(self.norm(heard)), self.dropout, self.training)


class PEBench(EncodedModel):
    """Encoding and network by name.

    model, encoding, attention_graph: see above; None: what the model is known for
    k:        eigenvectors, steps of walks, or rounds of colours;  signs: "signnet", "spe", "flips" or "none"
    joined:   whether encodings are "added" to what nodes are described by, or "concatenated"
    reach:    steps of attention_graph="khop";  cycles: random cycles of "expander"
    learned_colours: of "wl": a learned vector for each colour, instead of waves
    walk_loss: of "rwdiff": weight of the loss that draws it towards eigenvectors
    pretraining: of "gpse": steps of its encoder, before the network is trained
    edge_inputs: features of an edge, its weight among them, read off the data
    """

    precision: ClassVar[Any] = "fp32"  # walks differ by less than bfloat16 can say
    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=32, lr=2e-3, schedule="cosine", clip=1.0, validations=15)

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        model: str = "sparse-grit",
        encoding: str = "rrwp",
        attention_graph: str | None = None,
        k: int = 8,
        signs: str = "signnet",
        joined: str = "added",
        layers: int = 3,
        width: int = 32,
        heads: int = 4,
        dropout: float = 0.0,
        pooling: str = "mean",
        reach: int = 2,
        cycles: int = 2,
        learned_colours: bool = False,
        walk_loss: float = 0.0,
        pretraining: int = 200,
        edge_inputs: int = 0,
    ) -> None:
        if model not in MODELS or joined not in JOINED:
            name, value, known = ("joined", joined, JOINED) if model in MODELS else ("model", model, tuple(MODELS))
            raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")
        if layers < 1 or heads < 1 or width % heads or width < 8:
            raise MethodError(
                f"layers and heads are at least 1, and width is a multiple of heads from 8 on, but they are {layers}, "
                f"{heads} and {width}"
            )
        super().__init__(
            task,
            inputs,
            answers,
            encoding,
            MODELS[model] if attention_graph is None else attention_graph,
            k,
            signs,
            width,
            pooling,
            reach,
            cycles,
            learned_colours,
            walk_loss,
            pretraining,
            edge_inputs,
            everywhere=model in MESSAGES,
        )
        self.model, self.joined, outputs = model, joined, self.encoder.outputs
        beside = width // 4 if joined == "concatenated" and outputs else 0
        self.node = nn.Linear(self.described, width - beside)
        self.norm = nn.BatchNorm1d(outputs) if outputs else nn.Identity()
        self.place = nn.Linear(outputs, beside or width, bias=False) if outputs else None
        self.kinds = nn.Embedding(6, width)
        self.own = nn.Linear(edge_inputs, width, bias=False) if edge_inputs else None
        self.pair = nn.Linear(self.pair_columns, width, bias=False) if self.pair_columns else None
        self.virtual = nn.Parameter(torch.zeros(1, width)) if model == "exphormer" else None
        lasts = [place == layers - 1 for place in range(layers)]
        self.layers = nn.ModuleList([self.layer(last, heads, dropout) for last in lasts])

    def layer(self, last: bool, heads: int, dropout: float) -> nn.Module:
        """One layer of the model."""
        width, model = self.width, self.model
        if model in ("grit", "sparse-grit"):
            return GritLayer(width, heads, dropout, last)
        if model == "gps":
            return GpsLayer(width, heads, self.pair_columns, dropout, last)
        if model == "exphormer":
            return TransformerLayer(width, EdgeAttention(width, heads, scaled=True), dropout)
        if model == "san":
            return TransformerLayer(width, SanAttention(width, heads), dropout)
        return GatedGCNLayer(width, dropout, last) if model == "gatedgcn" else MessageLayer(model, width, dropout)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> "PEBench":
        method = super().for_data(data, **config)
        part = cls.require(data)
        for layer in method.modules():
            if isinstance(layer, PNAConv):
                degree = torch.bincount(part.edge_index[1], minlength=part.node_count)
                layer.delta.fill_(float(degree.double().log1p().mean().clamp(min=1e-3)))
        return method

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        wired = self.wired(batch)
        described, where, own, pair = self.encoded(x, batch)
        x = self.node(described)
        if where is not None and self.place is not None:
            placed = self.place(self.norm(where))
            x = x + placed if self.joined == "added" else torch.cat([x, placed], 1)
        if self.model in ("gps", *MESSAGES):
            e = self.states(wired.kind[wired.place], own[wired.place], pair[wired.place])
        else:
            e = self.states(wired.kind, own, pair)
        if self.virtual is not None:
            wired = wired.with_virtual
            x = torch.cat([x, self.virtual.expand(batch.graphs, -1)])
            both = [self.kinds.weight[kind].expand(batch.nodes, -1) for kind in (TO_VIRTUAL, FROM_VIRTUAL)]
            e = torch.cat([e, *both])
        for layer in self.layers:
            if self.model in ("grit", "sparse-grit"):
                x, e = layer(x, e, wired)
            elif self.model == "gps":
                x, e = layer(x, e, pair, wired)
            elif self.model == "gatedgcn":
                x, e = layer(x, e, wired.local)
            else:
                x = layer(x, e, wired)
        return x[: batch.nodes]

    def states(self, kind: Tensor, own: Tensor, pair: Tensor) -> Tensor:
        """e (.., width) to begin with."""
        e: Tensor = self.kinds(kind)
        e = e if self.own is None else e + self.own(own)
        return e if self.pair is None else e + self.pair(pair)
