"""Claims: one program per system, `claims/<room>/<key>.py`, that shows its paper's headline at desk size."""

from importlib import import_module
from importlib.util import find_spec

from pathline.core import catalog
from pathline.core.claim import Claim
from pathline.core.errors import MethodError


def claim(key: str) -> Claim:
    """The claim of system `key`; a `MethodError` if it has none yet."""
    entry = catalog.entry(key)
    name = f"{__name__}.{entry.room}.{key.replace('-', '_')}"
    if find_spec(f"{__name__}.{entry.room}") is None or find_spec(name) is None:
        raise MethodError(f"{key} has no claim yet; those with one: {', '.join(claimed())}")
    module = import_module(name)
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Claim)]
    return next(kind for kind in found if kind.__module__ == name)()


def claimed(room: str | None = None) -> list[str]:
    """Keys of the systems that have a claim, by number."""
    return [
        entry.key
        for entry in catalog.systems(room)
        if find_spec(f"{__name__}.{entry.room}") and find_spec(f"{__name__}.{entry.room}.{entry.key.replace('-', '_')}")
    ]
