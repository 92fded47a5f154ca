"""From tables of nodes, edges, graphs and memberships to the container of a task.

A table of nodes has a row per node with its `id`, one of edges `source` and `target`, one of graphs its `graph`, one of
memberships `hyperedge` and `node`. What else stands in them are facts: a column of labels says what is to be learned, a
column `split` (train, validation, test) which part a row belongs to, numbers are features as they are, and words are
one number for each word.
"""

from dataclasses import dataclass, replace
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
MANY = 10  # classes that are always believed; more of them must have two members in the mean


@dataclass
class GraphTables:
    """What was found in `file`.

    nodes:       index: names of the nodes, or (graph, name) where there are several graphs
    edges:       columns source, target, and graph where there are several
    graphs:      index: names of the graphs; None where there is one graph without facts of its own
    memberships: columns hyperedge, node; None for an ordinary graph
    nodes_file, graphs_file: where nodes and graphs were found, if elsewhere
    """

    file: str
    nodes: pd.DataFrame
    edges: pd.DataFrame
    graphs: pd.DataFrame | None = None
    memberships: pd.DataFrame | None = None
    nodes_file: str = ""
    graphs_file: str = ""

    @property
    def of_nodes(self) -> str:
        """The file that says what is known of nodes."""
        return self.nodes_file or self.file

    @property
    def of_graphs(self) -> str:
        """The file that says what is known of graphs."""
        return self.graphs_file or self.file

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2].rpartition(".")[0] or self.file


def graph_from_tables(
    tables: GraphTables, task: str | None = None, label_column: str | None = None, labelled: bool = True
) -> GraphData:
    """The container of `task`, or of the one that the facts speak for: labels of memberships, of graphs, of nodes, or
    else the links. Where `labelled` is False there need be no labels: then none is known.

    Raises:
        DataError: nothing is said about the task, or a fact is no number and no word.
    """
    if task is not None and task not in TASKS:
        raise DataError(f"{tables.file}: there is no task '{task}'; choose among {', '.join(TASKS)}")
    chosen = task or _task_of(tables, label_column)
    if label_column is not None and labelled and chosen != "predict-links":
        _wanted(tables, chosen, label_column)
    if chosen == "label-incidences":
        return _hypergraph(tables, label_column, labelled)
    if chosen in ("classify-graphs", "regress-graphs"):
        return _graphs(tables, label_column, chosen if task else None, labelled)
    if tables.graphs is not None and len(tables.graphs) > 1:
        raise DataError(f"{tables.file}: it holds {len(tables.graphs)} graphs, but {chosen} needs a single one")
    features, column = _features(tables.nodes, tables.of_nodes, label_column, "nodes")
    nodes = tables.nodes.index if tables.graphs is None else tables.nodes.index.get_level_values(1)
    edge_index, weight, edge_features = _edges(tables, _places(tables))
    names = tuple(map(str, nodes))
    if chosen == "predict-links":
        return Links(edge_index=edge_index, features=features, weight=weight, names=names, name=tables.name)
    if column is None and labelled:
        raise DataError(
            f"{tables.file}: nodes have no column of labels ({', '.join(LABELS)}); name it with --label-column, give "
            "a table of nodes with --nodes, or use --task predict-links"
        )
    labels, classes = _classes_of(tables.nodes, column, tables.of_nodes)
    masks = None
    parts = _parts(tables.nodes, tables.of_nodes)
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
    return "classify-nodes" if label_column or _label_of(tables.nodes, None) else "predict-links"


def _wanted(tables: GraphTables, task: str, column: str) -> None:
    """Raise a `DataError` unless what is to be labelled has the column that was asked for."""
    per: dict[str, tuple[pd.DataFrame | None, str, str]] = {
        "classify-nodes": (tables.nodes, tables.of_nodes, "nodes"),
        "label-incidences": (tables.memberships, tables.file, "memberships"),
    }
    table, file, what = per.get(task, (tables.graphs, tables.of_graphs, "graphs"))
    if table is not None and column not in table.columns:
        known = ", ".join(str(name) for name in table.columns if name not in ("id", "node", "hyperedge"))
        raise DataError(f"{file}: {what} have no column '{column}' for --label-column; they have {known or 'none'}")


def _label_of(table: pd.DataFrame, wanted: str | None) -> str | None:
    """The column of labels: the one that is wanted, or one of `LABELS`, whichever is there."""
    if wanted is not None:
        return wanted if wanted in table.columns else None
    return next((name for name in table.columns if str(name).lower() in LABELS), None)


def _places(tables: GraphTables) -> pd.Index:
    index = tables.nodes.index
    if index.has_duplicates:
        twice = index[index.duplicated()][0]
        of = f"'{twice}'" if tables.graphs is None else f"'{twice[1]}' of graph '{twice[0]}'"
        raise DataError(f"{tables.of_nodes}: node {of} is listed twice; keep one")
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
            there = f"{tables.nodes_file} does not list" if tables.nodes_file else "is not listed"
            of = "" if tables.graphs is None else f" of graph '{table['graph'].iloc[row]}'"
            raise DataError(
                f"{tables.file}: edge {row + 1} names node '{table[end].iloc[row]}'{of}, which {there}; add the node, "
                "or leave the edge out"
            )
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


