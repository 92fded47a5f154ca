"""Who attends to whom: the pairs of every wiring, by brute force, and their kinds."""

import networkx as nx
import pytest
import torch

from pathline.graph.build import disjoint_union
from pathline.graph.links import both_ways
from pathline.graph.wiring import EDGE, LOOP, OTHER, RANDOM, Wired, attention_pairs, complete_pairs, random_cycles


@pytest.fixture
def union():
    graphs = [nx.gnm_random_graph(9, 14, seed=1), nx.path_graph(1), nx.cycle_graph(6)]
    edges = [both_ways(torch.tensor(list(one.edges), dtype=torch.int64).view(-1, 2).T) for one in graphs]
    return graphs, *disjoint_union(edges, [len(one) for one in graphs])


def listed(pairs):
    return sorted(map(tuple, pairs.T.tolist()))


def test_full_is_every_pair_of_a_graph_and_knows_which_are_edges(union):
    _, edge_index, graph = union
    pairs, kind = attention_pairs(edge_index, graph, "full")
    expected = [(i, j) for i in range(16) for j in range(16) if graph[i] == graph[j]]
    assert listed(pairs) == expected == listed(complete_pairs(graph))
    assert listed(pairs[:, kind == LOOP]) == [(i, i) for i in range(16)]
    assert listed(pairs[:, kind == EDGE]) == listed(edge_index)
    assert bool((pairs[1].diff() >= 0).all())


def test_edges_and_hops_hold_what_lies_within_reach(union):
    _, edge_index, graph = union
    pairs, kind = attention_pairs(edge_index, graph, "edges")
    assert listed(pairs[:, kind == EDGE]) == listed(edge_index)
    assert len(kind) == 16 + edge_index.shape[1]
    pairs, kind = attention_pairs(edge_index, graph, "khop", reach=2)
    whole = nx.Graph(edge_index.T.tolist())
    far = dict(nx.all_pairs_shortest_path_length(whole))
    assert listed(pairs[:, kind == OTHER]) == sorted((i, j) for i in far for j in far[i] if far[i][j] == 2)


def test_cycles_visit_every_node_of_a_graph_and_leave_it_never(union):
    _, edge_index, graph = union
    ring = random_cycles(graph, 1, seed=3)
    assert bool((graph[ring[0]] == graph[ring[1]]).all())
    assert torch.bincount(ring[0], minlength=16).tolist() == [2] * 9 + [0] + [2] * 6
    components = sorted(len(part) for part in nx.connected_components(nx.Graph(ring.T.tolist())))
    assert components == [6, 9]
    _, kind = attention_pairs(edge_index, graph, "expander", cycles=2)
    assert int((kind == RANDOM).sum()) == 2 * 2 * 15
    assert not torch.equal(random_cycles(graph, 1, seed=4), ring)


def test_random_cycles_make_a_long_path_short():
    path = both_ways(torch.stack([torch.arange(59), torch.arange(1, 60)]))
    graph = torch.zeros(60, dtype=torch.int64)
    pairs, _ = attention_pairs(path, graph, "expander", cycles=2)
    assert nx.diameter(nx.Graph(pairs.T.tolist())) <= 8  # 59 along the path


def test_a_virtual_node_hears_its_graph_and_is_heard_by_it(union):
    _, edge_index, graph = union
    wired = Wired(*attention_pairs(edge_index, graph, "edges"), graph, 3)
    virtual = wired.with_virtual
    added = virtual.edges.edge_index[:, len(wired.kind) :]
    expected = sorted([(i, 16 + int(graph[i])) for i in range(16)] + [(16 + int(graph[i]), i) for i in range(16)])
    assert listed(added) == expected
    assert torch.equal(virtual.log_degree[:16], wired.log_degree)


def test_too_many_pairs_are_refused(union):
    _, edge_index, graph = union
    with pytest.raises(ValueError, match="more than 50"):
        attention_pairs(edge_index, graph, "full", most=50)
    with pytest.raises(ValueError, match="no wiring"):
        attention_pairs(edge_index, graph, "stars")
