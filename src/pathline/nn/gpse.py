"""GPSE: one encoder that learned to say many encodings of a node from noise, whose hidden state encodes the node.

    x_i ~ N(0, I),   h = layers(x),   each layer a gated graph convolution and a virtual node that hears all of a graph
    loss = mean over targets t of |head_t(h) - t| + 1 - cos(head_t(h), t)
Nodes that no refinement can tell apart get different noise, so the encoder sees what colours cannot; noise of the same
distribution is drawn when it is used, and `draws` of it are averaged. Targets here: sizes of eigenvectors |v| (their
signs are arbitrary), returns diag(P^t), the largest entries of the page rank, and eigenvalues.
Cantürk, Liu, Lapointe-Gagné, Létourneau, Wolf, Beaini, Rampášek, 2024, "Graph Positional and Structural Encoder",
arXiv:2307.07107. Theirs was trained on millions of molecules; this one is trained on the graphs at hand.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.encodings import laplacian_eigenvectors, random_walk_returns
from pathline.graph.encodings_walks import pagerank_encoding
from pathline.graph.segment import segment_mean
from pathline.graph.sparse import Edges
from pathline.nn.gated_gcn import GatedGCNLayer
from pathline.nn.mlp import MLP

KINDS = 4  # of targets


def encoding_targets(edge_index: Tensor, graph: Tensor, k: int) -> Tensor:
    """(nodes, 4 k) float32 |eigenvectors|, returns, page rank and eigenvalues, columns of mean 0 and deviation 1."""
    vectors, values = laplacian_eigenvectors(edge_index, graph, k)
    returns = random_walk_returns(edge_index, graph, k)
    columns = torch.cat([vectors.abs(), returns, pagerank_encoding(edge_index, graph, k), values], 1)
    spread = columns.std(0, correction=0)
    return ((columns - columns.mean(0)) / torch.where(spread > 1e-9, spread, 1.0)).float()


class EncodingEncoder(nn.Module):
    """The encoder and its heads.

    noise: numbers that a node begins with;  k: of every target
    """

    def __init__(self, width: int, k: int, layers: int = 4, noise: int = 16) -> None:
        super().__init__()
        self.noise = noise
        self.start, self.edge = nn.Linear(noise, width), nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList([GatedGCNLayer(width, last=place == layers - 1) for place in range(layers)])
        self.virtual = nn.ModuleList([MLP([width, width, width], nn.ReLU) for _ in range(layers)])
        self.heads = nn.ModuleList([MLP([width, width, k], nn.ReLU) for _ in range(KINDS)])

    def forward(self, edges: Edges, graph: Tensor, graphs: int, noise: Tensor | None = None) -> Tensor:
        """h (nodes, width); noise: (nodes, noise), drawn if None."""
        if noise is None:
            noise = torch.randn(len(graph), self.noise, dtype=self.edge.dtype, device=self.edge.device)
        x = self.start(noise)
        e = self.edge.expand(edges.edge_index.shape[1], -1)
        for layer, virtual in zip(self.layers, self.virtual, strict=True):
            x, e = layer(x, e, edges)
            x = x + virtual(segment_mean(x, graph, graphs))[graph]
        return x

    def loss(self, edges: Edges, graph: Tensor, graphs: int, targets: Tensor) -> Tensor:
        """targets: (nodes, 4 k) of `encoding_targets`."""
        h = self(edges, graph, graphs)
        terms = [
            F.l1_loss(said := head(h), target) + 1 - F.cosine_similarity(said, target, dim=0).mean()
            for head, target in zip(self.heads, targets.chunk(KINDS, 1), strict=True)
        ]
        return torch.stack(terms).mean()

    @torch.no_grad()
    def encode(self, edges: Edges, graph: Tensor, graphs: int, draws: int = 4, seed: int = 0) -> Tensor:
        """(nodes, width) the mean of h over `draws` of noise that follow from `seed`."""
        was = self.training
        self.eval()
        generator = torch.Generator().manual_seed(seed)
        found = [
            self(edges, graph, graphs, torch.randn(len(graph), self.noise, generator=generator).to(self.edge))
            for _ in range(draws)
        ]
        self.train(was)
        return torch.stack(found).mean(0)
