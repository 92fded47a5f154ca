"""DRew: who is heard when, checked by gradients and by a recursion of dense matrices."""

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_graph
from pathline.data.graph_batch import GraphBatch
from pathline.data.graph_list import graphs_of
from pathline.graph.hops import distance_matrix
from pathline.graphs.drew import DRew
from pathline.sims.graph_tasks import ring_transfer


def path(nodes):
    line = torch.arange(nodes - 1)
    edges = torch.stack([torch.cat([line, line + 1]), torch.cat([line + 1, line])])
    features = torch.ones(nodes, 2, dtype=torch.float64)
    return GraphBatch(features=features, edge_index=edges, graph=torch.zeros(nodes, dtype=torch.int64))


def built(layers=4, width=6, **config):
    torch.manual_seed(0)
    method = DRew("classify-nodes", 2, ["a", "b"], layers=layers, width=width, **config).double().eval()
    return method


class Identity(torch.nn.Module):
    def forward(self, x):
        return x


def heard_from(method, batch, node):
    """(nodes,) how much `node` hears of each: |d h_node / d x_j|."""
    x = batch.features.clone().requires_grad_()
    total = (method.encode(x, batch)[node] * torch.arange(1.0, method.width + 1).double()).sum()
    (gradient,) = torch.autograd.grad(total, x)
    return gradient.abs().sum(1)


@pytest.fixture
def linear(monkeypatch):
    """Without the rectifier, so that no gradient is zero by chance."""
    monkeypatch.setattr("pathline.graphs.drew.F.relu", lambda x: x)


@pytest.mark.parametrize(("nu", "farthest"), [(1, 4), (2, 5), (None, 10)])
def test_the_receptive_field_after_four_layers(linear, nu, farthest):
    """With nu = 1 a step a layer: 4; without delay 1 + 2 + 3 + 4 = 10. With nu = 2, by the recursion r(l + 1) =
    max_k (r(l - max(0, k - 2)) + k): 1, 3, 5, 7 is what follows; see below."""
    batch = path(24)
    heard = heard_from(built(nu=nu), batch, 0)
    reach = [0]
    for layer in range(4):
        delay = [0 if nu is None else max(0, k - nu) for k in range(1, layer + 2)]
        reach.append(max(reach[layer - late] + k for k, late in enumerate(delay, 1)))
    if nu != 2:
        assert reach[-1] == farthest
    assert bool((heard[reach[-1] + 1 :] == 0).all())
    assert float(heard[reach[-1]]) > 0


@pytest.mark.parametrize("nu", [1, 2, None])
@pytest.mark.parametrize("share", ["none", "layers", "distances"])
def test_a_linear_network_is_a_recursion_of_dense_matrices(linear, nu, share):
    batch, layers = path(9), 4
    method = built(nu=nu, share=share)
    x = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    distance = distance_matrix(batch.edge_index, 9)
    states = [method.encoder(x)]
    for layer in range(layers):
        at = {"none": f"layer {layer}, distance {{}}", "layers": "distance {}", "distances": f"layer {layer}"}[share]
        own = method.messages[f"layer {layer}, itself" if share == "distances" else at.format(0)].value
        new = states[layer] + own(states[layer])
        for k in range(1, layer + 2):
            ring = (distance == k).double()
            degree = ring.sum(1).clamp(min=1).rsqrt()
            late = 0 if nu is None else max(0, k - nu)
            weight = method.messages[at.format(k)].value.weight
            new = new + degree[:, None] * ring * degree @ states[layer - late] @ weight.T
        states.append(new)
    assert torch.allclose(method.encode(x, batch), states[-1], atol=1e-6)


