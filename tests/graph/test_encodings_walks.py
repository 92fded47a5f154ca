"""Encodings at pairs, page rank, whole eigenspaces, and paths: definitions, equivariance, what they separate."""

import networkx as nx
import pytest
import torch

from pathline.graph.build import disjoint_union
from pathline.graph.encodings import random_walk_returns, relative_random_walks
from pathline.graph.encodings_walks import pagerank_encoding, random_walks_at, whole_eigenspaces
from pathline.graph.links import both_ways
from pathline.graph.path_kernel import (
    dot_product_kernel,
    path_counts,
    path_features,
    simple_paths,
    spherical_means,
)


def edges_of(graph):
    return both_ways(torch.tensor(list(nx.convert_node_labels_to_integers(graph).edges)).T)


@pytest.fixture
def union():
    graphs = [nx.gnm_random_graph(9, 16, seed=1), nx.cycle_graph(5), nx.gnm_random_graph(9, 20, seed=2)]
    return graphs, *disjoint_union([edges_of(one) for one in graphs], [len(one) for one in graphs])


def relabelled(graph, seed=0):
    """A new number for every node, within its graph."""
    generator = torch.Generator().manual_seed(seed)
    order = (graph.double() + torch.rand(len(graph), generator=generator, dtype=torch.float64)).argsort()
    return order.argsort()


def test_walks_at_pairs_are_entries_of_all_walks_and_rows_sum_to_one(union):
    _, edge_index, graph = union
    pairs, values = relative_random_walks(edge_index, graph, 5)
    found = random_walks_at(edge_index, graph, 5, pairs)
    assert torch.allclose(found, values, atol=1e-12)
    rows = torch.zeros(len(graph), 5, dtype=torch.float64).index_add(0, pairs[0], found)
    assert torch.allclose(rows, torch.ones(1, dtype=torch.float64), atol=1e-6)
    some = torch.arange(0, pairs.shape[1], 7).flip(0)
    for dense in (3000, 4):  # the latter in blocks
        assert torch.allclose(random_walks_at(edge_index, graph, 5, pairs[:, some], dense), values[some], atol=1e-12)
    itself = torch.arange(len(graph)).expand(2, -1)
    diagonal = random_walks_at(edge_index, graph, 5, itself)[:, 1:]
    assert torch.allclose(diagonal, random_walk_returns(edge_index, graph, 4), atol=1e-6)


def test_page_rank_solves_its_equation(union):
    graphs, edge_index, graph = union
    found = pagerank_encoding(edge_index, graph, 9, alpha=0.2)
    assert torch.allclose(found.sum(1), torch.ones(23, dtype=torch.float64), atol=1e-9)
    for node in range(9):
        ranked = nx.pagerank(graphs[0], alpha=0.8, personalization={node: 1.0}, tol=1e-12)
        expected = sorted(ranked.values(), reverse=True)
        assert torch.allclose(found[node], torch.tensor(expected, dtype=torch.float64), atol=1e-8)
    assert bool((found[graph == 1][:, 5:] == 0).all())


def test_encodings_follow_a_relabelling(union):
    _, edge_index, graph = union
    order = relabelled(graph)
    moved = order[edge_index]
    pairs, _ = relative_random_walks(edge_index, graph, 1)
    assert torch.allclose(
        random_walks_at(moved, graph, 4, order[pairs]), random_walks_at(edge_index, graph, 4, pairs), atol=1e-12
    )
    assert torch.allclose(
        pagerank_encoding(moved, graph, 4)[order], pagerank_encoding(edge_index, graph, 4), atol=1e-12
    )
    assert torch.equal(path_counts(moved, 23, 3)[order], path_counts(edge_index, 23, 3))
    x = torch.randn(23, 2, generator=torch.Generator().manual_seed(1))
    paths, again = simple_paths(edge_index, 23, 2), simple_paths(moved, 23, 2)
    anchors = spherical_means(x[paths].flatten(1), 6)
    mine, other = path_features(paths, x, anchors, 23), path_features(again, x[order.argsort()], anchors, 23)
    assert torch.allclose(other[order], mine, atol=1e-4)
    assert float(mine.std(0).max()) > 0.1


