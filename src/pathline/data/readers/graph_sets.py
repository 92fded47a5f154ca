"""The files in which benchmark sets of graphs are published, with the splits that were published beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphData, simple_edges
from pathline.data.graph_list import Graphs, graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links
from pathline.data.readers.npz import read_npz
from pathline.graph.links import both_ways, links_of

VALIDATION = 500  # nodes after the training ones that the Planetoid split validates on


def classes_of(labels: Tensor) -> tuple[str, ...]:
    """Names 0, 1, .. of labels that have none."""
    return tuple(str(k) for k in range(int(labels.max()) + 1))


# -- Planetoid --------------------------------------------------------------------------------------------------------


def read_planetoid(path: Path, task: str | None = None) -> Graph:
    """A citation graph as Planetoid published it; `path` names one of its files, ind.NAME.graph, the others lie beside.

    The split is the published one: 20 nodes of each class to learn from, 500 to validate and the listed ones to test.
    """
    parts = path.name.split(".")
    if len(parts) != 3 or parts[0] != "ind":
        raise DataError(f"{path}: Planetoid's files are called ind.NAME.graph, ind.NAME.x and so on; name one of these")
    return planetoid({end: path.with_name(f"ind.{parts[1]}.{end}") for end in PLANETOID}, parts[1])


PLANETOID = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")


def planetoid(files: dict[str, Path], name: str) -> Graph:
    """From the eight files by their endings."""
    from pathline.data.readers.pickled import read_python2

    for file in files.values():
        if not file.is_file():
            raise DataError(f"{file}: there is no such file; Planetoid's eight files belong together")
    read = {end: read_python2(file) for end, file in files.items() if end != "test.index"}
    tested = np.loadtxt(files["test.index"], dtype=np.int64)
    nodes = max(len(read["graph"]), int(tested.max()) + 1)
    first = read["allx"].shape[0]
    features = np.zeros((nodes, read["x"].shape[1]), np.float32)
    classes = np.zeros((nodes, read["y"].shape[1]), np.float32)
    features[:first], classes[:first] = read["allx"], read["ally"]
    features[tested], classes[tested] = read["tx"], read["ty"]
    labels = np.where(classes.sum(1) > 0, classes.argmax(1), -1)
    ends = [(node, other) for node, near in read["graph"].items() for other in near]
    edge_index, _, _ = simple_edges(torch.tensor(ends).T, directed=False)
    learned = len(read["y"])
    masks = {part: torch.zeros(1, nodes, dtype=torch.bool) for part in ("train", "validation", "test")}
    masks["train"][0, :learned] = True
    masks["validation"][0, learned : learned + VALIDATION] = True
    masks["test"][0, torch.from_numpy(tested)] = True
    return Graph(
        edge_index=edge_index,
        features=torch.from_numpy(features),
        labels=torch.from_numpy(labels),
        classes=tuple(str(k) for k in range(classes.shape[1])),
        masks=masks,
        split_name="Planetoid, Yang et al. 2016",
        name=name,
    )


# -- graph classification sets as text --------------------------------------------------------------------------------


def is_tu_text(path: Path) -> bool:
    """Whether the first line is a single whole number and the second one is two: graphs, then nodes and label."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        first, second = next(lines, "").split(), next(lines, "").split()
    return len(first) == 1 and len(second) == 2 and all(word.isdigit() for word in first) and second[0].isdigit()


def read_tu_text(path: Path) -> Graphs:
    """A line with the number of graphs; then of each graph a line "nodes label" and a line per node "tag degree
    neighbours.."; further words of a line are numbers of the node. Tags become one number for each tag."""
    words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    edges, tags, numbers, labels, at = [], [], [], [], 1
    try:
        for _ in range(int(words[0][0])):
            size, label = int(words[at][0]), words[at][1]
            rows = words[at + 1 : at + 1 + size]
            if len(rows) < size:
                raise IndexError
            degree = [int(row[1]) for row in rows]
            sender = np.repeat(np.arange(size), degree)
            receiver = np.array([int(w) for row, d in zip(rows, degree, strict=True) for w in row[2 : 2 + d]], np.int64)
            edges.append(simple_edges(torch.from_numpy(np.stack([receiver, sender])), directed=False)[0])
            tags.append([int(row[0]) for row in rows])
            numbers.append([[float(w) for w in row[2 + d :]] for row, d in zip(rows, degree, strict=True)])
            labels.append(label)
            at += size + 1
    except (IndexError, ValueError):
        raise DataError(
            f"{path}, line {at + 1}: this is no set of graphs as text ('nodes label', then nodes)"
        ) from None
    _, place = np.unique(np.concatenate([np.array(one) for one in tags]), return_inverse=True)
    one_hot = torch.eye(int(place.max()) + 1)[torch.from_numpy(place)]
    own = torch.tensor([row for one in numbers for row in one])
    one_hot = one_hot if one_hot.shape[1] > 1 else one_hot[:, :0]  # a single tag says nothing
    features = torch.cat([one_hot, own], 1) if own.ndim == 2 else one_hot
    names = sorted(set(labels), key=lambda word: (len(word), word))
    return graphs_of(
        edges,
        features.split([len(one) for one in tags]),
        labels=torch.tensor([names.index(label) for label in labels]),
        classes=tuple(names),
        name=path.stem,
    )


