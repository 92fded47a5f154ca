"""Meshes from solvers, through meshio: a time series in xdmf, or a folder of frames (vtk, vtu, msh, ..) in their order.

    one rollout       flag.xdmf, or a folder flag/ with one file for each frame
    several rollouts  several xdmf files, or a folder of such files or folders; all on one mesh

Where the points move from frame to frame, or the data hold `displacement` or `positions` on the points, the mesh moves
and its world positions are predicted; otherwise a field is, `velocity` unless `field` names another. Data of whole
numbers called `node_type` say what each node is. Quadrangles are cut in two; other cells are left out.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.meshes import Meshes

SERIES = (".xdmf", ".xmf")
FRAMES = (".vtu", ".vtk", ".msh", ".xml", ".ply", ".obj", ".stl", ".off")


def _meshio() -> Any:
    try:
        import meshio
    except ModuleNotFoundError:
        raise DataError("meshes from solvers need meshio: pip install 'pathline[meshes]'") from None
    return meshio


def _in_order(path: Path) -> list[Any]:
    """A key that sorts frame10 after frame9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def read_meshes(
    path: Path | list[Path],
    interval: float | None = None,
    field: str | None = None,
    outputs: tuple[str, ...] = (),
) -> Meshes:
    """`path` as `Meshes`: an xdmf file, a folder, or several files, each a rollout.

    interval: time between frames, by default the file's own (1 where it has none);  field: what is predicted;
    outputs: fields that are predicted directly
    Raises DataError: not readable, no triangles, or rollouts on different meshes.
    """
    paths = path if isinstance(path, list) else _rollouts(path)
    read = [_series(one) if one.suffix.lower() in SERIES else _folder(one) for one in paths]
    first, name = read[0], str(paths[0])
    frames = min(len(rollout["points"]) for rollout in read)
    for one, rollout in zip(paths, read, strict=True):
        if not np.array_equal(rollout["cells"], first["cells"]):
            raise DataError(f"{one}: its triangles are not those of {name}; all rollouts share one mesh, please")
    points = np.stack([rollout["points"][:frames] for rollout in read])
    shared = set.intersection(*(set(rollout["data"]) for rollout in read))
    data = {key: np.stack([rollout["data"][key][:frames] for rollout in read]) for key in sorted(shared)}
    rest = points[0, 0]
    flat = _flat(points)
    types = data.pop("node_type", None)
    if "displacement" in data:
        points = points + _wide(data.pop("displacement"), points.shape[-1])
    elif "positions" in data:
        points = _wide(data.pop("positions"), points.shape[-1])
    moves = not np.allclose(points, points[:, :1], rtol=0, atol=1e-9 * max(1e-30, float(np.ptp(points))))
    dims = 2 if flat and _flat(points) else 3
    fields = {key: _fitting(values, dims) for key, values in data.items()}
    predicted = "" if moves and field is None else (field or ("velocity" if "velocity" in fields else ""))
    if not moves and predicted not in fields:
        known = ", ".join(fields) or "none"
        raise DataError(
            f"{name}: nothing moves and it is not clear what to predict; name a field of: {known} (--field)"
        )
    kept = {key: values for key, values in fields.items() if key == predicted or key in outputs}
    return Meshes(
        mesh=torch.from_numpy(rest[:, : 2 if flat else 3]).float(),
        cells=torch.from_numpy(first["cells"]).long(),
        positions=torch.from_numpy(points[..., :dims]).float() if moves else None,
        fields=kept,
        predicted=predicted,
        outputs=tuple(outputs),
        node_type=None if types is None else torch.from_numpy(types[0, 0].reshape(-1)).long(),
        interval=float(interval or first["interval"]),
        name=(paths[0] if len(paths) == 1 else paths[0].parent).stem,
    )


def _flat(points: np.ndarray) -> bool:
    """Whether all points lie in one plane of constant z, or have no z."""
    return points.shape[-1] < 3 or not np.ptp(points[..., 2]) > 0


def _wide(values: np.ndarray, dims: int) -> np.ndarray:
    """Vectors with zeros appended up to `dims` components."""
    return np.pad(values, [(0, 0)] * 3 + [(0, dims - values.shape[-1])])


def _fitting(values: np.ndarray, dims: int) -> Tensor:
    """(rollouts, frames, nodes, channels) float32; vectors of a flat problem lose their third component, always 0."""
    values = values[..., None] if values.ndim == 3 else values
    values = values[..., :2] if values.shape[3] == 3 and dims == 2 and not values[..., 2].any() else values
    return torch.from_numpy(np.ascontiguousarray(values)).float()


def _rollouts(path: Path) -> list[Path]:
    """The rollouts that `path` holds: itself, or the files and folders in it."""
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir(), key=_in_order)
    found = [one for one in inside if one.suffix.lower() in SERIES or (one.is_dir() and _frames(one))]
    if not found and not _frames(path):
        raise DataError(f"{path}: there are no frames in it; meshes are read from {', '.join((*SERIES, *FRAMES))}")
    return found or [path]


def _frames(folder: Path) -> list[Path]:
    return sorted((one for one in folder.iterdir() if one.suffix.lower() in FRAMES), key=_in_order)


def _triangles(cells: Any, path: Path) -> np.ndarray:
    """(triangles, 3) of meshio's cell blocks."""
    parts = [np.empty((0, 3), np.int64)]
    for block in cells:
        if block.type == "triangle":
            parts.append(np.asarray(block.data, np.int64))
        elif block.type == "quad":
            quad = np.asarray(block.data, np.int64)
            parts += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    triangles = np.concatenate(parts)
    if not len(triangles):
        raise DataError(f"{path}: there are no triangles or quadrangles in it")
    return triangles


