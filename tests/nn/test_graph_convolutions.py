"""Layers on edge lists: their formulas with dense matrices, and attention that sums to one."""

import pytest
import torch

from pathline.graph.links import both_ways
from pathline.graph.sparse import Edges, gcn_weights
from pathline.nn.graph_convolutions import GATConv, GCNConv, GINConv, NeighbourConv, RelationalConv


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    links = torch.triu_indices(8, 8, 1)
    edges = Edges(both_ways(links[:, torch.rand(links.shape[1]) < 0.4]), 8)
    matrix = torch.zeros(8, 8).index_put((edges.edge_index[1], edges.edge_index[0]), torch.ones(1))
    return edges, matrix, torch.randn(8, 6)


def test_a_gat_layer_attends_as_written(drawn):
    edges, matrix, x = drawn
    layer = GATConv(6, 4, heads=2)
    h = layer.linear(x).view(8, 2, 2)
    score = torch.einsum("nhd,hd->nh", h, layer.receive)[:, None] + torch.einsum("nhd,hd->nh", h, layer.send)[None]
    score = torch.nn.functional.leaky_relu(score, 0.2).masked_fill(matrix[..., None] == 0, -torch.inf)
    weight = score.softmax(1).nan_to_num(0)
    expected = torch.einsum("ijh,jhd->ihd", weight, h).flatten(1) + layer.bias
    assert torch.allclose(layer(x, edges), expected, atol=1e-5)
    total = edges.weight_sum(layer.attention(layer.linear(x), edges))
    assert torch.allclose(total[matrix.sum(1) > 0], torch.ones(1))
    with pytest.raises(ValueError, match="heads"):
        GATConv(6, 5, heads=2)


def test_gin_relational_and_neighbour_layers_are_their_formulas(drawn):
    edges, matrix, x = drawn
    gin = GINConv(6, 5, normalised=False)
    with torch.no_grad():
        gin.epsilon.fill_(0.3)
    assert torch.allclose(gin(x, edges), gin.second(torch.relu(gin.first(1.3 * x + matrix @ x))), atol=1e-5)
    mean = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    none = Edges(edges.edge_index[:, :0], 8)
    relational = RelationalConv(6, 5, 2)
    expected = relational.itself(x) + relational.relations[0](mean @ x)
    assert torch.allclose(relational(x, [edges, none]), expected, atol=1e-5)
    said = torch.randn(edges.edge_index.shape[1], 6)
    into = torch.zeros(8, 6).index_add(0, edges.edge_index[1], said)
    assert torch.allclose(
        gin(x, edges, None, said), gin.second(torch.relu(gin.first(1.3 * x + matrix @ x + into))), atol=1e-5
    )
    on_edges, on_self = gcn_weights(edges)
    for outputs in (5, 7):
        gcn = GCNConv(6, outputs)
        heard = torch.zeros(8, 6).index_add(0, edges.edge_index[1], on_edges[:, None] * (x[edges.edge_index[0]] + said))
        expected = (heard + on_self[:, None] * x) @ gcn.weight + gcn.bias
        assert torch.allclose(gcn(x, edges, (on_edges, on_self), said), expected, atol=1e-5)
    layer = NeighbourConv(6, 5, "sum")
    heard = matrix @ x + torch.zeros(8, 6).index_add(0, edges.edge_index[1], said)
    assert torch.allclose(layer(x, edges, None, said), layer.linear(torch.cat([x, heard], 1)), atol=1e-5)