def _graphs(tables: GraphTables, label_column: str | None, task: str | None, labelled: bool) -> Graphs:
    if tables.graphs is None:
        raise DataError(
            f"{tables.file}: it is one graph without a label of its own; graphs are told apart by a column 'graph' and "
            "described in a table given with --graphs"
        )
    column = _label_of(tables.graphs, label_column)
    if column is None and labelled:
        raise DataError(
            f"{tables.of_graphs}: graphs have no label ({', '.join(LABELS)}); name it with --label-column, or give a "
            "table with --graphs"
        )
    order = pd.Index(tables.graphs.index)
    if order.has_duplicates:
        raise DataError(f"{tables.of_graphs}: graph '{order[order.duplicated()][0]}' is described twice; keep one row")
    home = order.get_indexer(tables.nodes.index.get_level_values(0))
    if (home < 0).any():
        unknown = tables.nodes.index.get_level_values(0)[int((home < 0).argmax())]
        raise DataError(
            f"{tables.file}: graph '{unknown}' has nodes, but {tables.of_graphs} does not describe it; add its row"
        )
    arranged = np.argsort(home, kind="stable")
    described = tables.graphs
    tables = replace(tables, nodes=tables.nodes.iloc[arranged])
    sizes = torch.from_numpy(np.bincount(home, minlength=len(order)))
    if int(sizes.min()) < 1:
        raise DataError(
            f"{tables.of_graphs}: graph '{order[int(sizes.argmin())]}' has no node in {tables.of_nodes}; leave it out, "
            "or list its nodes in a table given with --nodes"
        )
    features, _ = _features(tables.nodes, tables.of_nodes, "", "nodes")
    edge_index, weight, edge_features = _edges(tables, _places(tables))
    label = pd.Series(np.nan, described.index, name="target") if column is None else described[column]
    number = _has_fractions(label)
    facts: dict[str, Any]
    if task == "regress-graphs" or (task is None and number):
        targets = torch.from_numpy(_number(label, tables.of_graphs, "graphs", gaps=True)).float()[:, None]
        facts = {"targets": targets, "target_names": (str(label.name),)}
    else:
        labels, classes = _classes(label, tables.of_graphs)
        facts = {"labels": labels, "classes": classes}
    parts = _parts(described, tables.of_graphs)
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


def _hypergraph(tables: GraphTables, label_column: str | None, labelled: bool) -> Hypergraph:
    table = tables.memberships
    if table is None:
        raise DataError(f"{tables.file}: it holds no hyperedges; give columns hyperedge, node and label, or GraphML's")
    column = _label_of(table, label_column)
    if column is None and labelled:
        raise DataError(f"{tables.file}: memberships have no label ({', '.join(LABELS)}); name it with --label-column")
    features, _ = _features(tables.nodes, tables.of_nodes, "", "nodes")
    node = _places(tables).get_indexer(table["node"])
    if (node < 0).any():
        unknown = table["node"].iloc[int((node < 0).argmax())]
        raise DataError(f"{tables.file}: node '{unknown}' is a member, but {tables.of_nodes} does not list it")
    place, names = pd.factorize(table["hyperedge"], sort=False)
    labels, classes = _classes_of(table, column, tables.file)
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
        if len(column) and column.isna().all():  # nothing is said
            continue
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            columns.append(torch.from_numpy(_number(column, file, what))[:, None])
            continue
        numbers = pd.to_numeric(column, errors="coerce").notna()
        if 2 * int(numbers.sum()) > int(column.notna().sum()):  # numbers, and something that slipped in among them
            _number(column, file, what)
        words, known = pd.factorize(column.astype(object).where(column.notna(), "").astype(str), sort=True)
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
        where = f"{file}, column '{column.name}' of the {what}, row {row + 1}"
        if pd.isna(column.iloc[row]):
            raise DataError(f"{where}: the cell is empty; fill it, or leave the column out")
        raise DataError(f"{where}: '{column.iloc[row]}' is not a number")
    return values


def _classes_of(table: pd.DataFrame, column: str | None, file: str) -> tuple[Tensor, tuple[str, ...]]:
    """`_classes` of a column; without one, none is known."""
    return (torch.full((len(table),), -1), ()) if column is None else _classes(table[column], file)


def _classes(column: pd.Series, file: str) -> tuple[Tensor, tuple[str, ...]]:
    """Classes 0, 1, .. in the order of their names, -1 where the cell is empty."""
    missing = column.isna() | (column.astype(str).str.strip() == "")
    if _has_fractions(column):
        broken = column[column % 1 != 0].dropna().iloc[0]
        raise DataError(
            f"{file}, column '{column.name}': {broken} is no class; classes are words or whole numbers (numbers of "
            "graphs go with --task regress-graphs)"
        )
    if pd.api.types.is_float_dtype(column):
        column = column.astype("Int64")
    known = column[~missing]
    if pd.api.types.is_numeric_dtype(known):
        names = [str(value) for value in sorted(known.unique())]
    else:
        names = sorted(known.astype(str).unique())
    if len(names) > max(MANY, len(known) // 2):
        raise DataError(
            f"{file}, column '{column.name}': {len(names)} different labels in {len(known)} rows are no classes; name "
            "another column with --label-column, or another --task (predict-links, regress-graphs)"
        )
    place = {name: k for k, name in enumerate(names)}
    labels = [-1 if empty else place[str(value)] for value, empty in zip(column, missing, strict=True)]
    return torch.tensor(labels, dtype=torch.int64), tuple(names)


def _has_fractions(column: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() % 1 != 0).any())


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
