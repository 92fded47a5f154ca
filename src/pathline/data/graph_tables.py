"""From tables of nodes, edges, graphs and memberships to the container of a task.

A table of nodes has a row per node with its `id`, one of edges `source` and `target`, one of graphs its `graph`, one of
memberships `hyperedge` and `node`. What else stands in them are facts: a column of labels says what is to be learned, a
column `split` (train, validation, test) which part a row belongs to, numbers are features as they are, and words are
one number for each word.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_batch import TASKS, GraphData, simple_edges
from pathline.data.graph_list import Graphs
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links

LABELS = ("label", "class", "target", "y")
PARTS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "test": 2}
WORDS = 64  # different words of a column, at most


@dataclass
class GraphTables:
    """What was found in `file`.

    nodes:       index: names of the nodes, or (graph, name) where there are several graphs
    edges:       columns source, target, and graph where there are several
    graphs:      index: names of the graphs; None where there is one graph without facts of its own
    memberships: columns hyperedge, node; None for an ordinary graph
    """

    file: str
    nodes: pd.DataFrame
    edges: pd.DataFrame
    graphs: pd.DataFrame | None = None
    memberships: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2].rpartition(".")[0] or self.file


def graph_from_tables(tables: GraphTables, task: str | None = None, label_column: str | None = None) -> GraphData:
    """The container of `task`, or of the one that the facts speak for: labels of memberships, of graphs, of nodes, or
    else the links.

    Raises:
        DataError: nothing is said about the task, or a fact is no number and no word.
    """
    if task is not None and task not in TASKS:
        raise DataError(f"{tables.file}: there is no task '{task}'; choose among {', '.join(TASKS)}")
    chosen = task or _task_of(tables, label_column)
    if chosen == "label-incidences":
        return _hypergraph(tables, label_column)
    if chosen in ("classify-graphs", "regress-graphs"):
        return _graphs(tables, label_column, chosen if task else None)
    if tables.graphs is not None and len(tables.graphs) > 1:
        raise DataError(f"{tables.file}: it holds {len(tables.graphs)} graphs, but {chosen} needs a single one")
    features, column = _features(tables.nodes, tables.file, label_column, "nodes")
    nodes = tables.nodes.index if tables.graphs is None else tables.nodes.index.get_level_values(1)
    edge_index, weight, edge_features = _edges(tables, _places(tables))
    names = tuple(map(str, nodes))
    if chosen == "predict-links":
        return Links(edge_index=edge_index, features=features, weight=weight, names=names, name=tables.name)
    if column is None:
        raise DataError(
            f"{tables.file}: nodes have no column of labels ({', '.join(LABELS)}); name it with --label-column, give "
            "a table of nodes with --nodes, or use --task predict-links"
        )
    labels, classes = _classes(tables.nodes[column], tables.file)
    masks = None
    parts = _parts(tables.nodes, tables.file)
    if parts is not None:
        masks = {part: (parts == place)[None] for part, place in (("train", 0), ("validation", 1), ("test", 2))}
    return Graph(
        edge_index=edge_index,
        features=features,
        labels=labels,
        classes=classes,
        weight=weight,
        edge_features=edge_features,
        names=names,
        masks=masks,
        split_name="" if masks is None else "column 'split'",
        name=tables.name,
    )


def _task_of(tables: GraphTables, label_column: str | None) -> str:
    if tables.memberships is not None:
        return "label-incidences"
    if tables.graphs is not None:
        return "classify-graphs"
    return "classify-nodes" if _label_of(tables.nodes, label_column) else "predict-links"


def _label_of(table: pd.DataFrame, wanted: str | None) -> str | None:
    """The column of labels: the one that is wanted, or one of `LABELS`, whichever is there."""
    if wanted is not None:
        return wanted if wanted in table.columns else None
    return next((name for name in table.columns if str(name).lower() in LABELS), None)


def _places(tables: GraphTables) -> pd.Index:
    index = tables.nodes.index
    if index.has_duplicates:
        raise DataError(f"{tables.file}: node '{index[index.duplicated()][0]}' is listed twice")
    return index


def _edges(tables: GraphTables, places: pd.Index) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Both directions of every edge once, with weights and features."""
    table = tables.edges
    ends = []
    for end in ("source", "target"):
        wanted = table[end] if tables.graphs is None else pd.MultiIndex.from_frame(table[["graph", end]])
        found = places.get_indexer(wanted)
        if (found < 0).any():
            row = int((found < 0).argmax())
            raise DataError(f"{tables.file}: edge {row + 1} names node '{table[end].iloc[row]}', which is not listed")
        ends.append(torch.from_numpy(found.astype(np.int64)))
    weight = None
    if "weight" in table.columns:
        weight = torch.from_numpy(_number(table["weight"], tables.file, "edges")).float()
        if bool((weight <= 0).any()):
            row = int((weight <= 0).nonzero()[0])
            raise DataError(f"{tables.file}: edge {row + 1} has weight {float(weight[row]):g}; weights must be above 0")
    rest = [name for name in table.columns if name not in ("source", "target", "graph", "weight", "id", "split")]
    edge_features = _table(table[rest], tables.file, "edges") if rest else None
    return simple_edges(torch.stack(ends), False, weight, edge_features)


