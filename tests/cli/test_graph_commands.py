"""`compare graphs FILE` end to end: a GraphML file and an edge list for every task; then fit, evaluate, predict."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from pathline.cli.app import app
from pathline.core.tiny_graphs import tiny_graph, tiny_graph_classes, tiny_graph_numbers, tiny_hypergraph
from pathline.data.errors import PathlineError

RUN = CliRunner().invoke
HEAD = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="x" for="node" attr.name="x" attr.type="double"/><key id="c" for="node" attr.name="label" attr.type="string"/>
<key id="g" for="graph" attr.name="label" attr.type="double"/><key id="p" for="endpoint" attr.name="label"/>"""
FIRST = {
    "classify-nodes": "accuracy",
    "predict-links": "hits@",
    "classify-graphs": "accuracy",
    "regress-graphs": "mae",
    "label-incidences": "accuracy",
}


def links(edge_index):
    return edge_index[:, edge_index[0] < edge_index[1]].T.tolist()


def several(data, answers):
    """(number, nodes, features, links, answer) of every graph."""
    for k in range(len(data)):
        one = data.take(torch.tensor([k]))
        yield k, len(one.features), one.features[:, 0].tolist(), links(one.edge_index), answers[k]


def graph_tables(folder, data, answers):
    rows = list(several(data, answers))
    edges = [(f"m{k}", a, b) for k, _, _, pairs, _ in rows for a, b in pairs]
    nodes = [(f"m{k}", i, x) for k, size, values, _, _ in rows for i, x in zip(range(size), values, strict=True)]
    pd.DataFrame(edges, columns=["graph", "source", "target"]).to_csv(folder / "bonds.csv", index=False)
    pd.DataFrame(nodes, columns=["graph", "id", "x"]).to_csv(folder / "atoms.csv", index=False)
    table = pd.DataFrame([(f"m{k}", answer) for k, *_, answer in rows], columns=["graph", "label"])
    table.to_csv(folder / "molecules.csv", index=False)
    return [str(folder / "bonds.csv"), "--nodes", str(folder / "atoms.csv"), "--graphs", str(folder / "molecules.csv")]


def graph_xml(folder, data, answers):
    parts = [
        f'<graph id="m{k}" edgedefault="undirected"><data key="g">{answer}</data>'
        + "".join(f'<node id="{i}"><data key="x">{x}</data></node>' for i, x in zip(range(size), values, strict=True))
        + "".join(f'<edge source="{a}" target="{b}"/>' for a, b in pairs)
        + "</graph>"
        for k, size, values, pairs, answer in several(data, answers)
    ]
    (folder / "many.graphml").write_text(HEAD + "".join(parts) + "</graphml>")
    return [str(folder / "many.graphml")]


def one_graph(folder, kind):
    data = tiny_graph()
    if kind == "csv":
        pd.DataFrame(links(data.edge_index), columns=["source", "target"]).to_csv(folder / "edges.csv", index=False)
        table = {"id": range(40), "x": data.features[:, 0], "label": [data.classes[k] for k in data.labels]}
        pd.DataFrame(table).to_csv(folder / "nodes.csv", index=False)
        return [str(folder / "edges.csv"), "--nodes", str(folder / "nodes.csv")]
    nodes = "".join(
        f'<node id="{i}"><data key="x">{data.features[i, 0]}</data><data key="c">{data.classes[k]}</data></node>'
        for i, k in enumerate(data.labels.tolist())
    )
    edges = "".join(f'<edge source="{a}" target="{b}"/>' for a, b in links(data.edge_index))
    (folder / "one.graphml").write_text(HEAD + f'<graph edgedefault="undirected">{nodes}{edges}</graph></graphml>')
    return [str(folder / "one.graphml")]


def memberships(folder, kind):
    data = tiny_hypergraph()
    rows = [(s, n, data.classes[k]) for (n, s), k in zip(data.incidence.T.tolist(), data.labels.tolist(), strict=True)]
    if kind == "csv":
        pd.DataFrame(rows, columns=["hyperedge", "node", "label"]).to_csv(folder / "sets.csv", index=False)
        return [str(folder / "sets.csv")]
    nodes = "".join(
        f'<node id="{i}"><data key="x">{x}</data></node>' for i, x in enumerate(data.features[:, 0].tolist())
    )
    sets = "".join(
        f'<hyperedge id="{s}">'
        + "".join(f'<endpoint node="{n}"><data key="p">{label}</data></endpoint>' for t, n, label in rows if t == s)
        + "</hyperedge>"
        for s in range(data.sets)
    )
    (folder / "sets.graphml").write_text(HEAD + f'<graph edgedefault="undirected">{nodes}{sets}</graph></graphml>')
    return [str(folder / "sets.graphml")]


