"""netCDF through xarray: files of a sea become fields, fields become files, and odd files are named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pathline.core.source import open_data
from pathline.core.tiny import tiny_fields
from pathline.data import DataError, Fields

xarray = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

from pathline.data.readers.netcdf import dataset_of_fields, fields_of_dataset, read_netcdf, write_netcdf  # noqa: E402


def sea() -> "xarray.Dataset":
    """Two years of monthly temperatures with land in a corner, north first; the depth; and a vertical profile."""
    generator = np.random.default_rng(0)
    temperature = generator.normal(290, 2, size=(24, 5, 8)).astype(np.float32)
    temperature[:, 0, :2] = np.nan
    months = np.datetime64("2006-01", "M") + np.arange(24)
    return xarray.Dataset(
        {
            "sst": (("time", "latitude", "longitude"), temperature),
            "depth": (("latitude", "longitude"), depths(generator)),
            "profile": (("time", "level", "latitude", "longitude"), np.zeros((24, 3, 5, 8))),
            "crs": ((), 0),
        },
        {"time": months.astype("datetime64[ns]"), "latitude": [60.0, 50, 40, 30, 20], "longitude": np.arange(8.0)},
    )


def depths(generator: np.random.Generator) -> np.ndarray:
    return generator.uniform(100, 4000, size=(5, 8))


def test_a_file_of_a_sea_is_read_with_land_outside_and_south_first(tmp_path):
    path = tmp_path / "sea.nc"
    sea().to_netcdf(path)
    data = open_data(str(path), "simulate", variables="sst")
    assert isinstance(data, Fields) and data.channels == ("sst",) and data.given == ("depth",)
    assert data.values.shape == (1, 24, 1, 5, 8) and data.name == "sea" and data.unit == "days"
    assert data.y.tolist() == [20, 30, 40, 50, 60]
    assert not data.inside[0, -1, :2].any() and int((~data.inside).sum()) == 2
    assert data.origin.startswith("2006-01-01") and abs(data.interval - 30.4) < 0.2
    truth = sea()["sst"].sel(latitude=30.0).values
    np.testing.assert_allclose(data.values[0, :, 0, 1], truth)
    np.testing.assert_allclose(data.inputs[0, 0, 1], sea()["depth"].sel(latitude=30.0).values.astype(np.float32))


@pytest.mark.parametrize("steady", [False, True])
def test_fields_come_back_from_a_dataset_and_from_a_file(tmp_path, steady):
    data = tiny_fields()
    if steady:
        data = replace(data.between(0, 1), interval=1.0)
    data = replace(data, x=torch.arange(12).double(), y=torch.arange(10).double() / 7)
    path = tmp_path / "out.nc"
    write_netcdf(data, path)
    assert [file.name for file in tmp_path.iterdir()] == ["out.nc"]
    for again in (read_netcdf(path), fields_of_dataset(dataset_of_fields(data))):
        assert replace(again, name=data.name).fingerprint() == data.fingerprint()


def test_without_a_time_one_says_what_is_given():
    dataset = sea()[["sst", "depth"]].isel(time=0, drop=True)
    with pytest.raises(DataError, match="--given sst"):
        fields_of_dataset(dataset)
    data = fields_of_dataset(dataset, "mine", given="depth")
    assert data.steady and data.channels == ("sst",) and data.given == ("depth",)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda d: d, {}, "'profile' also has the dimension level \\(3 places\\)"),
        (lambda d: d, {"variables": "wind"}, "no variable 'wind' on the grid; there are sst, depth, profile"),
        (lambda d: d.isel(time=[0, 1, 2, 6]), {"variables": "sst"}, "from time 0 to 1"),
        (lambda d: d.isel(time=slice(None, None, -1)), {"variables": "sst"}, "evenly and forwards"),
        (lambda d: d.rename(latitude="station"), {}, "a grid needs two of them"),
        (lambda d: d[["sst"]], {"variables": "sst", "given": "sst"}, "no variable left that is a field"),
    ],
)
def test_what_cannot_be_fields_is_named(change, options, sentence):
    with pytest.raises(DataError, match=sentence) as refused:
        fields_of_dataset(change(sea()), "mine", **options)
    assert "mine" in str(refused.value)


def test_a_file_that_is_no_netcdf_is_named(tmp_path):
    path = tmp_path / "broken.nc"
    path.write_text("not a file of fields")
    with pytest.raises(DataError, match=r"broken\.nc: not a readable netCDF file"):
        read_netcdf(path)