def test_with_a_reach_of_one_it_is_a_residual_network():
    batch, x = path(7), torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    adjacency = (distance_matrix(batch.edge_index, 7) == 1).double()
    scale = adjacency.sum(1).rsqrt()
    for kind in ("gcn", "gin", "gated"):
        method = built(reach=1, kind=kind)
        h = method.encoder(x)
        for layer in range(4):
            own = method.messages[f"layer {layer}, distance 0"].value
            near = method.messages[f"layer {layer}, distance 1"]
            if kind == "gcn":
                h = h + torch.relu(own(h) + near.value(scale[:, None] * adjacency * scale @ h))
            elif kind == "gin":
                h = (1 + method.epsilon[layer]) * own(h) + adjacency @ near.value(h)
            else:
                gate = torch.sigmoid(near.receive(h)[:, None] + near.send(h)[None]) * adjacency[..., None]
                mean = (gate * near.value(h)[None]).sum(1) / (gate.sum(1) + 1e-6)
                h = h + torch.relu(method.norms[layer](own(h) + mean))
        assert torch.allclose(method.encode(x, batch), h, atol=1e-6), kind


@pytest.mark.parametrize("kind", ["gcn", "gin", "gated"])
def test_relabelling_and_disconnected_parts(kind):
    data = tiny_graph()
    batch = data.whole().map(lambda t: t.double() if t.is_floating_point() else t)
    torch.manual_seed(0)
    method = DRew.for_data(data, kind=kind, layers=3).double().eval()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    moved = GraphBatch(batch.features[order.argsort()], order[batch.edge_index], batch.graph)
    x, y = method.features(batch), method.features(moved)
    assert torch.allclose(method.encode(y, moved)[order], method.encode(x, batch), atol=1e-9)
    apart = batch.edge_index[:, (batch.edge_index[0] < 20) == (batch.edge_index[1] < 20)]
    cut = GraphBatch(batch.features, apart, batch.graph)
    changed = x.clone()
    changed[:20] += 1
    assert torch.equal(method.encode(changed, cut)[20:], method.encode(x, cut)[20:])
    assert not torch.allclose(method.encode(changed, batch)[20:], method.encode(x, batch)[20:])


def test_prepared_graphs_and_graphs_searched_on_the_spot_are_the_same():
    data = ring_transfer(6, nodes=8)
    torch.manual_seed(0)
    method = DRew.for_data(data, layers=4).eval()
    plain, ready = data.whole(), method.prepared(data).whole()
    assert int(ready.edge_type.max()) == 4
    assert torch.allclose(method(plain), method(ready), atol=1e-6)
    assert method.prepared(data) is method.prepared(data)


def test_baselines_hear_what_they_say():
    batch = path(9)
    static = built(layers=1, nu=None, dynamic=False, reach=3)
    assert (heard_from(static, batch, 0) > 0).tolist() == [True] * 4 + [False] * 5
    full = built(layers=2, nu=None, reach=1, last_full=True)
    assert bool((heard_from(full, batch, 0) > 0).all())


def test_delays_that_cannot_be_are_refused():
    with pytest.raises(MethodError, match="nu"):
        built(nu=0)
    with pytest.raises(MethodError, match="dynamic"):
        built(nu=1, dynamic=False)


def test_parameters_grow_with_the_square_of_layers_unless_shared():
    matrices = {share: len(built(layers=5, share=share).messages) for share in ("none", "layers", "distances")}
    assert matrices == {"none": 5 + 15, "layers": 6, "distances": 10}


def test_eigenvectors_describe_nodes_and_their_signs_are_drawn_in_training():
    data = graphs_of(
        [path(n).edge_index for n in (5, 6, 7)],
        [torch.zeros(n, 0) for n in (5, 6, 7)],
        labels=torch.tensor([0, 1, 0]),
        classes=("odd", "even"),
    )
    torch.manual_seed(0)
    method = DRew.for_data(data, laplacian=2, layers=2).eval()
    batch = method.prepared(data).whole()
    fixed = method.features(batch)
    assert fixed.shape == (18, 5)
    assert torch.equal(method.features(batch), fixed)
    method.train()
    signs = [(method.features(batch)[:, 3:] / fixed[:, 3:]).nan_to_num(0).sign().amin() for _ in range(8)]
    assert -1 in signs
    assert torch.allclose(method.features(batch)[:, 3:].abs(), fixed[:, 3:].abs())
