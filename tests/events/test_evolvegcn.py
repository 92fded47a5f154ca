"""EvolveGCN: weights that move, what moves them, and what they do not know."""

import pytest
import torch

from pathline.core.budget import steps
from pathline.events.evolvegcn import EvolveGCN, EvolvingGCN, EvolvingWeights
from pathline.events.snapshot_rivals import Convolutions
from pathline.graph.snapshots import block_diagonal, both_ways, normalised_adjacency
from pathline.sims.switching_blocks import switching_blocks

KINDS = [("H", "gru"), ("O", "gru"), ("O", "lstm")]


def window(sizes=(7, 9, 8), features: int = 5, batch: int = 2, seed: int = 0):
    """Random snapshots with different numbers of nodes: features, smoothed, present, adjacency of each."""
    generator = torch.Generator().manual_seed(seed)
    x, smoothed, present, adjacency = [], [], [], []
    for nodes in sizes:
        ends = torch.randint(0, nodes, (batch, 2, 2 * nodes), generator=generator)
        matrices = [normalised_adjacency(both_ways(*pair, nodes), nodes) for pair in ends]
        x.append(torch.randn(batch, nodes, features, generator=generator))
        adjacency.append(block_diagonal(matrices))
        smoothed.append((adjacency[-1] @ x[-1].flatten(0, 1)).view_as(x[-1]))
        there = torch.rand(batch, nodes, generator=generator) < 0.8
        there[:, 0] = True
        present.append(there)
    return x, smoothed, present, adjacency


def network(version, cell, width: int = 4):
    torch.manual_seed(1)
    net = EvolvingGCN(5, width, version, cell).eval()
    with torch.no_grad():
        for layer in net.layers:
            for gates in layer.cell.modules():
                if hasattr(gates, "bias"):
                    gates.bias.normal_()
    return net


@pytest.mark.parametrize("version", ["H", "O"])
def test_shut_update_gates_leave_a_static_graph_convolution(version):
    """Z = 0 keeps W_t = W_0: a graph convolution on the last snapshot, whatever was before it."""
    net = network(version, "gru")
    x, smoothed, present, adjacency = window()
    static = Convolutions(5, 4).eval()
    with torch.no_grad():
        for layer, weight in zip(net.layers, static.weights, strict=True):
            layer.cell.gates.from_input.mul_(0)
            layer.cell.gates.from_state.mul_(0)
            layer.cell.gates.bias[: len(weight)] = -30
            weight.copy_(layer.first)
        moved = net(x, smoothed, present, adjacency[-1])
        torch.testing.assert_close(moved, static(smoothed[-1], adjacency[-1]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("version", "cell"), KINDS)
def test_weights_are_the_recurrence_written_out(version, cell):
    layer = network(version, cell).layers[0]
    x, _, present, _ = window()
    with torch.no_grad():
        found = layer(x, present)
        weight, memory = layer.first, torch.zeros_like(layer.first)
        for t in range(3):
            seen = weight if version == "O" else layer.summary(x[t], present[t])
            if cell == "gru":
                weight = layer.cell(seen, weight)
            else:
                weight, memory = layer.cell(seen, weight, memory)
            torch.testing.assert_close(found[t], weight)
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize(("version", "cell"), KINDS)
def test_the_order_of_nodes_does_not_matter(version, cell):
    net = network(version, cell)
    x, smoothed, present, adjacency = window()
    turned = []
    for t, nodes in enumerate((7, 9, 8)):
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(t))
        turned.append((x[t][:, order], smoothed[t][:, order], present[t][:, order], order))
    order = turned[-1][-1]
    both = torch.cat([order, order + 8])
    last = adjacency[-1].to_dense()[both][:, both].to_sparse().coalesce()
    with torch.no_grad():
        before = net(x, smoothed, present, adjacency[-1])
        after = net(*([one[k] for one in turned] for k in range(3)), last)
    torch.testing.assert_close(after, before[:, order], atol=1e-6, rtol=1e-5)


