"""Links: splits that give nothing away, negatives that are none, and neighbourhood scores as networkx has them."""

import networkx as nx
import pytest
import torch

from pathline.graph import links


@pytest.fixture
def graph():
    return nx.gnm_random_graph(60, 180, seed=1)


@pytest.fixture
def edge_index(graph):
    return links.both_ways(torch.tensor(list(graph.edges)).T)


def test_a_split_is_disjoint_complete_and_its_negatives_are_no_links(graph, edge_index):
    split = links.split_links(edge_index, 60, seed=0, validation=0.1, test=0.2)
    keys = [set(links.keys_of(part, 60).tolist()) for part in split]
    assert sum(map(len, keys[:3])) == len(set.union(*keys[:3])) == 180
    assert keys[0] | keys[1] | keys[2] == set(links.keys_of(links.links_of(edge_index), 60).tolist())
    assert [len(part) for part in keys] == [126, 18, 36, 18, 36]
    assert not (keys[3] | keys[4]) & (keys[0] | keys[1] | keys[2])
    assert not keys[3] & keys[4]


def test_negatives_are_drawn_uniformly_from_all_other_pairs(graph):
    taken = links.keys_of(torch.tensor([[0, 1], [1, 2]]), 5).sort().values
    drawn = torch.cat([links.sample_non_links(taken, 5, 2, torch.Generator().manual_seed(k)) for k in range(800)], 1)
    counts = torch.bincount(links.keys_of(drawn, 5), minlength=25)
    free = [k for k in range(25) if k // 5 < k % 5 and k not in taken.tolist()]
    assert int(counts.sum()) == int(counts[free].sum()) == 1600
    assert float((counts[free] - 200).abs().max()) < 4 * (200 * 7 / 8) ** 0.5


def test_many_negatives_are_found_by_rejection_without_repetition(edge_index):
    taken = links.keys_of(links.links_of(edge_index), 60).sort().values
    drawn = links.keys_of(links.sample_non_links(taken, 60, 300, torch.Generator().manual_seed(0)), 60)
    assert len(set(drawn.tolist())) == 300
    assert not set(drawn.tolist()) & set(taken.tolist())


def test_neighbourhood_scores_are_those_of_networkx(graph, edge_index):
    pairs = torch.tensor(list(nx.non_edges(graph))[:300]).T
    wanted = list(map(tuple, pairs.T.tolist()))
    assert links.common_neighbours(edge_index, 60, pairs).tolist() == [
        len(list(nx.common_neighbors(graph, a, b))) for a, b in wanted
    ]
    both = ((links.adamic_adar, nx.adamic_adar_index), (links.resource_allocation, nx.resource_allocation_index))
    for ours, theirs in both:
        expected = torch.tensor([score for _, _, score in theirs(graph, wanted)], dtype=torch.float64)
        assert torch.allclose(ours(edge_index, 60, pairs), expected, atol=1e-12)


def test_katz_counts_walks(graph, edge_index):
    matrix = torch.tensor(nx.to_numpy_array(graph))
    series = sum(0.1**length * torch.linalg.matrix_power(matrix, length) for length in range(1, 5))
    pairs = torch.randint(60, (2, 50), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(links.katz(edge_index, 60, pairs, 0.1, 4), series[pairs[0], pairs[1]], atol=1e-12)


def test_a_complete_graph_has_no_negative():
    taken = links.keys_of(torch.triu_indices(4, 4, 1), 4).sort().values
    with pytest.raises(ValueError, match="no negative"):
        links.sample_non_links(taken, 4, 1, torch.Generator())
