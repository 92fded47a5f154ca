"""netCDF files, read and written through xarray: variables on a grid of the plane, perhaps in time, as fields.

Dimensions are told by their names, as the CF conventions and most models use them. Variables with a time are fields;
those without one are given, unless nothing in the file has a time: then `given` says which are, and the rest are steady
fields that follow from them. Cells that lack a value in any frame (land, in a file of the sea) are outside.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.fields import Fields, fields_of_arrays

if TYPE_CHECKING:
    import xarray

TIMES = ("time", "t", "valid_time", "month", "date")
ROWS = ("lat", "latitude", "y", "nlat", "rlat", "north_south")
COLUMNS = ("lon", "longitude", "x", "nlon", "rlon", "west_east")
ITEMS = ("item", "case", "member", "ensemble", "realization", "simulation", "sample")
UNEVEN = 0.2  # how far two steps of time may differ: months do by an eighth
ROLE = "role"  # attribute of variables that we write: "given"
DAY = np.timedelta64(1, "D")


def read_netcdf(path: str | Path, variables: str | None = None, given: str | None = None, **options: Any) -> Fields:
    """The variables of a file as fields.

    variables, given: names, separated by commas; by default every variable on the grid
    options: fields of `Fields`, such as span
    """
    xarray = _xarray(path)
    try:
        with xarray.open_dataset(path) as file:
            dataset = file.load()
    except Exception as error:  # each engine raises whatever it met
        raise DataError(f"{path}: not a readable netCDF file ({str(error).splitlines()[0]})") from None
    return fields_of_dataset(dataset, str(path), variables, given, **options)


def fields_of_dataset(
    dataset: "xarray.Dataset",
    name: str = "dataset",
    variables: str | None = None,
    given: str | None = None,
    **options: Any,
) -> Fields:
    """An xarray Dataset as fields; arguments as in `read_netcdf`."""
    dataset = dataset.squeeze([d for d, size in dataset.sizes.items() if size == 1 and _axis(str(d)) is None])
    axes = {axis: str(d) for d in dataset.dims if (axis := _axis(str(d)))}
    if "y" not in axes or "x" not in axes:
        raise DataError(
            f"{name}: its dimensions are {', '.join(map(str, dataset.dims)) or 'none'}; a grid needs two of them, "
            f"called {' or '.join(ROWS[:3])} and {' or '.join(COLUMNS[:3])}"
        )
    dataset = dataset.sortby([axes[a] for a in ("y", "x") if axes[a] in dataset.coords])
    grid = {axes["y"], axes["x"]}
    on_grid = [str(v) for v in dataset.data_vars if grid <= set(dataset[v].dims) and dataset[v].dtype.kind in "fiub"]
    as_given = _names(given, on_grid, name)
    if given is None:
        has_time = "time" in axes and any(axes["time"] in dataset[v].dims for v in on_grid)
        roles = [v for v in on_grid if dataset[v].attrs.get(ROLE) == "given"]
        as_given = roles or ([v for v in on_grid if axes["time"] not in dataset[v].dims] if has_time else [])
    as_fields = [v for v in _names(variables, on_grid, name) or on_grid if v not in as_given]
    if not as_fields:
        raise DataError(f"{name}: there is no variable left that is a field; those on the grid: {', '.join(on_grid)}")
    values = _stack(dataset, as_fields, [axes.get("item"), axes.get("time"), axes["y"], axes["x"]], name)
    inputs = None
    if as_given:
        inputs = _stack(dataset, as_given, [axes.get("item"), None, axes["y"], axes["x"]], name)[:, 0]
        inputs = inputs.expand(len(values), -1, -1, -1)
    elif values.shape[1] == 1:
        raise DataError(
            f"{name}: no variable has several times, so name those that are given: --given {on_grid[0]}; the others "
            "are the steady fields that follow from them"
        )
    for option, axis in (("x", axes["x"]), ("y", axes["y"])):
        if axis in dataset.coords and dataset[axis].dtype.kind in "fiu":
            options.setdefault(option, torch.tensor(dataset[axis].to_numpy().astype(float)))
    if "time" in axes and axes["time"] in dataset.coords and values.shape[1] > 1:
        options = _clock(dataset[axes["time"]], name) | options
    return fields_of_arrays(
        values, Path(name).stem, inputs, channels=tuple(as_fields), given=tuple(as_given), **options
    )


def dataset_of_fields(fields: Fields) -> "xarray.Dataset":
    """Fields as an xarray Dataset over item, time, y and x, NaN outside. `fields_of_dataset` reads it back."""
    xarray = _xarray(fields.name)
    assert fields.inputs is not None and fields.inside is not None
    inside = fields.inside.numpy()
    values = np.where(inside[:, None, None], fields.values.numpy(), np.nan)
    dims = ("item", "y", "x") if fields.steady else ("item", "time", "y", "x")
    data = {
        channel: (dims, values[:, 0, k] if fields.steady else values[:, :, k])
        for k, channel in enumerate(fields.channels)
    }
    found = xarray.Dataset(data)
    for k, name in enumerate(fields.given):
        found[name] = (("item", "y", "x"), fields.inputs[:, k].numpy(), {ROLE: "given"})
    for axis, places in (("x", fields.x), ("y", fields.y)):
        if places is not None:
            found = found.assign_coords({axis: places.numpy()})
    if not fields.steady:
        passed = fields.interval * np.arange(fields.values.shape[1])
        if fields.origin:
            moments: Any = np.datetime64(fields.origin, "s") + (passed * (DAY / np.timedelta64(1, "s"))).astype(
                "timedelta64[s]"
            )
            found = found.assign_coords(time=moments.astype("datetime64[ns]"))
        else:
            found = found.assign_coords(time=("time", passed, {"unit": fields.unit}))
    return found


def write_netcdf(fields: Fields, path: str | Path) -> None:
    """A netCDF file of the fields; it appears whole or not at all."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        dataset_of_fields(fields).to_netcdf(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _xarray(path: Any) -> Any:
    try:
        import netCDF4  # noqa: F401
        import xarray
    except ModuleNotFoundError:
        raise DataError(f"{path}: netCDF needs xarray and netCDF4: pip install 'pathline[weather]'") from None
    return xarray