def files(folder, task, kind):
    if task in ("classify-nodes", "predict-links"):
        return one_graph(folder, kind) + (["--task", task] if task == "predict-links" else [])
    if task == "label-incidences":
        return memberships(folder, kind)
    data, answers = (
        (tiny_graph_classes(), tiny_graph_classes().labels.tolist())
        if task == "classify-graphs"
        else (tiny_graph_numbers(), (tiny_graph_numbers().targets[:, 0] + 0.5).tolist())
    )
    return (graph_tables if kind == "csv" else graph_xml)(folder, data, answers)


@pytest.mark.parametrize("kind", ["csv", "graphml"])
@pytest.mark.parametrize("task", FIRST)
def test_compare_on_a_file_of_ones_own(tmp_path, task, kind):
    words = files(tmp_path, task, kind)
    done = RUN(app, ["compare", "graphs", *words, "--steps", "2", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    board = json.loads(done.stdout)
    assert board["description"]["task"] == task
    assert "split" in board["description"]
    assert {"gcn", "mlp"} <= {arm["key"] for arm in board["arms"]}
    assert not [arm["failure"] for arm in board["arms"] if arm["failure"]]
    first = next(iter(board["arms"][0]["metrics"]))
    assert first.startswith(FIRST[task])
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    table = RUN(app, ["predict", board["run"], *words])
    assert table.exit_code == 0, table.output
    assert len(table.stdout.splitlines()) > 10


def test_fit_evaluate_and_predict_unknown_labels(tmp_path):
    words = one_graph(tmp_path, "csv")
    run = str(tmp_path / "run")
    assert RUN(app, ["fit", "gcn", *words, "--steps", "30", "--out", run]).exit_code == 0
    again = RUN(app, ["evaluate", run, *words, "--json"])
    assert json.loads(again.stdout)["part"] == "test"
    nodes = pd.read_csv(tmp_path / "nodes.csv")
    nodes["label"] = ""
    nodes.to_csv(tmp_path / "unknown.csv", index=False)
    out = tmp_path / "said.csv"
    done = RUN(app, ["predict", run, words[0], "--nodes", str(tmp_path / "unknown.csv"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert (pd.read_csv(out)["class"] == ["left"] * 20 + ["right"] * 20).mean() > 0.8


@pytest.mark.parametrize("task", FIRST)
def test_what_was_learned_answers_files_without_any_label(tmp_path, task):
    words = files(tmp_path, task, "csv")
    run = str(tmp_path / "run")
    assert RUN(app, ["fit", "gcn", *words, "--steps", "2", "--out", run]).exit_code == 0
    for name in ("nodes", "sets", "molecules"):
        if (path := tmp_path / f"{name}.csv").exists():
            pd.read_csv(path).drop(columns="label").to_csv(path, index=False)
    other = tmp_path / "other.csv"
    other.write_bytes(Path(words[0]).read_bytes())
    tables = [word for word in words[1:] if word not in ("--task", task, "--graphs", str(tmp_path / "molecules.csv"))]
    done = RUN(app, ["predict", run, str(other), *tables])
    assert done.exit_code == 0, done.exception
    assert len(done.stdout.splitlines()) > 10
    if task != "predict-links":
        measured = RUN(app, ["evaluate", run, str(other), *tables])
        assert "predicted only" in str(measured.exception)


def test_classes_of_which_there_is_one_and_tables_that_lack_nodes_are_one_sentence(tmp_path):
    words = one_graph(tmp_path, "csv")
    nodes = pd.read_csv(tmp_path / "nodes.csv")
    for table, said in (
        (nodes.assign(label="same"), "everything is of class 'same'; there is nothing to tell apart"),
        (nodes.iloc[:20], "nodes.csv does not list; add the node, or leave the edge out"),
        (nodes.assign(x=float("nan")).assign(x=lambda t: t["x"].where(t.index != 3, 1.0)), "the cell is empty"),
        (nodes.drop(columns="id"), "no column 'id'"),
    ):
        table.to_csv(tmp_path / "nodes.csv", index=False)
        for command in (["compare", "graphs"], ["fit", "gcn"]):
            done = RUN(app, [*command, *words, "--steps", "2", "--out", str(tmp_path / "never")])
            assert isinstance(done.exception, PathlineError), done.exception
            assert said in str(done.exception)
    assert not (tmp_path / "never").exists()


def test_what_cannot_be_is_one_sentence(tmp_path):
    words = one_graph(tmp_path, "csv")
    for extra, said in (
        (["--task", "regress-graphs"], "without a label of its own"),
        (["--task", "paint"], "no task 'paint'"),
        (["--interval", "3"], "--interval"),
    ):
        done = RUN(app, ["compare", "graphs", *words, *extra, "--steps", "2", "--out", str(tmp_path / "never")])
        text = done.output + done.stderr + str(done.exception)
        assert done.exit_code != 0
        assert said in text
    assert not (tmp_path / "never").exists()
