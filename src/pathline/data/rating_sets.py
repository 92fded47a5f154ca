"""The built-in sets of interactions, from the files that their owners publish."""

import io
import warnings
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pathline.data.cache import cache_folder
from pathline.data.errors import DataError
from pathline.data.fetch import fetch
from pathline.data.interactions import Interactions
from pathline.data.readers.pickled import read_places

MOVIELENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MOVIELENS_MD5 = "0e33842e24a9c977be4e0107933c0723"  # as GroupLens publishes it beside the archive
TIMEOUT = 20  # seconds without an answer before the network counts as absent


def movielens_100k() -> Interactions:
    """100,000 ratings of films, from 1 to 5, with their times: read out of the package recbole if it is installed, else
    from the archive of GroupLens, whose terms forbid to pass it on."""
    home = find_spec("recbole")
    if home is not None and home.origin is not None:
        path = Path(home.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
        if path.exists():
            return _films(pd.read_csv(path, sep="\t", header=0, names=["user", "item", "rating", "time"]))
    return _films(pd.read_csv(_archive(), sep="\t", names=["user", "item", "rating", "time"]))


def _films(table: pd.DataFrame) -> Interactions:
    users, items = (np.sort(table[kind].unique()) for kind in ("user", "item"))
    return Interactions(
        user=torch.from_numpy(np.searchsorted(users, table["user"])).long(),
        item=torch.from_numpy(np.searchsorted(items, table["item"])).long(),
        rating=torch.tensor(table["rating"].to_numpy()).float(),
        time=torch.tensor(table["time"].to_numpy()).double(),
        users=tuple(map(str, users)),
        items=tuple(map(str, items)),
    )


def _archive() -> io.BytesIO:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    target = cache_folder() / "datasets" / "movielens-100k" / "ml-100k.zip"
    try:
        pooch.retrieve(
            MOVIELENS,
            known_hash=f"md5:{MOVIELENS_MD5}",
            path=target.parent,
            fname=target.name,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    except ValueError as error:
        raise DataError(f"{MOVIELENS} no longer holds the bytes of 'movielens-100k' ({error})") from None
    except OSError:
        raise DataError(
            "'movielens-100k' ships in the package recbole, which is not installed, and its owner GroupLens cannot be "
            "reached; pip install --no-deps recbole, or use the built-in 'signed-taste' (--data signed-taste)"
        ) from None
    with zipfile.ZipFile(target) as archive:
        return io.BytesIO(archive.read("ml-100k/u.data"))


def purchases(paths: list[Path]) -> Interactions:
    """A training and a test matrix of users and items with ones, in this order; the test part is kept as published."""
    matrices = [read_places(path) for path in paths]
    shape = [max(matrix.shape[axis] for matrix in matrices) for axis in (0, 1)]
    part = np.repeat([0, 2], [len(matrix.row) for matrix in matrices])
    return Interactions(
        user=torch.from_numpy(np.concatenate([matrix.row for matrix in matrices])),
        item=torch.from_numpy(np.concatenate([matrix.column for matrix in matrices])),
        users=tuple(map(str, range(shape[0]))),
        items=tuple(map(str, range(shape[1]))),
        parts=torch.from_numpy(part),
    )


def rated_in_r(path: Path, threshold: float | None = None) -> Interactions:
    """A matrix of the R package recommenderlab: ratings by users and items, or who visited what."""
    try:
        import rdata
    except ModuleNotFoundError:
        raise DataError(f"{path}: files of R need the package rdata: pip install 'pathline[recommend]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes of R that are read as plain records
        found = next(iter(rdata.read_rda(str(path)).values()))
    binary = not hasattr(found.data, "x")
    matrix = found.data.data if binary else found.data
    minor = np.asarray(matrix.i)
    major = np.repeat(np.arange(len(matrix.p) - 1), np.diff(matrix.p))
    user, item = (major, minor) if binary else (minor, major)  # visits are stored item by user
    names: list[Any] = list(matrix.Dimnames)
    if binary:
        names = [map(str, range(int(matrix.Dim[1]))), found.data.itemInfo["labels"]]
    return Interactions(
        user=torch.from_numpy(user.astype(np.int64)),
        item=torch.from_numpy(item.astype(np.int64)),
        rating=None if binary else torch.from_numpy(np.asarray(matrix.x)).float(),
        users=tuple(map(str, names[0])),
        items=_told_apart([str(name).strip() for name in names[1]]),
        threshold=threshold,
    )


def _told_apart(names: list[str]) -> tuple[str, ...]:
    """Names, a repeated one with its number behind it."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(made)


def _amazon_beauty(about: dict[str, Any]) -> Interactions:
    return purchases(fetch("amazon-beauty", about))


def _of_recommenderlab(key: str, threshold: float | None) -> Callable[[dict[str, Any]], Interactions]:
    return lambda about: rated_in_r(fetch(key, about)[0], threshold)


def _signed_taste(about: dict[str, Any]) -> Interactions:
    from pathline.sims.signed_taste import signed_taste

    return signed_taste()


def _power_law_tastes(about: dict[str, Any]) -> Interactions:
    from pathline.sims.power_law_tastes import power_law_tastes

    return power_law_tastes(50_000, 10_000, 5_000)


LOADERS: dict[str, Callable[[dict[str, Any]], Interactions]] = {
    "movielens-100k": lambda about: movielens_100k(),
    "amazon-beauty": _amazon_beauty,
    "jester": _of_recommenderlab("jester", 5.0),
    "msweb": _of_recommenderlab("msweb", None),
    "signed-taste": _signed_taste,
    "power-law-tastes": _power_law_tastes,
}
