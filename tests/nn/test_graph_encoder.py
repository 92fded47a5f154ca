"""The encoder of link predictors: its layers as dense matrices, its options one by one."""

import math

import networkx as nx
import pytest
import torch

from pathline.graph.links import both_ways
from pathline.graph.sparse import Edges
from pathline.nn.graph_encoder import AGGREGATES, GraphEncoder, aggregate


@pytest.fixture(scope="module")
def graph():
    return nx.gnm_random_graph(50, 220, seed=3)


def encoded(width=6, seed=1):
    return torch.randn(50, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", AGGREGATES)
def test_layers_are_their_dense_matrices(kind, graph):
    matrix = torch.tensor(nx.to_numpy_array(graph))
    matrix[7], matrix[:, 7] = 0, 0  # a node without neighbours
    edges = Edges(matrix.nonzero().T.flip(0), 50)
    x = encoded(4)
    if kind == "gcn":
        scale = (1 + matrix.sum(1)).rsqrt()
        expected = scale[:, None] * (matrix + torch.eye(50)) * scale @ x
    elif kind == "max":
        every = torch.where(matrix[:, :, None] > 0, x[None], -math.inf).max(1).values
        expected = torch.where(every.isfinite(), every, 0.0)
    else:
        expected = matrix @ x / (matrix.sum(1).clamp(min=1)[:, None] if kind == "mean" else 1)
    assert torch.allclose(aggregate(kind, x, edges), expected, atol=1e-6)
    torch.manual_seed(0)
    pure, learned = (GraphEncoder(4, 4, prefix + kind).double().eval() for prefix in ("pure", ""))
    assert [name for name, _ in pure.layers.named_parameters()] == []
    assert torch.allclose(pure(x, edges), aggregate(kind, pure.before(x), edges), atol=1e-6)
    inside = learned.layers[0].linear(x)
    assert torch.allclose(learned(x, edges), torch.relu(aggregate(kind, inside, edges)), atol=1e-6)


def test_residuals_and_jumping_knowledge_add_up(graph):
    edges, x = Edges(both_ways(torch.tensor(list(graph.edges)).T), 50), encoded(4)
    torch.manual_seed(0)
    plain = GraphEncoder(4, 5, "puregcn", layers=2, residual=True, jumping=True).double().eval()
    with torch.no_grad():
        plain.jumping.copy_(torch.tensor([0.3, -2.0]))
    start = plain.before(x)
    first = aggregate("gcn", start, edges) + start
    second = aggregate("gcn", first, edges) + first
    assert torch.allclose(plain(x, edges), 0.3 * first - 2 * second, atol=1e-6)
    assert plain.jumping.shape == (2,)


@pytest.mark.parametrize("kind", ["sum", "mean", "gcn"])
def test_dropped_edges_are_made_up_for(kind, graph):
    edges, x = Edges(both_ways(torch.tensor(list(graph.edges)).T), 50), encoded(3)
    model = GraphEncoder(3, 3, "pure" + kind, edge_dropout=0.4).double()
    torch.manual_seed(0)
    weight = model.kept_edges(edges, None)
    assert weight.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    many = torch.stack([aggregate(kind, x, edges, model.kept_edges(edges, None)) for _ in range(400)])
    expected, error = aggregate(kind, x, edges), many.std(0) / 20
    if kind != "gcn":  # which is not linear in the weights
        assert float(((many.mean(0) - expected).abs() / error.clamp(min=1e-9)).median()) < 1.5
    assert float((many.mean(0) - expected).norm() / expected.norm()) < 0.15
    assert model.eval().kept_edges(edges, None) is None


def test_normalisation_and_dropout_of_features_do_what_they_say(graph):
    edges, x = Edges(both_ways(torch.tensor(list(graph.edges)).T), 50), torch.ones(50, 8).double()
    model = GraphEncoder(8, 4, "sum", layers=3, norm=True).double().eval()
    assert len(model.norms) == 2
    seen = []
    model.norms[0].register_forward_hook(lambda module, given, out: seen.append(out))
    model(encoded(8), edges)
    assert torch.allclose(seen[0].mean(1), torch.zeros(50).double(), atol=1e-6)
    dropping = GraphEncoder(8, 4, "puresum", layers=0, feature_dropout=0.5).double()
    torch.manual_seed(0)
    dropping.before.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    dropping(x, edges)
    assert set(seen[-1].unique().tolist()) == {0.0, 2.0}
    with pytest.raises(ValueError, match="no layer 'gat'"):
        GraphEncoder(8, 4, "gat")


@pytest.mark.parametrize("kind", ["gcn", "puresum"])
def test_zeros_are_skipped_and_change_nothing(kind, graph):
    edges = Edges(both_ways(torch.tensor(list(graph.edges)).T), 50)
    words = (torch.rand(50, 300, generator=torch.Generator().manual_seed(0)) < 0.02).double()
    torch.manual_seed(0)
    model = GraphEncoder(300, 4, kind).double().eval()
    sparse = model(words, edges)
    weight = next(p for name, p in model.named_parameters() if name.endswith("weight"))
    (ours,) = torch.autograd.grad(sparse.square().sum(), weight)
    dense = model(words.clone().requires_grad_(True), edges)  # which is not skipped, as it has a gradient of its own
    (theirs,) = torch.autograd.grad(dense.square().sum(), weight)
    assert torch.allclose(sparse, dense, atol=1e-10)
    assert torch.allclose(ours, theirs, atol=1e-10)
    dropping = GraphEncoder(300, 300, "puresum", layers=0, feature_dropout=0.5).double()
    with torch.no_grad():
        dropping.before.weight.copy_(torch.eye(300))
        dropping.before.bias.zero_()
    kept = dropping(words, edges).detach()
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert bool((words[kept > 0] == 1).all())
