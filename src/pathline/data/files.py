"""A user's own file as a container: `read("speeds.csv", "Series")`."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathline.data import formats
from pathline.data.equation import equation_from_table
from pathline.data.errors import DataError
from pathline.data.graph_signal import GraphSignal, signal_from_table
from pathline.data.population_tables import populations_from_table
from pathline.data.readers.csv import read_csv
from pathline.data.readers.graph import read_graph
from pathline.data.readers.npz import read_npy, read_npz
from pathline.data.readers.parquet import read_parquet
from pathline.data.rollouts import Rollouts
from pathline.data.samples import Samples
from pathline.data.sequences import sequences_from_table
from pathline.data.series import Series
from pathline.data.strings import strings_from_table
from pathline.data.tables import rollouts_from_table, samples_from_table, series_from_table

_TABLES: dict[str, Callable[..., Any]] = {
    "GraphSignal": signal_from_table,
    "Sequences": sequences_from_table,
    "Series": series_from_table,
    "Samples": samples_from_table,
    "Rollouts": rollouts_from_table,
    "Snapshots": populations_from_table,
    "Environment": strings_from_table,
    "Equation": equation_from_table,
}
_READERS = {".csv": read_csv, ".txt": read_csv, ".parquet": read_parquet}
_AS_TEXT = partial(read_csv, as_text=True)
_VERBATIM: dict[str, Callable[..., Any]] = {**_READERS, ".csv": _AS_TEXT, ".txt": _AS_TEXT}


def read(path: str | Path | list[str], container: str, graph: str | Path | None = None, **options: Any) -> Any:
    """Read a file, by its ending, into a `container`: csv, parquet, npz and npy into "Series", "Samples", "Rollouts"
    and "Snapshots", csv and parquet into "Environment" (strings and their rewards), and what `pathline.data.formats`
    lists.

    Args:
        path: a file or a folder; several files that belong together, such as two pictures, as a list.
        graph: a csv file of edge weights between the sensors of a Series: a square or a list, see `readers.graph`.
        options: what the container's table reader takes (interval, time_column, missing, label_column, ...) and fields
            of the container (history, horizon, unit, ...); for a folder of pictures, their size.

    Raises:
        DataError: one sentence that names the file, row and column and the way out.
    """
    paths = [Path(one) for one in path] if isinstance(path, list) else [Path(path)]
    for one in paths:
        if not one.exists():
            raise DataError(f"{one}: there is no such file")
    options = {name: value for name, value in options.items() if value is not None}
    where: Path | list[Path] = paths if len(paths) > 1 else paths[0]
    ending = formats.ending_of(where)
    own = formats.reader(container, ending)
    sized = own is not None and "size" in inspect.signature(own).parameters
    if "size" in options and not sized and ending not in (formats.FOLDER, formats.SEVERAL):
        raise DataError(f"{paths[0]}: a size goes with pictures, not with a file of this kind")
    for name in ("density", "protocol"):
        if name in options and container != "GraphSignal":
            raise DataError(f"{paths[0]}: --{name} hides entries that are to be recovered; it goes with --task recover")
    if own is not None:
        if "labelled" not in inspect.signature(own).parameters:  # such files are read with or without the answers
            options.pop("labelled", None)
        if not any(each.kind is each.VAR_KEYWORD for each in inspect.signature(own).parameters.values()):
            _refuse_unknown(own, options, paths[0])
        data = own(where, **options)
    elif isinstance(where, list):
        raise DataError(
            f"{container} is read from one file or folder, not from {len(where)}: {', '.join(map(str, where))}"
        )
    elif ending == formats.FOLDER:
        raise DataError(f"{where}: this is a folder; {container} is read from a file")
    elif ending not in formats.endings(container):
        readable = ", ".join(name for name in formats.endings(container) if name.startswith("."))
        raise DataError(f"{where}: {container} is read from {readable}; the ending '{ending}' is none of these")
    elif ending in (".npz", ".npy"):
        data = _from_arrays(read_npz(where) if ending == ".npz" else read_npy(where), where, container, options)
    else:
        options.pop("labelled", None)
        _refuse_unknown(_TABLES[container], options, paths[0])
        readers = _VERBATIM if container == "Environment" else _READERS
        data = _TABLES[container](readers[ending](where), str(where), **options)
    if graph is not None:
        if not isinstance(data, Series | GraphSignal):
            raise DataError(f"{paths[0]}: a graph file goes with Series, not with {container}")
        from dataclasses import replace

        data = replace(data, adjacency=read_graph(graph, data.nodes))
    return data


def _refuse_unknown(function: Callable[..., Any], options: dict[str, Any], path: Path) -> None:
    """Raise a `DataError` for an option that `function` does not take; what it passes on are fields of its result."""
    signature = inspect.signature(function)
    known = set(signature.parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        made = signature.return_annotation
        if not is_dataclass(made):
            return
        known |= {field.name for field in fields(made)}
    for name in sorted(options.keys() - known):
        raise DataError(f"{path}: such a file is not read with --{name.replace('_', '-')}; leave it out")


def _as_pictures(array: np.ndarray) -> np.ndarray | None:
    """Bytes of pictures with channels last, if the shape is that of pictures: (n, height, width), with 1 or 3 channels
    last or second."""
    if array.ndim == 3:
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return array
    return np.moveaxis(array, 1, 3) if array.ndim == 4 and array.shape[1] in (1, 3) else None


def _from_arrays(arrays: dict[str, np.ndarray], path: Path, container: str, options: dict[str, Any]) -> Any:
    """Arrays by the names of the container's fields; `x` and `y` are understood as values and labels."""
    needed = formats.KEY_ARRAY[container]
    renamed = {{"x": "values", "X": "values", "y": "labels"}.get(key, key): value for key, value in arrays.items()}
    if needed not in renamed:
        raise DataError(f"{path}: there is no array '{needed}'; the archive has {', '.join(arrays) or 'none'}")
    tensors: dict[str, Any] = {}
    for key, array in renamed.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: array '{key}' holds {array.dtype}, not numbers")
        tensors[key] = torch.from_numpy(array) if array.ndim else array.item()
    values = tensors[needed] = tensors[needed].float()
    fields: dict[str, Any] = {"name": path.stem}
    if container == "Snapshots":
        from pathline.data.population_tables import snapshots_from_arrays

        if "times" not in arrays or len(arrays["times"]) != len(values):
            raise DataError(f"{path}: add an array 'times' with one time for each of the {len(values)} cells")
        return snapshots_from_arrays(values.numpy(), arrays["times"], str(path), arrays.get("mass"), **options)
    if container == "Samples":
        labels = tensors.get("labels")
        if renamed[needed].dtype == np.uint8 and (bytes_ := _as_pictures(renamed[needed])) is not None:
            from pathline.data.readers.images import pictures_from_bytes

            return pictures_from_bytes(bytes_, None if labels is None else labels.long(), path.stem)
        return Samples(values=values, labels=None if labels is None else labels.long(), **fields)
    if container == "Series":
        values = values[..., None] if values.ndim == 2 else values
        interval = options.pop("interval", None) or tensors.get("interval")
        if interval is None:
            raise DataError(f"{path}: add an array 'interval' (seconds between steps) or give --interval")
        missing = options.pop("missing", None)
        observed = torch.isfinite(values) if missing is None else torch.isfinite(values) & (values != missing)
        adjacency = tensors.get("adjacency")
        fields |= {"start": int(tensors.get("start", 0)), "interval": int(interval)}
        fields |= {"adjacency": None if adjacency is None else adjacency.float()}
        return Series(values=values, observed=observed, **fields, **options)
    interval = float(options.pop("interval", None) or tensors.get("interval", 1.0))
    velocities = tensors.get("velocities")
    if velocities is None:
        velocities, values = values.diff(dim=1) / interval, values[:, 1:]
    edges = tensors.get("edge_index")
    if edges is None:
        edges = torch.nonzero(~torch.eye(values.shape[2], dtype=torch.bool)).T
    features = tensors.get("features")
    fields["features"] = None if features is None else features.float()
    return Rollouts(
        positions=values,
        velocities=velocities.float(),
        edge_index=edges.long(),
        interval=interval,
        **fields,
        **options,
    )
