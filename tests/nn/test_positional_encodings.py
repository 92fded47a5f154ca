"""Learned encodings: what they do not see (signs, bases, names of nodes), and what their losses ask for."""

import networkx as nx
import torch

from pathline.graph.build import disjoint_union
from pathline.graph.encodings import laplacian_eigenvectors, random_walk_returns
from pathline.graph.encodings_walks import whole_eigenspaces
from pathline.graph.links import both_ways
from pathline.graph.sparse import Edges
from pathline.nn.gpse import EncodingEncoder, encoding_targets
from pathline.nn.positional_encodings import (
    COLOURS,
    ColourEncoding,
    DiffusedWalks,
    StableEncoding,
    eigenvector_loss,
    flipped,
)
from pathline.nn.sign_net import SignNet


def edges_of(graph):
    return both_ways(torch.tensor(list(nx.convert_node_labels_to_integers(graph).edges)).T)


def union():
    graphs = [nx.gnm_random_graph(9, 16, seed=1), nx.cycle_graph(6)]
    return disjoint_union([edges_of(one) for one in graphs], [9, 6])


def rotation(angle):
    angle = torch.tensor(angle, dtype=torch.float64)
    return torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])


def test_neither_sign_net_nor_spe_sees_signs_bit_for_bit():
    edge_index, graph = union()
    vectors, values, there = whole_eigenspaces(edge_index, graph, 4)
    sign = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    torch.manual_seed(0)
    spe, sign_net = StableEncoding(8).double(), SignNet(4, 8).double()
    encoding = spe(vectors, values, there, graph, 2)
    assert torch.equal(spe(vectors * sign, values, there, graph, 2), encoding)
    assert torch.equal(sign_net(vectors * sign, values), sign_net(vectors, values))
    assert float(encoding[graph == 0].detach().std(0).max()) > 1e-3
    assert not torch.allclose(vectors * sign, vectors)


def test_spe_does_not_see_rotations_inside_an_eigenspace_and_raw_eigenvectors_and_sign_net_do():
    edge_index, graph = edges_of(nx.cycle_graph(9)), torch.zeros(9, dtype=torch.int64)
    vectors, values, there = whole_eigenspaces(edge_index, graph, 4)
    assert bool(there.all())
    turned = vectors.clone()
    for plane in (slice(0, 2), slice(2, 4)):
        turned[:, plane] = vectors[:, plane] @ rotation(0.7)
    torch.manual_seed(0)
    spe, sign_net = StableEncoding(8).double(), SignNet(4, 8).double()
    # pairs of nodes as far apart as before are seen alike, so nodes of a ring are too: mark one to see something
    marked = vectors.clone()
    marked[0] *= 2
    again = turned.clone()
    again[0] *= 2
    encoding = spe(marked, values, there, graph, 1)
    assert torch.allclose(spe(again, values, there, graph, 1), encoding, atol=1e-5)
    assert float(encoding.detach().std(0).max()) > 1e-3
    assert not torch.allclose(turned, vectors, atol=1e-2)
    assert not torch.allclose(sign_net(again, values), sign_net(marked, values), atol=1e-3)


def test_learned_encodings_follow_a_relabelling():
    edge_index, graph = union()
    order = torch.cat([torch.randperm(9), 9 + torch.randperm(6)])
    moved, back = order[edge_index], order.argsort()
    vectors, values, there = whole_eigenspaces(edge_index, graph, 4)
    returns = random_walk_returns(edge_index, graph, 5)
    torch.manual_seed(0)
    spe, walks, encoder = (
        StableEncoding(8).double(),
        DiffusedWalks(5, 8).double(),
        EncodingEncoder(8, 3).double().eval(),
    )
    assert torch.allclose(
        spe(vectors[back], values[back], there[back], graph, 2)[order], spe(vectors, values, there, graph, 2), atol=1e-9
    )
    mine = walks(returns, Edges(edge_index, 15))
    assert torch.allclose(walks(returns[back], Edges(moved, 15))[order], mine, atol=1e-9)
    assert not torch.allclose(walks(returns, Edges(edge_index[:, :0], 15)), mine, atol=1e-3)
    noise = torch.randn(15, 16, dtype=torch.float64)
    found = encoder(Edges(edge_index, 15), graph, 2, noise)
    assert torch.allclose(encoder(Edges(moved, 15), graph, 2, noise[back])[order], found, atol=1e-9)


def test_flips_are_drawn_for_each_graph_and_eigenvector():
    graph = torch.arange(200).repeat_interleave(3)
    torch.manual_seed(0)
    sign = flipped(torch.ones(600, 2), graph, 200)
    assert set(sign.flatten().tolist()) == {-1.0, 1.0}
    each = sign.view(200, 3, 2)
    assert bool((each == each[:, :1]).all())
    assert abs(float(each[:, 0].mean())) < 0.2
    assert 60 < int((each[:, 0, 0] != each[:, 0, 1]).sum()) < 140


def test_the_loss_of_walks_is_least_at_eigenvectors():
    graph = nx.gnm_random_graph(12, 26, seed=3)
    edge_index, home = edges_of(graph), torch.zeros(12, dtype=torch.int64)
    edges = Edges(edge_index, 12)
    degree = torch.bincount(edge_index[0]).double()
    trivial = (degree / degree.sum()).sqrt()[:, None]
    vectors, values = laplacian_eigenvectors(edge_index, home, 3)
    lowest = torch.cat([trivial, vectors], 1)
    loss = eigenvector_loss(lowest, edges, home, 1, orthogonality=10.0)
    assert torch.allclose(loss, values[0].sum() / (4 * 12), atol=1e-9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = torch.linalg.qr(torch.randn(12, 4, generator=generator, dtype=torch.float64))[0]
        assert float(eigenvector_loss(other, edges, home, 1, orthogonality=10.0)) > float(loss)
        assert float(eigenvector_loss(2 * lowest, edges, home, 1, orthogonality=10.0)) > float(loss)


def test_colours_that_are_equal_look_equal_and_others_do_not():
    colours = torch.tensor([[3.0, 77.0], [3.0, 78.0], [COLOURS - 1.0, 77.0]])
    waves = ColourEncoding(8)(colours)
    assert waves.shape == (3, 16)
    assert torch.equal(waves[0, :8], waves[1, :8])
    assert torch.equal(waves[0, 8:], waves[2, 8:])
    assert not torch.allclose(waves[0], waves[1], atol=1e-6)
    torch.manual_seed(0)
    learned = ColourEncoding(8, learned=True)
    found = learned(colours)
    assert torch.equal(found[0, 8:], found[2, 8:])
    found[0].sum().backward()
    assert int((learned.table.weight.grad != 0).any(1).sum()) == 2


def test_the_encoder_learns_to_say_encodings_from_noise():
    graphs = [nx.gnm_random_graph(8, 8 + k % 8, seed=k) for k in range(24)]
    edge_index, graph = disjoint_union([edges_of(one) for one in graphs], [8] * 24)
    targets = encoding_targets(edge_index, graph, 3)
    assert torch.allclose(targets.mean(0), torch.zeros(12), atol=1e-5)
    edges = Edges(edge_index, len(graph))
    torch.manual_seed(0)
    encoder = EncodingEncoder(16, 3, layers=2)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=5e-3)
    losses = []
    for _ in range(50):
        loss = encoder.loss(edges, graph, 24, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]  # 1.8 is what saying nothing costs
    assert torch.equal(encoder.encode(edges, graph, 24), encoder.encode(edges, graph, 24))
    assert encoder.training
