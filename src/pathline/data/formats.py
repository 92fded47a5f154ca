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

FORMATS: dict[str, dict[str, str]] = {
    "Pairs": {
        FOLDER: "pathline.data.readers.pairs:pairs_from_folder",
        SEVERAL: "pathline.data.readers.pairs:pairs_from_pictures",
        ".npz": "pathline.data.readers.pairs:pairs_from_archive",
        **dict.fromkeys(
            (".gif", ".mp4", ".avi", ".mov", ".mkv", ".webm"), "pathline.data.readers.video:pairs_from_film"
        ),
    },
    "Rollouts": {
        ".xyz": "pathline.data.readers.extxyz:rollouts_from_forces",
        ".extxyz": "pathline.data.readers.extxyz:rollouts_from_forces",
    },
    "Samples": {FOLDER: "pathline.data.readers.images:read_images"},
    "Snapshots": {".h5ad": "pathline.data.readers.h5ad:read_h5ad"},
}
# Endings that `pathline.data.files` reads by itself.
TABLES: dict[str, tuple[str, ...]] = {
    "Environment": (".csv", ".txt", ".parquet"),
    "Rollouts": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Samples": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Series": (".csv", ".txt", ".parquet", ".npz", ".npy"),
    "Snapshots": (".csv", ".txt", ".parquet", ".npz", ".npy"),
}
# The array that an archive must hold, by which one tells what it is.
KEY_ARRAY: dict[str, str] = {
    "Series": "values",
    "Samples": "values",
    "Rollouts": "positions",
    "Snapshots": "positions",
    "Pairs": "images",
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
    """The first of `containers` that is read from such a file: by its ending, and an npz archive by its arrays."""
    ending = ending_of(path)
    fitting = [name for name in containers if ending in endings(name)]
    if ending == ".npz" and len(fitting) > 1 and isinstance(path, Path) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy") for name in archive.namelist()}
        fitting = [name for name in fitting if KEY_ARRAY.get(name) in arrays] or fitting
    return (fitting or list(containers))[0]