def test_windows_of_a_batch_do_not_see_each_other():
    net = network("H", "gru")
    x, smoothed, present, adjacency = window()
    with torch.no_grad():
        together = net(x, smoothed, present, adjacency[-1])
        first = adjacency[-1].to_dense()[:8, :8].to_sparse().coalesce()
        alone = net(*([part[:1] for part in parts] for parts in (x, smoothed, present)), first)
    torch.testing.assert_close(together[:1], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("version", "cell"), KINDS)
def test_parameters_do_not_depend_on_the_number_of_nodes(version, cell):
    counts = {
        nodes: EvolveGCN.for_data(
            switching_blocks(nodes=nodes, steps=8, seed=0), version=version, cell=cell
        ).parameter_count()
        for nodes in (20, 50)
    }
    assert counts[20] == counts[50]


def test_only_version_h_looks_at_earlier_nodes():
    """-O: the weights at T, and so the output, do not depend on X of t < T; -H: they do."""
    x, smoothed, present, adjacency = window()
    other = [x[0] + 1, x[1] - 2, x[2]]
    other_smoothed = [smoothed[0] + 1, smoothed[1] - 1, smoothed[2]]
    for version, cell in KINDS:
        net = network(version, cell)
        with torch.no_grad():
            first = net(x, smoothed, present, adjacency[-1])
            second = net(other, other_smoothed, present, adjacency[-1])
        assert torch.equal(first, second) == (version == "O")


def test_the_second_layer_is_summarised_from_the_first():
    """The weights of layer 2 at T come from what layer 1 said of all snapshots."""
    net = network("H", "gru")
    x, smoothed, present, adjacency = window()
    with torch.no_grad():
        hidden = [net.activation(s @ w) for s, w in zip(smoothed, net.layers[0](x, present), strict=True)]
        last = hidden[-1] @ net.layers[1](hidden, present)[-1]
        expected = net.activation((adjacency[-1] @ last.flatten(0, 1)).view_as(last))
        assert torch.equal(net(x, smoothed, present, adjacency[-1]), expected)


@pytest.mark.parametrize(("version", "cell"), KINDS)
def test_every_parameter_gets_a_gradient(version, cell):
    graph = switching_blocks(nodes=30, steps=9, seed=0)
    model = EvolveGCN.seeded(graph, 0, version=version, cell=cell, width=6, head=6)
    model.train()
    batch = next(iter(model.batches(graph, 4, torch.Generator().manual_seed(0))))
    model.loss(batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert any("summary.direction" in name for name, _ in model.named_parameters()) == (version == "H")


def test_first_weights_are_uniform_by_their_columns():
    torch.manual_seed(0)
    weights = EvolvingWeights(50, 16, "O", "gru").first.detach()
    assert float(weights.abs().max()) <= 0.25 and float(weights.std()) == pytest.approx(0.25 / 3**0.5, rel=0.05)


def test_weights_of_every_window_begin_anew():
    """Two windows with the same snapshots get the same answer, whatever was seen between them."""
    graph = switching_blocks(nodes=20, steps=12, seed=0)
    model = EvolveGCN.seeded(graph, 0, width=6, head=6).fit(graph, steps(3))
    first = model.answers(graph, seed=1)
    model.evaluate(graph)
    second = model.answers(graph, seed=1)
    assert all(torch.equal(one[1], other[1]) for one, other in zip(first, second, strict=True))


def test_both_cells_of_version_o_are_trained_from_a_configuration():
    graph = switching_blocks(nodes=20, steps=12, seed=0)
    for cell in ("gru", "lstm"):
        model = EvolveGCN.seeded(graph, 0, version="O", cell=cell, width=6, head=6)
        assert EvolveGCN(**model.config).config == model.config
        losses = []

        def loss(batch, model=model, losses=losses):
            value = model.loss(batch)
            losses.append(value.item())
            return value

        model.fit(graph, steps(30), loss=loss, lr=0.01)
        assert sum(losses[-5:]) < sum(losses[:5])
