"""AERO-GNN: what it is without attention, that its attention is no average, and what depth leaves of it."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.schedule import rate_groups
from pathline.core.tiny_graphs import TINY_TASKS, tiny_graph
from pathline.data.graph import Graph
from pathline.graph.smoothness import cumulative_attention, dirichlet_energy, row_spread
from pathline.graph.sparse import Edges
from pathline.graphs.aerognn import AEROGNN
from pathline.graphs.deep_rivals import APPNP, GPRGNN, GATv2
from pathline.nn.hop_propagation import Pairs, last, pair_scores, symmetric_weights


def double(batch):
    return batch.map(lambda t: t.double() if t.is_floating_point() else t)


def built(data=None, seed=0, **config):
    data = tiny_graph() if data is None else data
    torch.manual_seed(seed)
    return AEROGNN.for_data(data, **({"hops": 6, "width": 8} | config)).double().eval(), double(data.whole())


def dense(alpha, edges):
    """(nodes, nodes), receiver and sender."""
    table = torch.zeros(edges.receivers, edges.receivers, dtype=torch.float64)
    table[edges.edge_index[1], edges.edge_index[0]] = alpha.detach().double()
    return table


def switch_off(method, edge=True, hop=True):
    with torch.no_grad():
        if edge:
            method.edge_vectors.zero_()
        if hop:
            method.first_hop_vector.zero_()
            method.hop_vectors.zero_()
    return method


def random_graph(nodes=60, degree=8, seed=0):
    """Connected: a ring with random chords, of very unequal degrees."""
    generator = torch.Generator().manual_seed(seed)
    ring = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    count = nodes * (degree - 2) // 2
    chords = (nodes * torch.rand(2, count, generator=generator).square()).long()
    ends = torch.cat([ring, chords], 1).sort(0).values
    ends = ends[:, ends[0] != ends[1]].unique(dim=1)
    return Graph(
        edge_index=torch.cat([ends, ends.flip(0)], 1),
        features=torch.randn(nodes, 5, generator=generator),
        labels=torch.arange(nodes) % 2,
        classes=("a", "b"),
        name="random",
    )


# -- the equations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
def test_every_hop_is_the_equations_written_out_for_one_head_at_a_time(loops, heads):
    method, batch = built(heads=heads, self_loops=loops, memory=0.7, hops=4)
    h0 = torch.randn(batch.nodes, 8, dtype=torch.float64)
    hops = list(method.propagate(h0, batch))
    adjacency = torch.zeros(batch.nodes, batch.nodes, dtype=torch.float64)
    adjacency[batch.edge_index[1], batch.edge_index[0]] = 1
    adjacency += torch.eye(batch.nodes) * loops
    for head in range(heads):
        part = slice(8 // heads * head, 8 // heads * (head + 1))
        h = h0[:, part]
        gamma = F.elu(h) @ method.first_hop_vector[head] + method.hop_biases[0, head]
        z = gamma[:, None] * h
        for k in range(1, 5):
            memory = math.log(0.7 / k + 1 + 1e-6) * z
            a = F.softplus(F.elu(memory[:, None] + memory[None]) @ method.edge_vectors[k - 1, head]) + 1e-6
            a = a * adjacency
            scale = a.sum(1).rsqrt()
            h = (scale[:, None] * a * scale) @ h
            gamma = F.elu(torch.cat([h, memory], 1)) @ method.hop_vectors[k - 1, head] + method.hop_biases[k, head]
            z = z + gamma[:, None] * h
            assert torch.allclose(hops[k].h[:, part], h, atol=1e-10)
            assert torch.allclose(hops[k].gamma[:, head], gamma, atol=1e-10)
            assert torch.allclose(hops[k].z[:, part], z, atol=1e-10)


def test_without_edge_attention_alpha_is_the_normalised_adjacency():
    for loops in (True, False):
        method, batch = built(self_loops=loops)
        edges = method.edges_of(batch)
        hops = list(switch_off(method, hop=False).propagate(method.transform(method.features(batch)), batch))
        expected = symmetric_weights(torch.ones(edges.edge_index.shape[1], dtype=torch.float64), edges)
        table = dense(expected, edges)
        degree = (table > 0).sum(1).double()
        assert torch.allclose(table, (table > 0) / (degree[:, None] * degree).sqrt(), atol=1e-12)
        assert all(torch.allclose(hop.alpha[:, 0], expected, atol=1e-5) for hop in hops[1:])
        assert not torch.allclose(next(iter_alphas(built(self_loops=loops)))[:, 0], expected, atol=1e-3)


def iter_alphas(pair):
    method, batch = pair
    for hop in method.propagate(method.transform(method.features(batch)), batch):
        if hop.alpha is not None:
            yield hop.alpha.detach()


@pytest.mark.parametrize("rival", [GPRGNN, APPNP])
def test_without_attention_it_is_generalised_pagerank_and_for_those_biases_personalised_pagerank(rival):
    method, batch = built(hops=6)
    switch_off(method)
    torch.manual_seed(1)
    other = rival.for_data(tiny_graph(), hops=6, width=8, alpha=0.2).double().eval()
    if rival is GPRGNN:
        theta = torch.randn(7, dtype=torch.float64)
        with torch.no_grad():
            other.theta.copy_(theta)
    else:
        theta = 0.2 * 0.8 ** torch.arange(7, dtype=torch.float64)
        theta[-1] = 0.8**6
    with torch.no_grad():
        method.hop_biases.copy_(theta[:, None])
    h0 = torch.randn(batch.nodes, 8, dtype=torch.float64)
    found = last(method.propagate(h0, batch)).z
    assert torch.allclose(found, last(other.propagate(h0, batch)).z, atol=1e-5)
    on_edges, on_self = batch.gcn
    table = dense(on_edges, batch.edges) + torch.diag(on_self).double()
    expected, power = 0, h0
    for share in theta:
        expected, power = expected + share * power, table @ power
    assert torch.allclose(found, expected, atol=1e-5)
    if rival is APPNP:
        step = h0
        for _ in range(6):
            step = 0.8 * table @ step + 0.2 * h0
        assert torch.allclose(found, step, atol=1e-5)


def test_alpha_is_symmetric_no_average_and_its_spectral_radius_is_at_most_one():
    data = random_graph()
    for loops in (True, False):
        method, batch = built(data, self_loops=loops, hops=8)
        edges = method.edges_of(batch)
        for alpha in iter_alphas((method, batch)):
            table = dense(alpha[:, 0], edges)
            assert float((table - table.T).abs().max()) < 1e-6
            assert float(torch.linalg.eigvalsh(table).abs().max()) <= 1 + 1e-5
            assert float((table.sum(1) - 1).abs().max()) > 0.05


def test_memory_weighs_the_sum_less_and_less_and_none_at_all_makes_attention_blind_to_it():
    method, batch = built(memory=0.5, hops=10)
    ones = torch.ones(1, 8, dtype=torch.float64)
    scales = [float(method.remembered(k, ones)[0, 0]) for k in range(11)]
    assert scales == sorted(scales, reverse=True)
    assert scales == pytest.approx([math.log(0.5 / (k + 1) + 1 + 1e-6) for k in range(11)], abs=1e-12)
    blind, _ = built(memory=0.0)
    z = torch.randn(batch.nodes, 8, dtype=torch.float64)
    alpha = blind.edge_attention(1, z, batch)
    assert torch.allclose(alpha, blind.edge_attention(1, 5 * z, batch), atol=1e-4)
    assert not torch.allclose(method.edge_attention(1, z, batch), method.edge_attention(1, 5 * z, batch), atol=1e-3)


def test_every_hop_has_vectors_of_its_own_and_begins_as_a_sum_over_hops():
    method, batch = built(hops=5, heads=2, width=8)
    assert method.edge_vectors.shape == (5, 2, 4)
    assert method.first_hop_vector.shape == (2, 4)
    assert method.hop_vectors.shape == (5, 2, 8)
    assert method.hop_biases.shape == (6, 2) and bool((method.hop_biases == 1).all())
    z = torch.randn(batch.nodes, 8, dtype=torch.float64)
    first, second = (method.edge_attention(k, z, batch) / method.remembered(k - 1, torch.ones(1)) for k in (1, 2))
    assert not torch.allclose(first, second, atol=1e-3)
    method.train()
    method.loss(batch).backward()
    named = {"edge_vectors": (1, 2), "first_hop_vector": (0, 1), "hop_vectors": (1, 2), "hop_biases": (1,)}
    for name, dims in named.items():
        assert bool((getattr(method, name).grad.abs().sum(dims) > 0).all()), name
    gammas = [hop.gamma for hop in switch_off(built(hops=5)[0]).propagate(z, batch)]
    assert all(bool((gamma == 1).all()) for gamma in gammas)


def test_gamma_can_take_a_hop_away():
    found = built(hops=6, width=32)
    assert any(bool((hop.gamma < 0).any()) for hop in found[0].propagate(torch.randn(40, 32).double(), found[1]))


# -- graphs as they are -----------------------------------------------------------------------------------------------


def test_isolated_nodes_keep_what_they_are_and_nothing_becomes_infinite():
    data = tiny_graph()
    kept = data.edge_index[:, (data.edge_index != 3).all(0)]
    method, batch = built(dataclasses.replace(data, edge_index=kept), self_loops=False)
    batch.features.requires_grad_(True)
    h0 = method.transform(method.features(batch))
    hops = list(method.propagate(h0, batch))
    assert all(bool(hop.z.isfinite().all()) for hop in hops)
    assert torch.equal(hops[-1].z[3], hops[0].z[3])
    assert bool((hops[1].h[3] == 0).all()) and not bool((hops[1].h[4] == 0).all())
    method.loss(batch).backward()
    assert all(bool(p.grad.isfinite().all()) for p in method.parameters())
    assert bool(batch.features.grad.isfinite().all())
    alone = dataclasses.replace(data, edge_index=data.edge_index[:, :0])
    for loops in (True, False):
        assert bool(torch.isfinite(built(alone, self_loops=loops)[0].float().said(alone)).all())


def test_weights_of_edges_scale_their_attention():
    data = tiny_graph()
    sender, receiver = data.edge_index
    weight = 1 + ((sender * receiver) % 3).float()
    method, batch = built(dataclasses.replace(data, weight=weight))
    switch_off(method)
    alpha = next(iter_alphas((method, batch)))
    base = math.log(2) + 1e-6
    a = torch.cat([weight.double(), torch.ones(40, dtype=torch.float64)]) * base
    assert torch.allclose(alpha[:, 0], symmetric_weights(a, batch.looped), atol=1e-10)
    plain = next(iter_alphas((switch_off(built(data)[0]), double(data.whole()))))
    assert not torch.allclose(alpha, plain, atol=1e-2)


def test_permutation_equivariance_in_double_precision():
    method, batch = built(heads=2)
    order = torch.randperm(batch.nodes, generator=torch.Generator().manual_seed(1))
    moved = type(batch)(features=batch.features[order.argsort()], edge_index=order[batch.edge_index], graph=batch.graph)
    one, other = (method.encode(method.features(b), b) for b in (batch, moved))
    assert torch.allclose(other[order], one, atol=1e-10)
    assert not torch.allclose(other, one, atol=1e-3)


@pytest.mark.parametrize("task", list(TINY_TASKS))
def test_it_learns_every_task_of_the_room(task):
    data = TINY_TASKS[task]()
    method = AEROGNN.seeded(data, 0, hops=3, width=8, heads=2, dropout=0.1)
    batch = next(iter(method.batches(data.split(0).train, 64, torch.Generator().manual_seed(0))))
    before = method.eval().loss(batch).detach()
    method.fit(data.split(0), Budget(steps=40), batch_size=64, lr=1e-2)
    assert bool(method.loss(batch) < before)


# -- pair scores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["elu", "leaky_relu"])
def test_scores_of_pairs_and_their_gradients(activation):
    edges = Edges(torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 2, 0, 0]]), 5)
    pairs = Pairs(edges)
    assert len(pairs.first.index) == 4  # 0-1, 1-2, 2-2, 0-3
    z = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    phi = F.elu if activation == "elu" else lambda t: F.leaky_relu(t, 0.2)
    sums = phi(z[edges.edge_index[0]] + z[edges.edge_index[1]]).view(6, 2, 3)
    assert torch.allclose(pair_scores(z, vectors, pairs, activation), (sums * vectors).sum(-1))
    assert torch.autograd.gradcheck(lambda *given: pair_scores(*given, pairs, activation), (z, vectors))


def test_training_keeps_two_numbers_per_edge_and_hop_whatever_the_width():
    """Tensors of edges times width would be 150 x wider rows than what is kept."""
    data = random_graph(nodes=200, degree=100)
    method, batch = built(data, width=64, hops=3)
    count, kept = method.edges_of(batch).edge_index.shape[1], []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        method.loss(batch)
    by_edge = [shape for shape in kept if len(shape) and shape[0] > count // 3]
    assert by_edge and max(shape.numel() for shape in by_edge) <= count


# -- depth ------------------------------------------------------------------------------------------------------------


def normalised_degrees(edges):
    return edges.in_degree.double().rsqrt()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_64_hops_stacked_attention_has_become_one_row_and_the_sum_has_not_become_smooth(seed):
    data = random_graph(seed=seed)
    torch.manual_seed(seed)
    stacked = GATv2.for_data(data, hops=64, width=8).double().eval()
    batch = double(data.whole())
    layers = list(stacked.layers(stacked.features(batch), batch))
    spreads = [row_spread(t) for t in cumulative_attention([a[:, 0] for a, _ in layers], batch.looped)]
    assert spreads[0] > 0.1
    assert spreads[-1] < 1e-3
    method, batch = built(data, seed, hops=64, width=8)
    hops = list(method.propagate(method.transform(method.features(batch)), batch))
    scale = normalised_degrees(batch.looped)
    energy = [dirichlet_energy(hop.z, batch.edges) for hop in hops]
    assert energy[64] > 0.1 * energy[4]
    fixed = [dirichlet_energy(hop.z, batch.edges, scale) for hop in hops]
    assert fixed[64] > 0.1 * fixed[4]
    outputs = [dirichlet_energy(x, batch.edges) for _, x in layers]
    assert outputs[-1] < 1e-3 * outputs[3]  # what attention that averages leaves, of the same graph


def test_smoothness_tells_spread_and_gamma_hop_by_hop():
    data = random_graph()
    method, _ = built(data, hops=5, heads=2)
    method.float()
    found = method.smoothness(data)
    assert [row["hop"] for row in found] == list(range(6))
    assert "spread" not in found[0] and all(0 < row["spread"] < 2**0.5 for row in found[1:])
    batch = data.whole()
    hops = list(method.propagate(method.transform(method.features(batch)), batch))
    assert found[3]["gamma"] == pytest.approx(float(hops[3].gamma.detach().mean()), abs=1e-5)
    tables = [[dense(hop.alpha[:, m].double(), batch.looped) for hop in hops[1:3]] for m in range(2)]
    spread = sum(row_spread(second @ first) for first, second in tables) / 2
    assert found[2]["spread"] == pytest.approx(spread, abs=1e-5)
    with pytest.raises(MethodError, match="5001 nodes"):
        large = Graph(
            edge_index=torch.zeros(2, 0, dtype=torch.int64),
            features=torch.zeros(5001, 5),
            labels=torch.arange(5001) % 2,
            classes=("a", "b"),
            name="large",
        )
        method.smoothness(large)


def test_spread_and_energy_of_matrices_that_are_known():
    assert row_spread(torch.ones(4, 4)) == pytest.approx(0, abs=1e-12)
    assert row_spread(3 * torch.eye(5)) == pytest.approx(2**0.5)
    assert row_spread(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])) == pytest.approx(2**0.5)
    large = torch.rand(600, 600, dtype=torch.float64)
    rows = large / large.sum(1, keepdim=True)
    exact = float(torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum()) / (600 * 599)
    assert row_spread(large) == pytest.approx(exact, rel=1e-6)
    edges = Edges(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    x = torch.tensor([[0.0], [1.0], [3.0]])
    assert dirichlet_energy(x, edges) == 5.0
    root = edges.in_degree.double().sqrt()
    assert dirichlet_energy(root[:, None], edges, 1 / root) == pytest.approx(0, abs=1e-12)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_attention_decays_by_itself():
    method, _ = built(attention_decay=0.25)
    groups = {group["weight_decay"]: group["params"] for group in rate_groups(method, 0.4)}
    assert set(groups) == {0.1, 0.4}
    names = {name for name, p in method.named_parameters() if any(p is q for q in groups[0.1])}
    assert names == {"edge_vectors", "first_hop_vector", "hop_vectors", "hop_biases"}


@pytest.mark.parametrize("wrong", [{"hops": 0}, {"layers": 0}, {"heads": 0}, {"heads": 3}, {"memory": -1.0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(MethodError, match="heads" if wrong == {"heads": 3} else next(iter(wrong))):
        AEROGNN.for_data(tiny_graph(), width=8, **wrong)
