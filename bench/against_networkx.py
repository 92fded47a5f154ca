"""Effective resistance of all edges of a graph with 10 000 of them, beside networkx's resistance_distance.

networkx is asked for all pairs at once, which is its fastest way to all edges: one pseudo-inverse for all of them.
"""

from typing import Any

import networkx as nx
import torch

from bench.side_by_side import Measured, Side, conditions, in_turn
from pathline.graph.links import both_ways
from pathline.graph.resistance import effective_resistance

NODES, EACH = 2000, 5


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line; exact in float64 on both sides."""
    where = conditions("networkx")
    graph = nx.barabasi_albert_graph(NODES, EACH, seed=0)
    links = torch.tensor(list(graph.edges)).T
    edges = both_ways(links)
    theirs = nx.resistance_distance(graph)
    expected = torch.tensor([theirs[a][b] for a, b in graph.edges], dtype=torch.float64)
    worst = float((effective_resistance(edges, NODES)[: links.shape[1]] - expected).abs().max())
    line = in_turn(
        Side("pathline, effective_resistance", lambda: effective_resistance(edges, NODES), 0, "fp64"),
        Side("networkx, resistance_distance", lambda: nx.resistance_distance(graph), 0, "fp64"),
        f"effective resistance of all {links.shape[1]} edges of a graph of {NODES} nodes",
        20.0,
        f"resistances differ by {worst:.1e} at most",
        warm_up=0,
    )
    return where, [line]
