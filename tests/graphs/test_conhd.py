"""CoNHD: equivariance, what it tells apart, diffusion to the minimum, readouts, orders, batches."""

import dataclasses
import os

import pytest
import torch
from torch import nn

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_hypergraph
from pathline.data.hypergraph import Hypergraph
from pathline.data.sets import load
from pathline.graph.hypergraph import (
    CENTRALITIES,
    clique_embedding,
    grouped,
    sample_incidences,
)
from pathline.graphs.conhd import CoNHD, gradient_step, splitting_step
from pathline.graphs.hypergraph_model import Incidences
from pathline.graphs.hypergraph_rivals import EDHNN, HGNN, AllSetMean

needs_mirror = pytest.mark.skipif(not os.environ.get("PATHLINE_DATA"), reason="PATHLINE_DATA names no mirror")


def hypergraph(sets=12, nodes=9, width=3, seed=0, edge_features=False):
    """Hyperedges of 1 to 5 members."""
    draw = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 6, (sets,), generator=draw)
    members = [torch.randperm(nodes, generator=draw)[:size] for size in sizes.tolist()]
    incidence = torch.stack([torch.cat(members), torch.arange(sets).repeat_interleave(sizes)])
    return Hypergraph(
        incidence=incidence,
        features=torch.randn(nodes, width, generator=draw),
        labels=torch.randint(0, 3, (incidence.shape[1],), generator=draw),
        classes=("a", "b", "c"),
        sets=sets,
        edge_features=torch.randn(sets, 2, generator=draw) if edge_features else None,
    )


def built(data, cls=CoNHD, **config):
    torch.manual_seed(0)
    return cls.for_data(data, **({"width": 8} | config)).eval()


def exactly(method, data):
    """H or answers of everything, in float64."""
    method = method.double()
    batch = method.prepared(data).whole().map(lambda t: t.double() if t.is_floating_point() else t)
    with torch.no_grad():
        return method.encode(method.features(batch), batch) if isinstance(method, CoNHD) else method(batch)


# -- the proofs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("block", ["UNP", "SAB", "ISAB"])
@pytest.mark.parametrize("variant", ["ADMM", "GD"])
def test_permuting_nodes_hyperedges_and_incidences_permutes_the_rows(variant, block, pad):
    data = hypergraph(edge_features=True)
    config = {"variant": variant, "block": block, "heads": 2, "orders": ["degree", "pagerank"]}
    h = exactly(built(data, **config, pad=pad), data)
    assert torch.allclose(h, exactly(built(data, **config, pad=not pad), data), atol=1e-10)
    draw = torch.Generator().manual_seed(1)
    nodes, sets, rows = (torch.randperm(k, generator=draw) for k in (9, 12, len(data.labels)))
    moved = dataclasses.replace(
        data,
        incidence=torch.stack([nodes[data.incidence[0]], sets[data.incidence[1]]])[:, rows],
        features=data.features[nodes.argsort()],
        edge_features=data.edge_features[sets.argsort()],
        labels=data.labels[rows],
    )
    method = built(data, **config, pad=pad)
    assert torch.allclose(exactly(method, moved), h[rows], atol=1e-10)
    elsewhere = dataclasses.replace(data, incidence=torch.stack([nodes[data.incidence[0]], data.incidence[1]]))
    assert not torch.allclose(exactly(method, elsewhere), h, atol=1e-3)
    method = method.float()
    single, shuffled = method.co_representations(data), method.co_representations(moved)
    assert torch.allclose(shuffled, single[rows], atol=1e-5)


def twin_hypergraph():
    """Node 0 in {0, 1, 2} and {0, 3, 4}: other members, but the same mean of their features."""
    return Hypergraph(
        incidence=torch.tensor([[0, 1, 2, 0, 3, 4], [0, 0, 0, 1, 1, 1]]),
        features=torch.tensor([[0.5], [1.0], [-1.0], [0.2], [-0.2]]),
        labels=torch.tensor([0, 1, 1, 1, 0, 0]),
        classes=("one", "other"),
        sets=2,
    )