def test_raw_eigenvectors_follow_a_relabelling_up_to_sign():
    graph = nx.gnm_random_graph(12, 26, seed=3)
    edge_index, home = edges_of(graph), torch.zeros(12, dtype=torch.int64)
    order = relabelled(home)
    one, values, _ = whole_eigenspaces(edge_index, home, 4)
    other, again, _ = whole_eigenspaces(order[edge_index], home, 4)
    assert torch.allclose(values, again, atol=1e-10)
    assert bool((values[0].diff() > 1e-4).all())
    assert torch.allclose(other[order].abs(), one.abs(), atol=1e-8)


def test_eigenspaces_that_would_be_cut_are_left_out_and_distances_depend_on_no_basis():
    ring = edges_of(nx.cycle_graph(8))  # eigenvalues in pairs, and one alone at the end
    home = torch.zeros(8, dtype=torch.int64)
    _, _, there = whole_eigenspaces(ring, home, 3)
    assert there[0].tolist() == [True, True, False]
    vectors, _, there = whole_eigenspaces(ring, home, 4)
    assert bool(there.all())
    order = relabelled(home, 5)
    again, _, _ = whole_eigenspaces(order[ring], home, 4)
    distance = torch.cdist(vectors, vectors)
    assert torch.allclose(torch.cdist(again, again)[order][:, order], distance, atol=1e-8)
    _, _, small = whole_eigenspaces(edges_of(nx.path_graph(3)), home[:3], 4)
    assert small[0].tolist() == [True, True, False, False]


def test_paths_are_simple_and_all_of_them(union):
    graphs, edge_index, _ = union
    paths = simple_paths(edge_index, 23, 3)
    assert len(torch.unique(paths, dim=0)) == len(paths)
    assert bool((paths.sort(1).values.diff(dim=1) > 0).all())
    for node in range(9):
        expected = sum(
            len(path) == 4
            for other in graphs[0]
            if other != node
            for path in nx.all_simple_paths(graphs[0], node, other, cutoff=3)
        )
        assert int((paths[:, 0] == node).sum()) == expected
    with pytest.raises(ValueError, match="more than 10 paths"):
        simple_paths(edge_index, 23, 3, most=10)


def test_returns_do_not_separate_rook_and_shrikhande_but_paths_do():
    rook = nx.line_graph(nx.complete_bipartite_graph(4, 4))
    steps = [(0, 1), (1, 0), (1, 1)]
    shrikhande = nx.Graph(((x, y), ((x + a) % 4, (y + b) % 4)) for x in range(4) for y in range(4) for a, b in steps)
    edges = [edges_of(one) for one in (rook, shrikhande)]
    home = torch.zeros(16, dtype=torch.int64)
    returns = [random_walk_returns(one, home, 20) for one in edges]
    assert torch.allclose(*returns, atol=1e-8)
    counts = [path_counts(one, 16, 7, torch.tensor([0]))[0].tolist() for one in edges]
    assert counts[0][:6] == counts[1][:6]
    assert counts[0][6] != counts[1][6]  # with four cliques through a node, 34452 paths of seven edges; else 34320


def test_nystroem_features_give_the_kernel_back_where_anchors_are_the_paths():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    edge_index = edges_of(nx.path_graph(6))
    paths = simple_paths(edge_index, 6, 1)
    rows = x[paths].flatten(1)
    unit = rows / rows.norm(dim=1, keepdim=True)
    found = path_features(paths, x, unit, 6)
    each = rows.norm(dim=1)[:, None] * rows.norm(dim=1) * dot_product_kernel(unit, unit, 0.5)
    starts = torch.nn.functional.one_hot(paths[:, 0], 6).double()
    assert torch.allclose(found @ found.T, starts.T @ each @ starts, atol=1e-4)


def test_centres_lie_where_the_directions_are():
    generator = torch.Generator().manual_seed(0)
    truth = torch.eye(3)
    rows = truth[torch.arange(60) % 3] * (1 + torch.rand(60, 1, generator=generator))
    rows = rows + 0.05 * torch.randn(60, 3, generator=generator)
    centres = spherical_means(rows, 3)
    assert torch.allclose((centres @ truth.T).max(0).values, torch.ones(3), atol=0.01)
    more = spherical_means(torch.eye(2), 5)
    assert torch.allclose(more.norm(dim=1), torch.ones(5))
