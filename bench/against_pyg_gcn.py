"""An epoch of a two-layer GCN on one graph with a million edges, beside PyG's GCNConv.

An epoch is one step on the whole graph: forward, cross-entropy of all nodes, backward, Adam. Both sides keep the
normalised edges of the graph (PyG: cached=True) and start from the same weights.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GCNConv as PeerConv

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.graph.links import both_ways, links_of
from pathline.graph.sparse import Edges, gcn_weights
from pathline.nn.graph_convolutions import GCNConv

NODES, LINKS, WIDTHS = 100_000, 500_000, (64, 64, 16)


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line."""
    torch.manual_seed(0)
    where = conditions("torch_geometric")
    drawn = links_of(torch.randint(NODES, (2, LINKS + LINKS // 50)))
    edge_index = both_ways(drawn[:, torch.randperm(drawn.shape[1])[:LINKS]])
    x, labels = torch.randn(NODES, WIDTHS[0]), torch.randint(WIDTHS[-1], (NODES,))
    ours, peer = Ours(edge_index), Peer(edge_index)
    with torch.no_grad():
        for mine, theirs in zip(ours.layers, peer.layers, strict=True):
            theirs.lin.weight.copy_(mine.weight.T)
            theirs.bias.copy_(mine.bias)
        worst = float((ours(x) - peer(x)).abs().max())
    line = in_turn(
        Side("pathline, GCNConv", epoch(ours, x, labels), parameters(ours), "fp32"),
        Side("PyG, GCNConv(cached=True)", epoch(peer, x, labels), parameters(peer), "fp32"),
        f"an epoch of a GCN of widths {'-'.join(map(str, WIDTHS))}, {NODES} nodes, {edge_index.shape[1]} edges",
        1.5,
        f"from the same weights, logits differ by {worst:.1e} at most",
    )
    return where, [line]


class Ours(nn.Module):
    """Two of our layers."""

    def __init__(self, edge_index: Tensor) -> None:
        super().__init__()
        self.edges = Edges(edge_index, NODES)
        self.normalised = gcn_weights(self.edges)
        self.layers = nn.ModuleList([GCNConv(a, b) for a, b in pairwise(WIDTHS)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.layers
        logits: Tensor = second(F.relu(first(x, self.edges, self.normalised)), self.edges, self.normalised)
        return logits


class Peer(nn.Module):
    """Two of PyG's."""

    def __init__(self, edge_index: Tensor) -> None:
        super().__init__()
        self.edge_index = edge_index
        self.layers = nn.ModuleList([PeerConv(a, b, cached=True) for a, b in pairwise(WIDTHS)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.layers
        logits: Tensor = second(F.relu(first(x, self.edge_index)), self.edge_index)
        return logits


def epoch(network: nn.Module, x: Tensor, labels: Tensor) -> Callable[[], None]:
    """One step of training."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    return run