@torch.no_grad()
def keep_means(network):
    """Make the first ReLU the identity on these features, so that equal means stay equal."""
    network.lift.weight.copy_(torch.tensor([1.0, -1.0] * (len(network.lift.weight) // 2))[:, None])
    network.lift.bias.fill_(2.0)


@pytest.mark.parametrize("cls", [HGNN, AllSetMean])
def test_equal_vectors_of_node_and_hyperedge_force_equal_answers_but_co_representations_differ(cls):
    data = twin_hypergraph()
    rival, method = built(data, cls, layers=1), built(data)
    for network in (rival, method):
        keep_means(network)
    batch = rival.prepared(data).whole().map(lambda t: t.double() if t.is_floating_point() else t)
    rival.double()
    z = torch.relu(rival.lift(rival.features(batch)))
    _, of_hyperedges = rival.both(z, Incidences.of(batch))
    assert torch.allclose(of_hyperedges[5], of_hyperedges[6], atol=1e-12)
    answers = exactly(rival, data)
    assert torch.allclose(answers[0], answers[3], atol=1e-12)
    assert not torch.allclose(answers[0], answers[1], atol=1e-3)
    h = exactly(method, data)
    assert float((h[0] - h[3]).norm() / h[0].norm()) > 1e-3


def test_of_two_networks_only_the_one_with_co_representations_learns_two_parts_of_one_node():
    data = twin_hypergraph()
    accuracy = {}
    for cls in (CoNHD, AllSetMean):
        method = built(data, cls, dropout=0.0, layers=1)
        keep_means(method)
        method.lift.requires_grad_(False)
        method.fit(data, Budget(steps=80), lr=2e-2)
        accuracy[cls] = method.said(data).argmax(1)[[0, 3]].tolist()
    assert accuracy[CoNHD] == [0, 1]
    assert len(set(accuracy[AllSetMean])) == 1


class Proximal(nn.Module):
    """argmin_y t s/2 sum |y - mean|^2 + 1/2 |y - x|^2, in closed form."""

    def __init__(self, strength):
        super().__init__()
        self.strength = strength

    def forward(self, h, sets, ranks):
        return (h + self.strength * sets.spread(sets.mean(h))) / (1 + self.strength)


class Mean(nn.Module):
    def forward(self, h, sets, ranks):
        return sets.spread(sets.mean(h))


def linear(*shares):
    layer = nn.Linear(4 * len(shares), 4, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.cat([share * torch.eye(4, dtype=torch.float64) for share in shares], 1))
    return layer


@pytest.mark.parametrize("variant", ["ADMM", "GD"])
def test_with_quadratic_regularisers_layers_lead_to_the_minimum(variant):
    data = hypergraph(width=4)
    over_sets, over_nodes, mu, t = 1.5, 0.7, 0.3, 0.8
    method = built(data, width=4, variant=variant, norm=False, layers=400).double()
    if variant == "ADMM":
        method.within_hyperedges, method.within_nodes = Proximal(t * over_sets), Proximal(t * over_nodes)
        whole = mu + 2 / t
        method.update = linear(1 / t / whole, 1 / t / whole, mu / whole)
    else:
        step = 0.3
        method.within_hyperedges, method.within_nodes = Mean(), Mean()
        method.update = linear(1 - step * (over_sets + over_nodes + mu), step * over_sets, step * over_nodes, step * mu)
    batch = method.prepared(data).whole().map(lambda x: x.double() if x.is_floating_point() else x)
    with torch.no_grad():
        h0 = method.initial(method.features(batch), batch, None)
        h = method.encode(method.features(batch), batch)
    system = mu * torch.eye(len(h0), dtype=torch.float64)
    for index, strength in ((data.incidence[1], over_sets), (data.incidence[0], over_nodes)):
        together = (index[:, None] == index).double()
        system += strength * (torch.eye(len(h0), dtype=torch.float64) - together / together.sum(1))
    solution = torch.linalg.solve(system, mu * h0)
    assert torch.allclose(h, solution, atol=1e-5)
    assert float((h0 - solution).abs().max()) > 0.1
    method.layers = 2
    with torch.no_grad():
        assert float((method.encode(method.features(batch), batch) - solution).abs().max()) > 1e-3


# -- the mechanics ----------------------------------------------------------------------------------------------------


def test_steps_are_those_of_the_paper():
    draw = torch.Generator().manual_seed(0)
    h, h0, m1, m2 = (torch.randn(5, 3, generator=draw) for _ in range(4))
    f1, f2 = (lambda x: x.relu()), (lambda x: x.sin())
    new, messages = splitting_step(h, [m1, m2], h0, [f1, f2], lambda x: x)
    assert torch.equal(messages[0], (2 * h - m1).relu() + m1 - h)
    assert torch.equal(messages[1], (2 * h - m2).sin() + m2 - h)
    assert torch.equal(new, torch.cat([*messages, h0], 1))
    assert torch.equal(gradient_step(h, h0, [f1, f2], lambda x: x), torch.cat([h, h.relu(), h.sin(), h0], 1))


def test_layers_share_their_weights_and_dropout_comes_after_the_blocks_and_once_before_both():
    data = hypergraph()
    assert built(data, layers=1).parameter_count() == built(data, layers=5).parameter_count()
    method = built(data, dropout=0.5, input_dropout=0.5).train()
    heard = []
    for family in (method.within_hyperedges, method.within_nodes):
        family.register_forward_hook(lambda module, inputs, output: heard.append((inputs[0], output)))
    batch = method.prepared(data).whole()
    method.encode(method.features(batch), batch)
    assert len(heard) == 4
    assert torch.allclose(heard[0][0], heard[1][0], atol=1e-6)  # 2 H0 - H0 for both
    assert float((heard[0][0] == 0).float().mean()) > 0.3
    assert 0.3 < float((heard[0][1] == 0).float().mean()) < 0.7
    method.within_nodes.dropout = 1.0
    assert not method.within_nodes(heard[0][0], Incidences.of(batch).by_node, None).any()


def test_what_hyperedges_and_orders_say_reaches_the_answer():
    data = hypergraph(edge_features=True)
    method = built(data, orders=list(CENTRALITIES))
    assert method.config["edge_inputs"] == 2
    method.train().loss(method.prepared(data).whole()).backward()
    layers = (method.lift_edges, method.within_hyperedges.order, method.within_nodes.order)
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in layers)
    assert method.prepared(data).incidence_features.shape == (len(data.labels), 4)


@pytest.mark.parametrize("level", ["node", "hyperedge"])
def test_answers_for_nodes_and_hyperedges_are_read_off_means(level):
    data = hypergraph(sets=20)
    home = data.incidence[0 if level == "node" else 1]
    data = dataclasses.replace(data, labels=home % 3)
    method = built(data, level=level, dropout=0.0)
    said = method.said(data)
    h = method.co_representations(data)
    for one in home.unique():
        rows = said[home == one]
        assert torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-6)
        assert torch.allclose(rows[0], method.head(h[home == one].mean(0)), atol=1e-5)
    own = built(data, dropout=0.0).said(data)
    spread = [float((own[home == one] - own[home == one][0]).abs().max()) for one in home.unique()]
    assert max(spread) > 1e-2
    method.fit(data, Budget(steps=80), lr=2e-2)
    assert method.evaluate(data)["accuracy"] > 0.9


@needs_mirror
def test_built_in_sets_have_their_published_split():
    for key, sizes in (
        ("cora-coauthorship-outsider", (1905, 2708, 2, 76)),
        ("citeseer-cocitation-outsider", (1420, 3279, 2, 56)),
        ("stackoverflow-biology", (26823, 15490, 3, 5365)),
    ):
        data = load(key)
        assert (data.sets, len(data.classes), int((data.parts == 2).sum())) == (sizes[0], sizes[2], sizes[3])
        assert int((data.parts == 1).sum()) == sizes[3]
        assert data.split_name


def test_nodes_without_features_are_described_by_degree_and_the_clique_expansion():
    data = dataclasses.replace(hypergraph(sets=60, nodes=40, seed=5), features=torch.zeros(40, 0))
    method = built(data)
    ready = method.prepared(data)
    assert ready.features.shape == (40, 17)
    assert method.described == 17
    b = torch.zeros(40, 60, dtype=torch.float64)
    b[data.incidence[0], data.incidence[1]] = 1
    a = b @ b.T
    a.fill_diagonal_(0)
    scale = (a.sum(1) + a.sum(1).mean()).rsqrt()
    matrix = scale[:, None] * a * scale
    for width in (16, 4):  # by a dense and by an iterative solver
        found = clique_embedding(data.incidence, 40, 60, width) / 40**0.5
        value = torch.linalg.eigvalsh(matrix).flip(0)[1 : width + 1]
        assert torch.allclose(matrix @ found, found * value, atol=1e-6)
        assert torch.allclose(found.T @ found, torch.eye(width, dtype=torch.float64), atol=1e-6)
    assert method.predict(data).shape[0] == len(data.labels)
    small = clique_embedding(torch.tensor([[0, 1], [0, 0]]), 2, 1, 16)
    assert small.shape == (2, 16)
    assert float(small[:, 1:].abs().sum()) == 0


# -- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "layers"), [(CoNHD, 1), (CoNHD, 2), (CoNHD, 3), (AllSetMean, 2), (EDHNN, 1), (HGNN, 1)]
)
def test_a_batch_that_draws_everything_answers_as_the_whole_does(cls, layers):
    data = hypergraph(sets=60, nodes=120, edge_features=True)
    method = built(data, cls, layers=layers, per_node=-1, orders=["degree"]).eval()
    whole = method.prepared(data).whole()
    if cls is HGNN:  # its degrees at the rim are cut, one layer beyond what is asked
        method.layers = 3
    answers = {}
    with torch.no_grad():
        for (node, hyperedge), row in zip(whole.pairs.T.tolist(), method(whole), strict=True):
            answers[node, hyperedge] = row
        seen, fewer = 0, False
        for batch in method.batches(data, 4, torch.Generator().manual_seed(0)):
            fewer |= batch.nodes < whole.nodes
            said = method(batch)
            close = (said[:, None] - torch.stack(list(answers.values()))).abs().amax(2).amin(1)
            assert float(close.max()) < 1e-5
            seen += len(said)
    assert seen == len(data.labels)
    assert fewer
    assert method.epoch_length(data, 4) == 15