def _series(path: Path) -> dict[str, Any]:
    """The frames of an xdmf time series."""
    meshio = _meshio()
    try:
        with meshio.xdmf.TimeSeriesReader(str(path)) as reader:
            points, cells = reader.read_points_cells()
            steps = [reader.read_data(k)[:2] for k in range(reader.num_steps)]
    except Exception as error:  # meshio raises whatever its parsers met
        raise DataError(f"{path}: not readable as an xdmf time series ({error})") from None
    if not steps:
        raise DataError(f"{path}: there are no frames in it")
    times = [time for time, _ in steps]
    data = _stacked([point_data for _, point_data in steps], [path] * len(steps))
    interval = float(times[1] - times[0]) if len(times) > 1 else 1.0
    points = np.asarray(points, np.float64)
    everywhere = np.broadcast_to(points, (len(steps), *points.shape))
    return {"points": everywhere, "cells": _triangles(cells, path), "data": data, "interval": interval or 1.0}


def _folder(path: Path) -> dict[str, Any]:
    """The frames of a folder, one file each, in the order of the numbers in their names."""
    meshio = _meshio()
    files = _frames(path) if path.is_dir() else [path]
    frames = []
    for file in files:
        try:
            frames.append(meshio.read(str(file)))
        except (Exception, SystemExit) as error:  # meshio raises whatever its parsers met
            raise DataError(f"{file}: not readable as a mesh ({error})") from None
        if len(frames[-1].points) != len(frames[0].points):
            raise DataError(
                f"{file}: it has {len(frames[-1].points)} points, but {files[0].name} has {len(frames[0].points)}; "
                "the mesh of a rollout stays the same"
            )
    data = _stacked([frame.point_data for frame in frames], files)
    points = np.stack([np.asarray(frame.points, np.float64) for frame in frames])
    return {"points": points, "cells": _triangles(frames[0].cells, files[0]), "data": data, "interval": 1.0}


def _stacked(frames: list[dict[str, Any]], files: list[Path]) -> dict[str, np.ndarray]:
    """Every name that the first frame has, (frames, nodes, channels) float64; a frame without it is named."""
    stacked = {}
    for key in frames[0]:
        for file, frame in zip(files, frames, strict=True):
            if key not in frame:
                raise DataError(f"{file}: there is no '{key}' on the points, though the first frame has it")
        values = np.stack([np.asarray(frame[key], np.float64) for frame in frames])
        stacked[key] = values[..., None] if values.ndim == 2 else values
    return stacked


def meshes_from_npz(path: Path, interval: float | None = None, field: str | None = None) -> Meshes:
    """An npz archive with `cells` (triangles, 3), and `positions` or a field (rollouts, frames, nodes, channels);
    `mesh` (nodes, 2 or 3), by default the first positions; `node_type`, `features`, `interval` if there are any.

    field: which field is predicted where nothing moves; by default `velocity`, or the only one
    """
    from pathline.data.readers.npz import read_npz

    arrays = read_npz(path)
    for name in ("cells",) if "mesh" in arrays or "positions" in arrays else ("cells", "mesh"):
        if name not in arrays:
            raise DataError(f"{path}: there is no array '{name}'; the archive has {', '.join(arrays) or 'none'}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: array '{name}' holds {array.dtype}, not numbers")
    own = {"cells", "mesh", "positions", "node_type", "features", "interval"}
    fields = {
        key: values[..., None] if values.ndim == 3 else values for key, values in arrays.items() if key not in own
    }
    positions = arrays.get("positions")
    if positions is not None and positions.ndim != 4:
        raise DataError(f"{path}: positions have shape {positions.shape}; expected (rollouts, frames, nodes, dims)")
    predicted = field or (
        "" if positions is not None else "velocity" if "velocity" in fields else next(iter(fields), "")
    )
    types, features = arrays.get("node_type"), arrays.get("features")
    mesh = arrays["mesh"] if "mesh" in arrays or positions is None else positions[0, 0]
    return Meshes(
        mesh=torch.from_numpy(mesh).float(),
        cells=torch.from_numpy(arrays["cells"]).long(),
        positions=None if positions is None else torch.from_numpy(positions).float(),
        fields={key: torch.from_numpy(values).float() for key, values in fields.items()},
        predicted=predicted,
        node_type=None if types is None else torch.from_numpy(types).long().reshape(-1),
        features=None if features is None else torch.from_numpy(features).float(),
        interval=float(arrays.get("interval", 1.0)) if interval is None else interval,
        name=path.stem,
    )


def write_mesh(path: Path, points: Tensor, cells: Tensor, fields: dict[str, Tensor]) -> None:
    """One mesh with fields on its points, as vtu for ParaView.

    points: (nodes, 2 or 3);  cells: (triangles, 3);  fields: name -> (nodes, channels)
    """
    meshio = _meshio()
    placed = np.zeros((len(points), 3))
    placed[:, : points.shape[1]] = points.detach().cpu().numpy()
    data = {name: values.detach().cpu().numpy() for name, values in fields.items()}
    data = {
        name: values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values for name, values in data.items()
    }
    data = {name: np.pad(v, ((0, 0), (0, 1))) if v.ndim == 2 and v.shape[1] == 2 else v for name, v in data.items()}
    mesh = meshio.Mesh(placed, [("triangle", cells.cpu().numpy())], point_data=data)
    mesh.write(str(path), file_format="vtu")
