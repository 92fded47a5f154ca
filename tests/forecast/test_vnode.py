"""Virtual nodes: what they must not change, and what they must."""

from dataclasses import replace

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.forecast.vnode import VNode
from pathline.graph import edges_of, hop_distances
from pathline.graph.resistance import laplacian_pseudoinverse, resistance_matrix
from pathline.nn.adaptive_graph import GraphProvider
from pathline.nn.graph_gru import diffusion_supports
from pathline.nn.graph_wavenet import GraphWaveNet
from pathline.nn.sensitivity import by_distance, sensitivity, squashing_bound

SMALL = {"width": 5, "head": 8, "embedding": 3, "time_width": 2}


def path(nodes):
    line = torch.diag(torch.ones(nodes - 1), 1)
    return line + line.T


def resistances(adjacency):
    return resistance_matrix(laplacian_pseudoinverse(edges_of(adjacency)[0], len(adjacency)))


def provider(kind, virtual, adjacency, seed=0):
    torch.manual_seed(seed)
    made = GraphProvider(len(adjacency), kind, virtual, embedding=3)
    made.read(adjacency)
    return made


@pytest.mark.parametrize(("kind", "virtual"), [("fixed", 0), ("adaptive", 0), ("semi", 0), ("semi", 1), ("semi", 3)])
def test_rows_sum_to_one_and_geography_has_no_gradient(kind, virtual):
    adjacency = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) * (path(6) + torch.eye(6))
    adjacency[4] = 0  # a sensor without a road
    graph = provider(kind, virtual, adjacency)
    matrix = graph()
    assert matrix.shape == (6 + virtual,) * 2 and (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(6 + virtual))
    assert "fixed" not in dict(graph.named_parameters()) and not graph.fixed.requires_grad
    if kind == "semi":
        share = 0.2 if virtual else 0.0
        torch.testing.assert_close(matrix[:6, :6], (1 - share) * graph.fixed)
        torch.testing.assert_close(matrix[:6, 6:].sum(1), torch.full((6,), share))
        assert graph.fixed[4, 4] == 1
    if kind == "adaptive":
        torch.testing.assert_close(matrix, (graph.sender @ graph.receiver.T).relu().softmax(1))


@pytest.mark.parametrize("backbone", ["wavenet", "gru"])
def test_without_virtual_nodes_the_backbone_is_reproduced_bit_for_bit(complete, backbone):
    plain = VNode.seeded(complete, 0, virtual=0, graph="fixed", backbone=backbone, **SMALL)
    semi = VNode.seeded(complete, 0, virtual=0, graph="semi", backbone=backbone, **SMALL)
    window = complete.gather(torch.arange(5))
    assert torch.equal(semi.forecast(window), plain.forecast(window))
    hub = VNode.seeded(complete, 0, virtual=2, backbone=backbone, **SMALL)
    hub.load_state_dict(plain.state_dict(), strict=False)
    assert (hub.forecast(window) - plain.forecast(window)).abs().max() > 1e-3


@pytest.mark.parametrize("backbone", ["wavenet", "gru"])
@pytest.mark.parametrize("padding", ["zeros", "learned"])
def test_renaming_sensors_renames_forecasts_and_renaming_hubs_changes_nothing(complete, backbone, padding):
    method = VNode.seeded(complete, 0, virtual=3, backbone=backbone, padding=padding, **SMALL)
    if method.padding is not None:
        torch.nn.init.normal_(method.padding)
    window = complete.gather(torch.arange(4))
    expected = method.forecast(window)
    if method.padding is not None:  # what hubs are shown is looked at
        with torch.no_grad():
            method.padding.add_(5.0)
        assert (method.forecast(window) - expected).abs().max() > 1e-4
        with torch.no_grad():
            method.padding.sub_(5.0)
        expected = method.forecast(window)
    order, hubs = torch.tensor([2, 0, 3, 1]), torch.tensor([2, 0, 1])
    other = VNode.for_data(complete, virtual=3, backbone=backbone, padding=padding, **SMALL)
    for real, virtual in ((order, torch.arange(3)), (torch.arange(4), hubs)):
        state = {name: value.clone() for name, value in method.state_dict().items()}
        both = torch.cat([real, 4 + virtual])
        state["provider.sender"] = state["provider.sender"][both]
        state["provider.receiver"] = state["provider.receiver"][both]
        state["provider.gate"] = state["provider.gate"][real]
        state["provider.fixed"] = state["provider.fixed"][real][:, real]
        if "padding" in state:
            state["padding"] = state["padding"][virtual]
        other.load_state_dict(state)
        seen = replace(window, past=window.past[:, :, real], past_observed=window.past_observed[:, :, real])
        torch.testing.assert_close(other.forecast(seen), expected[:, :, real], rtol=1e-5, atol=1e-4)
        if not torch.equal(real, torch.arange(4)):
            assert (expected[:, :, real] - expected).abs().max() > 1e-2


