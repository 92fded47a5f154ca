"""Snapshot models: questions and their negatives, tasks, class weights, and windows that end at the present."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.data.events import Contacts, Events
from pathline.data.evolving_graphs import EvolvingGraph
from pathline.events.evolvegcn import EvolveGCN
from pathline.events.snapshot_metrics import classification_metrics, link_metrics, reciprocal_rank
from pathline.events.snapshot_rivals import GCNGRU, StaticGCN
from pathline.sims.switching_blocks import moving_blocks, switching_blocks

SMALL = {"width": 8, "head": 8, "largest_degree": 6}
GENERATOR = torch.Generator()


def stream(events: int = 400, nodes: int = 9, seed: int = 0, **changes):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, nodes, (events,), generator=generator)
    target = (source + torch.randint(1, 4, (events,), generator=generator)) % nodes
    time = (7 + 90 * torch.rand(events, generator=generator, dtype=torch.float64)).sort().values
    return Events(**({"source": source, "target": target, "time": time, "nodes": nodes, "directed": False} | changes))


def labelled(classes: int = 3, steps: int = 14, nodes: int = 20):
    """Edges mostly within groups, of class 1 where group 0 takes part; a node's feature shows its group."""
    generator = torch.Generator().manual_seed(0)
    snapshot = torch.arange(steps).repeat_interleave(30)
    source = torch.randint(0, nodes, snapshot.shape, generator=generator)
    hop = classes * torch.randint(1, 4, snapshot.shape, generator=generator)
    target = (source + hop + (torch.rand(snapshot.shape, generator=generator) < 0.15).long()) % (
        nodes - nodes % classes
    )
    group = torch.arange(nodes) % classes
    features = torch.nn.functional.one_hot(group, classes).float().expand(steps, -1, -1).clone()
    known = torch.where(torch.arange(nodes) % 5 == 0, -1, group).expand(steps, -1).clone()
    return EvolvingGraph(
        source=source,
        target=target,
        snapshot=snapshot,
        nodes=nodes,
        steps=steps,
        features=features,
        edge_labels=(group[source] * group[target] == 0).long(),
        node_labels=known,
        window=3,
    )


@pytest.mark.parametrize("directed", [False, True])
def test_negatives_are_pairs_without_an_edge(directed):
    graph = replace(moving_blocks(nodes=30, steps=8, seed=0), directed=directed)
    model = StaticGCN.for_data(graph, **SMALL)
    asked, label = model.questions(graph, 6, 4, torch.Generator().manual_seed(0))
    source, target, _ = graph.edges(6)
    linked = set(zip(source.tolist(), target.tolist(), strict=True))
    assert int(label.sum()) == len(linked) and len(label) == 5 * len(linked)
    for (u, v), truth in zip(asked.T.tolist(), label.tolist(), strict=True):
        there = (u, v) in linked or (not directed and (v, u) in linked)
        assert bool(truth) == there and u != v


def test_evaluation_may_draw_more_negatives():
    graph = moving_blocks(nodes=30, steps=8, seed=0)
    model = StaticGCN.for_data(graph, test_negatives=7, **SMALL).eval()
    for _, logits, label in model.answers(graph):
        assert len(logits) == len(label) == 8 * int(label.sum())
    batch = next(iter(model.batches(graph, 2, torch.Generator().manual_seed(0))))
    assert len(batch.label) == 2 * int(batch.label.sum())


def test_of_a_bipartite_stream_only_possible_pairs_are_drawn():
    data = stream(nodes=9, directed=True)
    data = replace(data, source=data.source % 4, target=4 + data.target % 5, senders=4)
    model = StaticGCN.for_data(data, **SMALL)
    asked, _ = model.questions(model.described(data).graph, 20, 3, torch.Generator().manual_seed(0))
    assert (asked[0] < 4).all() and (asked[1] >= 4).all() and len(asked[0]) > 10


