"""Attention over edges against dense attention written out, and the layers of message passing against theirs."""

import math

import pytest
import torch
import torch.nn.functional as F

from pathline.graph.links import both_ways
from pathline.graph.sparse import Edges
from pathline.graph.wiring import EDGE, Wired, attention_pairs
from pathline.nn.gated_gcn import GatedGCNLayer
from pathline.nn.graph_transformers import EdgeAttention, SanAttention
from pathline.nn.grit import GritAttention, GritLayer, signed_sqrt
from pathline.nn.pna import PNAConv

WIDTH, HEADS = 8, 2


def wired(how, nodes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    upper = (torch.rand(nodes, nodes, generator=generator) < 0.4).triu(1)
    edge_index = both_ways(upper.nonzero().T)
    graph = torch.zeros(nodes, dtype=torch.int64)
    return Wired(*attention_pairs(edge_index, graph, how), graph, 1)


def inputs(wires, seed=1):
    """x, and a state of every pair of nodes as (nodes, nodes, width) [receiver, sender] and along the pairs."""
    generator = torch.Generator().manual_seed(seed)
    nodes = len(wires.graph)
    x = torch.randn(nodes, WIDTH, generator=generator, dtype=torch.float64)
    dense = torch.randn(nodes, nodes, WIDTH, generator=generator, dtype=torch.float64)
    sender, receiver = wires.edges.edge_index
    return x, dense, dense[receiver, sender]


def heads(x):
    return x.unflatten(-1, (HEADS, -1))


def mask_of(wires):
    allowed = torch.zeros(len(wires.graph), len(wires.graph), dtype=torch.bool)
    sender, receiver = wires.edges.edge_index
    allowed[receiver, sender] = True
    return allowed


def dense_grit(layer, x, e, allowed):
    """GRIT's attention as the paper writes it, on all pairs, those that are not allowed without weight."""
    query, key = layer.query_key(x).chunk(2, 1)
    pair = F.relu(signed_sqrt((query[:, None] + key[None]) * layer.scale(e)) + layer.shift(e))
    score = torch.einsum("ijhd,hd->ijh", heads(pair), layer.score).clamp(-5, 5)
    share = score.masked_fill(~allowed[:, :, None], -torch.inf).softmax(1)
    of_pairs = torch.einsum("ijh,ijhd,hdc->ihc", share, heads(pair), layer.pair_value)
    return (torch.einsum("ijh,jhd->ihd", share, heads(layer.value(x))) + of_pairs).flatten(1), pair


@pytest.mark.parametrize("how", ["full", "edges", "khop"])
def test_grit_on_a_graph_is_grit_on_all_pairs_with_the_others_masked(how):
    wires = wired(how)
    x, dense, e = inputs(wires)
    torch.manual_seed(0)
    layer = GritAttention(WIDTH, HEADS).double()
    found, pair = layer(x, e, wires)
    expected, pairs = dense_grit(layer, x, dense, mask_of(wires))
    sender, receiver = wires.edges.edge_index
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(pair, pairs[receiver, sender], atol=1e-6)
    if how == "edges":
        assert not torch.allclose(found, dense_grit(layer, x, dense, torch.ones(7, 7).bool())[0], atol=1e-3)


def test_sparse_grit_on_a_complete_graph_is_full_grit():
    edge_index = both_ways(torch.triu_indices(6, 6, 1))
    graph = torch.zeros(6, dtype=torch.int64)
    both = [Wired(*attention_pairs(edge_index, graph, how), graph, 1) for how in ("edges", "full")]
    torch.manual_seed(0)
    layers = torch.nn.ModuleList([GritLayer(WIDTH, HEADS), GritLayer(WIDTH, HEADS, last=True)]).double()
    found = []
    for wires in both:
        x, _, e = inputs(wires)
        for layer in layers:
            x, e = layer(x, e, wires)
        found.append(x)
    assert torch.allclose(*found, atol=1e-6)
    assert float(found[0].detach().std()) > 0.1


def test_the_signed_root_is_odd_and_has_finite_slopes():
    x = torch.tensor([-4.0, -1.0, 0.0, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    assert torch.allclose(signed_sqrt(x), torch.tensor([-2.0, -1, 0, 1, 3]).double(), atol=1e-5)
    (slope,) = torch.autograd.grad(signed_sqrt(x).sum(), x)
    assert bool(torch.isfinite(slope).all())
    assert torch.allclose(slope[[0, 4]], torch.tensor([0.25, 1 / 6]).double(), atol=1e-5)
    assert torch.autograd.gradcheck(signed_sqrt, torch.tensor([-2.0, 0.3, 5.0]).double().requires_grad_())


def test_the_degree_scales_what_grit_hears():
    wires = wired("full")
    x, _, e = inputs(wires)
    torch.manual_seed(0)
    layer = GritLayer(WIDTH, HEADS).double().eval()
    before = layer(x, e, wires)[0]
    busier = wired("full")
    busier.log_degree = wires.log_degree + 1
    assert not torch.allclose(layer(x, e, busier)[0], before, atol=1e-3)
    with torch.no_grad():
        layer.theta[1] = 0
    assert torch.allclose(layer(x, e, busier)[0], layer(x, e, wires)[0])


@pytest.mark.parametrize("how", ["full", "edges"])
@pytest.mark.parametrize("kind", ["plain", "bias", "scaled"])
def test_a_transformer_with_an_adjacency_mask_is_message_passing_with_its_update(how, kind):
    wires = wired(how)
    x, dense, e = inputs(wires)
    torch.manual_seed(0)
    layer = EdgeAttention(WIDTH, HEADS, WIDTH if kind == "bias" else 0, kind == "scaled").double()
    found = layer(x, e, wires)
    query, key, value = (heads(part) for part in layer.project(x).chunk(3, 1))
    root = math.sqrt(WIDTH // HEADS)
    if kind == "scaled":
        score = (torch.einsum("ihd,jhd,ijhd->ijh", query, key, heads(layer.scale(dense))) / root).clamp(-5, 5)
    else:
        score = torch.einsum("ihd,jhd->ijh", query, key) / root
        score = score + layer.bias(dense) if kind == "bias" else score
    share = score.masked_fill(~mask_of(wires)[:, :, None], -torch.inf).softmax(1)
    assert torch.allclose(found, torch.einsum("ijh,jhd->ihd", share, value).flatten(1), atol=1e-6)


def test_san_asks_edges_and_other_pairs_differently():
    wires = wired("full")
    x, dense, e = inputs(wires)
    torch.manual_seed(0)
    layer = SanAttention(WIDTH, HEADS, gamma=0.5).double()
    value, query, other_query, key, other_key = layer.project(x).chunk(5, 1)
    real = torch.zeros(7, 7, dtype=torch.bool)
    sender, receiver = wires.edges.edge_index[:, wires.kind == EDGE]
    real[receiver, sender] = True
    root = math.sqrt(WIDTH // HEADS)

    def scores(query, key):
        return (torch.einsum("ihd,jhd,ijhd->ijh", heads(query), heads(key), heads(layer.scale(dense))) / root).clamp(
            -5, 5
        )

    weight = torch.where(real[:, :, None], scores(query, key).exp() / 1.5, scores(other_query, other_key).exp() / 3)
    share = weight / weight.sum(1, keepdim=True)
    expected = torch.einsum("ijh,jhd->ihd", share, heads(value)).flatten(1)
    assert torch.allclose(layer(x, e, wires), expected, atol=1e-6)
    layer.gamma = 0.0
    alone = wired("edges")
    without = Edges(alone.edges.edge_index[:, alone.kind == EDGE], 7)
    heard = layer(x, e, wires)
    lonely = without.in_degree == 0
    assert bool((heard[lonely] == 0).all())
    moved = x.clone()
    moved[0] += 1
    hears = torch.zeros(7, dtype=torch.bool)
    hears[0] = True
    hears[without.edge_index[1, without.edge_index[0] == 0]] = True
    same = (layer(moved, e, wires) - heard).abs().amax(1) < 1e-9
    assert torch.equal(same, ~hears)


def test_a_gated_layer_is_its_equations():
    wires = wired("edges")
    edges = wires.local
    x, dense, _ = inputs(wires)
    sender, receiver = edges.edge_index
    e = dense[receiver, sender]
    torch.manual_seed(0)
    layer = GatedGCNLayer(WIDTH).double().eval()
    a, b, d, c = layer.nodes(x).chunk(4, 1)
    opened = layer.pairs(dense) + d[:, None] + c[None]
    gate = torch.sigmoid(opened) * (mask_of(wires) & ~torch.eye(7, dtype=torch.bool))[:, :, None]
    heard = (gate * b[None]).sum(1) / (gate.sum(1) + 1e-6)
    found, state = layer(x, e, edges)
    root = math.sqrt(1 + 1e-5)  # BatchNorm before it has seen anything
    assert torch.allclose(found, x + F.relu((a + heard) / root), atol=1e-6)
    assert torch.allclose(state, e + F.relu(opened[receiver, sender] / root), atol=1e-6)


def test_principal_neighbourhood_summaries_and_scales():
    edges = Edges(torch.tensor([[1, 2, 3, 0], [0, 0, 0, 2]]), 4)
    messages = torch.tensor([[1.0], [2.0], [6.0], [-5.0]], dtype=torch.float64)
    layer = PNAConv(1).double()
    found = layer.summaries(messages, edges)
    assert torch.allclose(found[0, :3], torch.tensor([3.0, 6, 1]).double())
    assert abs(float(found[0, 3]) - (41 / 3 - 9) ** 0.5) < 1e-4
    assert found[1, :3].tolist() == [0, 0, 0]
    assert found[2, :3].tolist() == [-5, -5, -5]
    with torch.no_grad():
        layer.delta.fill_(math.log(2.0))
        layer.message.weight.copy_(torch.tensor([[0.0, 1.0, 0.0]]))
        layer.update.weight.zero_()
        layer.update.weight[0, 1 + 4] = 1.0  # the mean, times log(1 + d) / delta
        layer.update.weight[0, 1 + 8] = 10.0  # the mean, times delta / log(1 + d)
        layer.message.bias.zero_()
        layer.update.bias.zero_()
        x = torch.tensor([[4.0], [1.0], [2.0], [6.0]], dtype=torch.float64)
        said = layer(x, torch.zeros(4, 1).double(), edges)[:, 0]
    expected = torch.tensor([3 * 2 + 10 * 3 / 2, 0.0, 4 + 40, 0.0]).double()
    assert torch.allclose(said, expected, atol=1e-6)
