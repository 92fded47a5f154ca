"""What a user names as DATA: a built-in key or files of their own, as a container that a room learns from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pathline.core.errors import DataError
from pathline.data import sets

# The containers of each room. Where there are several, a file's ending says which, or else the task.
CONTAINERS: dict[str, tuple[str, ...]] = {
    "compose": ("Environment",),
    "forecast": ("Series", "GraphSignal"),
    "events": ("Events", "Affinities"),
    "generate": ("Samples",),
    "graphs": ("Graph", "Links", "Graphs", "Hypergraph"),
    "perceive": ("Waveforms", "Pairs", "Clips", "Sequences"),
    "recommend": ("Interactions",),
    "simulate": ("Rollouts", "Meshes", "Fields", "Equation"),
    "track": ("Tracks",),
    "transport": ("Snapshots",),
}
TASKS: dict[str, dict[str, str]] = {
    "graphs": {
        "classify-nodes": "Graph",
        "classify-graphs": "Graphs",
        "regress-graphs": "Graphs",
        "predict-links": "Links",
        "label-incidences": "Hypergraph",
    },
    "forecast": {"forecast": "Series", "recover": "GraphSignal"},
    "events": {"links": "Events", "affinity": "Affinities"},
    "simulate": {"bodies": "Rollouts", "meshes": "Meshes", "fields": "Fields", "equation": "Equation"},
    "perceive": {"pick": "Waveforms", "flow": "Pairs", "next-frames": "Clips", "classify": "Sequences"},
}
# Rooms whose files are all read by the readers of one container, which then make what the task or the file asks for.
READS_BY_TASK: dict[str, str] = {"graphs": "Graph"}


def containers_of(room: str, task: str | None = None) -> tuple[str, ...]:
    """Names of the containers that `room` learns from, or of the one that a task of it needs."""
    if room not in CONTAINERS:
        raise DataError(f"room '{room}' does not read data yet; those that do: {', '.join(CONTAINERS)}")
    if task is None:
        return CONTAINERS[room]
    tasks = TASKS.get(room, {})
    if task not in tasks:
        known = f"its tasks: {', '.join(tasks)}" if tasks else "it has one task only, so leave --task out"
        raise DataError(f"room '{room}' has no task '{task}'; {known}")
    return (tasks[task],)


def open_data(name: str | list[str], room: str, container: str | None = None, **options: Any) -> Any:
    """The built-in set or file `name` as a container of `room`.

    Args:
        name: a key, a file or folder, or a list of files that belong together.
        container: the one that is wanted, where a method is known; otherwise the file and `task` decide.
        options: how to read a file, or how to cut a built-in set: history, horizon (Series), and for files whatever
            `pathline.data.files.read` takes. None values are left out.

    Raises:
        DataError: unknown key, unreadable file, or a built-in set of another room.
    """
    options = {key: value for key, value in options.items() if value is not None}
    task = options.pop("task", None)
    containers = containers_of(room, task)
    if room in READS_BY_TASK:
        return _of_task(name[0] if isinstance(name, list) and len(name) == 1 else name, room, task, options)
    if container in containers:
        containers = (container,)
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    if isinstance(name, list) or name not in sets.facts():
        if isinstance(name, str) and not Path(name).exists() and not Path(name).suffix and "/" not in name:
            return sets.load(name)  # not a file either: this says so, with a suggestion
        return _read(name, containers, **options)
    if sets.facts()[name]["container"] not in containers:
        fitting = [key for key, facts in sets.facts().items() if facts["container"] in containers]
        raise DataError(
            f"'{name}' holds {sets.facts()[name]['container']}, but room '{room}' learns from "
            f"{' or '.join(containers)}; built-in ones: {', '.join(fitting)}"
        )
    data = sets.load(name)
    history, horizon = options.pop("history", None), options.pop("horizon", None)
    if history or horizon:
        data = data.with_window(history or data.history, horizon or data.horizon)
    if hold_out := options.pop("hold_out", None):
        data = replace(data, hold_out=hold_out)
    if type(data).__name__ == "Interactions" and "threshold" in options:
        data = replace(data, threshold=options.pop("threshold"))
    hiding = {name: options.pop(name) for name in ("density", "protocol") if name in options}
    if hiding and type(data).__name__ == "GraphSignal":
        data = replace(data, **hiding)
    elif hiding:
        raise DataError(f"'{name}' is read without --{next(iter(hiding))}; that goes with --task recover")
    if options:
        raise DataError(f"'{name}' is built in and is not read with {', '.join(options)}; that is for files")
    return data


def read(path: str | Path | list[str], room: str, **options: Any) -> Any:
    """A user's file as a container of `room`: `pl.read("speeds.csv", room="forecast")`.

    Args:
        options: `task`, where a room has several, and as in `pathline.data.files.read`: graph, interval, time_column,
            missing, history, horizon, ...
    """
    task = options.pop("task", None)
    containers = containers_of(room, task)
    if room in READS_BY_TASK:
        return _of_task(path, room, task, options)
    return _read(path, containers, **options)


def _of_task(name: Any, room: str, task: str | None, options: dict[str, Any]) -> Any:
    """A built-in set, file or PyG object for `task`, or for the one that it speaks for itself."""
    from pathline.data.files import read as read_container
    from pathline.data.pyg import from_pyg, is_pyg

    labelled = options.pop("labelled", True)
    if is_pyg(name):
        return from_pyg(name, task, **options)
    if not name or not isinstance(name, (str, Path, list)):
        raise DataError(f"room '{room}' reads built-in sets, files and PyG objects, not {name!r:.60}")
    if isinstance(name, str) and (name in sets.facts() or not (Path(name).exists() or Path(name).suffix)):
        if options:
            raise DataError(f"'{name}' is built in and is not read with {', '.join(options)}; that is for files")
        data = sets.load(name)
        if type(data).__name__ not in CONTAINERS[room]:
            fitting = [key for key, facts in sets.facts().items() if facts["container"] in CONTAINERS[room]]
            raise DataError(
                f"'{name}' holds {type(data).__name__}, but room '{room}' learns from "
                f"{' or '.join(CONTAINERS[room])}; built-in ones: {', '.join(fitting)}"
            )
        return data if task is None else data.for_task(task)
    data = read_container(name, READS_BY_TASK[room], task=task, labelled=labelled, **options)
    return data if task is None else data.for_task(task)


def _read(path: str | Path | list[str], containers: tuple[str, ...], **options: Any) -> Any:
    from pathline.data.files import read as read_container
    from pathline.data.formats import container_for

    where = [Path(one) for one in path] if isinstance(path, list) else Path(path)
    return read_container(path, container_for(where, containers), **options)