def test_directed_graphs_have_two_degrees():
    graph = replace(moving_blocks(nodes=15, steps=8, seed=0), directed=True)
    model = StaticGCN.for_data(graph, **SMALL)
    features = model.described(graph).features[3]
    source, target, _ = graph.edges(3)
    for k, end in enumerate((source, target)):
        degree = torch.bincount(end, minlength=15).clamp(max=6)
        assert torch.equal(features[:, 7 * k : 7 * k + 7].argmax(1), degree)
    assert model.inputs == features.shape[1] == 14


def test_a_window_holds_the_snapshots_before_its_question():
    graph = switching_blocks(nodes=12, steps=10, seed=0, window=3)
    model = GCNGRU.for_data(graph, **SMALL)
    made = model.described(graph)
    windows = model._asked(made, torch.tensor([4, 7]), 1, torch.Generator().manual_seed(0))
    for k, back in enumerate((3, 2, 1)):
        assert torch.equal(windows.features[k][:, :, :4], graph.features[torch.tensor([4, 7]) - back])
        expected = torch.block_diag(*(made.adjacency[step - back].to_dense() for step in (4, 7)))
        assert torch.equal(windows.adjacency[k].to_dense(), expected)
        torch.testing.assert_close(windows.smoothed[k][1], made.adjacency[7 - back] @ windows.features[k][1])
    ends = windows.asked[:, windows.label == 1]
    second = ends[:, (ends >= 12).all(0)] - 12
    assert torch.equal(second, torch.stack(graph.edges(7)[:2]))


@pytest.mark.parametrize("kind", [EvolveGCN, StaticGCN, GCNGRU])
@pytest.mark.parametrize("task", ["edges", "nodes"])
def test_classes_are_learned(kind, task):
    """A class that the features show is found on snapshots that were not trained on."""
    split = labelled().split()
    model = kind.seeded(split.train, 0, task=task, **SMALL).fit(split, steps(240), seed=0, lr=0.01)
    found = model.evaluate(split.test)
    assert model.classes == {"edges": 2, "nodes": 3}[task]
    assert found["micro F1"] > 0.7  # the most frequent class has 0.6 of the edges and 0.35 of the nodes
    assert task == "nodes" or found["F1 of the rarest class"] > 0.65


def test_unknown_labels_are_not_asked_about():
    graph = labelled()
    model = StaticGCN.for_data(graph, task="nodes", **SMALL)
    asked, label = model.questions(graph, 5, 1, GENERATOR)
    assert (label >= 0).all() and not bool((asked[0] % 5 == 0).any())


def test_labels_of_nodes_are_asked_at_the_end_of_the_window():
    graph = labelled()
    model = StaticGCN.for_data(graph, task="nodes", **SMALL)
    made = model.described(graph)
    windows = model._asked(made, torch.tensor([5]), 1, GENERATOR)
    assert torch.equal(windows.smoothed[-1][0], made.smoothed[5])


def test_snapshots_without_an_edge_are_not_asked_about():
    graph = labelled()
    kept = (graph.snapshot != 6) & (graph.snapshot != 9)
    fields = {name: getattr(graph, name)[kept] for name in ("source", "target", "snapshot", "edge_labels")}
    graph = replace(graph, **fields)
    model = StaticGCN.for_data(graph, **SMALL)
    assert model.answerable(graph).tolist() == [3, 4, 5, 7, 8, 10, 11, 12, 13]
    assert sum(len(batch) for batch in model.batches(graph, 2, torch.Generator())) == 9
    assert model.epoch_length(graph, 2) == 5 and len(model.answers(graph)) == 9


