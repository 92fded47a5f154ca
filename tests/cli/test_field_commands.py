"""Fields from the command line: a user's netCDF file of a sea to a leaderboard, a run and a file of predictions."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

xarray = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def pathline(*arguments, cwd):
    command = [sys.executable, "-m", "pathline", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty days of a warm spot that drifts over a sea with an island."""
    place = tmp_path_factory.mktemp("sea")
    day, y, x = np.meshgrid(np.arange(40), np.arange(12), np.arange(16), indexing="ij")
    sst = 290 + 5 * np.exp(-((x - 8 - 4 * np.sin(day / 4)) ** 2 + (y - 6) ** 2) / 8)
    sst[:, 2:4, 2:5] = np.nan
    time = np.datetime64("2020-03-01", "ns") + day[:, 0, 0].astype("timedelta64[D]")
    axes = {"time": time, "lat": np.arange(12.0), "lon": np.arange(16.0)}
    xarray.Dataset({"sst": (("time", "lat", "lon"), sst.astype(np.float32))}, axes).to_netcdf(place / "sea.nc")
    return place


def test_fit_predict_and_evaluate(folder):
    done = pathline(
        "fit", "deepcfd", "sea.nc", "--steps", 20, "--set", "filters=[4,8]", "--out", "r", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert list(run["metrics"]) == ["normalised_mse", "rollout_mse", "mse sst", "relative_l2 sst"]
    page = (folder / "r" / "report.html").read_text()
    assert "A rollout beside the truth" in page and "image/gif" in page
    done = pathline("predict", "r", "sea.nc", "--out", "ahead.nc", cwd=folder)
    assert done.returncode == 0, done.stderr
    with xarray.open_dataset(folder / "ahead.nc") as ahead, xarray.open_dataset(folder / "sea.nc") as sea:
        assert ahead["sst"].shape == (1, 40, 12, 16)
        np.testing.assert_array_equal(ahead["time"].values, sea["time"].values)
        np.testing.assert_allclose(ahead["sst"][0, 0], sea["sst"][0], rtol=1e-6)  # the given state
        assert np.isnan(ahead["sst"][0, :, 2:4, 2:5]).all() and int(np.isnan(ahead["sst"][0, 5]).sum()) == 6


def test_compare_ranks_what_fits_with_the_baselines_of_fields(folder):
    done = pathline(
        "compare", "simulate", "sea.nc", "--methods", "deepcfd", "--steps", 10, "--out", "board", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert {arm["key"] for arm in board["arms"]} >= {"deepcfd", "field-persistence", "mean-field", "linear-modes"}
    assert board["naive"] == "field-persistence" and all(not arm["failure"] for arm in board["arms"])


def test_a_variable_that_is_not_there_is_named_in_one_sentence(folder):
    done = pathline("fit", "deepcfd", "sea.nc", "--variables", "salt", "--steps", 2, cwd=folder)
    assert done.returncode == 2 and "there is no variable 'salt' on the grid; there are sst" in done.stderr
    assert "Traceback" not in done.stderr
