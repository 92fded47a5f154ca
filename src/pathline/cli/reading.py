"""How a user's file is read: the options that `fit`, `compare`, `predict` and `evaluate` share."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

# What a file's numbers mean; a run remembers it and takes other words for other files.
FILE: Mapping[str, Any] = {
    "task": Annotated[str | None, typer.Option(help="What to learn, in rooms with several tasks (see the docs).")],
    "interval": Annotated[float | None, typer.Option(help="Time between rows or frames (seconds for series).")],
    "time_column": Annotated[
        str | None, typer.Option("--time-column", "--time-key", help="Name of the column of times.")
    ],
    "label_column": Annotated[str | None, typer.Option(help="Name of the column of labels.")],
    "group_column": Annotated[str | None, typer.Option(help="Name of the column of who was recorded.")],
    "size": Annotated[
        int | None,
        typer.Option(help="Height and width of pictures read from a folder; longer side for pairs, films."),
    ],
    "frames": Annotated[int | None, typer.Option(min=2, help="How many frames of a film to read, from its beginning.")],
    "embedding": Annotated[str | None, typer.Option(help="Coordinates of cells in an h5ad file, such as X_pca.")],
    "components": Annotated[int | None, typer.Option(min=1, help="How many of their leading columns to use.")],
    "alphabet": Annotated[str | None, typer.Option(help="Letters of strings, also ones that do not occur.")],
    "growth": Annotated[str | None, typer.Option(help="Where strings grow: end, or both.")],
    "floor": Annotated[float | None, typer.Option(help="Reward of strings that the file does not list.")],
    "exponent": Annotated[float | None, typer.Option(help="Power of the reward; more favours the best.")],
    "speed": Annotated[float | None, typer.Option(help="Of an equation: the constant speed that carries u.")],
    "self_advection": Annotated[float | None, typer.Option(help="Of an equation: 1 if u carries itself, else 0.")],
    "viscosity": Annotated[float | None, typer.Option(help="Of an equation: how fast u spreads.")],
    "duration": Annotated[float | None, typer.Option(help="Of an equation: the time to solve it for.")],
    "variables": Annotated[str | None, typer.Option(help="Fields of a netCDF file, separated by commas.")],
    "given": Annotated[str | None, typer.Option(help="Its variables that are given and do not change, likewise.")],
    "picks": Annotated[Path | None, typer.Option(help="csv of known arrivals: columns station, phase, time.")],
    "field": Annotated[str | None, typer.Option(help="The field on a mesh that is predicted, such as velocity.")],
    "threshold": Annotated[float | None, typer.Option(help="A rating from here on counts as liking.")],
    "user_column": Annotated[str | None, typer.Option(help="Of ratings: name of the column of users.")],
    "item_column": Annotated[str | None, typer.Option(help="Of ratings: name of the column of items.")],
    "rating_column": Annotated[str | None, typer.Option(help="Of ratings: name of the column of ratings.")],
    "duplicates": Annotated[
        str | None, typer.Option(help="Of several rows of one user and item keep the: first, last.")
    ],
    "nodes": Annotated[Path | None, typer.Option(help="Table of nodes beside an edge list: column id and facts.")],
    "graphs": Annotated[Path | None, typer.Option(help="Table of graphs beside edge lists: column graph and facts.")],
    "period": Annotated[float | None, typer.Option(help="Of affinities: time from one question to the next.")],
    "directed": Annotated[
        int | None, typer.Option(help="Of events: 1 if from u to v is another thing than from v to u, else 0.")
    ],
    "gap": Annotated[float | None, typer.Option(help="Of tracks: seconds without a position that are filled in.")],
    "missing": Annotated[float | None, typer.Option(help="A value that means: nothing was measured.")],
}
# What a method is built on; fixed once it is fitted.
SHAPE: Mapping[str, Any] = {
    "graph": Annotated[
        Path | None, typer.Option(help="csv matrix of edge weights between the sensors, without header.")
    ],
    "history": Annotated[int | None, typer.Option(help="Steps a forecast looks back on.")],
    "hold_out": Annotated[
        str | None,
        typer.Option(help="A time or scene to leave out: middle, none, or its name; ratings: last, random."),
    ],
    "horizon": Annotated[int | None, typer.Option(help="Steps a forecast looks ahead.")],
    "density": Annotated[float | None, typer.Option(help="To recover: the share of entries that is seen.")],
    "protocol": Annotated[
        str | None, typer.Option(help="To recover: what is hidden: entries, snapshots (whole times), or forecast.")
    ],
}


def reads(*groups: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `groups`; those a user names arrive in its argument `read`, a dict."""
    options = {name: kind for group in groups for name, kind in group.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def reading(**given: Any) -> None:
            read = {name: given.pop(name) for name in options}
            command(**given, read={name: value for name, value in read.items() if value is not None})

        own = [p for p in inspect.signature(command).parameters.values() if p.name != "read"]
        keyword = inspect.Parameter.KEYWORD_ONLY
        extra = [inspect.Parameter(n, keyword, default=None, annotation=kind) for n, kind in options.items()]
        reading.__signature__ = inspect.Signature(own + extra)  # type: ignore[attr-defined]
        reading.__annotations__ = {p.name: p.annotation for p in (*own, *extra)}
        return reading

    return decorate


def plain(read: dict[str, Any], room: str) -> dict[str, Any]:
    """Reading options as a run records them: paths as text, whole seconds where the room's clock is whole."""
    if room == "forecast" and "interval" in read:
        read = {**read, "interval": round(read["interval"])}
    return {name: str(value) if isinstance(value, Path) else value for name, value in read.items()}