def test_class_weights_are_those_of_the_cross_entropy():
    graph = labelled()
    torch.manual_seed(0)
    model = StaticGCN.for_data(graph, task="edges", class_weights=[0.1, 0.9], **SMALL).eval()
    batch = next(iter(model.batches(graph, 4, torch.Generator().manual_seed(0))))
    log = model.logits(model.vectors(batch), batch.asked).log_softmax(1)
    weight = torch.tensor([0.1, 0.9])[batch.label]
    expected = -(weight * log[torch.arange(len(log)), batch.label]).sum() / weight.sum()
    torch.testing.assert_close(model.loss(batch), expected)


def test_a_pair_without_direction_has_one_answer():
    graph = moving_blocks(nodes=15, steps=8, seed=0)
    torch.manual_seed(0)
    for directed in (False, True):
        graph = replace(graph, directed=directed)
        model = StaticGCN.for_data(graph, **SMALL).eval()
        batch = next(iter(model.batches(graph, 2, torch.Generator().manual_seed(0))))
        vectors = model.vectors(batch)
        same = torch.allclose(model.logits(vectors, batch.asked), model.logits(vectors, batch.asked.flip(0)))
        assert same != directed


def test_skipped_features_are_appended():
    graph = switching_blocks(nodes=12, steps=8, seed=0)
    model = EvolveGCN.for_data(graph, skip=True, **SMALL).eval()
    batch = next(iter(model.batches(graph, 2, torch.Generator().manual_seed(0))))
    vectors = model.vectors(batch)
    assert torch.equal(vectors[:, 8:], batch.features[-1].flatten(0, 1))
    assert torch.equal(vectors[:, :8], model.encode(batch).flatten(0, 1))


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_reciprocal_ranks_are_those_of_each_node():
    node = torch.tensor([0, 0, 0, 2, 2, 2, 3])
    score = torch.tensor([0.9, 0.5, 0.1, 0.2, 0.8, 0.3, 1.0])
    label = torch.tensor([0, 1, 1, 1, 0, 1, 0])
    # node 0: ranks 2 and 3; node 2: ranks 3 and 2; node 3 has no link
    assert reciprocal_rank(node, score, label) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_metrics_state_their_negatives():
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([1] * 50 + [0] * 250)
    asked = torch.randint(0, 30, (2, 300), generator=generator)
    score = label + 0.8 * torch.randn(300, generator=generator)
    found = link_metrics([(asked, torch.stack([-score, score], 1), label)], 5)
    assert list(found) == ["MAP, 5 negatives per edge", "AUC, 5 negatives per edge", "MRR, 5 negatives per edge"]
    order = score.argsort(descending=True)
    hits = label[order].double()
    precision = hits.cumsum(0) / torch.arange(1, 301)
    assert found["MAP, 5 negatives per edge"] == pytest.approx(float((precision * hits).sum() / hits.sum()))
    pairs = (score[label == 1][:, None] > score[label == 0]).double().mean()
    assert found["AUC, 5 negatives per edge"] == pytest.approx(float(pairs))


def test_the_rarest_class_has_its_own_score():
    logits = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 1, 1, 0]), 2).float()
    truth = torch.tensor([0, 0, 0, 0, 1, 1])
    found = classification_metrics([(truth.expand(2, -1), logits, truth)], 2)
    assert found["micro F1"] == pytest.approx(4 / 6)
    assert found["F1 of the rarest class"] == pytest.approx(0.5)  # precision 1/2, recall 1/2


# -- a stream ---------------------------------------------------------------------------------------------------------


def contacts(data, chosen):
    return data._at(torch.arange(len(data.source))[chosen])


@pytest.mark.parametrize("kind", [EvolveGCN, StaticGCN, GCNGRU])
def test_the_window_of_a_stream_ends_at_the_present(kind):
    """What was observed long ago changes nothing, what was observed just now does."""
    data = stream()
    torch.manual_seed(0)
    model = kind.for_data(data, snapshots=30, window=3, **SMALL).eval()
    moment, reach = 60.0, 3 * float(model.stretch)
    assert model.stretch.item() == pytest.approx(data.span / 30)
    before = data.clock < moment
    pair = torch.tensor([2]), torch.tensor([[3, 4]]), torch.tensor([moment], dtype=torch.float64)

    def scores(chosen):
        model.reset()
        model.observe(contacts(data, chosen))
        return model.score_pairs(*pair)

    with torch.no_grad():
        everything = scores(before)
        assert torch.equal(everything, scores(before & (data.clock >= moment - reach)))
        late = before & ~((data.clock > moment - 0.9 * float(model.stretch)) & (data.source % 2 == 0))
        assert not torch.allclose(everything, scores(late))