def two_layers(matrix, x, weights):
    """tanh layers that mix one-hop neighbours, no higher powers."""
    h = x
    for weight in weights:
        h = torch.tanh(matrix @ h @ weight)
    return h


def test_two_layers_reach_two_hops_and_with_one_hub_everyone():
    torch.manual_seed(0)
    nodes, adjacency = 9, path(9) + torch.eye(9)
    weights = [torch.randn(3, 3, dtype=torch.float64) for _ in range(2)]
    distance = hop_distances(adjacency)
    for virtual in (0, 1):
        matrix = provider("semi", virtual, adjacency)().detach().double()
        x = torch.randn(nodes + virtual, 3, dtype=torch.float64, requires_grad=True)
        reach = sensitivity(two_layers(matrix, x, weights), x)[:nodes, :nodes]
        if virtual:
            assert (reach > 0).all()
        else:
            assert (reach[distance > 2] == 0).all() and (reach[distance <= 2] > 0).all()
        gain = max(float(weight.abs().sum(0).max()) for weight in weights)
        # one output feature and one input feature at a time, at most width^2 of them
        assert (reach <= 9 * squashing_bound(matrix, 2, gain)[:nodes, :nodes] + 1e-12).all()


def test_sensitivity_is_the_jacobian_of_brute_force():
    torch.manual_seed(0)
    matrix = provider("adaptive", 0, path(5))().detach()
    weights = [torch.randn(2, 2) for _ in range(2)]
    x = torch.randn(4, 5, 2, requires_grad=True)  # four steps

    def network(x):
        return two_layers(matrix, x.sum(0), weights)

    jacobian = torch.autograd.functional.jacobian(network, x)  # (5, 2, 4, 5, 2)
    torch.testing.assert_close(sensitivity(network(x), x), jacobian.abs().sum((1, 2, 4)))
    assert (sensitivity(x[0] * 1.0, x) == 2 * torch.eye(5)).all()


def test_by_distance_averages_over_pairs():
    values = torch.arange(9.0).view(3, 3)
    means = by_distance(values, hop_distances(path(3)))
    assert means.tolist() == [4.0, (1 + 3 + 5 + 7) / 4, (2 + 6) / 2]
    apart = torch.tensor([[0.0, torch.inf], [torch.inf, 0.0]])
    assert by_distance(torch.ones(2, 2), apart).tolist() == [1.0]


def test_a_hub_lowers_the_resistance_between_all_distant_nodes():
    """Rayleigh: new ways lower R strictly wherever current would take them."""
    nodes = 10
    before = resistances(path(nodes))
    line = torch.arange(nodes, dtype=torch.float64)
    torch.testing.assert_close(before, (line[:, None] - line).abs())  # resistors in a row
    hub = torch.ones(nodes + 1, nodes + 1) - torch.eye(nodes + 1)
    hub[:nodes, :nodes] = path(nodes)
    after = resistances(hub)[:nodes, :nodes]
    distant = hop_distances(path(nodes)) >= 2
    assert (after[distant] < before[distant] - 1e-6).all()


def test_backbone_is_the_papers_layer():
    torch.manual_seed(0)
    net, matrix = GraphWaveNet(3, 4, 6, steps=5, layers=2, hops=2), torch.rand(7, 7)
    x = torch.randn(2, 5, 7, 3)
    supports = diffusion_supports(matrix, 2)
    along = matrix / matrix.sum(1, keepdim=True)
    against = matrix.T / matrix.T.sum(1, keepdim=True)
    torch.testing.assert_close(supports, torch.stack([torch.eye(7), along, along @ along, against, against @ against]))
    h, total = net.input(x), 0
    for dilation, time, graph, skip in zip((1, 2), net.times, net.graphs, net.skips, strict=True):
        value, gate = time.map(torch.cat([h[:, :-dilation], h[:, dilation:]], -1)).chunk(2, -1)
        z = value.tanh() * gate.sigmoid()
        weight = graph.map.weight.T.unflatten(0, (5, 4))
        h = torch.einsum("snm,btmi,sio->btno", supports, z, weight) + graph.map.bias + h[:, dilation:]
        total = total + skip(h.transpose(1, 2).flatten(2))
    torch.testing.assert_close(net(x, matrix), total, rtol=1e-4, atol=1e-5)
    assert net.layers(x, matrix)[-1].shape == (2, 2, 7, 4)
    with pytest.raises(ValueError, match="look back further"):
        GraphWaveNet(3, 4, 6, steps=3, layers=3)


