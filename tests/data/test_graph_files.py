"""Graphs that users bring: in every form, and with every mistake."""

import pytest
import torch

from pathline.data import DataError
from pathline.data.readers.graph import read_graph

NAMES = ("bridge", "station", "harbour")


@pytest.fixture
def write(tmp_path):
    def put(text):
        path = tmp_path / "graph.csv"
        path.write_text(text)
        return path

    return put


SQUARE = [[0.0, 0.6, 0.0], [0.5, 0.0, 0.3], [0.0, 0.3, 0.2]]  # one-way, with a loop


@pytest.mark.parametrize(
    "text",
    [
        "0,0.6,0\n0.5,0,0.3\n0,0.3,0.2\n",
        "bridge,station,harbour\n0,0.6,0\n0.5,0,0.3\n0,0.3,0.2\n",
        ",harbour,bridge,station\nstation,0.3,0.5,0\nharbour,0.2,0,0.3\nbridge,0,0,0.6\n",
        "source,target,weight\nbridge,station,0.6\nstation,bridge,0.5\nstation,harbour,0.3\nharbour,station,0.3\n"
        "harbour,harbour,0.2\n",
        "From, To, Weight\nbridge, station, 0.6\nstation, bridge, 0.5\nstation, harbour, 0.3\n"
        "harbour, station, 0.3\nharbour, harbour, 0.2\nbridge, station, 0.6\n",
    ],
)
def test_one_graph_in_five_forms(write, text):
    torch.testing.assert_close(read_graph(write(text), NAMES), torch.tensor(SQUARE))


def test_sensors_without_a_name_in_the_graph_have_no_neighbours(write):
    graph = read_graph(write("bridge,harbour\n0,1\n1,0\n"), NAMES)
    assert graph.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert read_graph(write("source,target\nbridge,harbour\n"), NAMES).sum() == 1


def test_numbers_can_be_names(write):
    names = ("773", "401", "552")
    graph = read_graph(write("401,552,773\n0,1,2\n3,0,4\n5,6,0\n"), names)
    assert graph.tolist() == [[0, 5, 6], [2, 0, 1], [4, 3, 0]]
    assert read_graph(write("from,to\n773,552\n"), names)[0, 2] == 1
    assert read_graph(write("0,1,2\n3,0,4\n5,6,0\n"), names)[0].tolist() == [0, 1, 2]


def test_distances_become_weights(write):
    graph = read_graph(write("from,to,distance\nbridge,station,1\nstation,harbour,2\nharbour,bridge,4\n"), NAMES)
    expected = torch.exp(-torch.tensor([1.0, 4.0, 16.0]) / 7)
    torch.testing.assert_close(torch.stack([graph[0, 1], graph[1, 2], graph[2, 0]]), expected)
    torch.testing.assert_close(graph.sum(), expected.sum())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "source,target,weight\nbridge,station,1\nbrige,harbour,1\n",
            r"row 3: .* no sensor 'brige'; did you mean",
        ),
        ("source,target\nbridge,airport\n", r"row 2: .* 'airport'; it has bridge, station, harbour"),
        ("bridge,statoin,harbour\n0,1,0\n1,0,0\n0,0,0\n", r"row 1: .*did you mean 'station'"),
        (",bridge,station\nbridge,0,1\nharbor,1,0\n", r"row 3: .*did you mean 'harbour'"),
        ("source,target,weight\nbridge,station,-1\n", "row 2, column weight: the weight -1 is negative"),
        ("source,target,weight\nbridge,station,much\n", "row 2, column 'weight': 'much' is not a number"),
        ("source,target,weight\nbridge,station,\n", "row 2, column 'weight': the cell is empty"),
        ("source,target,weight\nbridge,station,1\nbridge,station,2\n", "row 3: the edge bridge to station was given"),
        ("source,target,weight,colour\nbridge,station,1,red\n", "not weight, colour"),
        ("source,target,weight\n", "no edge"),
        ("bridge,bridge,station\n0,1,0\n1,0,0\n0,0,0\n", "'bridge' has more than one column"),
        ("bridge,station,harbour\n0,1,0\n", "below 3 names there are 1 rows"),
        ("0,1\n1,0\n", "the graph is 2 x 2, but the data has 3 sensors"),
        ("0,1,0,0\n1,0,0,0\n0,0,0,0\n0,0,0,0\n", "4 x 4, but the data has 3 sensors"),
        ("0,1,0\n1,0,nan\n0,0,0\n", "row 2, column '3': the cell is empty"),
    ],
)
def test_a_wrong_graph_is_answered_with_its_row(write, text, said):
    with pytest.raises(DataError, match=said):
        read_graph(write(text), NAMES)
