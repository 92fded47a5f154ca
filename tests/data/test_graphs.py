"""Containers of graphs: honest splits, gathering, PyG in and out, and what is wrong said in a sentence."""

import dataclasses

import pytest
import torch
from torch_geometric.data import Data

from pathline.core.source import read
from pathline.core.tiny_graphs import tiny_graph, tiny_graph_classes, tiny_graph_numbers, tiny_hypergraph, tiny_links
from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_list import Graphs, graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links
from pathline.data.pyg import to_pyg
from pathline.graph.links import keys_of


def test_parts_of_a_graph_have_their_own_labels_alone():
    data = tiny_graph()
    split = data.split()
    known = [set(part.known.tolist()) for part in (split.train, split.validation, split.test)]
    assert [len(one) for one in known] == [24, 8, 8]
    assert len(set.union(*known)) == 40
    assert torch.bincount(data.labels[split.test.known]).tolist() == [4, 4]
    assert torch.equal(split.test.edge_index, data.edge_index)


def test_a_published_split_is_used_and_named_and_each_seed_has_its_own():
    masks = {part: torch.zeros(3, 40, dtype=torch.bool) for part in ("train", "validation", "test")}
    for k in range(3):
        masks["train"][k, k : k + 10] = masks["validation"][k, 20 + k] = masks["test"][k, 30 + k] = True
    data = dataclasses.replace(tiny_graph(), masks=masks, split_name="of the paper")
    assert data.split_count == 3
    assert data.split(4).train.known.tolist() == list(range(1, 11))
    assert data.split(1).test.known.tolist() == [31]
    assert "of the paper" in data.describe()["split"]


def test_no_part_of_a_link_split_shows_what_is_asked_for():
    data = tiny_links()
    split = data.split(3)
    for part in (split.train, split.validation, split.test):
        assert torch.equal(part.edge_index, split.train.edge_index)
    seen = set(keys_of(split.train.edge_index, 40).tolist())
    every = set(data.keys.tolist())
    for part in (split.validation, split.test):
        links = set(keys_of(part.pairs[:, part.truth], 40).tolist())
        others = set(keys_of(part.pairs[:, ~part.truth], 40).tolist())
        assert len(links) == len(others) > 0
        assert links <= every - seen
        assert not others & every
    drawn = torch.cat([batch.pairs[:, batch.labels == 0] for batch in split.train.batches(64)], 1)
    assert not set(keys_of(drawn, 40).tolist()) & seen


def test_weights_follow_their_links_into_the_training_part():
    data = tiny_links()
    data = dataclasses.replace(data, weight=(keys_of(data.edge_index, 40) + 1).float())
    train = data.split().train
    assert torch.equal(train.weight, (keys_of(train.edge_index, 40) + 1).float())


def test_published_pairs_are_used():
    links = tiny_links().links
    published = {
        f"{k}/{part}/{kind}": pairs
        for k in range(2)
        for part, kind, pairs in (
            ("train", "positive", links[:, 10 + k :]),
            ("train", "negative", torch.tensor([[0, 1, 2], [39, 38, 37]])),
            ("test", "positive", links[:, : 10 + k]),
            ("test", "negative", torch.tensor([[3], [36]])),
        )
    }
    data = dataclasses.replace(tiny_links(), published=published, split_name="theirs")
    assert data.split_count == 2
    test = data.split(1).test
    assert test.pairs[:, test.truth].shape[1] == 11
    assert test.pairs[:, ~test.truth].tolist() == [[3], [36]]
    assert not set(keys_of(test.edge_index, 40).tolist()) & set(keys_of(links[:, :11], 40).tolist())
    assert "theirs" in data.describe()["split"]


