"""Which files fill which container: one line for each format that is no plain table.

Tables (csv, txt, parquet) and array archives (npz, npy) of the older containers are read by `pathline.data.files`
itself. A reader here is "module:function" and is imported on first use; it takes the path and the reading options as
keywords, returns the container, and raises a `DataError` that names the file, the place in it and the way out.
"""

import importlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "/"  # stands for a folder where others have an ending
SEVERAL = "+"  # stands for several files that belong together; the reader takes the list of their paths

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp")
FILMS = (".gif", ".mp4", ".avi", ".mov", ".mkv", ".webm")

EVENT_LISTS = (".csv", ".txt", ".tsv", ".dat", ".edges", ".gz")

FORMATS: dict[str, dict[str, str]] = {
    "Clips": {
        FOLDER: "pathline.data.readers.clips:clips_from_folder",
        ".npz": "pathline.data.readers.clips:clips_from_archive",
        **dict.fromkeys(FILMS, "pathline.data.readers.clips:clips_from_film"),
    },
    "Events": {
        **dict.fromkeys(EVENT_LISTS, "pathline.data.readers.events:read_events"),
        ".parquet": "pathline.data.readers.events:read_events",
    },
    "Affinities": {
        **dict.fromkeys(EVENT_LISTS, "pathline.data.readers.events:read_affinities"),
        ".parquet": "pathline.data.readers.events:read_affinities",
    },
    "Fields": {
        ".nc": "pathline.data.readers.netcdf:read_netcdf",
        ".npz": "pathline.data.readers.field_arrays:read_field_arrays",
        FOLDER: "pathline.data.readers.field_arrays:read_deepcfd",
    },
    "Interactions": dict.fromkeys(
        (".csv", ".txt", ".parquet", ".tsv", ".inter"), "pathline.data.readers.interactions:read_interactions"
    ),
    "Graph": {
        ".graphml": "pathline.data.readers.graphml:read_graphml",
        SEVERAL: "pathline.data.readers.graphml:read_graphml",
        FOLDER: "pathline.data.readers.graph_sets:read_folder",
        **dict.fromkeys((".csv", ".tsv", ".edgelist", ".edges"), "pathline.data.readers.edge_list:read_edge_list"),
        ".txt": "pathline.data.readers.graph_sets:read_text",
        ".npz": "pathline.data.readers.graph_sets:read_graph_npz",
        ".mat": "pathline.data.readers.graph_sets:read_link_mat",
        ".graph": "pathline.data.readers.graph_sets:read_planetoid",
    },
    "GraphSignal": {".mat": "pathline.data.readers.matlab:read_signal"},
    "Meshes": {
        FOLDER: "pathline.data.readers.meshio:read_meshes",
        SEVERAL: "pathline.data.readers.meshio:read_meshes",
        ".xdmf": "pathline.data.readers.meshio:read_meshes",
        ".xmf": "pathline.data.readers.meshio:read_meshes",
        ".npz": "pathline.data.readers.meshio:meshes_from_npz",
    },
    "Pairs": {
        FOLDER: "pathline.data.readers.pairs:pairs_from_folder",
        SEVERAL: "pathline.data.readers.pairs:pairs_from_pictures",
        ".npz": "pathline.data.readers.pairs:pairs_from_archive",
        **dict.fromkeys(FILMS, "pathline.data.readers.video:pairs_from_film"),
    },
    "Rollouts": {
        ".xyz": "pathline.data.readers.extxyz:read_extxyz",
        ".extxyz": "pathline.data.readers.extxyz:read_extxyz",
        ".traj": "pathline.data.readers.atoms:read_trajectory",
        ".asf": "pathline.data.readers.asf_amc:read_motion",
    },
    "Samples": {FOLDER: "pathline.data.readers.images:read_images"},
    "Series": {".rda": "pathline.data.readers.rdata:read_rda", ".rdata": "pathline.data.readers.rdata:read_rda"},
    "Tracks": {
        ".gpx": "pathline.data.readers.gpx:read_gpx",
        ".npz": "pathline.data.readers.tracks:tracks_from_archive",
        **dict.fromkeys((".csv", ".txt", ".parquet", FOLDER, SEVERAL), "pathline.data.readers.tracks:read_tracks"),
    },
    "Snapshots": {".h5ad": "pathline.data.readers.h5ad:read_h5ad"},
    "Waveforms": {
        ".mseed": "pathline.data.readers.miniseed:read_seismic",
        ".miniseed": "pathline.data.readers.miniseed:read_seismic",
        ".sac": "pathline.data.readers.miniseed:read_seismic",
        ".npz": "pathline.data.readers.seismic_npz:read_phasenet_npz",
        FOLDER: "pathline.data.readers.miniseed:read_folder",
    },
}
# Endings that `pathline.data.files` reads by itself.
TABLES: dict[str, tuple[str, ...]] = {
    "Environment": (".csv", ".txt", ".parquet"),
    "Equation": (".csv", ".txt", ".parquet"),
    "GraphSignal": (".csv", ".txt", ".parquet"),
    "Rollouts": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Samples": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Sequences": (".csv", ".txt", ".parquet"),
    "Series": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Snapshots": (".csv", ".txt", ".parquet", ".npz", ".npy"),
}
# What a folder holds by which one tells what it is, beside what else the container is read from.
HELD: dict[str, tuple[str, ...]] = {
    "Clips": PICTURES,
    "Fields": (".pkl",),
    "Meshes": (".vtk", ".vtu", ".msh", ".obj", ".off", ".stl", ".ply"),
    "Pairs": PICTURES,
    "Samples": PICTURES,
}
# The array that an archive must hold, by which one tells what it is.
# Where two containers of a room share an array, the later one in this list is the more particular.
KEY_ARRAY: dict[str, str] = {
    "Series": "values",
    "Samples": "values",
    "Rollouts": "positions",
    "Snapshots": "positions",
    "Waveforms": "data",
    "Fields": "values",
    "Meshes": "cells",
    "Pairs": "images",
    "Clips": "frames",
    "Graph": "edges",
    "Tracks": "positions",
}


def endings(container: str) -> tuple[str, ...]:
    """Every ending that `container` is read from."""
    return tuple(dict.fromkeys((*TABLES.get(container, ()), *FORMATS.get(container, {}))))


def reader(container: str, ending: str) -> Callable[..., Any] | None:
    """The function that reads files of this ending into `container`, or None."""
    home = FORMATS.get(container, {}).get(ending)
    if home is None:
        return None
    module, _, name = home.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def ending_of(path: Path | list[Path]) -> str:
    """The ending in small letters, `FOLDER` for a folder, `SEVERAL` for a list."""
    if isinstance(path, list):
        return SEVERAL
    return FOLDER if path.is_dir() else path.suffix.lower()


def container_for(path: Path | list[Path], containers: tuple[str, ...]) -> str:
    """The first of `containers` that is read from such a file: by its ending, an npz archive by its arrays, a folder by
    what it holds."""
    ending = ending_of(path)
    fitting = [name for name in containers if ending in endings(name)]
    if ending == ".npz" and len(fitting) > 1 and isinstance(path, Path) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy") for name in archive.namelist()}
        holding = [name for name in KEY_ARRAY if name in fitting and KEY_ARRAY[name] in arrays]
        fitting = holding[-1:] or fitting
    if ending == FOLDER and len(fitting) > 1 and isinstance(path, Path):
        held = {file.suffix.lower() for file in path.iterdir() if file.is_file()}
        fitting = [name for name in fitting if held & {*endings(name), *HELD.get(name, ())}] or fitting
    return (fitting or list(containers))[0]