# -- heterophilic graphs ----------------------------------------------------------------------------------------------


def read_graph_npz(path: Path, task: str | None = None) -> GraphData:
    """Arrays node_features, node_labels, edges (m, 2), and train_masks, val_masks, test_masks (splits, nodes) if a
    split was published."""
    arrays = read_npz(path)
    if "edges" not in arrays:
        raise DataError(f"{path}: there is no array 'edges'; the archive has {', '.join(arrays) or 'none'}")
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: array '{key}' holds {array.dtype}, not numbers")
    ends = arrays["edges"]
    if ends.ndim != 2 or ends.shape[1] != 2:
        raise DataError(f"{path}: array 'edges' has shape {ends.shape}; expected a row (from, to) per edge")
    edge_index, _, _ = simple_edges(torch.from_numpy(ends.astype(np.int64)).T, directed=False)
    count = len(arrays["node_labels"]) if "node_labels" in arrays else int(ends.max(initial=0)) + 1
    features = torch.from_numpy(arrays.get("node_features", np.zeros((count, 0)))).float()
    if "node_labels" not in arrays:
        return Links(edge_index=edge_index, features=features, name=path.stem)
    labels = torch.from_numpy(arrays["node_labels"].astype(np.int64))
    masks = None
    if "train_masks" in arrays:
        names = {"train": "train_masks", "validation": "val_masks", "test": "test_masks"}
        for key in names.values():
            if key not in arrays:
                raise DataError(f"{path}: there is no array '{key}' beside train_masks; a split has all three")
        masks = {part: torch.from_numpy(arrays[key].astype(bool)) for part, key in names.items()}
    graph = Graph(
        edge_index=edge_index,
        features=features,
        labels=labels,
        classes=classes_of(labels),
        masks=masks,
        split_name="" if masks is None else f"the masks in {path.name}",
        name=path.stem,
    )
    return graph.for_task(task) if task else graph


def read_webkb(folder: Path) -> Graph:
    """out1_graph_edges.txt and out1_node_feature_label.txt of Geom-GCN; 0/1 splits NAME_split_*.npz lie beside the
    folder or in it, if there are any."""
    table = folder / "out1_node_feature_label.txt"
    if not table.is_file():
        raise DataError(f"{table}: there is no such file; it belongs to out1_graph_edges.txt")
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()[1:] if line]
    try:
        features = torch.tensor([[float(word) for word in row[1].split(",")] for row in rows])
        labels = torch.tensor([int(row[2]) for row in rows])
        order = torch.tensor([int(row[0]) for row in rows]).argsort()
        ends = np.loadtxt(folder / "out1_graph_edges.txt", dtype=np.int64, skiprows=1, ndmin=2)
    except (ValueError, IndexError) as error:
        raise DataError(f"{folder}: this is no graph as Geom-GCN publishes them ({error})") from None
    edge_index, _, _ = simple_edges(torch.from_numpy(ends).T, directed=False)
    pattern = f"{folder.name}_split_*.npz"
    found = sorted(folder.glob(pattern)) or sorted(folder.parent.glob(pattern))
    return Graph(
        edge_index=edge_index,
        features=features[order],
        labels=labels[order],
        classes=classes_of(labels),
        masks=geom_gcn_masks(found) if found else None,
        split_name="Geom-GCN, 48, 32 and 20 percent" if found else "",
        name=folder.name,
    )


def geom_gcn_masks(files: list[Path]) -> dict[str, Tensor]:
    """Files with 0/1 arrays train_mask, val_mask, test_mask, one file per split."""
    names = {"train": "train_mask", "validation": "val_mask", "test": "test_mask"}
    read = []
    for file in files:
        with np.load(file, allow_pickle=False) as archive:
            read.append({part: torch.from_numpy(archive[key].astype(bool)) for part, key in names.items()})
    return {part: torch.stack([one[part] for one in read]) for part in names}


# -- links ------------------------------------------------------------------------------------------------------------


def read_link_mat(path: Path, task: str | None = None) -> Links:
    """A matrix `net` of MATLAB, sparse or not: whose nonzero entries are the links."""
    return links_of_mat(path)