def _axis(dimension: str) -> str | None:
    """What a dimension of this name is: item, time, y, x, or None for any other."""
    known = {"item": ITEMS, "time": TIMES, "y": ROWS, "x": COLUMNS}
    return next((axis for axis, names in known.items() if dimension.lower() in names), None)


def _names(text: str | None, known: list[str], file: str) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise DataError(
                f"{file}: there is no variable '{name}' on the grid; there are {', '.join(known) or 'none'}"
            )
    return names


def _stack(dataset: "xarray.Dataset", names: list[str], dims: list[str | None], file: str) -> Tensor:
    """(items, frames, variables, height, width) of variables; dimensions that one lacks, or that are None, are 1."""
    arrays = []
    for name in names:
        array = dataset[name]
        others = [str(d) for d in array.dims if d not in dims]
        if others:
            raise DataError(
                f"{file}: '{name}' also has the dimension {others[0]} ({dataset.sizes[others[0]]} places); choose one "
                f"of them first, dataset.isel({others[0]}=0), or name other variables with --variables"
            )
        there = [d for d in dims if d in array.dims]
        shaped = array.transpose(*there).to_numpy().astype(np.float32)
        shape = [dataset.sizes[d] if d in array.dims else 1 for d in dims]
        arrays.append(torch.from_numpy(shaped.reshape(shape)))
    largest = np.broadcast_shapes(*(tuple(array.shape) for array in arrays))
    return torch.stack([array.expand(largest) for array in arrays], 2)


def _clock(time: "xarray.DataArray", file: str) -> dict[str, Any]:
    """Interval, unit and origin of a coordinate of times: days where these are dates."""
    values = time.to_numpy()
    if values.dtype.kind == "M":
        steps, unit = np.diff(values) / DAY, "days"
        origin = str(values[0].astype("datetime64[s]"))
    elif values.dtype.kind in "fiu":
        steps, unit, origin = (
            np.diff(values.astype(float)),
            str(time.attrs.get("unit", time.attrs.get("units", ""))),
            "",
        )
    else:  # dates of other calendars
        steps, unit, origin = np.array([1.0]), "frames", ""
    usual = float(np.mean(steps))
    uneven = np.abs(steps - usual) > UNEVEN * abs(usual)
    if usual <= 0 or uneven.any():
        place = int(uneven.argmax())
        raise DataError(
            f"{file}: from time {place} to {place + 1} are {steps[place]:g} {unit}, but {usual:g} on average; frames "
            "must follow each other evenly and forwards: fill the gaps or bring a part without any"
        )
    return {"interval": usual, "unit": unit, "origin": origin}
