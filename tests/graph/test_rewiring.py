"""Rewirings add what they say, where they may, and each for its reason."""

import networkx as nx
import pytest
import torch

from pathline.graph.curvature import balanced_forman
from pathline.graph.links import both_ways, keys_of, links_of
from pathline.graph.resistance import total_resistance
from pathline.graph.rewiring import REWIRINGS, rewire


def edges_of(graph):
    return both_ways(torch.tensor(list(graph.edges)).T)


@pytest.mark.parametrize("how", REWIRINGS)
def test_new_links_are_new_different_within_components_and_marked(how):
    graph = nx.disjoint_union(nx.barbell_graph(5, 2), nx.cycle_graph(7))
    edges = edges_of(graph)
    rewired, kind = rewire(edges, len(graph), 6, how)
    assert torch.equal(rewired[:, kind == 0], edges)
    added = links_of(rewired[:, kind == 1])
    assert added.shape[1] == 6
    assert not set(keys_of(added, 30).tolist()) & set(keys_of(links_of(edges), 30).tolist())
    assert bool(((added[0] < 12) == (added[1] < 12)).all())


def test_a_complete_graph_gets_nothing():
    for how in REWIRINGS:
        assert rewire(edges_of(nx.complete_graph(4)), 4, 3, how)[0].shape[1] == 12


def test_every_rewiring_improves_what_it_is_made_for():
    graph = nx.barbell_graph(8, 3)
    edges, nodes = edges_of(graph), len(graph)
    after = {how: rewire(edges, nodes, 3, how)[0] for how in REWIRINGS}

    def gap(edge_index):
        matrix = torch.zeros(nodes, nodes, dtype=torch.float64)
        matrix[edge_index[0], edge_index[1]] = 1.0
        scale = matrix.sum(1).rsqrt()
        return float(1 - torch.linalg.eigvalsh(scale[:, None] * matrix * scale)[-2])

    assert total_resistance(after["gtr"], nodes) == min(total_resistance(one, nodes) for one in after.values())
    assert gap(after["fosr"]) > 3 * gap(edges)
    before = balanced_forman(edges, nodes)
    worst = before.argmin()
    assert balanced_forman(after["sdrf"], nodes)[worst] > before[worst]


def test_relabelled_graphs_are_rewired_alike():
    graph = nx.barbell_graph(6, 3)
    order = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))
    edges = edges_of(graph)
    rewired = [rewire(one, len(graph), 3, "gtr")[0] for one in (edges, order[edges])]
    totals = [total_resistance(one, len(graph)) for one in rewired]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_an_unknown_rewiring_is_refused():
    with pytest.raises(ValueError, match="gtr"):
        rewire(torch.tensor([[0], [1]]), 2, 1, "best")
