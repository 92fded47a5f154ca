"""GraphML: one graph or several, with facts of graphs, nodes, edges and hyperedges (graphml.graphdrawing.org)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from pathline.data.errors import DataError
from pathline.data.graph_batch import GraphData
from pathline.data.graph_tables import LABELS, GraphTables, graph_from_tables

NUMBERS = {"int": int, "long": int, "float": float, "double": float}


def read_graphml(
    path: Path | list[Path], task: str | None = None, label_column: str | None = None, labelled: bool = True
) -> GraphData:
    """One file, several files, or all `.graphml` files of a folder.

    A file with one graph that has no label of its own is a graph whose nodes or links are asked about; several graphs,
    or a graph with a label, are graphs to classify or regress; hyperedges with labels at their endpoints are
    memberships. Edges count in both directions, whatever the file says.
    """
    if isinstance(path, Path) and path.is_dir():
        paths = sorted(path.glob("*.graphml"))
        if not paths:
            raise DataError(f"{path}: the folder holds no .graphml file")
        name = f"{path}/graphs.graphml"
    else:
        paths = path if isinstance(path, list) else [path]
        name = str(paths[0])
    found = [(file, graph) for file in paths for graph in _graphs(file)]
    says = {label_column} if label_column else set(LABELS)
    several = len(found) > 1 or task in ("classify-graphs", "regress-graphs")
    several |= any(name in says or name.lower() in says for name in found[0][1]["facts"])
    nodes, edges, facts, members = [], [], [], []
    for place, (file, graph) in enumerate(found):
        own = graph["name"] or str(place)
        label = f"{file.stem}" if len(paths) > 1 else own
        nodes += [{"graph": label, **row} for row in graph["nodes"]]
        edges += [{"graph": label, **row} for row in graph["edges"]]
        members += graph["members"]
        facts.append({"graph": label, **graph["facts"]})
    if not nodes:
        raise DataError(f"{name}: there is no node in it")
    node_table, edge_table = (
        pd.DataFrame(nodes),
        pd.DataFrame(edges, columns=_columns(edges, "graph", "source", "target")),
    )
    if members:
        table = node_table.drop(columns="graph").set_index("id")
        return graph_from_tables(
            GraphTables(name, table, edge_table, memberships=pd.DataFrame(members)), task, label_column, labelled
        )
    if not several:
        tables = GraphTables(name, node_table.drop(columns="graph").set_index("id"), edge_table.drop(columns="graph"))
        return graph_from_tables(tables, task, label_column, labelled)
    graph_table = pd.DataFrame(facts).set_index("graph")
    if graph_table.index.has_duplicates:
        raise DataError(f"{name}: two graphs are called '{graph_table.index[graph_table.index.duplicated()][0]}'")
    if len(graph_table) == 1 and task in ("classify-nodes", "predict-links"):
        tables = GraphTables(name, node_table.drop(columns="graph").set_index("id"), edge_table.drop(columns="graph"))
    else:
        tables = GraphTables(name, node_table.set_index(["graph", "id"]), edge_table, graph_table)
    return graph_from_tables(tables, task, label_column, labelled)


def _columns(rows: list[dict[str, Any]], *first: str) -> list[str]:
    return list(dict.fromkeys([*first, *(name for row in rows for name in row)]))


def _graphs(path: Path) -> Iterable[dict[str, Any]]:
    """Every graph of a file: its name and facts, and rows of nodes, edges and memberships."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: this is no well-formed GraphML ({error})") from None
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    if root.tag != f"{space}graphml":
        raise DataError(f"{path}: the outermost element is <{root.tag.removeprefix(space)}>, not <graphml>")
    keys = {key.get("id"): key for key in root.iter(f"{space}key")}
    graphs = root.findall(f"{space}graph")
    if not graphs:
        raise DataError(f"{path}: there is no <graph> in it")

    def facts(element: ElementTree.Element, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in keys.values():
            default = key.find(f"{space}default")
            if key.get("for", "all") in (kind, "all") and default is not None:
                found[_name(key)] = _value(default.text, key, path)
        for data in element.findall(f"{space}data"):
            key_id = data.get("key")
            if key_id not in keys:
                raise DataError(f"{path}: <data> names the key '{key_id}', which is not declared")
            found[_name(keys[key_id])] = _value(data.text, keys[key_id], path)
        return {name: found[name] for key in keys.values() if (name := _name(key)) in found}  # in the declared order

    for graph in graphs:
        nodes = [{"id": node.get("id"), **facts(node, "node")} for node in graph.findall(f"{space}node")]
        edges = [
            {"source": edge.get("source"), "target": edge.get("target"), **facts(edge, "edge")}
            for edge in graph.findall(f"{space}edge")
        ]
        members = [
            {
                "hyperedge": hyperedge.get("id") or str(place),
                "node": endpoint.get("node"),
                **facts(hyperedge, "hyperedge"),
                **facts(endpoint, "endpoint"),
            }
            for place, hyperedge in enumerate(graph.findall(f"{space}hyperedge"))
            for endpoint in hyperedge.findall(f"{space}endpoint")
        ]
        yield {
            "name": graph.get("id"),
            "facts": facts(graph, "graph"),
            "nodes": nodes,
            "edges": edges,
            "members": members,
        }


def _name(key: ElementTree.Element) -> str:
    return key.get("attr.name") or key.get("id") or ""


def _value(text: str | None, key: ElementTree.Element, path: Path) -> Any:
    kind = key.get("attr.type", "string")
    word = (text or "").strip()
    if not word:
        return None
    if kind == "boolean":
        return word.lower() in ("true", "1")
    try:
        return NUMBERS[kind](word) if kind in NUMBERS else word
    except ValueError:
        raise DataError(f"{path}: '{word}' of key '{_name(key)}' is no {kind}") from None
