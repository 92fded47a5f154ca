import pytest
import torch
from torch.nn.functional import normalize

from pathline.graph import edges_of, node2vec
from pathline.graph.node2vec import cooccurrence

SMALL = {"dim": 8, "walks": 10, "length": 15, "window": 4, "epochs": 60}


@pytest.fixture
def cliques():
    """Two cliques of 8 nodes joined by one edge."""
    adjacency = torch.block_diag(torch.ones(8, 8), torch.ones(8, 8)).fill_diagonal_(0)
    adjacency[0, 8] = adjacency[8, 0] = 1
    return adjacency


def test_two_cliques_lie_apart(cliques):
    vectors = normalize(node2vec(cliques, **SMALL), dim=1)
    cosine = vectors @ vectors.T
    within = torch.cat([cosine[:8, :8].flatten(), cosine[8:, 8:].flatten()])
    assert within.mean() > cosine[:8, 8:].mean() + 0.5


def test_the_seed_decides_everything_and_the_global_generator_is_left_alone(cliques):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = node2vec(cliques, seed=5, **SMALL)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first, node2vec(cliques, seed=5, **SMALL))
    assert not torch.equal(first, node2vec(cliques, seed=6, **SMALL))


def test_an_edge_list_is_the_same_graph_as_its_adjacency(cliques):
    assert torch.equal(node2vec(edges_of(cliques)[0], **SMALL), node2vec(cliques, **SMALL))


def test_a_node_without_edges_gets_a_finite_vector(cliques):
    vectors = node2vec(edges_of(cliques)[0], nodes=17, **SMALL)
    assert vectors.shape == (17, 8) and vectors.isfinite().all()


def test_cooccurrence_weighs_pairs_by_the_share_of_windows_that_reach_them():
    walks = torch.tensor([[0, 1, 2, 0], [3, 1, -1, -1]])
    counts = cooccurrence(walks, 4, window=2).toarray()
    expected = torch.zeros(4, 4)
    for a, b, weight in ((0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0), (0, 2, 0.5), (1, 0, 0.5), (3, 1, 1.0)):
        expected[a, b] += weight
        expected[b, a] += weight
    assert counts.tolist() == expected.tolist()
