"""Curvature: transport computed by brute force, and graphs whose curvature is known."""

import networkx as nx
import numpy as np
import ot
import pytest
import torch

from pathline.graph.curvature import balanced_forman, ollivier_ricci
from pathline.graph.links import both_ways


def edges_of(graph):
    return both_ways(torch.tensor(list(graph.edges)).T)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_ollivier_ricci_is_one_less_the_transport_distance(alpha):
    graph = nx.gnm_random_graph(40, 110, seed=2)
    edges = edges_of(graph)
    length = dict(nx.all_pairs_shortest_path_length(graph))
    found = ollivier_ricci(edges, 40, alpha)
    for (u, v), value in zip(edges.T.tolist(), found.tolist(), strict=True):
        near = [[u, *graph[u]], [v, *graph[v]]]
        mass = [[alpha] + [(1 - alpha) / len(graph[x])] * len(graph[x]) for x in (u, v)]
        cost = np.array([[length[a][b] for b in near[1]] for a in near[0]], float)
        assert value == pytest.approx(1 - ot.emd2(np.array(mass[0]), np.array(mass[1]), cost), abs=1e-10)


def test_known_curvatures():
    assert torch.allclose(ollivier_ricci(edges_of(nx.cycle_graph(8)), 8, 0.0), torch.tensor(0.0, dtype=torch.float64))
    full = ollivier_ricci(edges_of(nx.complete_graph(6)), 6, 0.0)
    assert torch.allclose(full, torch.tensor(4 / 5, dtype=torch.float64))  # (n - 2) / (n - 1)
    tree = edges_of(nx.balanced_tree(2, 3))
    inner = ollivier_ricci(tree, 15, 0.0)[(tree[0] == 1) & (tree[1] == 3)]
    assert float(inner) == pytest.approx(-2 + 2 / 3 + 2 / 3)  # of a tree: 2 / d_u + 2 / d_v - 2


def forman_by_hand(graph, i, j):
    degree_i, degree_j = graph.degree(i), graph.degree(j)
    if min(degree_i, degree_j) == 1:
        return 0.0
    near_i, near_j = set(graph[i]), set(graph[j])
    triangles = len(near_i & near_j)
    squares, most = [], 0
    for own, other, a, b in ((near_i, near_j, i, j), (near_j, near_i, j, i)):
        cycles = {k: len((set(graph[k]) & other) - own - {a}) for k in own - other - {b}}
        squares.append(sum(count > 0 for count in cycles.values()))
        most = max([most, *cycles.values()])
    larger, smaller = max(degree_i, degree_j), min(degree_i, degree_j)
    value = 2 / degree_i + 2 / degree_j - 2 + 2 * triangles / larger + triangles / smaller
    return value + (sum(squares) / (most * larger) if most else 0.0)


def test_balanced_forman_counts_triangles_and_squares():
    graph = nx.gnm_random_graph(25, 70, seed=4)
    edges = edges_of(graph)
    expected = [forman_by_hand(graph, *edge) for edge in edges.T.tolist()]
    assert torch.allclose(balanced_forman(edges, 25), torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    # definition 1 of the paper: 0 on a grid's inner edges would need squares; a ring of four has curvature 1
    assert torch.allclose(balanced_forman(edges_of(nx.cycle_graph(4)), 4), torch.tensor(1.0, dtype=torch.float64))
    assert torch.allclose(balanced_forman(edges_of(nx.cycle_graph(9)), 9), torch.tensor(0.0, dtype=torch.float64))