def _graphs(tables: GraphTables, label_column: str | None, task: str | None) -> Graphs:
    if tables.graphs is None:
        raise DataError(
            f"{tables.file}: it is one graph without a label of its own; graphs are told apart by a column 'graph' and "
            "described in a table given with --graphs"
        )
    column = _label_of(tables.graphs, label_column)
    if column is None:
        raise DataError(
            f"{tables.file}: graphs have no label ({', '.join(LABELS)}); name it with --label-column, or give a table "
            "with --graphs"
        )
    order = pd.Index(tables.graphs.index)
    home = order.get_indexer(tables.nodes.index.get_level_values(0))
    if (home < 0).any():
        unknown = tables.nodes.index.get_level_values(0)[int((home < 0).argmax())]
        raise DataError(f"{tables.file}: graph '{unknown}' has nodes but is not among the described graphs")
    arranged = np.argsort(home, kind="stable")
    described = tables.graphs
    tables = GraphTables(tables.file, tables.nodes.iloc[arranged], tables.edges, described)
    sizes = torch.from_numpy(np.bincount(home, minlength=len(order)))
    if int(sizes.min()) < 1:
        raise DataError(f"{tables.file}: graph '{order[int(sizes.argmin())]}' has no node")
    features, _ = _features(tables.nodes, tables.file, "", "nodes")
    edge_index, weight, edge_features = _edges(tables, _places(tables))
    label = described[column]
    number = pd.api.types.is_float_dtype(label) and bool((label.dropna() % 1 != 0).any())
    facts: dict[str, Any]
    if task == "regress-graphs" or (task is None and number):
        targets = torch.from_numpy(_number(label, tables.file, "graphs", gaps=True)).float()[:, None]
        facts = {"targets": targets, "target_names": (str(column),)}
    else:
        labels, classes = _classes(label, tables.file)
        facts = {"labels": labels, "classes": classes}
    parts = _parts(described, tables.file)
    return Graphs(
        sizes=sizes,
        edge_index=edge_index,
        features=features,
        weight=weight,
        edge_features=edge_features,
        parts=parts,
        split_name="" if parts is None else "column 'split'",
        names=tuple(map(str, order)),
        name=tables.name,
        **facts,
    )


