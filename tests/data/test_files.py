"""Reading files: what is understood, and the sentence when it is not."""

import numpy as np
import pandas as pd
import pytest
import torch

from pathline.data import DataError, read


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def hours(rows, start="2024-01-01"):
    return pd.date_range(start, periods=rows, freq="h")


def test_a_series_is_read_with_its_clock_gaps_and_names(write):
    path = write("time,a,b\n2024-01-01 10:00,1,2\n2024-01-01 11:00,,4\n2024-01-01 13:00,5,6\n")
    data = read(path, "Series")
    assert data.nodes == ("a", "b") and data.interval == 3600
    assert data.values[:, 1, 0].tolist() == [2, 4, 0, 6]
    assert data.observed[..., 0].tolist() == [[True, True], [False, True], [False, False], [True, True]]
    assert data.clock(torch.tensor([0]))[0].item() == 10


def test_a_time_zone_is_left_out_so_that_the_clock_stays_local(write):
    path = write("time,a\n2024-01-01T10:00:00+02:00,1\n2024-01-01T11:00:00+02:00,2\n")
    assert read(path, "Series").clock(torch.tensor([0]))[0].item() == 10


def test_a_value_can_mean_that_nothing_was_measured(write):
    data = read(write("a,b\n1,0\n2,3\n"), "Series", interval=60, missing=0)
    assert data.observed[..., 0].tolist() == [[True, False], [True, True]]


def test_a_graph_goes_with_a_series(write, tmp_path):
    path = write("a,b\n1,0\n2,3\n")
    graph = write("1,0.5\n0,1\n", "graph.csv")
    assert read(path, "Series", graph=graph, interval=60).adjacency.tolist() == [[1, 0.5], [0, 1]]
    with pytest.raises(DataError, match="3 x 3, but the data has 2 sensors"):
        read(path, "Series", graph=write("1,0,0\n0,1,0\n0,0,1\n", "three.csv"), interval=60)
    with pytest.raises(DataError, match=r"graph.csv, row 2, column '1': 'x' is not a number"):
        read(path, "Series", graph=write("1,0.5\nx,1\n", "graph.csv"), interval=60)
    with pytest.raises(DataError, match="row 1, column 2: the weight -1 is negative"):
        read(path, "Series", graph=write("1,-1\n0,1\n", "graph.csv"), interval=60)


def test_labels_of_any_kind_become_classes(write):
    data = read(write("x,y,label\n1,2,cat\n3,4,dog\n5,6,cat\n"), "Samples")
    assert data.labels.tolist() == [0, 1, 0] and data.columns == ("x", "y")


def test_rollouts_come_from_long_tables_with_backward_velocities(write):
    rows = [f"{r},{t * 0.5},{n},{r + n + t},{t * t}" for r in range(2) for t in range(3) for n in range(2)]
    data = read(write("rollout,time,node,x,y\n" + "\n".join(rows)), "Rollouts")
    assert data.positions.shape == (2, 2, 2, 2) and data.interval == 0.5
    assert torch.allclose(data.velocities[0, :, 0], torch.tensor([[2.0, 2.0], [2.0, 6.0]]))


def test_archives_and_parquet_hold_the_same_series(tmp_path):
    values = np.arange(40.0).reshape(20, 2)
    np.savez(tmp_path / "s.npz", values=values, interval=3600)
    pd.DataFrame(values, columns=["a", "b"]).assign(time=hours(20)).to_parquet(tmp_path / "s.parquet")
    one, two = read(tmp_path / "s.npz", "Series"), read(tmp_path / "s.parquet", "Series")
    assert torch.equal(one.values, two.values) and one.interval == two.interval


def test_an_archive_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", values=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="holds Python objects"):
        read(tmp_path / "evil.npz", "Series")


BAD_SERIES = [
    ("", "the file is empty"),
    ("time,a\n", "a header but no data row"),
    ("time,a\n2024-01-01,1\n", "a single row has no interval"),
    ("a,b\n1,2\n3,4\n", "no column is named time.*--interval"),
    ("time,a\n2024-01-01,1\n2024-01-02,fast\n2024-01-03,2\n", "row 3, column 'a': 'fast' is not a number"),
    ("time,a\n2024-01-01,1\n2024-01-02,inf\n2024-01-03,2\n", "row 3, column 'a': the value is infinite"),
    ("time,a\n2024-01-01,1\nyesterday,1\n", "row 3, column 'time': 'yesterday' is not a time"),
    ("time,a\n2024-01-02,1\n2024-01-01,1\n", "row 3, column 'time': 2024-01-01 does not come after"),
    ("time,a\n2024-01-01,1\n2024-01-02,1\n2024-01-03,1\n2024-01-03 11:00,2\n", "row 5.*not a whole number of steps"),
    ("time,a\n2024-01-01,\n2024-01-02,\n", "every cell is empty"),
    ("time\n2024-01-01\n2024-01-02\n", "no sensor column"),
    ("time,a,a\n2024-01-01,1,2\n", "two columns are named 'a'"),
    ("time,a\n2024-01-01,1\n2024-01-02,1,2\n", "do not have equally many columns"),
    ("time,a,b\n2024-01-01,1,\n2024-01-02,1\n", "row 3: it has 2 of 3 columns"),
]


@pytest.mark.parametrize(("text", "words"), BAD_SERIES)
def test_a_bad_series_is_refused_in_one_sentence_that_names_the_place(write, text, words):
    with pytest.raises(DataError, match=words) as caught:
        read(write(text), "Series")
    assert "data.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_refused_by_name(write, tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "nowhere.csv", "Series")
    with pytest.raises(DataError, match=r"the ending '\.docx' is none of these"):
        read(write("x", "report.docx"), "Series")
    with pytest.raises(DataError, match="missing columns node, x, y; the file has frame, z"):
        read(write("frame,z\n1,2\n"), "Rollouts")
    with pytest.raises(DataError, match="row 3, column 'y': the cell is empty"):
        read(write("x,y\n1,2\n3,\n"), "Samples")
    with pytest.raises(DataError, match="every node must be present in every frame"):
        read(write("frame,node,x,y\n0,0,1,1\n0,1,1,1\n1,0,1,1\n"), "Rollouts")
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="not a text file"):
        read(tmp_path / "binary.csv", "Series")
