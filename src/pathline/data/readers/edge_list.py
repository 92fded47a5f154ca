"""Edge lists: a line per edge, its two ends and what else is known of it; tables of nodes and graphs beside it."""

from pathlib import Path
from typing import Any

import pandas as pd

from pathline.data.errors import DataError
from pathline.data.graph_batch import GraphData
from pathline.data.graph_tables import GraphTables, graph_from_tables

ENDS = {
    "source": ("source", "src", "from", "u", "id1", "node1"),
    "target": ("target", "dst", "to", "v", "id2", "node2"),
}


def read_edge_list(
    path: Path,
    task: str | None = None,
    nodes: str | Path | None = None,
    graphs: str | Path | None = None,
    label_column: str | None = None,
) -> GraphData:
    """Columns source and target, with or without a header, separated by commas, tabs, semicolons or blanks.

    Further columns: `weight` (above 0), `graph` where there are several, and features of edges. With columns hyperedge
    and node instead, each row is a membership, and a column of labels says of which kind.

    Args:
        nodes: a table with a column `id` (and `graph`) and facts of the nodes; without it, nodes are those that occur.
        graphs: a table with a column `graph` and facts of the graphs.
    """
    file = str(path)
    edges = _table(path, headless=True)
    if {"hyperedge", "node"} <= set(edges.columns):
        table = _nodes(nodes, edges["node"], file)
        return graph_from_tables(GraphTables(file, table, edges.iloc[:0], memberships=edges), task, label_column)
    several = "graph" in edges.columns or graphs is not None
    if several and "graph" not in edges.columns:
        raise DataError(f"{file}: a table of graphs was given, but no column 'graph' says to which one an edge belongs")
    if not several:
        table = _nodes(nodes, pd.concat([edges["source"], edges["target"]]), file)
        return graph_from_tables(GraphTables(file, table, edges), task, label_column)
    ends = pd.concat([edges[["graph", end]].set_axis(["graph", "id"], axis=1) for end in ("source", "target")])
    if nodes is None:
        node_table = ends.drop_duplicates().sort_values(["graph", "id"], kind="stable")
    else:
        node_table = _with(_table(Path(nodes)), ("graph", "id"), str(nodes))
    names = node_table["graph"].drop_duplicates()
    graph_table = (
        pd.DataFrame(index=pd.Index(names))
        if graphs is None
        else (_with(_table(Path(graphs)), ("graph",), str(graphs)).set_index("graph"))
    )
    tables = GraphTables(file, node_table.set_index(["graph", "id"]), edges, graph_table)
    return graph_from_tables(tables, task, label_column)


def read_graph_folder(path: Path, task: str | None = None, label_column: str | None = None) -> GraphData:
    """edges.csv, with nodes.csv and graphs.csv beside it where there are such; or files of GraphML."""
    if not (path / "edges.csv").exists():
        from pathline.data.readers.graphml import read_graphml

        return read_graphml(path, task, label_column)
    beside: dict[str, Any] = {
        name: path / f"{name}.csv" for name in ("nodes", "graphs") if (path / f"{name}.csv").exists()
    }
    return read_edge_list(path / "edges.csv", task, label_column=label_column, **beside)


def _nodes(path: str | Path | None, seen: pd.Series, file: str) -> pd.DataFrame:
    if path is not None:
        return _with(_table(Path(path)), ("id",), str(path)).set_index("id")
    if seen.isna().any():
        raise DataError(f"{file}: an end of an edge is empty")
    return pd.DataFrame(index=pd.Index(seen.unique()).sort_values())


def _with(table: pd.DataFrame, needed: tuple[str, ...], file: str) -> pd.DataFrame:
    """`table`, if it has the columns; `node` and `name` pass for `id`."""
    if "id" in needed and "id" not in table.columns:
        table = table.rename(columns={name: "id" for name in ("node", "name") if name in table.columns})
    for name in needed:
        if name not in table.columns:
            raise DataError(
                f"{file}: there is no column '{name}'; the columns are {', '.join(map(str, table.columns))}"
            )
    return table


def _table(path: Path, headless: bool = False) -> pd.DataFrame:
    """A table with its header; if `headless` is allowed and the first line holds numbers, source, target, weight."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with path.open(encoding="utf-8") as lines:
            first = next((line.strip() for line in lines if line.strip() and not line.startswith(("#", "%"))), "")
    except UnicodeDecodeError:
        raise DataError(f"{path}: this is not a text file") from None
    separator = next((mark for mark in (",", "\t", ";") if mark in first), r"\s+")
    cells = [cell.strip().lower() for cell in (first.split(separator) if len(separator) == 1 else first.split())]
    known = {name: end for end, names in ENDS.items() for name in names}
    bare = (
        headless
        and not {"hyperedge", "node"} <= set(cells)
        and not ({known.get(cell) for cell in cells} >= {"source", "target"})
    )
    if bare and not all(_is_number(cell) for cell in cells[:2]):
        raise DataError(
            f"{path}: the first line names the columns {', '.join(cells)}; an edge list needs source and target, or "
            "hyperedge and node"
        )
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            comment="#" if separator == r"\s+" else None,
            header=None if bare else "infer",
            skipinitialspace=True,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path}: the rows do not have equally many columns ({str(error).strip()})") from None
    if bare:
        if table.shape[1] > 3 or table.shape[1] < 2:
            if table.shape[1] < 2:
                raise DataError(f"{path}: an edge needs two ends; there is one column")
            table = table.iloc[:, :2]
        return table.set_axis(["source", "target", "weight"][: table.shape[1]], axis=1)
    table.columns = [str(name).strip() for name in table.columns]
    lower = {name: name.lower() for name in table.columns}
    if headless:
        return table.rename(columns={name: known.get(small, small) for name, small in lower.items()})
    return table.rename(columns={name: small for name, small in lower.items() if small in ("id", "graph", "node")})


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
