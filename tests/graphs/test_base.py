"""The room: measures, tasks that are never mixed, baselines that are equivariant and do what their papers say."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pathline.core import catalog
from pathline.core.budget import Budget
from pathline.core.compare import compare
from pathline.core.errors import DataError, MethodError
from pathline.core.tiny_graphs import TINY_TASKS, tiny_graph, tiny_graph_numbers, tiny_hypergraph, tiny_links
from pathline.data.graph import Graph
from pathline.graphs.base import GraphModel
from pathline.graphs.baselines import GAT, GCN, GIN, GraphMLP, LabelPropagation
from pathline.graphs.link_baselines import CommonNeighbours
from pathline.graphs.metrics import class_metrics, hits_at, link_metrics, number_metrics

NETWORKS = [GraphMLP, GCN, GAT, GIN]


def test_measures_of_classes_and_numbers():
    generator = torch.Generator().manual_seed(0)
    said, true = torch.randint(4, (2, 50), generator=generator)
    found = class_metrics(said, true, 5)
    assert found["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))
    assert found["accuracy"] == pytest.approx(f1_score(true, said, average="micro"))
    numbers = number_metrics(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0]]))
    assert (numbers["mae"], numbers["rmse"]) == (1.0, 1.0)


def test_measures_of_links_count_ties_as_undecided():
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(12, (400,), generator=generator).float()
    truth = torch.rand(400, generator=generator) < 0.3 + score / 40
    found = link_metrics(score, truth)
    assert found["auc"] == pytest.approx(roc_auc_score(truth, score))
    assert found["ap"] == pytest.approx(average_precision_score(truth, score))
    assert next(iter(found)) == "hits@20"
    assert hits_at(torch.tensor([5.0, 3.0, 1.0]), torch.tensor([4.0, 2.0, 0.0]), 2) == pytest.approx(2 / 3)
    assert link_metrics(torch.ones(100), torch.arange(100) < 50)["hits@5"] == 0.0
    assert link_metrics(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([False, True, False]))["mrr"] == 0.5


def test_tasks_of_one_room_are_never_ranked_together():
    for task, tiny in TINY_TASKS.items():
        data = tiny()
        fitting = [entry.key for entry in catalog.baselines("graphs") if task in entry.load().tasks]
        board = compare(["gcn"], data, budget=Budget(steps=2))
        assert {arm.key for arm in board.arms} == set(fitting)
        assert not any(arm.failure for arm in board.arms)
        assert board.better == ("lower" if task == "regress-graphs" else "higher")
        assert board.description["task"] == task
    with pytest.raises(DataError, match="predict-links"):
        CommonNeighbours.for_data(tiny_graph())
    with pytest.raises(DataError, match="was built for classify-nodes"):
        GCN.for_data(tiny_graph()).evaluate(tiny_links())
    with pytest.raises(MethodError, match="classify-nodes"):
        LabelPropagation("predict-links", 1, [])


def test_each_seed_has_its_own_published_split():
    masks = {part: torch.zeros(2, 40, dtype=torch.bool) for part in ("train", "validation", "test")}
    for k in range(2):
        masks["train"][k, [0, 1, 2, 20, 21, 22]] = masks["validation"][k, [3, 23]] = True
        masks["test"][k, [10 + k, 30 + k]] = True
    data = dataclasses.replace(tiny_graph(), masks=masks, split_name="paper")
    board = compare(["gcn"], data, budget=Budget(steps=2), seeds=2)
    assert board.test.known.tolist() == [10, 30]
    assert "paper" in board.description["split"]
    propagation = next(arm for arm in board.arms if arm.key == "label-propagation").metrics["accuracy"]
    for seed in range(2):
        split = data.split(seed)
        alone = LabelPropagation.for_data(split.train).fit(split.train).evaluate(split.test)
        assert propagation[seed] == alone["accuracy"]


@pytest.mark.parametrize("cls", NETWORKS)
@pytest.mark.parametrize("task", TINY_TASKS)
def test_relabelled_nodes_get_the_same_answers_in_float64(cls, task):
    data = TINY_TASKS[task]()
    torch.manual_seed(0)
    method = cls.for_data(data).double().eval()
    batch = data.whole().map(lambda t: t.double() if t.is_floating_point() else t)
    generator = torch.Generator().manual_seed(1)
    sizes = torch.bincount(batch.graph).tolist()
    order = torch.cat(
        [part[torch.randperm(len(part), generator=generator)] for part in torch.arange(batch.nodes).split(sizes)]
    )
    place = order.argsort()
    shuffled = torch.randperm(batch.edge_index.shape[1], generator=generator)
    moved = dataclasses.replace(
        batch,
        features=batch.features[order],
        edge_index=place[batch.edge_index][:, shuffled],
        items=None if batch.items is None else place[batch.items],
        pairs=None if batch.pairs is None else place[batch.pairs],
        memo={},
    )
    assert torch.allclose(method(moved), method(batch), atol=1e-10)
    if cls is not GraphMLP:
        fewer = dataclasses.replace(batch, edge_index=batch.edge_index[:, ::2], memo={})
        assert not torch.allclose(method(fewer), method(batch), atol=1e-6)


def test_a_gcn_is_its_formula():
    data = tiny_graph()
    torch.manual_seed(0)
    method = GCN.for_data(data, layers=2, width=8).eval()
    batch = data.whole()
    looped = torch.zeros(40, 40).index_put((batch.edge_index[1], batch.edge_index[0]), torch.ones(1)) + torch.eye(40)
    scale = looped.sum(1).rsqrt()
    step = scale[:, None] * looped * scale
    x = method.features(batch)
    first, second = method.layers
    expected = step @ torch.relu(step @ x @ first.weight + first.bias) @ second.weight + second.bias
    assert torch.allclose(method.encode(x, batch), expected, atol=1e-5)


def test_known_labels_spread_to_the_fixed_point():
    data = tiny_graph()
    split = data.split()
    method = LabelPropagation.for_data(split.train, iterations=200).fit(split.train)
    batch = data.whole()
    adjacency = torch.zeros(40, 40).index_put((batch.edge_index[1], batch.edge_index[0]), torch.ones(1))
    scale = torch.where(adjacency.sum(1) > 0, adjacency.sum(1), 1.0).rsqrt()
    fixed = torch.linalg.solve(torch.eye(40) - 0.9 * scale[:, None] * adjacency * scale, 0.1 * method.known)
    expected = (fixed / fixed.sum(1, keepdim=True)).log()
    assert torch.allclose(method.scores(batch), expected, atol=1e-3)
    assert method.evaluate(split.test)["accuracy"] > 0.8


def test_labels_of_the_test_part_are_never_seen():
    data = tiny_graph()
    split = data.split()
    wrong = dataclasses.replace(split.test, labels=torch.where(split.test.labels >= 0, 1 - split.test.labels, -1))
    for cls in (GCN, LabelPropagation):
        method = cls.seeded(split.train, 0)
        method.fit(split.train, Budget(steps=20) if cls.trains else None)
        assert torch.equal(method.said(split.test), method.said(wrong))
        assert method.evaluate(split.test)["accuracy"] == pytest.approx(1 - method.evaluate(wrong)["accuracy"])


def test_sampled_neighbours_train_the_same_network():
    data = tiny_graph()
    split = data.split()
    method = GCN.seeded(split.train, 0, fanout=[3, 3], dropout=0.0)
    generator = torch.Generator().manual_seed(0)
    batches = list(method.batches(split.train, 8, generator))
    assert len(batches) == method.epoch_length(split.train, 8) == 3
    assert sorted(len(batch.labels) for batch in batches) == [8, 8, 8]
    assert all(batch.nodes < 40 for batch in batches)
    method.fit(split.train, Budget(steps=60), batch_size=8)
    assert method.evaluate(split.test)["accuracy"] > 0.8
    full = GCN.seeded(split.train, 0, fanout=[-1, -1], dropout=0.0).eval()
    (batch,) = full.batches(split.train, 100, generator)
    # with all neighbours, the first layer of every seed and its neighbours is complete; weights see the border cut
    assert batch.nodes <= 40
    assert torch.isfinite(full(batch)).all()


def test_tables_name_nodes_graphs_pairs_and_memberships():
    graph = dataclasses.replace(tiny_graph(), names=tuple(f"n{k}" for k in range(40)))
    table = GCN.for_data(graph).predict(graph)
    assert list(table.columns) == ["node", "class", "p_left", "p_right"]
    assert table["node"].tolist()[:2] == ["n0", "n1"]
    table = GCN.for_data(tiny_graph_numbers()).predict(tiny_graph_numbers())
    assert list(table.columns) == ["graph", "nodes", "ring"]
    table = GCN.for_data(tiny_hypergraph()).predict(tiny_hypergraph())
    assert (len(table), list(table.columns[:3])) == (80, ["node", "hyperedge", "class"])
    links = tiny_links()
    table = CommonNeighbours.for_data(links).fit(links).predict(links)
    assert len(table) == 100
    assert table["score"].is_monotonic_decreasing
    asked = torch.tensor(table[["source", "target"]].to_numpy()).T
    assert not bool(torch.isin(asked[0] * 40 + asked[1], links.keys).any())
    shown = CommonNeighbours.for_data(links).predict(links.split().test)
    assert len(shown) == links.split().test.pairs.shape[1]


def test_whole_links_are_measured_on_pairs_that_are_hidden():
    links = tiny_links()
    method = CommonNeighbours.for_data(links).fit(links)
    assert method.evaluate(links) == method.evaluate(links.split(0).test)


def test_graphs_without_labels_cannot_be_measured_but_answered():
    data = dataclasses.replace(tiny_graph(), labels=torch.full((40,), -1))
    method = GCN.for_data(tiny_graph())
    with pytest.raises(DataError, match="predicted only"):
        method.evaluate(data)
    assert len(method.predict(data)) == 40
    with pytest.raises(DataError, match="tiny-graph"):
        compare(["gcn"], data)


@pytest.mark.parametrize("task", TINY_TASKS)
def test_every_task_has_a_picture(task):
    data = TINY_TASKS[task]()
    split = data.split()
    methods = {"gcn": GCN.for_data(split.train), "gin": GIN.for_data(split.train)}
    (figure,) = GraphModel.figures(methods, split.test)
    assert figure.title
    assert len(figure.picture.axes) >= 1


def test_nodes_without_features_are_described_by_their_degrees():
    data = dataclasses.replace(tiny_graph(), features=torch.zeros(40, 0))
    method = GCN.for_data(data)
    x = method.features(data.whole())
    degree = torch.bincount(data.edge_index[1], minlength=40).float()
    assert x.shape == (40, 3)
    assert torch.allclose(x[:, 1], degree.log1p())
    assert isinstance(data, Graph)


def test_losses_are_those_of_the_task():
    data = tiny_graph_numbers()
    torch.manual_seed(0)
    method = GCN.for_data(data).eval()
    batch = data.whole()
    error = (method.said(data) - data.targets).abs() / method.target_scale
    assert float(method.loss(batch).detach()) == pytest.approx(float(error.mean()), rel=1e-5)
    links = tiny_links()
    method = GCN.for_data(links).eval()
    asked = links.split().test.whole()
    expected = F.binary_cross_entropy_with_logits(method(asked), asked.labels)
    assert float(method.loss(asked).detach()) == pytest.approx(float(expected.detach()))


def test_dropout_of_words_draws_for_those_that_are_there():
    data = dataclasses.replace(tiny_graph(), features=(torch.arange(40 * 50).view(40, 50) % 7 == 0).float())
    torch.manual_seed(0)
    method = GCN.for_data(data, dropout=0.5)
    batch = data.whole()
    x = method.features(batch)
    assert bool(method.rows)
    many = torch.stack([method.dropped(x, batch) for _ in range(300)])
    assert set(many[:, x == 0].unique().tolist()) == {0.0}
    ratio = (many / x.clamp(min=1e-9))[:, x > 0]
    assert set(ratio.round(decimals=4).unique().tolist()) == {0.0, 2.0}
    assert abs(float(ratio.mean()) - 1) < 4 / ratio.numel() ** 0.5
    assert torch.equal(method.eval().dropped(x, batch), x)
