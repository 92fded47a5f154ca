"""Co-GNN: forced actions, what can be heard, draws that break symmetry."""

import copy
import dataclasses

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_graph, tiny_graph_classes
from pathline.data.graph_list import graphs_of
from pathline.graph.sparse import Edges
from pathline.graphs.cognn import CoGNN
from pathline.nn.graph_convolutions import NeighbourConv
from pathline.nn.gumbel import gumbel_noise, straight_through


def built(**config):
    data = tiny_graph()
    torch.manual_seed(0)
    return CoGNN.for_data(data, layers=2, width=8, **config).double().eval(), data.whole()


def double(batch):
    return batch.map(lambda t: t.double() if t.is_floating_point() else t)


def sensitivity(method, batch):
    """(nodes, nodes) whether h_v depends on x_u."""
    x = method.features(batch).detach()
    jacobian = torch.autograd.functional.jacobian(lambda inputs: method.encode(inputs, batch), x)
    return jacobian.abs().sum((1, 3))


def with_logits(method, listen, speak):
    """The method with action networks that say the same everywhere: large logits for or against."""

    class Said(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x, edges, weight, first, rest):
            return torch.tensor([1e9, -1e9] if self.value else [-1e9, 1e9], dtype=x.dtype).expand(len(x), 2)

    method = copy.deepcopy(method)
    method.pi_in, method.pi_out = Said(listen), Said(speak)
    return method


def plain(method, x, batch, alone=False):
    """The environment network by itself, written out; `alone`: on a graph without edges."""
    edges = Edges(batch.edge_index[:, :0], batch.nodes) if alone else batch.edges
    x = torch.relu(method.encoder(x))
    for layer in method.eta:
        x = method.norm(x)
        x = x + torch.relu(layer(x, edges, None, None))
    return method.norm(x)


@pytest.mark.parametrize("eta", ["sum", "mean", "gcn", "gin"])
def test_all_listening_and_speaking_is_the_environment_network_and_all_isolated_is_node_wise(eta):
    method, batch = built(eta=eta)
    batch = double(batch)
    x = method.features(batch)
    together = with_logits(method, True, True).encode(x, batch)
    apart = with_logits(method, False, False).encode(x, batch)
    assert torch.allclose(together, plain(method, x, batch), atol=1e-6)
    assert torch.allclose(apart, plain(method, x, batch, alone=True), atol=1e-6)
    assert not torch.allclose(together, apart, atol=1e-3)


@pytest.mark.parametrize(("listen", "speak"), [(False, False), (True, False), (False, True)])
def test_nobody_hears_anybody_unless_both_choose_to(listen, speak):
    method, batch = built()
    batch = double(batch)
    apart = sensitivity(with_logits(method, listen, speak), batch)
    assert bool((apart[~torch.eye(batch.nodes, dtype=torch.bool)] == 0).all())
    together = sensitivity(with_logits(method, True, True), batch)
    assert bool((together[batch.edge_index[1], batch.edge_index[0]] > 0).all())


def test_one_speaker_and_one_listener_share_one_directed_edge():
    method, batch = built()
    batch = double(batch)
    u, v = batch.edge_index[:, 0].tolist()
    method = copy.deepcopy(method)
    ones = torch.arange(batch.nodes)
    method.actions = lambda x, batch, noise=None: ((ones == v).to(x), (ones == u).to(x))
    heard = sensitivity(method, batch)
    heard[torch.eye(batch.nodes, dtype=torch.bool)] = 0
    assert heard.nonzero().tolist() == [[v, u]]


def test_permutation_equivariance_with_the_noise_permuted_along():
    method, batch = built(pi="sum")
    batch = double(batch)
    order = torch.randperm(batch.nodes, generator=torch.Generator().manual_seed(1))
    noise = gumbel_noise((2, 2, batch.nodes, 2), batch.features, torch.Generator().manual_seed(2))
    moved = type(batch)(features=batch.features[order.argsort()], edge_index=order[batch.edge_index], graph=batch.graph)
    one = method.encode(method.features(batch), batch, noise)
    other = method.encode(method.features(moved), moved, noise[:, :, order.argsort()])
    assert torch.allclose(other[order], one, atol=1e-5)
    again = method.encode(method.features(batch), batch, noise.flip(2))
    assert not torch.allclose(again, one, atol=1e-3)


def ring(*sizes):
    edges, start = [], 0
    for size in sizes:
        line = torch.arange(size)
        edges.append(torch.stack([line, (line + 1) % size]) + start)
        start += size
    edge_index = torch.cat(edges, 1)
    return torch.cat([edge_index, edge_index.flip(0)], 1), start


