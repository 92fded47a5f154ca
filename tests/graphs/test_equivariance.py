"""Names do not matter: relabelled nodes, and graphs, pairs and memberships in another order, get the same answers.

Every method and baseline of the room's catalogue is asked, for every task it is for, through all that it does: what it
prepares, how it describes nodes, what it says. All in double precision, to 1e-9. Methods that draw take the likelier
choice here; their own tests permute the draws along. The graphs have no symmetries, as one of several equally good
edges cannot be chosen without looking at names.
"""

import dataclasses

import pytest
import torch

from pathline.core import catalog
from pathline.core.tiny_graphs import tiny_hypergraph
from pathline.data.graph import Graph
from pathline.data.graph_batch import TASKS
from pathline.data.graph_list import graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links
from pathline.graph.links import both_ways
from pathline.graph.resistance import components

NODES, FEATURES = 26, 4
ENTRIES = [entry for entry in (*catalog.systems("graphs"), *catalog.baselines("graphs")) if entry.built]
CASES = [(entry.key, task) for entry in ENTRIES for task in entry.load().tasks]


def drawn_edges(nodes, generator):
    """Edges of a connected graph without twins: no two nodes have the same neighbours besides each other."""
    pairs = torch.triu_indices(nodes, nodes, 1)
    while True:
        edges = both_ways(pairs[:, torch.rand(pairs.shape[1], generator=generator) < 3.4 / nodes])
        near = torch.zeros(nodes, nodes, dtype=torch.int64)
        near[edges[0], edges[1]] = 1
        colour = near.sum(1)
        for _ in range(nodes):  # colours of neighbours, until all nodes are told apart
            table = torch.cat([colour[:, None], (near * (1 + colour)).sort(1).values], 1)
            colour = table.unique(dim=0, return_inverse=True)[1]
        if int(components(edges, nodes).max()) == 0 and int(colour.max()) == nodes - 1:
            return edges


def drawn(task):
    """Data of a task in double precision, and a function that renames and reorders them: it returns the other data,
    and for every answer its place among those of the first."""
    generator = torch.Generator().manual_seed(5)
    edges = drawn_edges(NODES, generator)
    features = torch.randn(NODES, FEATURES, dtype=torch.float64, generator=generator)
    order = torch.randperm(NODES, generator=generator)  # what stands where, afterwards
    place = order.argsort()
    if task == "classify-nodes":
        labels = torch.arange(NODES) % 3
        weight = 0.5 + torch.rand(edges.shape[1], dtype=torch.float64, generator=generator)
        data = Graph(edge_index=edges, features=features, labels=labels, classes=("a", "b", "c"), weight=weight)
        mixed = torch.randperm(edges.shape[1], generator=generator)
        moved = dataclasses.replace(
            data,
            edge_index=place[edges][:, mixed],
            features=features[order],
            labels=labels[order],
            weight=weight[mixed],
        )
        return data, moved, order
    if task == "predict-links":
        data = Links(edge_index=edges, features=features).split(0).test
        mixed = torch.randperm(data.pairs.shape[1], generator=generator)
        shuffled = torch.randperm(data.edge_index.shape[1], generator=generator)
        moved = dataclasses.replace(
            data,
            edge_index=place[data.edge_index][:, shuffled],
            features=features[order],
            pairs=place[data.pairs].flip(0)[:, mixed],  # a link has no direction
            truth=data.truth[mixed],
        )
        return data, moved, mixed
    if task == "label-incidences":
        data = tiny_hypergraph()
        nodes, sets = len(data.features), data.sets
        order, mixed = torch.randperm(nodes, generator=generator), torch.randperm(sets, generator=generator)
        shuffled = torch.randperm(data.incidence.shape[1], generator=generator)
        node, hyperedge = data.incidence[:, shuffled]
        own = torch.randn(nodes, data.width, dtype=torch.float64, generator=generator)
        data = dataclasses.replace(data, features=own)
        moved = dataclasses.replace(
            data,
            incidence=torch.stack([order.argsort()[node], mixed.argsort()[hyperedge]]),
            features=own[order],
            labels=data.labels[shuffled],
        )
        assert isinstance(moved, Hypergraph)
        return data, moved, shuffled
    sizes = [11, 12, 13, 14, 12, 11]
    graphs = [drawn_edges(size, generator) for size in sizes]
    rows = [torch.randn(size, FEATURES, dtype=torch.float64, generator=generator) for size in sizes]
    answers = torch.arange(len(sizes))
    facts = (
        {"labels": answers % 2, "classes": ("a", "b")}
        if task == "classify-graphs"
        else {"targets": answers.double()[:, None] ** 2}
    )
    data = graphs_of(graphs, rows, **facts)
    renamed = [torch.randperm(size, generator=generator) for size in sizes]
    other = graphs_of(
        [one.argsort()[edge] for one, edge in zip(renamed, graphs, strict=True)],
        [row[one] for one, row in zip(renamed, rows, strict=True)],
        **facts,
    )
    mixed = torch.randperm(len(sizes), generator=generator)
    return data, other.take(mixed), mixed


def built(key, data):
    """The method in double precision: with weights that are drawn, or fitted where nothing is trained."""
    cls = catalog.method(key)
    method = cls.seeded(data, 0, **({"deterministic": True} if "deterministic" in cls.settings() else {})).double()
    return method.eval() if cls.trains else method.fit(data).double().eval()


def test_every_task_has_methods_that_are_asked():
    assert {task for _, task in CASES} == set(TASKS)


@pytest.mark.parametrize(("key", "task"), CASES)
def test_answers_move_with_what_they_are_about(key, task):
    data, moved, order = drawn(task)
    method = built(key, data)
    said = method.said(data)
    again = (method if catalog.method(key).trains else built(key, moved)).said(moved)
    assert said.dtype == torch.float64
    assert torch.isfinite(said).all()
    assert float((again - said[order]).abs().max()) < 1e-9
    assert float((said - said[0]).abs().max()) > 1e-9, "one answer for all says nothing"
