"""Answers as tables: a row per node, graph, pair or membership."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphBatch
from pathline.data.graph_list import Graphs
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links
from pathline.graph.hops import hop_sets

if TYPE_CHECKING:
    import pandas as pd

    from pathline.graphs.base import GraphModel

MISSING = 100  # likeliest missing links that are told
EVERY_PAIR = 1500  # nodes up to which all pairs are weighed; beyond, those with a common neighbour


def answer_table(model: "GraphModel", data: Any, seed: int) -> "pd.DataFrame":
    """What `model` says of everything in `data`, whether the truth is known or not."""
    import pandas as pd

    if isinstance(data, Links):
        return pd.DataFrame(_links(model, data, seed))
    if isinstance(data, Graph):
        said = _of(model, replace(model.prepared(data).whole(), items=None, labels=None), seed)
        table: dict[str, Any] = {"node": _names(data.names, torch.arange(len(data.features)))}
    elif isinstance(data, Hypergraph):
        batch = model.prepared(data).whole()
        node, hyperedge = data.incidence
        every = torch.stack([node, hyperedge + len(data.features)])
        said = _of(model, replace(batch, pairs=every, labels=None), seed)
        table = {"node": _names(data.names, node), "hyperedge": _names(data.set_names, hyperedge)}
    else:
        assert isinstance(data, Graphs)
        said = model.said(data, seed)
        table = {"graph": _names(data.names, torch.arange(len(data)))}
        if model.task == "regress-graphs":
            return pd.DataFrame(table | {name: said[:, k].double() for k, name in enumerate(model.answers)})
    share = said.double().softmax(-1)
    table["class"] = [model.answers[k] for k in share.argmax(-1).tolist()]
    return pd.DataFrame(table | {f"p_{name}": share[:, k] for k, name in enumerate(model.answers)})


@torch.no_grad()
def _of(model: "GraphModel", batch: GraphBatch, seed: int) -> Tensor:
    was = model.training
    model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        said = model.scores(batch.to(model.device)).cpu()
    model.train(was)
    return said


def _names(names: tuple[str, ...], index: Tensor) -> list[Any]:
    return [names[k] for k in index.tolist()] if names else index.tolist()


def _links(model: "GraphModel", data: Links, seed: int) -> dict[str, Any]:
    """Scores of the pairs in question, or of the likeliest pairs that are no links yet, best first."""
    pairs = data.pairs if data.pairs is not None else _candidates(data)
    score = _of(model, model.prepared(data).about(pairs), seed).double()
    if data.pairs is None:
        best = score.argsort(descending=True, stable=True)[:MISSING]
        pairs, score = pairs[:, best], score[best]
    return {"source": _names(data.names, pairs[0]), "target": _names(data.names, pairs[1]), "score": score}


def _candidates(data: Links) -> Tensor:
    """(2, m) pairs that are no links: all, or in a large graph those two steps apart."""
    nodes = len(data.features)
    if nodes <= EVERY_PAIR:
        pairs = torch.triu_indices(nodes, nodes, 1)
    else:
        found, distance = hop_sets(data.edge_index, nodes, 2)
        pairs = found[:, (distance == 2) & (found[0] < found[1])]
    return pairs[:, ~torch.isin(pairs[0] * nodes + pairs[1], data.keys)]