def test_draws_break_a_symmetry_that_refinement_cannot():
    pair = [ring(6), ring(3, 3)]
    same = [edges[:, torch.randperm(12, generator=torch.Generator().manual_seed(0))] for edges, _ in pair[:1]]
    data = graphs_of(
        [pair[0][0], pair[1][0], same[0]],
        [torch.ones(6, 2)] * 3,
        labels=torch.tensor([0, 1, 0]),
        classes=("ring", "rings"),
    )
    torch.manual_seed(1)
    method = CoGNN.for_data(data, layers=6, width=8, pi="sum", eta="sum", norm=False).eval()
    batch = data.whole()
    with torch.no_grad():
        x = method.features(batch)
        assert torch.equal(*with_logits(method, True, True).encode(x, batch).view(3, 6, -1)[:2])
        torch.manual_seed(0)
        draws = torch.stack([method.encode(x, batch) for _ in range(200)]).view(200, 3, 6, -1)
    readout = draws.std(2).mean(-1)  # how much the nodes of a graph differ
    means, errors = readout.mean(0), readout.std(0) / 200**0.5
    apart = (means[0] - means[1]).abs() / (errors[0] ** 2 + errors[1] ** 2).sqrt()
    alike = (means[0] - means[2]).abs() / (errors[0] ** 2 + errors[2] ** 2).sqrt()
    assert float(apart) > 5
    assert float(alike) < 4


def test_straight_through_choices_are_hard_forwards_and_soft_backwards():
    logits = torch.tensor([[0.3, -0.2], [2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([[0.0, 1.0], [0.2, 0.1]], dtype=torch.float64)
    hard = straight_through(logits, 0.7, noise)
    assert hard.tolist() == [[0, 1], [1, 0]]
    weight = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=torch.float64)
    (given,) = torch.autograd.grad((hard * weight).sum(), logits)
    (expected,) = torch.autograd.grad((((logits + noise) / 0.7).softmax(-1) * weight).sum(), logits)
    assert torch.allclose(given, expected)
    torch.manual_seed(0)
    many = straight_through(logits[:1].detach().expand(20000, 2), 0.05, gumbel_noise((20000, 2), logits.detach()))
    chance = float(logits[0].detach().softmax(0)[0])
    assert abs(float(many[:, 0].mean()) - chance) < 4 * (chance * (1 - chance) / 20000) ** 0.5


def test_gradients_reach_both_action_networks_and_the_learned_temperature():
    method, batch = built(learn_tau=True)
    method.train()
    torch.manual_seed(0)
    loss = method.loss(double(batch))
    loss.backward()
    for network in (method.pi_in, method.pi_out, method.temperature):
        assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0
    x = torch.zeros(3, 8, dtype=torch.float64)
    assert torch.allclose(method.current_tau(x), torch.tensor(1 / (torch.tensor(2.0).log().item() + 0.5)).double())


def test_a_mean_is_over_the_kept_neighbours_or_over_all():
    edges = Edges(torch.tensor([[1, 2, 3], [0, 0, 0]]), 4)
    x = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    weight = torch.tensor([1.0, 1.0, 0.0])
    for mean_over, expected in (("kept", 3.0), ("degree", 2.0)):
        layer = NeighbourConv(1, 1, "mean", mean_over)
        with torch.no_grad():
            layer.linear.weight.copy_(torch.tensor([[0.0, 1.0]]))
            layer.linear.bias.zero_()
            assert layer(x, edges, weight)[:, 0].tolist() == [expected, 0, 0, 0]
            assert layer(x, edges, torch.zeros(3)).abs().sum() == 0


@pytest.mark.parametrize("kind", ["sum", "mean", "gcn", "gin"])
def test_edge_features_are_scaled_and_enter_both_networks(kind):
    data = tiny_graph()
    marked = dataclasses.replace(data, edge_features=torch.randn(data.edge_index.shape[1], 2))
    torch.manual_seed(0)
    method = CoGNN.for_data(marked, layers=2, width=8, pi_layers=2, pi_width=4, pi=kind, eta=kind)
    assert method.config["edge_inputs"] == 2
    before = method.said(marked)
    method.loss(marked.whole()).backward()
    assert all(float(net.weight.grad.abs().sum()) > 0 for net in (method.eta_edges, method.pi_edges))
    larger = dataclasses.replace(marked, edge_features=1000 * marked.edge_features + 7)
    torch.manual_seed(0)
    again = CoGNN.for_data(larger, layers=2, width=8, pi_layers=2, pi_width=4, pi=kind, eta=kind)
    assert torch.allclose(again.said(larger), before, atol=1e-3)


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"layers": 0}, {"pi_layers": 0}, {"samples": 0}, {"tau": 0.0}, {"forced": "X"}, {"width": 0}):
        with pytest.raises(MethodError, match=next(iter(wrong)) if wrong != {"forced": "X"} else "action"):
            CoGNN.for_data(tiny_graph(), **wrong)


def test_statistics_of_actions_count_nodes_and_edges():
    method, batch = built(forced="L")
    stats = method.action_stats(double(batch))
    assert [(one["L"], one["kept"]) for one in stats] == [(1.0, 0.0)] * 2
    method, batch = built(forced="S")
    inside = torch.arange(40) < 20
    assert [one["kept"] for one in method.action_stats(double(batch), inside)] == [1.0, 1.0]
    method, batch = built()
    (first, _) = method.action_stats(double(batch))
    assert abs(sum(first[action] for action in "SLBI") - 1) < 1e-12
    assert 0 < first["kept"] < 1


def test_answers_are_repeatable_and_deterministic_ones_need_no_seed():
    data = tiny_graph_classes()
    torch.manual_seed(0)
    method = CoGNN.for_data(data).eval()
    assert torch.equal(method.said(data, 1), method.said(data, 1))
    assert not torch.equal(method.said(data, 1), method.said(data, 2))
    method.deterministic = True
    assert torch.equal(method.said(data, 1), method.said(data, 2))
