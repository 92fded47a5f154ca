"""Files of signals over graphs (Matlab) and of traffic on networks (R), and the built-in sets made of them."""

import builtins
import os

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.sparse import csr_matrix

import pathline as pl
from pathline.core.source import open_data
from pathline.data import DataError, GraphSignal
from pathline.data.readers.matlab import read_mat, read_signal
from pathline.data.readers.rdata import read_rda
from pathline.data.sets import load

MIRROR = os.environ.get("PATHLINE_DATA")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="PATHLINE_DATA names no mirror")


@pytest.fixture
def mat(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    values[1, 2] = np.nan
    weights = csr_matrix(np.array([[1.0, 0.5, 0], [0.5, 0, 0], [0, 0.25, 0]]))
    path = tmp_path / "signal.mat"
    savemat(path, {"Data": values, "Position": np.array([[1, 2], [3, 4], [5, 6]]), "G": {"W": weights, "type": "knn"}})
    return path


def test_a_matlab_file_becomes_a_signal_with_its_map_and_graph(mat):
    data = pl.read(mat, room="forecast", interval=60, density=0.25)
    assert isinstance(data, GraphSignal) and data.name == "signal" and data.density == 0.25 and data.interval == 60
    assert data.seen.sum() == 11 and not data.seen[1, 2] and data.values[2].tolist() == [8.0, 9.0, 10.0, 11.0]
    assert data.positions.tolist() == [[1, 2], [3, 4], [5, 6]]
    expected = torch.tensor([[0, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 0]])
    assert torch.equal(data.adjacency, expected)  # symmetric, without loops
    assert read_signal(mat, missing=9.0).seen.sum() == 10


def test_what_is_no_such_file_is_named(mat, tmp_path):
    with pytest.raises(DataError, match=r"name it with --variables; the file holds Data \(3, 4\)"):
        read_signal(mat, variables="Temp")
    with pytest.raises(DataError, match="density is 2"):
        read_signal(mat, density=2.0)
    cube = tmp_path / "cube.mat"
    savemat(cube, {"Temp": np.zeros((2, 3, 4))})
    with pytest.raises(DataError, match=r"'Temp' has shape \(2, 3, 4\); a signal is"):
        read_signal(cube)
    broken = tmp_path / "broken.mat"
    broken.write_bytes(b"MATLAB 7.3 but not really" * 40)
    with pytest.raises(DataError, match=r"not a Matlab file up to version 7\.2"):
        read_mat(broken)


@needs_mirror
def test_r_lists_of_link_loads_are_read_with_their_clock_and_graph():
    pytest.importorskip("rdata")
    path = f"{MIRROR}/link-load-networks/bell.labs.rda"
    data = pl.read(path, room="forecast", history=6, horizon=3)
    assert data.values.shape == (287, 7, 1) and data.interval == 300 and data.history == 6
    flows = read_rda(path, variables="X")
    import rdata

    routing = torch.tensor(rdata.read_rda(path)["bell.labs"]["A"]).float()
    torch.testing.assert_close(data.values[..., 0], flows.values[..., 0] @ routing.T, rtol=2e-2, atol=50.0)
    assert torch.equal(data.adjacency > 0, ((routing @ routing.T) > 0) & ~torch.eye(7, dtype=torch.bool))
    campus = f"{MIRROR}/link-load-networks/cmu.rda"
    with pytest.raises(DataError, match="give the seconds with --interval"):
        read_rda(campus)
    assert read_rda(campus, interval=300).values.shape == (473, 24, 1)
    with pytest.raises(DataError, match="name it with --variables; there are A, df, X, Y, tvec"):
        read_rda(path, variables="Z")


def test_files_of_r_need_a_package_and_must_be_some(tmp_path, monkeypatch):
    pytest.importorskip("rdata")
    broken = tmp_path / "loads.rda"
    broken.write_bytes(b"RDX3 is what it should begin with")
    with pytest.raises(DataError, match=r"loads\.rda: not a readable R data file"):
        read_rda(broken)
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "rdata":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'pathline\[networks\]'"):
        read_rda(broken)


@needs_mirror
def test_the_built_in_signals_are_those_of_the_papers():
    sea = load("sea-surface-temperature")
    assert sea.values.shape == (100, 600) and sea.unit == "C" and sea.seen.all()
    assert sea.positions[:, 0].min() >= -170 and sea.positions[:, 1].abs().max() < 60  # longitude, latitude
    assert (sea.adjacency > 0).sum(1).min() >= 10
    dust = load("pm25-california")
    assert dust.values.shape == (93, 220) and 0.3 < 1 - dust.seen.float().mean() < 0.4
    assert load("covid-cases").values.shape == (265, 302)
    smooth = load("graph-signal-synthetic")
    change = smooth.values.diff(dim=1).double()
    laplacian = (torch.diag(smooth.adjacency.sum(1)) - smooth.adjacency).double()
    shuffled = change[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    energy = [torch.trace(x.T @ laplacian @ x) for x in (change, shuffled)]
    assert energy[0] < 0.5 * energy[1]  # its changes are smooth on its graph
    assert load("link-loads-bell-labs").values.shape == (287, 7, 1)
    assert load("link-loads-cmu").values.shape == (473, 24, 1)


def test_winters_of_the_pacific_are_read_from_the_package_that_ships_them(monkeypatch):
    import importlib.util

    if importlib.util.find_spec("eofs") is not None:
        data = load("pacific-winters")
        assert data.values.shape == (113, 50) and data.values.abs().max() < 10 and data.unit == "K"
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "eofs" else real(name, *rest))
    with pytest.raises(DataError, match="pip install eofs"):
        load("pacific-winters")


def test_built_in_signals_take_their_hiding_and_series_refuse_it():
    data = open_data("rough-signal", "forecast", task="recover", density=0.3, protocol="snapshots")
    assert data.density == 0.3 and data.protocol == "snapshots" and data.values.shape == (100, 200)
    with pytest.raises(DataError, match="goes with --task recover"):
        open_data("simulated-roads", "forecast", density=0.3)
    with pytest.raises(DataError, match="'rough-signal' holds GraphSignal, but room 'forecast' learns from Series"):
        open_data("rough-signal", "forecast", task="forecast")