def test_virtual_nodes_enter_no_loss_and_keep_a_state(complete):
    method = VNode.seeded(complete, 0, virtual=2, backbone="gru", **SMALL)
    window = complete.gather(torch.arange(3))
    assert method.forecast(window).shape == (3, 4, 4, 1)
    x = method.padded(method.scaling(window.past), window)
    assert x.shape == (3, 4, 6, 7) and (x[:, :, 4:] == 0).all()
    states = method.states(x, method.provider())
    assert (states[-1][:, 4:] - states[0][:, 4:]).abs().max() > 1e-4
    method.loss(window).backward()
    for name in ("sender", "receiver", "gate"):
        assert getattr(method.provider, name).grad.abs().sum() > 0


def test_importance_says_whom_the_hubs_listen_to(complete):
    method = VNode.seeded(complete, 0, virtual=2, **SMALL)
    with torch.no_grad():
        method.provider.sender[4:] = torch.tensor([5.0, 0.0, 0.0])
        method.provider.receiver.zero_()
        method.provider.receiver[3] = torch.tensor([1.0, 0.0, 0.0])
        method.provider.gate[1] = 10.0
    hubs, sensors = method.importance()
    assert hubs.argmax() == 3 and hubs[3] > 0.9
    assert sensors.argmax() == 1
    torch.testing.assert_close(sensors, torch.sigmoid(method.provider.gate.detach()))
    plain = VNode.for_data(complete, virtual=0, **SMALL)
    assert plain.importance()[0].tolist() == [0.0] * 4


@pytest.mark.parametrize("backbone", ["wavenet", "gru"])
def test_sensitivity_of_the_whole_method_stops_where_the_backbone_does(complete, backbone):
    nodes = 14
    wide = replace(
        complete,
        values=complete.values[:, :1].expand(-1, nodes, -1).clone(),
        observed=torch.ones(complete.steps, nodes, 1, dtype=torch.bool),
        adjacency=path(nodes), positions=None, nodes=(),
    )  # fmt: skip
    window = wide.gather(torch.tensor([0, 7]))
    plain = VNode.seeded(wide, 0, virtual=0, backbone=backbone, layers=2, **SMALL)
    distance = plain.hops_apart()
    assert distance.max() == nodes - 1
    made = plain.sensitivity(window, item=1)
    reach = [2, 4] if backbone == "wavenet" else [4, 8, 12]  # two hops a filter, two filters a recurrent step
    for layer, hops in zip(made, reach, strict=False):
        assert (layer[distance > hops] == 0).all() and (layer[distance <= 1] > 0).all()
    hub = VNode.seeded(wide, 0, virtual=1, backbone=backbone, layers=2, **SMALL)
    assert (hub.sensitivity(window, item=1)[0] > 0).all()


def test_impossible_choices_are_named(complete):
    for name in ("graph", "backbone", "padding"):
        with pytest.raises(MethodError, match=name):
            VNode.for_data(complete, **{name: "other"})
    with pytest.raises(MethodError, match="virtual=0"):
        VNode.for_data(complete, graph="adaptive", virtual=2)


def test_a_vector_per_sensor_tells_sensors_apart(complete):
    same = replace(complete, values=complete.values[:, :1].expand(-1, 4, -1).clone(), adjacency=torch.ones(4, 4))
    window = same.gather(torch.arange(3))
    for node_width, alike in ((0, True), (2, False)):
        method = VNode.seeded(same, 0, virtual=0, graph="fixed", node_width=node_width, **SMALL)
        forecast = method.forecast(window)
        assert bool(((forecast - forecast[:, :, :1]).abs() < 1e-4).all()) is alike
