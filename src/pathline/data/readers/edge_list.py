"""Edge lists: a line per edge, its two ends and what else is known of it; tables of nodes and graphs beside it."""

import warnings
from csv import reader
from io import StringIO
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
NAMES = ("id", "node", "name", "graph", "hyperedge", *ENDS["source"], *ENDS["target"])  # columns that hold names
EMPTY = ("", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None")  # cells of other columns that hold nothing


def read_edge_list(
    path: Path,
    task: str | None = None,
    nodes: str | Path | None = None,
    graphs: str | Path | None = None,
    label_column: str | None = None,
    labelled: bool = True,
) -> GraphData:
    """Columns source and target, with or without a header, separated by commas, tabs, semicolons or blanks.

    Further columns: `weight` (above 0), `graph` where there are several, and features of edges. With columns hyperedge
    and node instead, each row is a membership, and a column of labels says of which kind.

    Args:
        nodes: a table with a column `id` (and `graph`) and facts of the nodes; without it, nodes are those that occur.
        graphs: a table with a column `graph` and facts of the graphs.
        labelled: False where labels need not be there.
    """
    file = str(path)
    edges = _table(path, headless=True)
    for column in {"source", "target", "graph", "hyperedge", "node"} & set(edges.columns):
        if edges[column].isna().any():
            row = int(edges[column].isna().to_numpy().argmax())
            raise DataError(f"{file}, row {row + 1}, column '{column}': the cell is empty; name one, or drop the row")
    beside = {"nodes_file": "" if nodes is None else str(nodes), "graphs_file": "" if graphs is None else str(graphs)}
    if {"hyperedge", "node"} <= set(edges.columns):
        if graphs is not None:
            raise DataError(f"{file}: it lists memberships of one hypergraph; leave the table of graphs out")
        table = _nodes(nodes, edges["node"])
        tables = GraphTables(file, table, edges.iloc[:0], memberships=edges, **beside)
        return graph_from_tables(tables, task, label_column, labelled)
    several = "graph" in edges.columns or graphs is not None
    if several and "graph" not in edges.columns:
        raise DataError(f"{file}: a table of graphs was given, but no column 'graph' says to which one an edge belongs")
    if not several:
        table = _nodes(nodes, pd.concat([edges["source"], edges["target"]]))
        if not len(table):
            raise DataError(f"{file}: there is a header but no edge below it")
        return graph_from_tables(GraphTables(file, table, edges, **beside), task, label_column, labelled)
    ends = pd.concat([edges[["graph", end]].set_axis(["graph", "id"], axis=1) for end in ("source", "target")])
    if nodes is None:
        node_table = ends.drop_duplicates().sort_values(["graph", "id"], key=_rank, kind="stable")
    else:
        node_table = _with(_table(Path(nodes)), ("graph", "id"), str(nodes))
    names = node_table["graph"].drop_duplicates()
    graph_table = (
        pd.DataFrame(index=pd.Index(names))
        if graphs is None
        else (_with(_table(Path(graphs)), ("graph",), str(graphs)).set_index("graph"))
    )
    tables = GraphTables(file, node_table.set_index(["graph", "id"]), edges, graph_table, **beside)
    return graph_from_tables(tables, task, label_column, labelled)


def read_graph_folder(
    path: Path, task: str | None = None, label_column: str | None = None, labelled: bool = True
) -> GraphData:
    """edges.csv, with nodes.csv and graphs.csv beside it where there are such; or files of GraphML."""
    if not (path / "edges.csv").exists():
        from pathline.data.readers.graphml import read_graphml

        return read_graphml(path, task, label_column, labelled)
    beside: dict[str, Any] = {
        name: path / f"{name}.csv" for name in ("nodes", "graphs") if (path / f"{name}.csv").exists()
    }
    return read_edge_list(path / "edges.csv", task, label_column=label_column, labelled=labelled, **beside)


def _nodes(path: str | Path | None, seen: pd.Series) -> pd.DataFrame:
    if path is not None:
        return _with(_table(Path(path)), ("id",), str(path)).set_index("id")
    return pd.DataFrame(index=pd.Index(pd.Series(seen.unique(), dtype=object).sort_values(key=_rank, kind="stable")))


def _rank(names: pd.Series) -> pd.Series:
    """What names are sorted by: as numbers where all of them are."""
    numbers = pd.to_numeric(names, errors="coerce")
    return names if numbers.isna().any() else numbers


def _plain(names: pd.Series) -> pd.Series:
    """Names without blanks around them; 3 where a table of numbers wrote 3.0 because of an empty cell elsewhere."""
    names = names.str.strip()
    whole = names.dropna().str.fullmatch(r"-?\d+\.0")
    return names.str.removesuffix(".0") if len(whole) and bool(whole.all()) else names


def _with(table: pd.DataFrame, needed: tuple[str, ...], file: str) -> pd.DataFrame:
    """`table`, if it has the columns and names in them; `node` or else `name` passes for `id`."""
    if "id" in needed and "id" not in table.columns:
        own = next((name for name in table.columns if str(name).lower() in ("node", "name")), "id")
        table = table.rename(columns={own: "id"})
    for name in needed:
        if name not in table.columns:
            raise DataError(
                f"{file}: there is no column '{name}'; the columns are {', '.join(map(str, table.columns))}"
            )
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise DataError(f"{file}, row {row + 1}, column '{name}': the cell is empty; name it, or drop the row")
    return table


def _table(path: Path, headless: bool = False) -> pd.DataFrame:
    """A table with its header; if `headless` is allowed and the first line holds numbers, source, target, weight."""
    if path.is_dir():
        raise DataError(f"{path}: this is a folder, not a table")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: this is no text in UTF-8; save it as csv in UTF-8") from None
    above = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith(("#", "%"))), len(lines))
    if above == len(lines):
        raise DataError(f"{path}: the file is empty; an edge list has a line per edge, a table a header and rows")
    first = lines[above].strip()
    separator = next((mark for mark in (",", "\t", ";") if mark in first), r"\s+")
    heads = [
        cell.strip() for cell in (next(reader([first], delimiter=separator)) if len(separator) == 1 else first.split())
    ]
    cells = [cell.lower() for cell in heads]
    known = {name: end for end, names in ENDS.items() for name in names}
    bare = (
        headless
        and not {"hyperedge", "node"} <= set(cells)
        and not ({known.get(cell) for cell in cells} >= {"source", "target"})
    )
    if bare and not all(_is_number(cell) for cell in cells[:2]):
        raise DataError(
            f"{path}: the first line names the columns {', '.join(cells)}; an edge list needs source and target, or "
            "hyperedge and node: write them above the rows"
        )
    if bare and len(cells) < 2:
        raise DataError(f"{path}: an edge needs two ends; there is one column")
    names: list[Any] = list(range(len(cells))) if bare else heads
    if len(set(names)) < len(names):
        raise DataError(f"{path}: column '{next(n for n in names if names.count(n) > 1)}' stands there twice; keep one")
    named = [0, 1] if bare else [head for head in heads if head.lower() in NAMES]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                StringIO("\n".join(lines) + "\n"),
                sep=separator,
                comment="#" if separator == r"\s+" else None,
                skiprows=above + (not bare),
                header=None,
                names=names,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
                dtype=dict.fromkeys(named, str),
                keep_default_na=False,
                na_values={column: [""] if column in named else list(EMPTY) for column in names},
            )
    except pd.errors.EmptyDataError:
        table = pd.DataFrame(columns=names, dtype=str)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        what = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path}: the rows do not have equally many columns ({what})") from None
    for column in named:
        table[column] = _plain(table[column])
    if bare:
        table = table.iloc[:, : 3 if table.shape[1] == 3 else 2]
        return table.set_axis(["source", "target", "weight"][: table.shape[1]], axis=1)
    lower = {name: name.lower() for name in table.columns}
    if headless:
        return table.rename(columns={name: known.get(small, small) for name, small in lower.items()})
    return table.rename(columns={name: small for name, small in lower.items() if small in ("id", "graph")})


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
