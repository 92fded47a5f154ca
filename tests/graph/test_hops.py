"""Hop sets: shortest-path distances, as networkx finds them."""

import networkx as nx
import pytest
import torch

from pathline.graph.hops import distance_matrix, hop_sets
from pathline.graph.links import both_ways


def edges_of(graph):
    return both_ways(torch.tensor(list(graph.edges)).T)


def test_pairs_and_distances_are_those_of_breadth_first_search():
    graph = nx.gnm_random_graph(40, 50, seed=3)
    known = dict(nx.all_pairs_shortest_path_length(graph))
    pairs, distance = hop_sets(edges_of(graph), 40, 4)
    found = {(a, b): d for a, b, d in zip(*pairs.tolist(), distance.tolist(), strict=True)}
    assert found == {(a, b): d for a, near in known.items() for b, d in near.items() if 1 <= d <= 4}


def test_direction_counts_and_components_stay_apart():
    pairs, distance = hop_sets(torch.tensor([[0, 1, 3], [1, 2, 4]]), 5, 9)
    assert sorted(zip(*pairs.tolist(), distance.tolist(), strict=True)) == [(0, 1, 1), (0, 2, 2), (1, 2, 1), (3, 4, 1)]
    assert distance_matrix(torch.tensor([[0], [1]]), 2).tolist() == [[0, 1], [torch.inf, 0]]


def test_a_search_that_finds_too_much_stops_before():
    star = edges_of(nx.star_graph(300))
    assert hop_sets(star, 301, 2)[0].shape[1] == 301 * 300
    with pytest.raises(ValueError, match="more than 1000 pairs"):
        hop_sets(star, 301, 2, most=1000)


def test_a_reach_of_nothing_is_refused():
    with pytest.raises(ValueError, match="reach"):
        hop_sets(torch.tensor([[0], [1]]), 2, 0)
