"""Tiny graphs for the contract, one for each task of the room `graphs`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pathline.data.graph import Graph
from pathline.data.graph_list import Graphs, graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links


def tiny_graph() -> Graph:
    """Two communities of twenty with features that hint at them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) // 20
    chance = torch.where(labels[:, None] == labels, 0.3, 0.03)
    upper = (torch.rand(40, 40, generator=generator) < chance).triu(1)
    features = torch.randn(40, 3, generator=generator) + labels[:, None]
    return Graph(
        edge_index=(upper | upper.T).nonzero().T.contiguous(),
        features=features,
        labels=labels,
        classes=("left", "right"),
        name="tiny-graph",
    )


def tiny_links() -> Links:
    """The links of the two communities."""
    return replace(tiny_graph().links(), shares=(0.1, 0.2), name="tiny-links")


def _tiny_graphs(**facts: Any) -> Graphs:
    """Twenty-four rings and paths of five to eight nodes."""
    generator = torch.Generator().manual_seed(0)
    edges, features = [], []
    for k in range(24):
        size = 5 + k // 2 % 4
        line = torch.arange(size - 1 + k % 2)
        along = torch.stack([line, (line + 1) % size])
        edges.append(torch.cat([along, along.flip(0)], 1))
        features.append(torch.randn(size, 2, generator=generator))
    return graphs_of(edges, features, **facts)


def tiny_graph_classes() -> Graphs:
    """Ring or path?"""
    return _tiny_graphs(labels=torch.arange(24) % 2, classes=("path", "ring"), name="tiny-graph-classes")


def tiny_graph_numbers() -> Graphs:
    """How many nodes, and whether they form a ring."""
    counts = torch.stack([5.0 + torch.arange(24) // 2 % 4, torch.arange(24) % 2.0], 1)
    return _tiny_graphs(targets=counts, target_names=("nodes", "ring"), name="tiny-graph-numbers")


def tiny_hypergraph() -> Hypergraph:
    """Twenty sets of four out of fifteen nodes; in each, the node with the largest feature is its head."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(15, 2, generator=generator)
    members = torch.rand(20, 15, generator=generator).argsort(1)[:, :4]
    labels = (features[members, 0].argmax(1, keepdim=True) == torch.arange(4)).long()
    return Hypergraph(
        incidence=torch.stack([members.flatten(), torch.arange(20).repeat_interleave(4)]),
        features=features,
        labels=labels.flatten(),
        classes=("member", "head"),
        sets=20,
        name="tiny-hypergraph",
    )


TINY_TASKS: dict[str, Callable[[], Any]] = {
    "classify-nodes": tiny_graph,
    "classify-graphs": tiny_graph_classes,
    "regress-graphs": tiny_graph_numbers,
    "predict-links": tiny_links,
    "label-incidences": tiny_hypergraph,
}