def _hypergraph(tables: GraphTables, label_column: str | None) -> Hypergraph:
    table = tables.memberships
    if table is None:
        raise DataError(f"{tables.file}: it holds no hyperedges; give columns hyperedge, node and label, or GraphML's")
    column = _label_of(table, label_column)
    if column is None:
        raise DataError(f"{tables.file}: memberships have no label ({', '.join(LABELS)}); name it with --label-column")
    features, _ = _features(tables.nodes, tables.file, "", "nodes")
    node = tables.nodes.index.get_indexer(table["node"])
    if (node < 0).any():
        raise DataError(f"{tables.file}: node '{table['node'].iloc[int((node < 0).argmax())]}' is not listed")
    place, names = pd.factorize(table["hyperedge"], sort=False)
    labels, classes = _classes(table[column], tables.file)
    parts = _parts(table, tables.file)
    by_set = None
    if parts is not None:
        by_set = torch.full((len(names),), -1)
        by_set[torch.from_numpy(place)] = parts
    return Hypergraph(
        incidence=torch.stack([torch.from_numpy(node.astype(np.int64)), torch.from_numpy(place.astype(np.int64))]),
        features=features,
        labels=labels,
        classes=classes,
        sets=len(names),
        parts=by_set,
        split_name="" if by_set is None else "column 'split'",
        names=tuple(map(str, tables.nodes.index)),
        set_names=tuple(map(str, names)),
        name=tables.name,
    )


# -- columns ----------------------------------------------------------------------------------------------------------


def _features(table: pd.DataFrame, file: str, label: str | None, what: str) -> tuple[Tensor, str | None]:
    """All facts but the label as numbers, (rows, width), and the column of labels."""
    column = None if label == "" else _label_of(table, label)
    rest = [name for name in table.columns if name != column and str(name).lower() not in ("id", "split", "graph")]
    return _table(table[rest], file, what), column


def _table(table: pd.DataFrame, file: str, what: str) -> Tensor:
    columns = []
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            columns.append(torch.from_numpy(_number(column, file, what))[:, None])
            continue
        words, known = pd.factorize(column.astype(str), sort=True)
        if len(known) > WORDS:
            raise DataError(
                f"{file}, column '{name}' of the {what}: {len(known)} different words are too many to be features; "
                "leave the column out"
            )
        columns.append(torch.eye(len(known), dtype=torch.float64)[torch.from_numpy(words)])
    return torch.cat(columns, 1).float() if columns else torch.zeros(len(table), 0)


def _number(column: pd.Series, file: str, what: str, gaps: bool = False) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, copy=True)
    bad = ~np.isfinite(values) & (~column.isna().to_numpy() if gaps else True)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{file}, column '{column.name}' of the {what}, row {row + 1}: '{column.iloc[row]}' is not a number"
        )
    return values


def _classes(column: pd.Series, file: str) -> tuple[Tensor, tuple[str, ...]]:
    """Classes 0, 1, .. in the order of their names, -1 where the cell is empty."""
    missing = column.isna() | (column.astype(str).str.strip() == "")
    if pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 == 0).all()):
        column = column.astype("Int64")
    known = column[~missing]
    if pd.api.types.is_numeric_dtype(known):
        names = [str(value) for value in sorted(known.unique())]
    else:
        names = sorted(known.astype(str).unique())
    if len(names) > max(WORDS, len(column) // 2):
        raise DataError(
            f"{file}, column '{column.name}': {len(names)} different labels in {len(column)} rows are no classes; use "
            "--task regress-graphs for numbers of graphs"
        )
    place = {name: k for k, name in enumerate(names)}
    labels = [-1 if empty else place[str(value)] for value, empty in zip(column, missing, strict=True)]
    return torch.tensor(labels, dtype=torch.int64), tuple(names)


def _parts(table: pd.DataFrame, file: str) -> Tensor | None:
    """(rows,) 0, 1 or 2 by the column `split`, -1 where it is empty; None without such a column."""
    column = next((name for name in table.columns if str(name).lower() == "split"), None)
    if column is None:
        return None
    words = table[column].fillna("").astype(str).str.strip().str.lower()
    unknown = sorted(set(words) - set(PARTS) - {""})
    if unknown:
        raise DataError(f"{file}, column '{column}': '{unknown[0]}' is no part; write train, validation or test")
    return torch.tensor([PARTS.get(word, -1) for word in words], dtype=torch.int64)
