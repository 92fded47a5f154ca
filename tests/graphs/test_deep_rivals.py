"""What deep attention is measured against: each rival is its equation, written out in dense matrices."""

import math

import pytest
import torch
import torch.nn.functional as F

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.schedule import rate_groups
from pathline.core.tiny_graphs import TINY_TASKS, tiny_graph
from pathline.graphs.deep_rivals import APPNP, DAGNN, FAGCN, GCNII, GPRGNN, RIVALS, GATv2
from pathline.nn.hop_propagation import last, pagerank_weights

NODES = 40


def built(cls, **config):
    torch.manual_seed(0)
    method = cls.for_data(tiny_graph(), **({"hops": 4, "width": 8} | config)).double().eval()
    batch = tiny_graph().whole().map(lambda t: t.double() if t.is_floating_point() else t)
    return method, batch, method.features(batch)


def adjacency(batch):
    """A + I, receiver and sender, and D^-1/2 (A + I) D^-1/2."""
    table = torch.eye(NODES, dtype=torch.float64)
    table[batch.edge_index[1], batch.edge_index[0]] = 1
    scale = table.sum(1).rsqrt()
    return table, scale[:, None] * table * scale


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("heads", [1, 2])
def test_gatv2_attends_after_the_nonlinearity_and_has_an_initial_residual(alpha, heads):
    method, batch, x = built(GATv2, alpha=alpha, heads=heads, hops=3)
    there = adjacency(batch)[0] > 0
    for place, layer in enumerate(method.linear):
        said = layer(F.elu(x) if place else x)
        parts = []
        for part, vector in zip(said.chunk(heads, 1), method.vectors[place], strict=True):
            scores = F.leaky_relu(part[:, None] + part[None], 0.2) @ vector
            parts.append(scores.masked_fill(~there, -torch.inf).softmax(1) @ part)
        x = torch.cat(parts, 1) + method.biases[place]
        first = said if place == 0 else first  # noqa: F821
        x = (1 - alpha) * x + alpha * first
    assert torch.allclose(method.encode(method.features(batch), batch), x, atol=1e-10)


def test_fagcn_signs_its_neighbours_and_returns_to_the_first_features():
    method, batch, x = built(FAGCN, alpha=0.3)
    fixed = adjacency(batch)[1]
    h = first = F.relu(method.first(x))
    signs = []
    for layer in method.attention:
        receive, send = (h @ layer.weight.T).unbind(1)
        signed = torch.tanh(receive[:, None] + send[None])
        signs.append(signed)
        h = 0.3 * first + (signed * fixed) @ h
    assert torch.allclose(method.encode(x, batch), h, atol=1e-10)
    assert bool((torch.stack(signs) < 0).any()) and bool((torch.stack(signs) > 0).any())


def test_appnp_is_the_iteration_and_goes_to_personalised_pagerank():
    method, batch, x = built(APPNP, alpha=0.2, hops=200)
    fixed = adjacency(batch)[1]
    h = F.relu(method.first(x))
    limit = 0.2 * torch.linalg.solve(torch.eye(NODES, dtype=torch.float64) - 0.8 * fixed, h)
    assert torch.allclose(method.encode(x, batch), limit, atol=1e-6)
    short = built(APPNP, alpha=0.2, hops=3)[0]
    z = h = F.relu(short.first(x))
    for _ in range(3):
        z = 0.8 * fixed @ z + 0.2 * h
    assert torch.allclose(short.encode(x, batch), z, atol=1e-6)
    assert not torch.allclose(z, limit, atol=1e-3)


def test_pagerank_weights_sum_to_one():
    assert float(pagerank_weights(0.1, 10).sum()) == pytest.approx(1)
    assert pagerank_weights(0.25, 2).tolist() == pytest.approx([0.25, 0.1875, 0.5625])


def test_gprgnn_learns_its_coefficients_without_decay_from_pageranks_on():
    method, batch, x = built(GPRGNN, alpha=0.2)
    assert method.theta.tolist() == pytest.approx(pagerank_weights(0.2, 4).tolist())
    with torch.no_grad():
        method.theta.copy_(torch.tensor([0.5, -1.0, 2.0, 0.0, -0.3]))
    fixed = adjacency(batch)[1]
    h, expected = F.relu(method.first(x)), 0
    for theta in method.theta:
        expected, h = expected + theta * h, fixed @ h
    assert torch.allclose(method.encode(x, batch), expected, atol=1e-6)
    decays = {group["weight_decay"]: group["params"] for group in rate_groups(method, 0.1)}
    assert len(decays[0.0]) == 1 and decays[0.0][0] is method.theta
    method.loss(batch).backward()
    assert bool((method.theta.grad != 0).all())


def test_dagnn_weighs_hops_for_every_node():
    method, batch, x = built(DAGNN)
    fixed = adjacency(batch)[1]
    h, expected = F.relu(method.first(x)), 0
    for _ in range(5):
        expected, h = expected + torch.sigmoid(method.gate(h)) * h, fixed @ h
    assert torch.allclose(method.encode(x, batch), expected, atol=1e-6)
    gammas = last(method.propagate(F.relu(method.first(x)), batch)).gamma.detach()
    assert float(gammas.std()) > 0 and bool((gammas > 0).all())


def test_gcnii_mixes_less_the_deeper_it_is():
    method, batch, x = built(GCNII, alpha=0.2, strength=0.7)
    fixed = adjacency(batch)[1]
    h = first = F.relu(method.first(x))
    eye = torch.eye(8, dtype=torch.float64)
    for place, layer in enumerate(method.mix, start=1):
        share = math.log(0.7 / place + 1)
        h = F.relu((0.8 * fixed @ h + 0.2 * first) @ ((1 - share) * eye + share * layer.weight.T))
    assert torch.allclose(method.encode(x, batch), h, atol=1e-6)


@pytest.mark.parametrize("name", list(RIVALS))
def test_rivals_are_equivariant_and_drop_in_training_only(name):
    method, batch, x = built(RIVALS[name])
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(1))
    moved = type(batch)(features=batch.features[order.argsort()], edge_index=order[batch.edge_index], graph=batch.graph)
    other = method.encode(method.features(moved), moved)
    assert torch.allclose(other[order], method.encode(x, batch), atol=1e-6)
    assert not torch.allclose(other, method.encode(x, batch), atol=1e-3)
    method.train()
    assert not torch.equal(method.encode(x, batch), method.encode(x, batch))


@pytest.mark.parametrize("name", list(RIVALS))
def test_rivals_learn_nodes_graphs_and_links(name):
    for task in ("classify-nodes", "classify-graphs", "predict-links"):
        data = TINY_TASKS[task]()
        method = RIVALS[name].seeded(data, 0, hops=2, width=8, dropout=0.1)
        batch = next(iter(method.batches(data.split(0).train, 64, torch.Generator().manual_seed(0))))
        before = method.eval().loss(batch).detach()
        method.fit(data.split(0), Budget(steps=25), batch_size=64, lr=1e-2, validations=1)
        assert bool(method.loss(batch) < before), task


@pytest.mark.parametrize("wrong", [{"hops": 0}, {"alpha": 1.5}, {"alpha": -0.1}])
def test_settings_that_cannot_be_are_refused(wrong):
    for cls in RIVALS.values():
        with pytest.raises(MethodError, match=next(iter(wrong))):
            cls.for_data(tiny_graph(), **wrong)
    with pytest.raises(MethodError, match="heads"):
        GATv2.for_data(tiny_graph(), width=8, heads=3)
