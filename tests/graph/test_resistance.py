"""Effective resistance: closed forms, laws of circuits, and random walks."""

import itertools

import networkx as nx
import pytest
import torch

from pathline.graph import resistance
from pathline.graph.hops import distance_matrix
from pathline.graph.links import both_ways, links_of
from pathline.graph.resistance import (
    Resistances,
    effective_resistance,
    laplacian_pseudoinverse,
    resistance_matrix,
    total_resistance,
)
from pathline.graph.rewiring import greedy_total_resistance
from pathline.graph.walks import to_csr, uniform_walks


def edges_of(graph):
    return both_ways(torch.tensor(list(graph.edges)).T)


def connected(nodes, links, seed):
    return next(
        g for s in itertools.count(100 * seed) if nx.is_connected(g := nx.gnm_random_graph(nodes, links, seed=s))
    )


def matrix_of(graph):
    return resistance_matrix(laplacian_pseudoinverse(edges_of(graph), len(graph)))


def test_a_tree_has_the_lengths_of_its_paths():
    tree = nx.random_labeled_tree(20, seed=0)
    assert torch.allclose(matrix_of(tree), distance_matrix(edges_of(tree), 20), atol=1e-8)


def test_complete_graphs_and_rings_have_closed_forms():
    full = matrix_of(nx.complete_graph(9))
    assert torch.allclose(full[~torch.eye(9, dtype=torch.bool)], torch.tensor(2 / 9, dtype=torch.float64), atol=1e-8)
    apart = torch.arange(11, dtype=torch.float64)
    assert torch.allclose(matrix_of(nx.cycle_graph(11))[0], apart * (11 - apart) / 11, atol=1e-8)


def test_series_add_and_parallel_conductances_add():
    two_and_one = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    weight = torch.tensor([0.5, 0.5, 0.25, 0.25])
    found = effective_resistance(two_and_one, 3, weight, torch.tensor([[0], [2]]))
    assert float(found) == pytest.approx(2 + 4, abs=1e-8)
    theta = nx.Graph([(0, 1), (1, 5), (0, 2), (2, 3), (3, 5), (0, 4), (4, 5)])  # ways of 2, 3 and 2 steps
    assert float(matrix_of(theta)[0, 5]) == pytest.approx(1 / (1 / 2 + 1 / 3 + 1 / 2), abs=1e-8)


def test_foster_the_edges_of_a_connected_graph_sum_to_nodes_less_one():
    for seed in range(5):
        graph = connected(25, 60, seed)
        links = links_of(edges_of(graph))
        assert float(effective_resistance(links, 25).sum()) == pytest.approx(24, abs=1e-8)


def test_the_trace_gives_the_sum_over_pairs():
    graph = connected(18, 40, 1)
    pairs = torch.triu_indices(18, 18, 1)
    assert total_resistance(edges_of(graph), 18) == pytest.approx(float(matrix_of(graph)[tuple(pairs)].sum()), abs=1e-8)


def test_kirchhoff_an_edge_is_in_a_share_of_spanning_trees_that_is_its_resistance():
    graph = connected(7, 12, 2)
    links = list(graph.edges)
    trees = [t for t in itertools.combinations(links, 6) if nx.is_tree(nx.Graph(t)) and len(nx.Graph(t)) == 7]
    share = [sum(edge in tree for tree in trees) / len(trees) for edge in links]
    found = effective_resistance(torch.tensor(links).T, 7)
    assert torch.allclose(found, torch.tensor(share, dtype=torch.float64), atol=1e-8)


def test_the_gain_of_every_missing_edge_is_what_recomputing_gives():
    for seed in range(50):
        graph = connected(8, 11, seed)
        edges = edges_of(graph)
        before = total_resistance(edges, 8)
        gains = Resistances.of(edges, 8).gains(torch.full((8,), 8.0, dtype=torch.float64))
        for u, v in nx.non_edges(graph):
            after = total_resistance(torch.cat([edges, torch.tensor([[u, v], [v, u]])], 1), 8)
            assert float(gains[u, v]) == pytest.approx(before - after, rel=1e-8)


def test_twenty_updates_leave_the_pseudoinverse_exact_and_never_raise_the_total():
    graph = connected(30, 45, 3)
    state, edges = Resistances.of(edges_of(graph), 30), edges_of(graph)
    missing = list(nx.non_edges(graph))
    total = float(state.pseudoinverse.trace())
    for u, v in missing[:: len(missing) // 20][:20]:
        state = state.added(u, v)
        edges = torch.cat([edges, torch.tensor([[u, v], [v, u]])], 1)
        assert float(state.pseudoinverse.trace()) <= total + 1e-12  # Rayleigh
        total = float(state.pseudoinverse.trace())
    adjacency = torch.zeros(30, 30, dtype=torch.float64)
    adjacency[edges[0], edges[1]] = 1.0
    exact = torch.linalg.pinv(torch.diag(adjacency.sum(1)) - adjacency, hermitian=True)
    assert torch.allclose(state.pseudoinverse, exact, atol=1e-6)
    assert torch.allclose(state.square, exact @ exact, atol=1e-6)


def best(graph, count):
    nodes, edges = len(graph), edges_of(graph)

    def after(chosen):
        return total_resistance(torch.cat([edges, both_ways(torch.tensor(chosen).T)], 1), nodes)

    return min(itertools.combinations(list(nx.non_edges(graph)), count), key=after), after


def test_the_first_greedy_edge_is_the_best_and_two_are_nearly():
    for seed in range(20):
        graph = connected(8, 9, seed)
        added = greedy_total_resistance(edges_of(graph), 8, 2)
        chosen = list(map(tuple, added.T.tolist()))
        (one,), after = best(graph, 1)
        assert after([chosen[0]]) == pytest.approx(after([one]), rel=1e-9)
        pair, after = best(graph, 2)
        assert after(chosen) <= 1.1 * after(pair)


def test_the_commute_time_of_a_walk_is_twice_the_links_times_the_resistance():
    graph = connected(6, 8, 4)
    csr = to_csr(edges_of(graph), 6)
    walks = uniform_walks(csr, torch.zeros(4000, dtype=torch.int64), 600, torch.Generator().manual_seed(0))
    there = (walks == 5).int()
    reached = there.argmax(1)
    later = torch.arange(600) > reached[:, None]
    back = ((walks == 0) & later).int().argmax(1).double()
    assert bool((there.any(1) & (back > 0)).all())
    expected = 2 * 8 * float(matrix_of(graph)[0, 5])
    assert abs(float(back.mean()) - expected) < 3 * float(back.std()) / 4000**0.5


def test_sparse_solves_agree_with_the_dense_inverse_and_components_are_apart(monkeypatch):
    union = nx.disjoint_union(nx.cycle_graph(9), nx.barbell_graph(5, 2))
    edges = edges_of(union)
    dense = effective_resistance(edges, len(union))
    monkeypatch.setattr(resistance, "DENSE", 1)
    assert torch.allclose(effective_resistance(edges, len(union)), dense, atol=1e-10)
    assert effective_resistance(edges, len(union), pairs=torch.tensor([[0], [12]])).tolist() == [torch.inf]
