"""GTR before a network: which edges it gets, what it does with them, and what resistance says of Jacobians."""

import networkx as nx
import pytest
import torch

from pathline.claims.graphs.effres import LessResistance
from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_graph, tiny_graph_classes
from pathline.data.graph_batch import GraphBatch
from pathline.data.graph_list import graphs_of
from pathline.graph.links import both_ways, links_of
from pathline.graph.resistance import total_resistance
from pathline.graph.rewiring import greedy_total_resistance
from pathline.graphs import effres
from pathline.graphs.effres import EffRes, jacobian_vs_resistance, pair_jacobians


def edges_of(graph):
    return both_ways(torch.tensor(list(nx.convert_node_labels_to_integers(graph).edges)).T)


def barbells():
    sizes = [(4, 1), (5, 2), (4, 4)]
    graphs = [nx.barbell_graph(*size) for size in sizes]
    return graphs_of(
        [edges_of(one) for one in graphs],
        [torch.randn(len(one), 3, generator=torch.Generator().manual_seed(k)) for k, one in enumerate(graphs)],
        labels=torch.tensor([0, 1, 1]),
        classes=("short", "long"),
    )


def test_prepared_graphs_have_the_greedy_edges_as_a_relation_of_their_own():
    data = barbells()
    method = EffRes.for_data(data, added=3)
    ready = method.prepared(data)
    assert torch.equal(ready.edge_index[:, ready.edge_type == 0], data.edge_index)
    for k in range(3):
        one, plain = ready.take(torch.tensor([k])), data.take(torch.tensor([k]))
        added = links_of(one.edge_index[:, one.edge_type == 1])
        expected = links_of(greedy_total_resistance(plain.edge_index, len(plain.features), 3))
        assert torch.equal(added, expected)
        before = total_resistance(plain.edge_index, len(plain.features))
        assert total_resistance(one.edge_index, len(one.features)) < 0.6 * before
    batch = ready.whole()
    assert [edges.edge_index.shape[1] for edges in method.relations(batch)] == [data.edge_index.shape[1], 18]


def test_a_relation_has_weights_of_its_own_and_untyped_edges_do_not():
    data = barbells()
    torch.manual_seed(0)
    typed = EffRes.for_data(data, added=3, layers=2).eval()
    batch = typed.prepared(data).whole()
    before = typed(batch)
    with torch.no_grad():
        for layer in typed.layers:
            layer.relations[1].weight.zero_()
    silent = EffRes.for_data(data, rewiring="none", layers=2).eval()
    kept = {name: value for name, value in typed.state_dict().items() if "relations.1" not in name}
    silent.load_state_dict(kept)
    assert torch.allclose(typed(batch), silent(data.whole()), atol=1e-6)
    assert not torch.allclose(typed(batch), before, atol=1e-3)
    together = EffRes.for_data(data, added=3, typed=False, layers=2).eval()
    assert together.parameter_count() == EffRes.for_data(data, rewiring="none", typed=False, layers=2).parameter_count()


def test_one_graph_is_rewired_on_the_spot_and_once():
    data = tiny_graph()
    method = EffRes.for_data(data, added=4).eval()
    batch = data.whole()
    first, second = method.relations(batch)
    assert (first.edge_index.shape[1], second.edge_index.shape[1]) == (data.edge_index.shape[1], 8)
    assert method.relations(batch)[1] is second


@pytest.mark.parametrize("rewiring", ["gtr", "fosr", "sdrf", "random", "full", "none"])
def test_every_rewiring_answers_and_is_equivariant_in_float64(rewiring):
    data = tiny_graph_classes()
    torch.manual_seed(0)
    method = EffRes.for_data(data, rewiring=rewiring, added=2).double().eval()
    ready = method.prepared(data).whole().map(lambda t: t.double() if t.is_floating_point() else t)
    parts = torch.arange(ready.nodes).split(data.sizes.tolist())
    order = torch.cat([part[torch.randperm(len(part))] for part in parts])
    moved = GraphBatch(
        features=ready.features[order],
        edge_index=order.argsort()[ready.edge_index],
        graph=ready.graph,
        graphs=ready.graphs,
        edge_type=ready.edge_type,
    )
    assert torch.allclose(method(moved), method(ready), atol=1e-10)


def test_large_graphs_and_unknown_rewirings_are_refused(monkeypatch):
    monkeypatch.setattr(effres, "LARGEST", 10)
    with pytest.raises(MethodError, match="too large"):
        EffRes.for_data(tiny_graph()).said(tiny_graph())
    with pytest.raises(MethodError, match="best"):
        EffRes.for_data(tiny_graph(), rewiring="best")


def test_jacobians_are_those_of_finite_differences():
    data = barbells()
    torch.manual_seed(0)
    method = EffRes.for_data(data, rewiring="none", layers=2, width=6).double().eval()
    batch = data.gather(torch.tensor([0])).map(lambda t: t.double() if t.is_floating_point() else t)
    found = pair_jacobians(method, batch)
    x = method.features(batch).detach()
    u, v = 2, 8
    columns = []
    for place in range(3):
        step = torch.zeros_like(x)
        step[v, place] = 1e-6
        columns.append((method.encode(x + step, batch)[u] - method.encode(x - step, batch)[u]) / 2e-6)
    expected = torch.linalg.matrix_norm(torch.stack(columns, 1).detach(), ord=2)
    assert float(found[u, v]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found[u, v]) > 0
    assert float(found[0, 7]) == 0.0  # four steps away, two layers


def test_the_report_sees_that_resistance_silences():
    graphs = [nx.barbell_graph(6 - half, 2 * half) for half in range(4)] + [nx.path_graph(12), nx.star_graph(11)]
    graphs += [nx.complete_graph(12), nx.cycle_graph(12)]
    data = graphs_of(
        [edges_of(one) for one in graphs],
        [torch.randn(len(one), 3) for one in graphs],
        labels=torch.arange(8) % 2,
        classes=("a", "b"),
    )
    torch.manual_seed(0)
    method = EffRes.for_data(data, rewiring="none", typed=False, layers=4, width=8)
    table, over_graphs = jacobian_vs_resistance(method, data)
    assert list(table.columns) == ["graph", "total_resistance", "jacobian", "pairs"]
    assert float(table["total_resistance"][7]) == pytest.approx((12**3 - 12) / 12)  # a ring: (n^3 - n) / 12
    assert over_graphs < -0.5
    assert float(table["pairs"][:4].max()) < -0.3


def test_the_claim_asks_for_a_gain_on_one_set_and_for_no_loss_on_the_other():
    asked = LessResistance.require[-1]
    names = ("mutag, GTR gain in points", "proteins, GTR gain in points")

    def holds(*means):
        return asked.judge({name: [mean - 1, mean + 1] for name, mean in zip(names, means, strict=True)})["holds"]

    assert holds(2.0, -0.5)
    assert holds(-0.5, 2.0)
    assert not holds(0.5, 0.5)
    assert not holds(5.0, -1.5)
    assert all(name in str(asked) for name in names)


def test_graphs_that_are_classified_are_summed_and_roots_answer_alone():
    assert EffRes.for_data(tiny_graph_classes()).pooling == "sum"
    assert EffRes.for_data(tiny_graph()).pooling == "mean"
    assert EffRes.for_data(tiny_graph_classes(), pooling="max").pooling == "max"
