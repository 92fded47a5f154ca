"""Files of the built-in sets: from a local mirror, the cache, or their upstream, and always the same bytes."""

import os
from pathlib import Path
from typing import Any

from pathline.data.cache import cache_folder
from pathline.data.errors import DataError

TIMEOUT = 20  # seconds without an answer before the network counts as absent


def fetch(key: str, facts: dict[str, Any]) -> list[Path]:
    """Local paths of the files of data set `key`, in the order of datasets.toml, each checked against its sha256.

    Raises:
        DataError: neither mirror nor cache nor network has a file, or its bytes are not the expected ones.
    """
    return [_file(key, facts, file) for file in facts["files"]]


def fetch_some(key: str, facts: dict[str, Any]) -> list[Path]:
    """Local paths of those files of `key` that can be had, for a set whose files are independent records.

    Where the mirror or the cache holds some, these are all; the network is asked only where there is none.
    """
    mirror = os.environ.get("PATHLINE_DATA")
    places = [Path(mirror)] if mirror else []
    places.append(cache_folder() / "datasets")
    here = [file for file in facts["files"] if any((place / file["path"]).exists() for place in places)]
    return [_file(key, facts, file) for file in here or facts["files"]]


def _file(key: str, facts: dict[str, Any], file: dict[str, str]) -> Path:
    import pooch

    mirror = os.environ.get("PATHLINE_DATA")
    if mirror and (local := Path(mirror) / file["path"]).exists():
        if pooch.file_hash(str(local)) != file["sha256"]:
            raise DataError(f"{local} is not the file that '{key}' was published with (sha256 differs): replace it")
        return local
    pooch.get_logger().setLevel("ERROR")
    home = {**facts, **file}  # a file may come from elsewhere than the others
    url = f"https://raw.githubusercontent.com/{home['upstream']}/{home['commit']}/{file['remote']}"
    target = cache_folder() / "datasets" / file["path"]
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file['sha256']}",
            path=target.parent,
            fname=target.name,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    except ValueError as error:
        raise DataError(f"{url} no longer holds the bytes of '{key}' ({error}); report this to pathline") from None
    except OSError:  # what requests raises, and what a disk raises
        searched = f"the mirror {mirror} (PATHLINE_DATA)" if mirror else "a local mirror (PATHLINE_DATA is not set)"
        raise DataError(
            f"'{key}' is neither in {searched} nor in the cache, and {facts['upstream']} cannot be reached; "
            f"connect to the network once, or use the built-in '{facts['instead']}' (--data {facts['instead']})"
        ) from None
    return target
