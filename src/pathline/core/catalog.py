"""What there is: every published system and baseline, read from `catalog.toml` without importing torch.

A catalogue entry is data; the class behind it is imported only when somebody asks for it:

    >>> entry("meanflow").title
    'Mean Flows for One-step Generative Modeling'
    >>> method("meanflow")                    # now torch is loaded
    <class 'pathline.generate.meanflow.MeanFlow'>
"""

import difflib
import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from pathline.core.errors import MethodError

__all__ = ["ROOMS", "Entry", "baselines", "entry", "method", "methods", "systems"]

ROOMS = (
    "generate",
    "compose",
    "transport",
    "simulate",
    "forecast",
    "track",
    "events",
    "graphs",
    "recommend",
    "perceive",
    "weights",
    "scale",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue.

    Attributes:
        number: place of a published system among the 164; None for a baseline.
        key: the name that commands, files and evidence use.
        title: the paper's title; for a baseline, what it does.
        source: authors, year and venue; empty for a baseline.
        arxiv: arXiv identifier, empty where none is on record.
        room: one of `ROOMS`.
        module: dotted path of the module that holds it, None while it is not built.
        cls: name of the class in that module, None while it is not built.
        extra: optional dependency group of pathline that it needs, or None.
    """

    number: int | None
    key: str
    title: str
    source: str
    arxiv: str
    room: str
    module: str | None
    cls: str | None
    extra: str | None

    @property
    def built(self) -> bool:
        """Whether there is a class behind the entry."""
        return self.module is not None

    @property
    def baseline(self) -> bool:
        """Whether this is a baseline rather than a published system."""
        return self.number is None

    def load(self) -> type[Any]:
        """Import the module and return the class, a subclass of `pathline.core.method.Method`.

        Raises:
            MethodError: the system is not built yet, or a package of its extra is not installed.
        """
        if self.module is None or self.cls is None:
            ready = ", ".join(system.key for system in systems(self.room) if system.built) or "none yet"
            raise MethodError(f"'{self.key}' is catalogued but not built yet; built in {self.room}: {ready}.")
        try:
            return getattr(importlib.import_module(self.module), self.cls)
        except ModuleNotFoundError as missing:
            # A missing module of our own is a bug and must stay visible as one.
            if self.extra is None or missing.name is None or missing.name.partition(".")[0] == "pathline":
                raise
            raise MethodError(
                f"'{self.key}' needs the package '{missing.name}', which is not installed; "
                f"install it with: pip install 'pathline[{self.extra}]'."
            ) from missing


def systems(room: str | None = None) -> tuple[Entry, ...]:
    """Published systems in order of number, of one room or of all.

    Raises:
        MethodError: there is no such room.
    """
    return tuple(e for e in _catalogue().values() if not e.baseline and _in(room, e))


def baselines(room: str | None = None) -> tuple[Entry, ...]:
    """Baselines that run in every comparison of a room.

    Raises:
        MethodError: there is no such room.
    """
    return tuple(e for e in _catalogue().values() if e.baseline and _in(room, e))


def methods(room: str | None = None, built: bool | None = None) -> tuple[Entry, ...]:
    """Systems and then baselines; `built` keeps only what is there (True) or what is still missing (False).

    Raises:
        MethodError: there is no such room.
    """
    return tuple(e for e in systems(room) + baselines(room) if built is None or e.built is built)


def entry(key: str) -> Entry:
    """The entry of a system or baseline.

    Raises:
        MethodError: there is no such key; the message names the nearest ones.
    """
    try:
        return _catalogue()[key]
    except KeyError:
        raise MethodError(
            f"There is no method '{key}'{_nearest(key, tuple(_catalogue()))} `pathline methods` lists all."
        ) from None


def method(key: str) -> type[Any]:
    """The class of a system or baseline, imported on first use.

    Raises:
        MethodError: unknown key, system not built, or an extra that is not installed.
    """
    return entry(key).load()


@cache
def _catalogue() -> Mapping[str, Entry]:
    """All entries by key, in the order of the file: systems by number, then baselines."""
    document = tomllib.loads(resources.files("pathline").joinpath("catalog.toml").read_text(encoding="utf-8"))
    entries = [_parse(table) for table in (*document["system"], *document["baseline"])]
    return MappingProxyType({e.key: e for e in entries})


def _parse(table: dict[str, Any]) -> Entry:
    return Entry(
        number=table.get("number"),
        key=table["key"],
        title=table["title"],
        source=table.get("source", ""),
        arxiv=table.get("arxiv", ""),
        room=table["room"],
        module=table.get("module"),
        cls=table.get("class"),
        extra=table.get("extra"),
    )


def _in(room: str | None, e: Entry) -> bool:
    if room is not None and room not in ROOMS:
        raise MethodError(f"There is no room '{room}'{_nearest(room, ROOMS)} The rooms are {', '.join(ROOMS)}.")
    return room is None or e.room == room


def _nearest(word: str, known: tuple[str, ...]) -> str:
    """The middle of a sentence: a suggestion when something similar exists, else just its end."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else "."
