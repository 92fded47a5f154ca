"""Encodings: their definitions, equivariance under relabelling, and what they can tell apart."""

import networkx as nx
import pytest
import torch

from pathline.graph import encodings
from pathline.graph.build import disjoint_union
from pathline.graph.links import both_ways
from pathline.graph.resistance import laplacian_pseudoinverse, resistance_matrix
from pathline.nn.sign_net import SignNet


def edges_of(graph):
    return both_ways(torch.tensor(list(graph.edges)).T)


@pytest.fixture
def union():
    graphs = [nx.gnm_random_graph(9, 16, seed=1), nx.cycle_graph(5), nx.gnm_random_graph(9, 20, seed=2)]
    edge_index, graph = disjoint_union([edges_of(one) for one in graphs], [len(one) for one in graphs])
    return graphs, edge_index, graph


def walk(graph):
    matrix = torch.tensor(nx.to_numpy_array(graph))
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1)


def test_returns_are_diagonals_of_powers_in_blocks_too(union):
    graphs, edge_index, graph = union
    found = encodings.random_walk_returns(edge_index, graph, 6)
    expected = torch.cat(
        [torch.stack([torch.linalg.matrix_power(walk(one), t).diagonal() for t in range(1, 7)], 1) for one in graphs]
    )
    assert torch.allclose(found, expected, atol=1e-12)
    assert torch.allclose(encodings.random_walk_returns(edge_index, graph, 6, dense=3), expected, atol=1e-12)


def test_relative_walks_are_powers_whose_rows_sum_to_one_and_whose_diagonal_returns(union):
    graphs, edge_index, graph = union
    pairs, values = encodings.relative_random_walks(edge_index, graph, 5)
    assert pairs.shape[1] == sum(len(one) ** 2 for one in graphs)
    rows = torch.zeros(len(graph), 5, dtype=torch.float64).index_add(0, pairs[0], values)
    busy = torch.bincount(edge_index[0], minlength=len(graph)) > 0
    assert torch.allclose(rows[busy], torch.ones(1, dtype=torch.float64), atol=1e-6)
    itself = pairs[0] == pairs[1]
    returns = torch.zeros(len(graph), 5, dtype=torch.float64).index_copy(0, pairs[0, itself], values[itself])
    assert torch.allclose(returns[:, 1:], encodings.random_walk_returns(edge_index, graph, 4), atol=1e-12)


def test_eigenvectors_solve_their_equation_and_are_orthonormal(union):
    graphs, edge_index, graph = union
    vectors, values = encodings.laplacian_eigenvectors(edge_index, graph, 6)
    for place, one in enumerate(graphs):
        matrix = torch.tensor(nx.normalized_laplacian_matrix(one).toarray())
        own, size = graph == place, min(6, len(one) - 1)
        v, value = vectors[own][:, :size], values[own][0, :size]
        assert torch.allclose(matrix @ v, v * value, atol=1e-8)
        assert torch.allclose(v.T @ v, torch.eye(size, dtype=torch.float64), atol=1e-8)
    assert bool((vectors[graph == 1][:, 4:] == 0).all())  # a ring of five has four beside the trivial one


def test_resistances_are_means_over_the_component(union):
    graphs, edge_index, graph = union
    found = encodings.resistance_encoding(edge_index, graph)
    ring = resistance_matrix(laplacian_pseudoinverse(edges_of(graphs[1]), 5))
    assert torch.allclose(found[graph == 1, 0], ring.mean(1), atol=1e-10)


def test_everything_is_equivariant(union):
    _, edge_index, graph = union
    generator = torch.Generator().manual_seed(0)
    order = torch.cat([start + torch.randperm(size, generator=generator) for start, size in ((0, 9), (9, 5), (14, 9))])
    moved = order[edge_index]
    for encode in (
        lambda e: encodings.random_walk_returns(e, graph, 4),
        lambda e: encodings.resistance_encoding(e, graph),
        lambda e: encodings.wl_colours(e, len(graph), 3)[:, None],
    ):
        assert torch.allclose(encode(moved)[order].double(), encode(edge_index).double(), atol=1e-9)
    colours = encodings.wl_colours(edge_index, len(graph), 3)
    assert torch.equal(encodings.wl_colours(moved, len(graph), 3)[order], colours)


def test_colours_tell_apart_what_refinement_can_and_nothing_else():
    rings = [nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)), nx.path_graph(6)]
    histograms = [sorted(encodings.wl_colours(edges_of(one), 6, 4).tolist()) for one in rings]
    assert histograms[0] == histograms[1] != histograms[2]
    assert len(set(histograms[2])) == 3  # a path of six nodes has three kinds of them


def test_returns_do_not_separate_rook_and_shrikhande():
    rook = nx.line_graph(nx.complete_bipartite_graph(4, 4))
    steps = [(0, 1), (1, 0), (1, 1)]
    shrikhande = nx.Graph(((x, y), ((x + a) % 4, (y + b) % 4)) for x in range(4) for y in range(4) for a, b in steps)
    graphs = [nx.convert_node_labels_to_integers(one) for one in (rook, shrikhande)]
    assert not nx.is_isomorphic(*graphs)
    found = [encodings.random_walk_returns(edges_of(one), torch.zeros(16, dtype=torch.int64), 8) for one in graphs]
    assert torch.allclose(found[0].sort(0).values, found[1].sort(0).values, atol=1e-8)


def test_sign_net_does_not_see_signs_but_sees_vectors(union):
    _, edge_index, graph = union
    vectors, values = (part.float() for part in encodings.laplacian_eigenvectors(edge_index, graph, 4))
    torch.manual_seed(0)
    net = SignNet(4, 8)
    encoding = net(vectors, values)
    assert torch.equal(net(vectors * torch.tensor([1.0, -1.0, -1.0, 1.0]), values), encoding)
    assert not torch.allclose(net(vectors.abs().roll(1, 1), values), encoding, atol=1e-4)