def test_batches_of_observations_add_up():
    data = stream()
    torch.manual_seed(0)
    model = EvolveGCN.for_data(data, **SMALL).eval()
    pair = torch.tensor([2]), torch.tensor([[3, 4]]), torch.tensor([60.0], dtype=torch.float64)
    with torch.no_grad():
        model.observe(contacts(data, data.clock < 60))
        whole = model.score_pairs(*pair)
        model.reset()
        for begin in range(0, 60, 7):
            model.observe(contacts(data, (data.clock >= begin) & (data.clock < min(begin + 7, 60))))
        assert torch.equal(whole, model.score_pairs(*pair))


@pytest.mark.parametrize("kind", [EvolveGCN, GCNGRU])
def test_what_comes_after_training_changes_nothing(kind):
    """Other events after the training part, an equal fit."""
    data = stream()
    other = replace(data, target=torch.where(torch.arange(400) < 280, data.target, (data.source + 5) % 9))
    parts = [one.split() for one in (data, other)]
    models = [kind.seeded(part.train, 0, snapshots=20, **SMALL).fit(part.train, steps(4)) for part in parts]
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor, models[1].state_dict()[name])


def test_scores_before_a_change_do_not_know_it():
    data = stream()
    split = data.split()
    place = split.test.start + 30
    changed = replace(split.test, target=torch.where(torch.arange(400) < place, data.target, (data.source + 5) % 9))
    torch.manual_seed(0)
    model = EvolveGCN.for_data(split.train, snapshots=20, **SMALL)
    first, second = (model.replay(replace(part, batch=10), 0, {"random": 1}).happened for part in (split.test, changed))
    assert torch.equal(first[:30], second[:30])
    assert not torch.equal(first[40:], second[40:])


def test_node_features_of_a_stream_are_seen():
    data = stream(node_features=torch.randn(9, 2, generator=torch.Generator().manual_seed(3)))
    model = EvolveGCN.for_data(data, **SMALL)
    assert model.inputs == 2 + 7
    assert torch.equal(model.described(data).features[0, :, :2], data.node_features)
    assert model.evaluate(data.split().test)["AP, random negatives"] > 0


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named():
    graph = labelled()
    with pytest.raises(DataError, match="no edges are labelled"):
        EvolveGCN.for_data(replace(graph, edge_labels=None), task="edges", **SMALL)
    with pytest.raises(DataError, match="has no classes"):
        EvolveGCN.for_data(stream(), task="nodes")
    with pytest.raises(MethodError, match="has no task 'ranks'"):
        EvolveGCN.for_data(graph, task="ranks")
    with pytest.raises(MethodError, match="with the cell 'lstm'"):
        EvolveGCN.for_data(graph, version="H", cell="lstm")
    with pytest.raises(DataError, match="hold no question"):
        EvolveGCN.for_data(replace(graph, first=14))
    with pytest.raises(DataError, match="features of a node"):
        StaticGCN.for_data(graph, **SMALL).evaluate(replace(graph, features=None))
    with pytest.raises(DataError, match="is directed, but what StaticGCN was built for has no direction"):
        StaticGCN.for_data(graph, **SMALL).evaluate(replace(graph, directed=True))
    with pytest.raises(MethodError, match="class weights"):
        StaticGCN.for_data(graph, class_weights=[1.0], **SMALL)
    assert isinstance(next(iter(stream().batches(5))), Contacts)
