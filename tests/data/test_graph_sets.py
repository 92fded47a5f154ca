"""Files of graphs: GraphML, edge lists and published sets, and what is wrong in them named at its place."""

import pickle

import numpy as np
import pytest
import torch
from scipy.io import savemat

from pathline.core.source import open_data, read
from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_list import Graphs
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links

HEAD = """<?xml version="1.0"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="c" for="node" attr.name="label" attr.type="string"/><key id="x" for="node" attr.name="x" attr.type="double"/>
<key id="kind" for="node" attr.name="kind" attr.type="string"><default>plain</default></key>
<key id="w" for="edge" attr.name="weight" attr.type="double"/>
<key id="g" for="graph" attr.name="label" attr.type="double"/>
<key id="r" for="endpoint" attr.name="label" attr.type="string"/>
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_graphml_with_labels_of_nodes(write):
    path = write(
        "g.graphml",
        HEAD
        + """<graph edgedefault="undirected"><node id="a"><data key="c">red</data><data key="x">1.5</data></node>
        <node id="b"><data key="c">blue</data><data key="x">2</data><data key="kind">odd</data></node>
        <node id="c"><data key="x">3</data></node>
        <edge source="a" target="b"><data key="w">2.0</data></edge>
        <edge source="b" target="a"><data key="w">9</data></edge>
        <edge source="b" target="c"><data key="w">0.5</data></edge></graph></graphml>""",
    )
    data = read(path, room="graphs")
    assert isinstance(data, Graph)
    assert (data.classes, data.labels.tolist(), data.names) == (("blue", "red"), [1, 0, -1], ("a", "b", "c"))
    assert data.features.tolist() == [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]
    edges = {tuple(e): w for e, w in zip(data.edge_index.T.tolist(), data.weight.tolist(), strict=True)}
    assert edges == {(0, 1): 2.0, (1, 0): 2.0, (1, 2): 0.5, (2, 1): 0.5}
    assert isinstance(read(path, room="graphs", task="predict-links"), Links)
    with pytest.raises(DataError, match="hyperedges"):
        read(path, room="graphs", task="label-incidences")


def test_graphml_with_several_graphs(write, tmp_path):
    one = '<graph id="g{0}" edgedefault="undirected"><data key="g">{1}</data><node id="a"/><node id="b"/>{2}</graph>'
    edge = '<edge source="a" target="b"/>'
    path = write("many.graphml", HEAD + one.format(0, 1, edge) + one.format(1, 2, "") + "</graphml>")
    data = read(path, room="graphs")
    assert isinstance(data, Graphs)
    assert (data.task, data.classes, data.labels.tolist()) == ("classify-graphs", ("1", "2"), [0, 1])
    assert data.edge_index.tolist() == [[1, 0], [0, 1]]
    numbers = read(path, room="graphs", task="regress-graphs")
    assert numbers.targets.tolist() == [[1.0], [2.0]]
    half = write("half.graphml", HEAD + one.format(0, 1.5, edge) + one.format(1, 2, "") + "</graphml>")
    assert read(half, room="graphs").task == "regress-graphs"
    folder = tmp_path / "folder"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.graphml").write_text(HEAD + one.format(0, k % 2, edge) + "</graphml>")
    assert read(folder, room="graphs").labels.tolist() == [0, 1, 0]


def test_graphml_with_hyperedges(write):
    end = '<endpoint node="{0}"><data key="r">{1}</data></endpoint>'
    path = write(
        "h.graphml",
        HEAD
        + '<graph edgedefault="undirected"><node id="a"><data key="x">1</data></node><node id="b">'
        + '<data key="x">2</data></node><node id="c"><data key="x">3</data></node><hyperedge id="p">'
        + end.format("a", "head")
        + end.format("b", "member")
        + '</hyperedge><hyperedge id="q">'
        + end.format("a", "member")
        + end.format("c", "head")
        + "</hyperedge></graph></graphml>",
    )
    data = read(path, room="graphs")
    assert isinstance(data, Hypergraph)
    assert data.incidence.tolist() == [[0, 1, 0, 2], [0, 0, 1, 1]]
    assert [data.classes[k] for k in data.labels] == ["head", "member", "member", "head"]


def test_edge_lists_with_and_without_header_and_tables(write):
    bare = read(write("bare.txt", "1 2\n2 3\n3 1\n7 3\n"), room="graphs")
    assert isinstance(bare, Links)
    assert (bare.names, bare.links.tolist()) == (("1", "2", "3", "7"), [[0, 0, 1, 2], [1, 2, 2, 3]])
    weighted = read(write("w.csv", "0,1,0.5\n1,2,4\n"), room="graphs")
    assert sorted(weighted.weight.tolist()) == [0.5, 0.5, 4.0, 4.0]
    edges = write("edges.csv", "source,target,kind\na,b,x\nb,c,y\n")
    nodes = write("nodes.csv", "id,label,size\na,red,1\nb,blue,2\nc,red,3\nd,,4\n")
    data = read(edges, room="graphs", nodes=nodes)
    assert isinstance(data, Graph)
    assert (data.labels.tolist(), data.classes) == ([1, 0, 1, -1], ("blue", "red"))
    assert data.features.flatten().tolist() == [1, 2, 3, 4]
    assert data.edge_features.shape == (4, 2)
    other = read(edges, room="graphs", nodes=nodes, label_column="size")
    assert other.classes == ("1", "2", "3", "4")
    split = write("parts.csv", "id,label,split\na,red,train\nb,blue,val\nc,red,test\n")
    assert read(edges, room="graphs", nodes=split).split().test.known.tolist() == [2]


def test_edge_lists_of_several_graphs_and_of_memberships(write):
    edges = write("edges.csv", "graph,source,target\nA,1,2\nA,2,3\nB,1,2\nC,5,1\n")
    graphs = write("graphs.csv", "graph,label,note\nA,ring,x\nB,path,y\nC,ring,y\n")
    data = read(edges, room="graphs", graphs=graphs)
    assert isinstance(data, Graphs)
    assert (data.sizes.tolist(), data.labels.tolist(), data.names) == ([3, 2, 2], [1, 0, 1], ("A", "B", "C"))
    numbers = write("numbers.csv", "graph,y\nA,1.5\nB,2\nC,\n")
    found = read(edges, room="graphs", graphs=numbers)
    assert found.task == "regress-graphs"
    assert found.known.tolist() == [0, 1]
    sets = write("sets.csv", "hyperedge,node,label\np,1,head\np,2,member\nq,1,member\n")
    data = read(sets, room="graphs")
    assert isinstance(data, Hypergraph)
    assert data.sets == 2


def test_a_folder_of_tables(tmp_path):
    (tmp_path / "edges.csv").write_text("source,target\na,b\nb,c\n")
    (tmp_path / "nodes.csv").write_text("id,label\na,1\nb,0\nc,1\n")
    assert read(tmp_path, room="graphs").labels.tolist() == [1, 0, 1]


def test_published_formats(tmp_path):
    np.savez(
        tmp_path / "w.npz",
        edges=np.array([[0, 1], [1, 2]]),
        node_features=np.eye(3),
        node_labels=np.array([0, 1, 1]),
        train_masks=np.array([[1, 0, 0]]),
        val_masks=np.array([[0, 1, 0]]),
        test_masks=np.array([[0, 0, 1]]),
    )
    assert read(tmp_path / "w.npz", room="graphs").split().test.known.tolist() == [2]
    (tmp_path / "T.txt").write_text("2\n3 1\n0 1 1\n4 2 0 2\n0 1 1\n2 -1\n4 1 1\n4 1 0\n")
    text = read(tmp_path / "T.txt", room="graphs")
    assert (text.sizes.tolist(), text.classes, text.labels.tolist()) == ([3, 2], ("1", "-1"), [0, 1])
    assert text.features.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [0, 1]]
    assert text.edge_index.shape[1] == 6
    savemat(tmp_path / "net.mat", {"net": np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])})
    assert read(tmp_path / "net.mat", room="graphs").links.tolist() == [[0, 1], [1, 2]]
    folder = tmp_path / "hyper"
    folder.mkdir()
    (folder / "hypergraph.txt").write_text("0\t1\n1\t2\n2\t0\n")
    (folder / "hypergraph_pos.txt").write_text("0\t1\n0\t0\n1\t1\n")
    (folder / "valid_hindex.txt").write_text("1\n")
    (folder / "test_hindex.txt").write_text("2\n")
    hyper = read(folder, room="graphs")
    assert hyper.split().test.labels.tolist() == [-1, -1, -1, -1, 1, 1]


def test_pickles_of_planetoid_run_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    for end in ("x", "tx", "allx", "y", "ty", "ally", "graph"):
        (tmp_path / f"ind.evil.{end}").write_bytes(pickle.dumps(Evil(), protocol=2))
    (tmp_path / "ind.evil.test.index").write_text("0\n")
    with pytest.raises(DataError, match="nothing in it was run"):
        read(tmp_path / "ind.evil.graph", room="graphs")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.graphml", "<graphml><graph>", "well-formed"),
        ("a.graphml", HEAD + "</graphml>", "no <graph>"),
        ("a.graphml", HEAD + '<graph><node id="a"/><edge source="a" target="b"/></graph></graphml>', "'b'"),
        ("a.graphml", HEAD + '<graph><node id="a"/><node id="a"/></graph></graphml>', "twice"),
        ("a.csv", "from,weight\n1,2\n", "source and target"),
        ("a.csv", "source,target,weight\n1,2,-1\n", "above 0"),
        ("a.csv", "source,target,weight\n1,2,much\n", "'much'"),
        ("a.csv", "source,target\n1,2\n1\n", "row 2, column 'target': the cell is empty"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "source,target\n", "no edge below"),
        ("a.csv", "source,target\n1,2\n1,2,3\n", "equally many columns"),
        ("a.csv", "source,target,weight,weight\n1,2,1,1\n", "'weight' stands there twice"),
        ("a.csv", "source,target,weight\n1,2,1\n2,3,\n", "row 2: the cell is empty"),
        ("a.csv", "ann,bob\nbob,eve\n", "write them above the rows"),
        ("a.csv", "hyperedge,node,label\np,,x\n", "row 1, column 'node': the cell is empty"),
        ("tu.txt", "2\n3 1\n0 1 1\n", "line 2"),
    ],
)
def test_what_is_wrong_is_named(write, name, text, said):
    path = write(name, text)
    with pytest.raises(DataError, match=said) as raised:
        read(path, room="graphs")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("id,label\na,x\nb,y\na,x\n", "node 'a' is listed twice"),
        ("id,label\na,x\n,y\n", "row 2, column 'id': the cell is empty"),
        ("label,size\nx,1\n", "no column 'id'; the columns are label, size"),
        ("id,label,size\na,x,1\nb,y,\nc,x,3\n", "column 'size' of the nodes, row 2: the cell is empty"),
        ("id,label,size\na,x,1\nb,y,two\nc,x,3\n", "row 2: 'two' is not a number"),
        ("id,label,size\na,x,1\nb,y,inf\nc,x,3\n", "row 2: 'inf' is not a number"),
        ("id,label\na,0.5\nb,1.5\nc,2\n", "0.5 is no class"),
        ("id,label,split\na,x,train\nb,y,later\nc,x,test\n", "'later' is no part"),
        ("id,label\na,0\nb,0\n" + "".join(f"{k},{k}\n" for k in range(30)), "30 different labels in 32 rows"),
    ],
)
def test_what_is_wrong_in_a_table_of_nodes_is_named_with_that_table(write, table, said):
    edges, nodes = write("edges.csv", "source,target\na,b\n"), write("nodes.csv", table)
    with pytest.raises(DataError, match=said) as raised:
        read(edges, room="graphs", nodes=nodes, task="classify-nodes")
    assert str(nodes) in str(raised.value)


def test_nodes_that_no_table_lists_and_columns_that_are_not_there(write):
    edges, nodes = write("edges.csv", "source,target\na,b\nb,z\n"), write("nodes.csv", "id,label,size\na,x,1\nb,y,2\n")
    with pytest.raises(DataError, match=r"edge 2 names node 'z', which .*nodes\.csv does not list"):
        read(edges, room="graphs", nodes=nodes)
    with pytest.raises(DataError, match="no column 'colour' for --label-column; they have label, size"):
        read(edges, room="graphs", nodes=nodes, label_column="colour")


def test_what_is_wrong_among_several_graphs_is_named(write):
    edges = write("edges.csv", "graph,source,target\nA,1,2\nB,1,2\n")
    for table, said in (
        ("graph,label\nA,x\nB,y\nB,y\n", "graph 'B' is described twice"),
        ("graph,label\nA,x\n", "graph 'B' has nodes, but .*graphs.csv does not describe it"),
        ("graph,label\nA,x\nB,y\nC,y\n", "graph 'C' has no node in .*edges.csv"),
        ("graph,note\nA,x\nB,y\n", "graphs have no label"),
    ):
        with pytest.raises(DataError, match=said):
            read(edges, room="graphs", graphs=write("graphs.csv", table))
    nodes = write("nodes.csv", "graph,id\nA,1\nA,2\nB,1\n")
    with pytest.raises(DataError, match="edge 2 names node '2' of graph 'B'"):
        read(edges, room="graphs", nodes=nodes, graphs=write("graphs.csv", "graph,label\nA,x\nB,y\n"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("source,target\n1,2\n2,x\n10,1\n", ("1", "10", "2", "x")),
        ("source,target\n1,2\n2,10\n", ("1", "2", "10")),
        ("source,target\n001,02\n02,NA\n", ("001", "02", "NA")),
        ("source,target\n1.0,2.0\n2.0,3.0\n", ("1", "2", "3")),
        ("\ufeffsource,target\né,ü\n", ("é", "ü")),
        ("Source ; Target\n a ; b \n", ("a", "b")),
        ("# Directed graph\n# FromNodeId\tToNodeId\n0\t4\n4\t30\n", ("0", "4", "30")),
    ],
)
def test_names_of_nodes_are_words_whatever_they_look_like(write, text, names):
    assert read(write("edges.csv", text), room="graphs").names == names


def test_a_column_that_says_nothing_is_no_feature_and_words_may_be_missing(write):
    edges = write("edges.csv", "source,target\na,b\nb,c\n")
    nodes = write("nodes.csv", "id,label,note,kind\na,x,,p\nb,y,,\nc,x,,q\n")
    assert read(edges, room="graphs", nodes=nodes).features.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_a_graph_that_has_a_name_alone_is_asked_about_its_nodes(write):
    named = HEAD.replace('attr.name="label" attr.type="double"', 'attr.name="name" attr.type="string"')
    path = write(
        "g.graphml",
        named + '<graph edgedefault="directed"><data key="g">mine</data><node id="a"><data key="c">x</data></node>'
        '<node id="b"><data key="c">y</data></node><edge source="a" target="b"/></graph></graphml>',
    )
    data = read(path, room="graphs")
    assert isinstance(data, Graph)
    assert data.edge_index.tolist() == [[1, 0], [0, 1]]


def test_archives_matrices_and_folders_that_are_damaged_are_named(tmp_path):
    square = np.array([[0, 1], [1, 2]])
    whole = {"edges": square, "node_labels": np.array([0, 1, 1])}
    for arrays, said in (
        ({"edges": square.ravel()}, "shape"),
        ({"edges": square, "node_labels": np.array(["a", "b", "c"])}, "'node_labels' holds"),
        ({**whole, "train_masks": np.ones((1, 3))}, "no array 'val_masks'"),
        ({**whole, "node_features": np.full((3, 1), np.nan)}, "nan"),
        ({**whole, "node_features": np.ones((2, 1))}, "nodes"),
    ):
        np.savez(tmp_path / "w.npz", **arrays)
        with pytest.raises(DataError, match=said):
            read(tmp_path / "w.npz", room="graphs")
    for name in ("bad.npz", "bad.mat"):
        (tmp_path / name).write_text("no archive")
        with pytest.raises(DataError, match=name):
            read(tmp_path / name, room="graphs")
    folder = tmp_path / "hyper"
    folder.mkdir()
    (folder / "hypergraph.txt").write_text("0\t1\n1\t2\n")
    for classes, said in (("0\t1\n", "labels of 1"), ("0\t1\n0\tx\n", "line 2: 'x'"), ("0\t1\n0\n", "hyperedge 2")):
        (folder / "hypergraph_pos.txt").write_text(classes)
        with pytest.raises(DataError, match=said):
            read(folder, room="graphs")
    (folder / "hypergraph_pos.txt").write_text("0\t1\n0\t1\n")
    (folder / "test_hindex.txt").write_text("7\n")
    with pytest.raises(DataError, match="hyperedge 7; there are 2"):
        read(folder, room="graphs")
    web = tmp_path / "web"
    web.mkdir()
    (web / "out1_graph_edges.txt").write_text("a\tb\n0\t1\n")
    with pytest.raises(DataError, match="out1_node_feature_label"):
        read(web, room="graphs")


def test_options_of_other_rooms_and_unknown_tasks_are_refused(write):
    path = write("a.csv", "source,target\n1,2\n")
    with pytest.raises(DataError, match="--interval"):
        read(path, room="graphs", interval=3)
    with pytest.raises(DataError, match="no task"):
        read(path, room="graphs", task="sing")
    with pytest.raises(DataError, match="no column of labels"):
        read(path, room="graphs", task="classify-nodes")


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("cora", {"nodes": 2708, "edges": 10556, "split": "published: Planetoid, Yang et al. 2016"}),
        ("texas", {"nodes": 183, "classes": 5}),
        ("mutag", {"graphs": 188, "edges": 7442}),
        ("usair", {"links": 2126}),
        ("cora-coauthorship-outsider", {"hyperedges": 1905}),
        ("ring-transfer", {"graphs": 400}),
        ("csl", {"graphs": 150, "classes": 10, "features": 0}),
    ],
)
def test_built_in_sets(key, facts):
    data = open_data(key, "graphs")
    assert facts.items() <= data.describe().items()
    if key == "cora":
        split = data.split()
        assert [len(part) for part in (split.train, split.validation, split.test)] == [140, 500, 1000]
        assert torch.bincount(data.labels[split.train.known]).tolist() == [20] * 7
        assert isinstance(open_data(key, "graphs", task="predict-links"), Links)
    with pytest.raises(DataError, match="built in"):
        open_data(key, "graphs", label_column="x")


def test_graphml_without_labels_can_be_read_where_none_are_needed(write):
    bare = '<graph edgedefault="undirected"><node id="a"/><node id="b"/><edge source="a" target="b"/></graph></graphml>'
    path = write("g.graphml", HEAD + bare)
    data = read(path, room="graphs", task="classify-nodes", labelled=False)
    assert isinstance(data, Graph)
    assert (data.classes, data.has_truth) == ((), False)
    several = read(path, room="graphs", task="regress-graphs", labelled=False)
    assert isinstance(several, Graphs)
    assert not several.has_truth
    with pytest.raises(DataError, match="no column of labels"):
        read(path, room="graphs", task="classify-nodes")