def test_at_most_so_many_incidences_of_a_node_are_drawn():
    """Node 0 is in 100 hyperedges, each with a member of its own."""
    hub = torch.stack([torch.zeros(100, dtype=torch.int64), torch.arange(100)])
    leaves = torch.stack([1 + torch.arange(100), torch.arange(100)])
    star = torch.cat([hub, leaves], 1)
    star[1] += 101
    both, seed = grouped(star, 201), torch.tensor([101])
    draws = [sample_incidences(both, seed, 2, 40, torch.Generator().manual_seed(k)) for k in (0, 1)]
    for drawn in draws:
        of_hub = int((star[0, drawn] == 0).sum())
        assert of_hub in (40, 41)  # the seed may be among the 40
        assert bool(((star[0, drawn] == 1) & (star[1, drawn] == 101)).any())
    assert not torch.equal(*[drawn[:40] for drawn in draws])
    three = sample_incidences(both, seed, 3, 40, torch.Generator().manual_seed(0))
    assert int((star[0, three] > 0).sum()) == int((star[0, three] == 0).sum())  # members of drawn hyperedges come along
    data = Hypergraph(
        incidence=torch.cat([hub, leaves], 1),
        features=torch.zeros(101, 0),
        labels=torch.arange(2).repeat_interleave(100),
        classes=("hub", "leaf"),
        sets=100,
    )
    method = built(data, per_node=40, dropout=0.0)
    sizes = [batch.edge_index.shape[1] // 2 for batch in method.batches(data, 10, torch.Generator().manual_seed(0))]
    assert len(sizes) == 10
    assert max(sizes) <= 2 * 50
    method.fit(data, Budget(steps=20), lr=2e-2)
    assert method.evaluate(data)["macro_f1"] == 1.0


def test_rivals_have_as_many_parameters_as_asked_and_say_what_is_wrong():
    data = tiny_hypergraph()
    for cls in (HGNN, AllSetMean, EDHNN):
        method = built(data, cls, orders=["degree"])
        method.train().loss(method.prepared(data).whole()).backward()
        assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in method.parameters() if p.ndim > 1)
        assert exactly(built(data, cls), data).shape == (80, 2)
        sizes = [layer.in_features for layer in built(data, cls, head_layers=3).head if isinstance(layer, nn.Linear)]
        assert sizes == [16, 8, 8]
    for config, words in (
        ({"variant": "PDE"}, "variant 'PDE'"),
        ({"block": "PMA"}, "block 'PMA'"),
        ({"level": "graph"}, "level 'graph'"),
        ({"orders": ["fame"]}, "centrality 'fame'"),
        ({"block": "SAB", "width": 10}, "10 cannot be shared by 4 heads"),
    ):
        with pytest.raises(MethodError, match=words):
            built(data, **config)


def test_some_hyperedges_are_taken_with_their_nodes_alone():
    data = dataclasses.replace(hypergraph(edge_features=True), names=tuple("abcdefghi"), parts=torch.arange(12) % 3)
    chosen = torch.tensor([7, 2])
    part = data.take_sets(chosen)
    assert part.sets == 2
    assert part.parts.tolist() == [1, 2]
    assert torch.equal(part.edge_features, data.edge_features[chosen])
    for place, one in enumerate(chosen.tolist()):
        members = {data.names[node] for node in data.incidence[0, data.incidence[1] == one].tolist()}
        assert {part.names[node] for node in part.incidence[0, part.incidence[1] == place].tolist()} == members
        assert torch.equal(part.labels[part.incidence[1] == place], data.labels[data.incidence[1] == one])
    assert len(part.features) == len(part.incidence[0].unique())