def test_graphs_are_gathered_as_a_union_in_any_order():
    data = tiny_graph_classes()
    index = torch.tensor([7, 0, 7])
    batch = data.gather(index)
    at = 0
    for place, k in enumerate(index.tolist()):
        one = data.take(torch.tensor([k]))
        size = len(one.features)
        inside = batch.graph[batch.edge_index[0]] == place
        assert torch.equal(batch.features[at : at + size], one.features)
        assert torch.equal(batch.edge_index[:, inside] - at, one.edge_index)
        at += size
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.graphs == 3


def test_edges_that_are_not_in_the_order_of_graphs_are_sorted_with_their_features():
    data = tiny_graph_classes()
    order = torch.randperm(data.edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    mixed = dataclasses.replace(data, edge_index=data.edge_index[:, order], weight=(1 + order).float())
    one = mixed.take(torch.tensor([5]))
    assert len(one.weight) == data.take(torch.tensor([5])).edge_index.shape[1]
    found = {tuple(edge): w for edge, w in zip(mixed.edge_index.T.tolist(), mixed.weight.tolist(), strict=True)}
    given = data.edge_index[:, order].T.tolist()
    expected = {tuple(edge): w for edge, w in zip(given, (1 + order).tolist(), strict=True)}
    assert found == expected


def test_ten_folds_hold_every_graph_once_with_equal_shares_of_classes():
    data = graphs_of(
        [torch.zeros(2, 0, dtype=torch.int64)] * 50,
        [torch.ones(1, 1)] * 50,
        labels=(torch.arange(50) >= 20).long(),
        classes=("a", "b"),
        names=tuple(map(str, range(50))),
    )
    tests = [data.split(k) for k in range(10)]
    assert sorted(int(name) for split in tests for name in split.test.names) == list(range(50))
    for split in tests:
        assert torch.bincount(split.test.labels).tolist() == [2, 3]
        assert not set(split.train.names) & (set(split.test.names) | set(split.validation.names))


def test_a_hypergraph_is_split_by_hyperedges_and_shows_who_is_in_them():
    data = tiny_hypergraph()
    split = data.split()
    sets = [set(data.incidence[1, part.labels >= 0].tolist()) for part in (split.train, split.validation, split.test)]
    assert [len(one) for one in sets] == [12, 4, 4]
    assert len(set.union(*sets)) == 20
    batch = split.test.whole()
    assert batch.pairs.shape[1] == len(batch.labels) == 16
    assert batch.nodes == 15 + 20
    assert batch.edge_index.shape[1] == 2 * 80
    own = batch.features[15 + 3]
    assert torch.allclose(own, data.features[data.incidence[0, data.incidence[1] == 3]].mean(0))


def test_pyg_data_sets_and_batches_are_the_graphs_they_hold(tmp_path):
    from torch_geometric.data import Batch, InMemoryDataset

    class Rings(InMemoryDataset):
        def __init__(self):
            super().__init__(str(tmp_path))
            self.data, self.slices = self.collate(to_pyg(tiny_graph_classes()))

    data, whole = tiny_graph_classes(), Rings()
    for given in (whole, Batch.from_data_list(list(whole))):
        found = read(given, room="graphs")
        assert isinstance(found, Graphs)
        assert torch.equal(found.sizes, data.sizes)
        assert torch.equal(found.labels, data.labels)
    assert read(whole[3:9], room="graphs").labels.tolist() == data.labels[3:9].tolist()


def test_pyg_objects_that_do_not_fit_together_are_refused_with_their_number():
    some = to_pyg(tiny_graph_classes())[:4]
    narrow, beyond, longer = (one.clone() for one in some[:3])
    narrow.x, beyond.edge_index, longer.y = narrow.x[:, :0], beyond.edge_index + 99, torch.tensor([1, 2])
    for wrong, said in ((narrow, "graph 4 have 0 features"), (beyond, "graph 4: edges name"), (longer, "y of graph 4")):
        with pytest.raises(DataError, match=said):
            read([*some, wrong], room="graphs")
    with pytest.raises(DataError, match="not 7"):
        read(7, room="graphs")
    unknown = some[0].clone()
    del unknown.y
    assert read([*some, unknown], room="graphs").labels.tolist() == [*tiny_graph_classes().labels[:4].tolist(), -1]


def test_pyg_objects_without_answers_can_be_answered():
    bare = to_pyg(tiny_graph())
    del bare.y
    data = read(bare, room="graphs", task="classify-nodes")
    assert isinstance(data, Graph)
    assert not data.has_truth
    bare.edge_weight = torch.arange(bare.edge_index.shape[1]).float() + 1
    links = read(bare, room="graphs")
    assert isinstance(links, Links)
    assert links.weight is not None


def test_pyg_objects_come_in_and_go_out_unchanged():
    graph = dataclasses.replace(tiny_graph(), weight=torch.rand(tiny_graph().edge_index.shape[1]))
    again = read(to_pyg(graph), room="graphs")
    assert isinstance(again, Graph)
    for field in ("edge_index", "features", "labels", "weight"):
        assert torch.equal(getattr(again, field), getattr(graph, field))
    for several in (tiny_graph_classes(), tiny_graph_numbers()):
        again = read(to_pyg(several), room="graphs")
        assert isinstance(again, Graphs)
        assert again.task == several.task
        assert torch.equal(again.edge_index, several.edge_index)
        truth = "labels" if several.labels is not None else "targets"
        assert torch.equal(getattr(again, truth), getattr(several, truth))
    hyper = read(to_pyg(tiny_hypergraph()), room="graphs")
    assert isinstance(hyper, Hypergraph)
    assert torch.equal(hyper.incidence, tiny_hypergraph().incidence)
    links = read(to_pyg(tiny_graph()), room="graphs", task="predict-links")
    assert isinstance(links, Links)
    masked = Data(x=torch.ones(4, 1), edge_index=torch.tensor([[0], [1]]), y=torch.tensor([0, 1, 0, 1]))
    masked.train_mask = torch.tensor([True, True, False, False])
    masked.val_mask, masked.test_mask = torch.tensor([[0, 0, 1, 0], [0, 0, 0, 1]]).bool()
    split = read(masked, room="graphs").split()
    assert [part.known.tolist() for part in (split.train, split.validation, split.test)] == [[0, 1], [2], [3]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"edge_index": torch.tensor([[0], [40]])}, "0 to 40"),
        ({"labels": torch.full((40,), 7)}, "2 classes"),
        ({"labels": torch.zeros(39, dtype=torch.int64)}, "39 rows"),
        ({"features": torch.full((40, 3), torch.nan)}, "features"),
        ({"weight": torch.ones(3)}, "weight"),
    ],
)
def test_what_does_not_fit_is_named(change, said):
    with pytest.raises(DataError, match=said):
        dataclasses.replace(tiny_graph(), **change)


def test_graphs_that_are_joined_or_empty_are_named():
    data = tiny_graph_classes()
    with pytest.raises(DataError, match="joins graph 0 and 23"):
        dataclasses.replace(data, edge_index=torch.tensor([[0], [len(data.features) - 1]]))
    with pytest.raises(DataError, match="no node"):
        graphs_of([torch.zeros(2, 0, dtype=torch.int64)], [torch.zeros(0, 1)])


def test_a_task_that_the_data_say_nothing_about_is_refused():
    with pytest.raises(DataError, match="classify-graphs"):
        tiny_graph().for_task("classify-graphs")
    assert isinstance(tiny_graph().for_task("predict-links"), Links)


def test_folds_are_described_as_they_are_and_parts_without_truth_are_refused():
    assert "every class" in tiny_graph_classes().describe()["split"]
    assert tiny_graph_numbers().describe()["split"] == "ten folds, one for each seed"
    data = tiny_hypergraph()
    parts = torch.arange(data.sets) % 2
    with pytest.raises(DataError, match="the test part holds no membership"):
        dataclasses.replace(data, parts=parts).split()
