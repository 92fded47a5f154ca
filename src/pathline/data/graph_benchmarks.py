"""The built-in sets of the room `graphs`: published files with their splits, and simulated tasks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pathline.data.fetch import fetch
from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphData, simple_edges
from pathline.data.readers import graph_sets as readers

GEOM_GCN = "Geom-GCN, 48, 32 and 20 percent"
PLATONOV = "Platonov et al. 2023, 50, 25 and 25 percent"
WALK_POOLING = "WalkPool, 90 and 10 percent"


def _planetoid(key: str, about: dict[str, Any]) -> GraphData:
    return readers.planetoid(dict(zip(readers.PLANETOID, fetch(key, about), strict=True)), key)


def _masked(split_name: str) -> Callable[[str, dict[str, Any]], GraphData]:
    def build(key: str, about: dict[str, Any]) -> GraphData:
        (path,) = fetch(key, about)
        return replace(readers.read_graph_npz(path), split_name=split_name)

    return build


def _classified(key: str, about: dict[str, Any]) -> GraphData:
    (path,) = fetch(key, about)
    return readers.read_tu_text(path)


def _links(key: str, about: dict[str, Any]) -> GraphData:
    net, *splits = fetch(key, about)
    return readers.links_of_mat(net, splits, WALK_POOLING)


def _hypergraph(key: str, about: dict[str, Any]) -> GraphData:
    return readers.read_hypergraph(fetch(key, about)[0].parent)


def _airports(key: str, about: dict[str, Any]) -> GraphData:
    """Airports by their number in the file of labels."""
    flights, quartiles = fetch(key, about)
    rows = [line.split() for line in quartiles.read_text(encoding="utf-8").splitlines()[1:]]
    names = tuple(row[0] for row in rows)
    place = {name: k for k, name in enumerate(names)}
    lines = flights.read_text(encoding="utf-8").splitlines()
    ends = torch.tensor([[place[word] for word in line.split()[:2]] for line in lines if line]).T
    return Graph(
        edge_index=simple_edges(ends, directed=False)[0],
        features=torch.zeros(len(names), 0),
        labels=torch.tensor([int(row[1]) for row in rows]),
        classes=("0", "1", "2", "3"),
        names=names,
    )


def _simulated(key: str, about: dict[str, Any]) -> GraphData:
    from pathline.sims import graph_tasks, skip_links

    made: dict[str, Callable[[], GraphData]] = {
        "ring-transfer": lambda: graph_tasks.ring_transfer(400, nodes=10, seed=0),
        "root-neighbours": lambda: graph_tasks.root_neighbours(3000, seed=0),
        "dumbbells": lambda: graph_tasks.dumbbells(300, seed=0),
        "csl": lambda: skip_links.circular_skip_links(seed=0),
    }
    return made[key]()


SETS: dict[str, Callable[[str, dict[str, Any]], GraphData]] = {
    **dict.fromkeys(("cora", "citeseer"), _planetoid),
    **dict.fromkeys(("texas", "wisconsin", "cornell"), _masked(GEOM_GCN)),
    **dict.fromkeys(("chameleon-filtered", "squirrel-filtered", "minesweeper", "tolokers"), _masked(PLATONOV)),
    **dict.fromkeys(("mutag", "ptc", "proteins", "enzymes", "nci1", "imdb-binary", "imdb-multi"), _classified),
    **dict.fromkeys(("usair", "celegans", "ns", "power"), _links),
    **dict.fromkeys(
        ("cora-coauthorship-outsider", "citeseer-cocitation-outsider", "stackoverflow-biology"), _hypergraph
    ),
    "usa-airports": _airports,
    **dict.fromkeys(("ring-transfer", "root-neighbours", "dumbbells", "csl"), _simulated),
}
