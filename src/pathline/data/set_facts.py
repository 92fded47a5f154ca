"""What datasets.toml says of the built-in data sets."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def facts() -> dict[str, dict[str, Any]]:
    """Everything datasets.toml says, by key."""
    return tomllib.loads(files("pathline.data").joinpath("datasets.toml").read_text(encoding="utf-8"))