def links_of_mat(path: Path, splits: list[Path] | None = None, split_name: str = "") -> Links:
    """`net`, and published splits: files with train_pos, train_neg, test_pos, test_neg (m, 2) counted from 1."""
    from scipy import sparse
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        net = loadmat(path).get("net")
    except (ValueError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path}: this MATLAB file cannot be read ({error})") from None
    if net is None or net.shape[0] != net.shape[1]:
        raise DataError(f"{path}: there is no square matrix 'net' in it")
    matrix = sparse.coo_matrix(net)
    edges = both_ways(links_of(torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))))
    published: dict[str, Tensor] = {}
    for number, file in enumerate(splits or []):
        arrays = loadmat(file)
        for part in ("train", "test"):
            for short, kind in (("pos", "positive"), ("neg", "negative")):
                pairs = torch.from_numpy(arrays[f"{part}_{short}"].astype(np.int64)) - 1
                published[f"{number}/{part}/{kind}"] = pairs.T.contiguous()
    return Links(
        edge_index=edges,
        features=torch.zeros(matrix.shape[0], 0),
        published=published or None,
        split_name=split_name,
        name=path.stem,
    )


# -- hypergraphs ------------------------------------------------------------------------------------------------------


def read_hypergraph(folder: Path) -> Hypergraph:
    """hypergraph.txt, a line of node numbers per hyperedge; hypergraph_pos.txt, the label of each; valid_hindex.txt and
    test_hindex.txt, the hyperedges held out; *_nodecentrality.txt, a number per node, are features."""
    members = _numbers(folder / "hypergraph.txt")
    classes = _numbers(folder / "hypergraph_pos.txt")
    if len(members) != len(classes):
        raise DataError(f"{folder}: there are {len(members)} hyperedges, but labels of {len(classes)}")
    for row, (one, other) in enumerate(zip(members, classes, strict=True)):
        if len(one) != len(other):
            raise DataError(f"{folder}: hyperedge {row + 1} has {len(one)} nodes but {len(other)} labels")
    node = torch.tensor([int(word) for line in members for word in line])
    labels = torch.tensor([int(word) for line in classes for word in line])
    sets = torch.arange(len(members)).repeat_interleave(torch.tensor([len(line) for line in members]))
    parts = torch.zeros(len(members), dtype=torch.int64)
    for part, file in ((1, "valid_hindex.txt"), (2, "test_hindex.txt")):
        if (folder / file).exists():
            index = torch.tensor([int(line[0]) for line in _numbers(folder / file)])
            if int(index.max()) >= len(members):
                raise DataError(f"{folder / file}: it names hyperedge {int(index.max())}; there are {len(members)}")
            parts[index] = part
    held = bool((parts == 1).any() and (parts == 2).any())
    columns = []
    for centrality in sorted(folder.glob("*_nodecentrality.txt")):
        column = torch.zeros(int(node.max()) + 1)
        for line in _lines(centrality):
            if line[0].lstrip("-").isdigit() and int(line[0]) < len(column):
                column[int(line[0])] = float(line[1])
        columns.append(column)
    return Hypergraph(
        incidence=torch.stack([node, sets]),
        features=torch.stack(columns, 1) if columns else torch.zeros(int(node.max()) + 1, 0),
        labels=labels,
        classes=classes_of(labels),
        sets=len(members),
        parts=parts if held else None,
        split_name="valid_hindex and test_hindex of CoNHD" if held else "",
        name=folder.name,
    )


def _lines(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _numbers(path: Path) -> list[list[str]]:
    """`_lines` that hold whole numbers from 0 on alone."""
    lines = _lines(path)
    for row, words in enumerate(lines):
        for word in words:
            if not word.isdecimal():
                raise DataError(f"{path}, line {row + 1}: '{word}' is no whole number from 0 on")
    if not lines:
        raise DataError(f"{path}: the file is empty")
    return lines


# -- which of them a file is ------------------------------------------------------------------------------------------


def read_text(path: Path, task: str | None = None, labelled: bool = True, **options: Any) -> GraphData:
    """A text file: graphs as text, or an edge list."""
    if not options and is_tu_text(path):
        return read_tu_text(path)
    from pathline.data.readers.edge_list import read_edge_list

    return read_edge_list(path, task, labelled=labelled, **options)


def read_folder(
    path: Path, task: str | None = None, label_column: str | None = None, labelled: bool = True
) -> GraphData:
    """A folder of WebKB, of a hypergraph, of tables (edges.csv), or of GraphML."""
    if (path / "out1_graph_edges.txt").exists():
        graph = read_webkb(path)
        return graph.for_task(task) if task else graph
    if (path / "hypergraph.txt").exists():
        return read_hypergraph(path)
    from pathline.data.readers.edge_list import read_graph_folder

    return read_graph_folder(path, task, label_column, labelled)
