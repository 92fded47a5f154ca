"""AERO-GNN: attention that stays useful at 32 or 64 hops, because it looks at what was gathered so far.

One transformation, then K hops without weights in between; how much an edge and a hop count is decided from the running
sum z, not from features that have become alike:
    h^(0) = MLP(x)           h_i^(k) = sum_j alpha_ij^(k) h_j^(k-1)           z^(k) = z^(k-1) + gamma^(k) * h^(k)
    m^(k) = s_k z^(k),       s_k = ln(1 + lambda / (k + 1))                             remembered the less, the later
    a_ij  = softplus(w_k . ELU(m_i^(k-1) + m_j^(k-1))),   alpha_ij = d_i^-1/2 a_ij d_j^-1/2,   d_i = sum_j a_ij
    gamma_i^(k) = u_k . ELU([h_i^(k) || m_i^(k-1)]) + b_k,   gamma_i^(0) = u_0 . ELU(h_i^(0)) + b_0
and the answer is a linear map of ELU(z^(K)). Rows of alpha do not sum to 1, so products of many do not become one row
for all; gamma has a sign, so hops may be subtracted. With w = 0 and u = 0 (so gamma = b_k) it is generalised PageRank
of GCN's propagation, and for b_k = a(1 - a)^k personalised PageRank.
Lee, Bu, Yoo, Shin, 2023, "Towards Deep Attention in Graph Neural Networks: Problems and Remedies", ICML,
arXiv:2306.02376. Use it where answers need many hops, or where neighbours differ and features alone do not decide. Kept
for training are two numbers per edge and head of each hop, and four vectors per node: on large graphs take few hops.
Departs: edges carry their weights, if they have any; decay is AdamW's, relative for attention. Every node hears itself,
as on all graphs that the authors prepared; `self_loops=False` gives the graph as it is.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.graph_batch import GraphBatch
from pathline.graph.smoothness import cumulative_attention, row_spread
from pathline.graph.sparse import Edges
from pathline.graphs.base import LearnedGraphModel
from pathline.nn.hop_propagation import Hop, Pairs, last, pair_scores, propagate_hops, symmetric_weights
from pathline.nn.sparse_input import SparseInput

TINY = 1e-6  # added to attention and inside the logarithm, as by the authors
MOST = 5000  # nodes of whom the cumulative attention is computed


class AEROGNN(LearnedGraphModel):
    """Attention to edges and hops, both from the running sum.

    hops:            K
    layers:          of the perceptron before the first hop
    width, heads:    numbers per node, shared by the heads equally
    memory:          lambda: how large the sum is seen; at 0 attention looks at h alone
    dropout:         of the input of every layer; last_dropout: of the classifier's too
    self_loops:      whether every node hears itself
    attention_decay: weight decay of w, u and b relative to that of the linear maps
    """

    precision = "fp32"

    def __init__(
        self,
        task: str,
        inputs: int,
        answers: list[str],
        hops: int = 16,
        layers: int = 1,
        width: int = 64,
        heads: int = 1,
        memory: float = 0.5,
        dropout: float = 0.6,
        last_dropout: bool = True,
        self_loops: bool = True,
        attention_decay: float = 1.0,
        pooling: str = "mean",
        fanout: list[int] | None = None,
    ) -> None:
        super().__init__(task, inputs, answers, width, pooling, fanout)
        for name, value in (("hops", hops), ("layers", layers), ("heads", heads)):
            if value < 1:
                raise MethodError(f"{name} is {value}; AERO-GNN has at least one")
        if width % heads:
            raise MethodError(f"width is {width}; {heads} heads cannot share it equally")
        if memory < 0:
            raise MethodError(f"memory is {memory:g}; it is at least 0")
        self.hops, self.heads, self.memory, self.self_loops = hops, heads, memory, self_loops
        self.dropout, self.last_dropout, self.attention_decay = dropout, last_dropout, attention_decay
        dense = [nn.Linear(a, b) for a, b in pairwise([self.described] + [width] * layers)]
        for layer in dense:
            nn.init.xavier_uniform_(layer.weight)
        self.first, self.dense, self.read_in = dense[0], nn.ModuleList(dense[1:]), SparseInput()
        each = width // heads
        self.edge_vectors = nn.Parameter(torch.empty(hops, heads, each))  # w_1 .. w_K
        self.first_hop_vector = nn.Parameter(torch.empty(heads, each))  # u_0
        self.hop_vectors = nn.Parameter(torch.empty(hops, heads, 2 * each))  # u_1 .. u_K
        self.hop_biases = nn.Parameter(torch.ones(hops + 1, heads))  # b_0 .. b_K
        for vectors in (self.edge_vectors, self.first_hop_vector, self.hop_vectors):
            bound = math.sqrt(6 / sum(vectors.shape[-2:]))
            nn.init.uniform_(vectors, -bound, bound)

    @property
    def decays(self) -> dict[str, float]:
        """Attention decays by itself."""
        names = ("edge_vectors", "first_hop_vector", "hop_vectors", "hop_biases")
        return dict.fromkeys(names, self.attention_decay)

    # -- the pieces ---------------------------------------------------------------------------------------------------

    def transform(self, x: Tensor) -> Tensor:
        """h^(0) of described nodes: (nodes, width)."""
        h = self.read_in(self.first, x, self.dropout, self.training)
        for layer in self.dense:
            h = layer(F.dropout(F.elu(h), self.dropout, self.training))
        return h

    def edges_of(self, batch: GraphBatch) -> Edges:
        """The edges that messages pass along, those of nodes to themselves last."""
        return batch.looped if self.self_loops else batch.edges

    def remembered(self, k: int, z: Tensor) -> Tensor:
        """m^(k) = s_k z^(k)."""
        return math.log(self.memory / (k + 1) + 1 + TINY) * z

    def edge_attention(self, k: int, z: Tensor, batch: GraphBatch) -> Tensor:
        """alpha^(k), k from 1, of z^(k-1): (E, heads)."""
        edges = self.edges_of(batch)
        pairs = batch.remembered(f"pairs {self.self_loops}", lambda: Pairs(edges))
        a = F.softplus(pair_scores(self.remembered(k - 1, z), self.edge_vectors[k - 1], pairs, "elu")) + TINY
        if batch.weight is not None:
            loops = edges.edge_index.shape[1] - len(batch.weight)
            a = a * F.pad(batch.weight.to(a.dtype), (0, loops), value=1.0)[:, None]
        return symmetric_weights(a, edges)

    def hop_attention(self, k: int, h: Tensor, z: Tensor | None) -> Tensor:
        """gamma^(k) of h^(k) and z^(k-1): (nodes, heads)."""
        heads = F.elu(h).unflatten(1, (self.heads, -1))
        if z is None:
            return torch.einsum("nmd,md->nm", heads, self.first_hop_vector) + self.hop_biases[0]
        memory = F.elu(self.remembered(k - 1, z)).unflatten(1, (self.heads, -1))
        mine, gathered = self.hop_vectors[k - 1].chunk(2, -1)
        scores = torch.einsum("nmd,md->nm", heads, mine) + torch.einsum("nmd,md->nm", memory, gathered)
        return scores + self.hop_biases[k]

    def propagate(self, h: Tensor, batch: GraphBatch) -> Iterator[Hop]:
        """Hops 0 to K of h^(0) (nodes, width)."""
        return propagate_hops(
            h, self.edges_of(batch), self.hops, lambda k, z: self.edge_attention(k, z, batch), self.hop_attention
        )

    def encode(self, x: Tensor, batch: GraphBatch) -> Tensor:
        z = F.elu(last(self.propagate(self.transform(x), batch)).z)
        return F.dropout(z, self.dropout, self.training) if self.last_dropout else z

    # -- what became of it --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def smoothness(self, data: Any) -> list[dict[str, float]]:
        """Hop by hop the spread S(T^(k)) of the cumulative attention's rows, mean over heads, and of gamma the mean,
        the deviation over nodes and the share below zero. Raises MethodError for graphs of more than 5000 nodes."""
        batch = self.prepared(self.check(data)).whole()
        if batch.nodes > MOST:
            raise MethodError(f"{data.name}: {batch.nodes} nodes are too many for their products; up to {MOST} can be")
        was = self.training
        self.eval()
        hops = list(self.propagate(self.transform(self.features(batch)), batch))
        self.train(was)
        attention = torch.stack([hop.alpha for hop in hops[1:] if hop.alpha is not None])  # (K, E, heads)
        edges = self.edges_of(batch)
        spread = torch.tensor(
            [[row_spread(t) for t in cumulative_attention(one, edges)] for one in attention.unbind(2)]
        ).mean(0)
        return [
            {"hop": k}
            | ({"spread": float(spread[k - 1])} if k else {})
            | {
                "gamma": float(hop.gamma.mean()),
                "gamma_deviation": float(hop.gamma.std(correction=0)),
                "gamma_below_zero": float((hop.gamma < 0).double().mean()),
            }
            for k, hop in enumerate(hops)
        ]
