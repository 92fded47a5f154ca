"""Ollivier-Ricci curvature of all edges of a graph with 10 000 of them, beside GraphRicciCurvature.

Both are exact: optimal transport of the lazy walk's measures (alpha = 0.5) for shortest paths; the peer's method "OTD"
in one process.
"""

from typing import Any

import networkx as nx
import torch
from GraphRicciCurvature.OllivierRicci import OllivierRicci

from bench.side_by_side import Measured, Side, conditions, in_turn
from pathline.graph.curvature import ollivier_ricci
from pathline.graph.links import both_ways

NODES, EACH, ALPHA = 2000, 5, 0.5


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line."""
    where = conditions("GraphRicciCurvature", "networkit", "POT")
    graph = nx.barabasi_albert_graph(NODES, EACH, seed=0)
    links = torch.tensor(list(graph.edges)).T
    edges = both_ways(links)
    found = dict(zip(map(tuple, links.T.tolist()), ollivier_ricci(edges, NODES, ALPHA).tolist(), strict=False))
    theirs = peer(graph)
    worst = max(abs(found[a, b] - theirs[a][b]["ricciCurvature"]) for a, b in graph.edges)
    line = in_turn(
        Side("pathline, ollivier_ricci", lambda: ollivier_ricci(edges, NODES, ALPHA), 0, "fp64"),
        Side("GraphRicciCurvature, OTD", lambda: peer(graph), 0, "fp64"),
        f"Ollivier-Ricci curvature of all {links.shape[1]} edges of a graph of {NODES} nodes",
        20.0,
        f"curvatures differ by {worst:.1e} at most",
        warm_up=0,
    )
    return where, [line]


def peer(graph: nx.Graph) -> nx.Graph:
    """The graph with the peer's curvatures on its edges."""
    computed = OllivierRicci(graph, alpha=ALPHA, method="OTD", proc=1, verbose="ERROR")
    computed.compute_ricci_curvature()
    return computed.G
