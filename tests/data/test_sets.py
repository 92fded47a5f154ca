"""The built-in data sets, and what is said when their bytes cannot be had."""

import os
from importlib.util import find_spec

import pytest
import torch

from pathline.core.source import CONTAINERS
from pathline.data import DataError, fetch
from pathline.data.graph_benchmarks import SETS
from pathline.data.sets import _LOADERS, facts, load

MIRROR = os.environ.get("PATHLINE_DATA")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="PATHLINE_DATA names no mirror")


def test_every_described_set_can_be_loaded_and_every_loader_is_described():
    assert set(facts()) == set(_LOADERS) | set(SETS)
    for key, about in facts().items():
        assert about["title"] and about["license"] and any(about["container"] in some for some in CONTAINERS.values())
        if about["source"] == "files":
            assert len(about["commit"]) == 40 and about["instead"] in facts()
            assert all(len(file["sha256"]) == 64 for file in about["files"]), key


@needs_mirror
def test_metr_la_is_a_week_of_207_sensors_with_its_graph():
    data = load("metr-la-week")
    assert data.values.shape == (2016, 207, 1) and data.interval == 300
    assert data.adjacency.shape == (207, 207) and torch.all(data.adjacency.diagonal() == 1)
    assert data.clock(torch.tensor([0]))[1].item() == 3  # 1 March 2012 was a Thursday


@needs_mirror
@pytest.mark.skipif(find_spec("ase") is None, reason="needs the extra 'molecules'")
def test_the_molecule_steps_hold_the_forces_of_the_file():
    from ase.io import read as read_frames

    from pathline.data.readers.extxyz import ACCELERATION, DURATION

    data = load("md-ethanol")
    frame = read_frames(f"{MIRROR}/md-ethanol/train.xyz", index=7)
    moved = (data.positions[7, 1] - data.positions[7, 0]).double()
    mass = torch.tensor(frame.get_masses())[:, None]
    force = moved * 2 * mass / (ACCELERATION * DURATION**2)
    torch.testing.assert_close(force, torch.tensor(frame.get_forces()), atol=2e-4, rtol=1e-4)


@needs_mirror
def test_cells_are_at_their_times():
    cells, mouse = load("single-cell-simulated"), load("single-cell-hematopoiesis")
    assert cells.counts.tolist() == [156, 112, 63, 96, 301] and cells.dims == 5 and cells.held_out() == 2
    assert mouse.counts.tolist() == [1429, 3781, 5788] and mouse.columns == ("x1", "x2")


def test_digits_fill_their_bounds():
    data = load("digits")
    assert data.values.shape == (1797, 1, 8, 8) and (data.values.min(), data.values.max()) == data.bounds
    assert data.classes == 10


def test_an_unknown_key_is_answered_with_a_near_one():
    with pytest.raises(DataError, match="did you mean 'metr-la-week'"):
        load("metr-la-weak")


def test_without_mirror_cache_and_network_one_sentence_offers_a_simulation(monkeypatch, tmp_path):
    monkeypatch.delenv("PATHLINE_DATA", raising=False)
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "TIMEOUT", 1)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a closed port: no network
    with pytest.raises(DataError, match=r"cannot be reached; .* --data simulated-roads|\(--data simulated-roads\)"):
        load("metr-la-week")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mirror_with_other_bytes_is_refused(monkeypatch, tmp_path):
    file = tmp_path / facts()["metr-la-week"]["files"][0]["path"]
    file.parent.mkdir()
    file.write_text("1,2,3\n")
    monkeypatch.setenv("PATHLINE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="sha256 differs"):
        load("metr-la-week")


def test_the_cache_returns_what_was_built_and_builds_once(monkeypatch, tmp_path):
    from pathline.data.cache import cached

    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    built = []

    def build():
        built.append(1)
        return {"x": torch.arange(3.0)}

    first, second = (cached("toy", {"a": 1}, build) for _ in range(2))
    assert torch.equal(first["x"], second["x"]) and len(built) == 1
    cached("toy", {"a": 2}, build)
    assert len(built) == 2


@pytest.mark.skipif(
    find_spec("iris_sample_data") is None or find_spec("netCDF4") is None, reason="needs iris-sample-data and xarray"
)
def test_the_ocean_is_around_300_kelvin_and_has_land():
    data = load("ocean-temperature")
    assert data.values.shape == (1, 54, 1, 18, 432) and data.unit == "days" and data.origin.startswith("2006-04")
    sea = data.values[:, :, 0][data.inside[:, None].expand(-1, 54, -1, -1)]
    assert 285 < sea.min() < 295 < 300 < sea.max() < 306 and 0.7 < data.inside.float().mean() < 0.8


@pytest.mark.skipif(find_spec("iris_sample_data") is not None, reason="iris-sample-data is installed")
def test_a_set_whose_package_is_missing_says_which():
    with pytest.raises(DataError, match="pip install iris-sample-data"):
        load("ocean-temperature")


@needs_mirror
def test_pedestrians_are_the_eight_scenes_with_the_windows_that_the_field_counts():
    data = load("pedestrian-eth-ucy")
    assert data.scenes == ("eth", "hotel", "zara1", "zara2", "zara3", "univ1", "univ3", "examples")
    assert data.interval == 0.4 and data.observed.sum() == 74_428
    windows = {name: len(data.in_scenes(name)) for name in data.scenes}
    assert windows["eth"] == 364 and windows["zara1"] == 2356
    for name in data.scenes[1:]:  # the camera of "eth" was slower than the field believes
        assert 0.3 < data.in_scenes(name).median_speed() < 2, name
    split = data.split()
    assert set(split.test.scene.tolist()) == {2} and not (split.train.scene == 2).any()
    assert len(split.train) + len(split.validation) + len(split.test) <= len(data)


@needs_mirror
def test_recorded_rigid_bodies_are_cut_by_their_own_time():
    flight, drive, hand = (load(key) for key in ("flight-euroc", "drive-kitti", "handheld-tum"))
    assert flight.dims == drive.dims == hand.dims == 3 and flight.interval == drive.interval == 0.1
    assert 83 < flight.observed.sum() * 0.1 < 84 and len(hand.scenes) == 2
    assert 5 < drive.median_speed() < 12 and drive.positions[..., 2].abs().max() < 60, "a car stays near the ground"
    assert all(len(part) for part in vars(flight.split()).values())
