"""Things that are slow to make, kept on disk under a hash of what they were made from."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor


def cache_folder() -> Path:
    """$PATHLINE_CACHE, or the user's cache folder."""
    chosen = os.environ.get("PATHLINE_CACHE")
    if chosen:
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("pathline"))


def cached(name: str, parameters: dict[str, Any], build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of `build()`, from disk if the same `name` and `parameters` were built before.

    The file appears whole or not at all; a cache that cannot be written to costs time, never the result.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    text = json.dumps(parameters, sort_keys=True)
    path = cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    if path.exists():
        with contextlib.suppress(OSError, SafetensorError):  # a damaged file is replaced
            return load_file(path)
    tensors = build()
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, part, metadata={"parameters": text})
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
    return tensors
