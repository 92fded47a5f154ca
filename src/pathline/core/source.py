"""What a user names as DATA: a built-in key or a file of their own, as the container that a room learns from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pathline.core.errors import DataError
from pathline.data import sets

CONTAINERS = {
    "compose": "Environment",
    "forecast": "Series",
    "generate": "Samples",
    "simulate": "Rollouts",
    "transport": "Snapshots",
}


def container_of(room: str) -> str:
    """Name of the container that `room` learns from."""
    if room not in CONTAINERS:
        raise DataError(f"room '{room}' does not read data yet; those that do: {', '.join(CONTAINERS)}")
    return CONTAINERS[room]


def open_data(name: str, room: str, **options: Any) -> Any:
    """The built-in set or file `name` as the container of `room`.

    Args:
        options: how to read a file, or how to cut a built-in set: history, horizon (Series), and for files whatever
            `pathline.data.files.read` takes. None values are left out.

    Raises:
        DataError: unknown key, unreadable file, or a built-in set of another room.
    """
    container = container_of(room)
    options = {key: value for key, value in options.items() if value is not None}
    if name not in sets.facts():
        if not Path(name).exists() and not Path(name).suffix and "/" not in name:
            return sets.load(name)  # not a file either: this says so, with a suggestion
        from pathline.data.files import read

        return read(name, container, **options)
    if sets.facts()[name]["container"] != container:
        fitting = [key for key, facts in sets.facts().items() if facts["container"] == container]
        raise DataError(
            f"'{name}' holds {sets.facts()[name]['container']}, but room '{room}' learns from {container}; "
            f"built-in ones: {', '.join(fitting)}"
        )
    data = sets.load(name)
    history, horizon = options.pop("history", None), options.pop("horizon", None)
    if history or horizon:
        data = data.with_window(history or data.history, horizon or data.horizon)
    if hold_out := options.pop("hold_out", None):
        data = replace(data, hold_out=hold_out)
    if options:
        raise DataError(f"'{name}' is built in and is not read with {', '.join(options)}; that is for files")
    return data


def read(path: str | Path, room: str, **options: Any) -> Any:
    """A user's file as the container of `room`: `pl.read("speeds.csv", room="forecast")`.

    Args:
        options: as in `pathline.data.files.read`: graph, interval, time_column, missing, history, horizon, ...
    """
    from pathline.data.files import read as read_container

    return read_container(path, container_of(room), **options)
