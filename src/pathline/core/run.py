"""Runs: fit a method into a folder, take it up again, and use it. The command line and the studio call these."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.core import catalog, store, tables
from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError, RunError
from pathline.core.method import Method, Recipe
from pathline.core.source import READS_BY_TASK, open_data

if TYPE_CHECKING:
    import pandas as pd


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """["width=64", "wiring=pool"] as a dict; values are read as JSON where they are JSON, else as text."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise MethodError(f"--set {pair}: write it as name=value")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = {"True": True, "False": False, "None": None}.get(text, text)
    return settings


def sort_settings(cls: type[Method], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the method's constructor, and fields of the training recipe; a `MethodError` for neither."""
    own, recipe = set(cls.settings()), {field.name for field in fields(Recipe)}
    for name in settings:
        if name not in own | recipe:
            raise MethodError(
                f"{cls.__name__} has no setting '{name}'; its own: {', '.join(sorted(own)) or 'none'}; "
                f"training: {', '.join(sorted(recipe))}"
            )
    return (
        {name: value for name, value in settings.items() if name in own},
        {name: value for name, value in settings.items() if name not in own},
    )


def free_folder(key: str, data: str) -> Path:
    """runs/<key>-<data>, with a number where that is taken."""
    base = Path("runs") / f"{key}-{Path(data).stem}"
    place, count = base, 2
    while place.exists():
        place, count = base.with_name(f"{base.name}-{count}"), count + 1
    return place


def fit_run(
    key: str,
    data: str,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    read: dict[str, Any] | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    **training: Any,
) -> tuple[Path, dict[str, Any]]:
    """Fit method `key` on the built-in set or file `data`; returns the run folder and its record.

    Only the training part is learned from, the validation part picks the best weights, and the metrics in the record
    are of the test part. The folder holds config.json, model.safetensors, metrics.csv and report.html.

    Args:
        settings: constructor arguments and recipe fields by name.
        read: how to read a file (`open_data`).
        resume: continue the unfinished run in `folder`; a finished one is returned as it is.
        training: accelerator, devices, strategy, precision, progress, ... for the training loop.

    Raises:
        RunError: `folder` holds something else already.
    """
    cls = catalog.method(key)
    own, recipe = sort_settings(cls, settings or {})
    read = {name: value for name, value in (read or {}).items() if value is not None}
    folder = free_folder(key, data) if folder is None else Path(folder)
    opened = open_data(data, cls.room, cls.container.__name__, **read)
    plan = {
        "data": {
            "name": data,
            "fingerprint": opened.fingerprint(),
            "read": {k: str(v) if isinstance(v, Path) else v for k, v in read.items()},
        },
        "seed": seed,
        "budget": None if budget is None else str(budget),
        "settings": {**own, **recipe},
    }
    first = _is_first_process()
    if first and (folder / store.CONFIG).exists():
        before = store.read_config(folder)
        if not resume:
            raise RunError(f"{folder} already holds a run of {before['method']}; choose another --out, or --resume it")
        _require_same(folder, before, {"method": key, **plan})
        if before.get("finished"):
            return folder, before
    elif first and folder.exists() and any(folder.iterdir()) and not (folder / store.CHECKPOINT).exists():
        raise RunError(f"{folder} is not empty and holds no run; choose another --out")
    split = opened.split()
    method = cls.seeded(split.train, seed, **own)
    header = {"method": key, "class": f"{cls.__module__}:{cls.__qualname__}", "config": method.config}
    if first:
        store.write_json(folder / store.CONFIG, {**header, **plan, "finished": False})
    if cls.trains:
        method.fit(split, budget, seed=seed, folder=folder, resume=resume, **training, **recipe)
    else:
        method.fit(split, seed=seed)
    if not first:
        return folder, {}
    record = {
        **plan,
        "training": None if method.training_record is None else asdict(method.training_record),
        "metrics": method.evaluate(split.test, seed=seed),
        "parameters": method.parameter_count(),
        "command": _command(key, data, plan, method),
    }
    store.write(folder, method, **record)
    written = store.read_config(folder)
    from pathline.core.report import run_report

    store.write_text(folder / store.REPORT, run_report(folder, method, split.test, record["metrics"], written))
    written["finished"] = True
    store.write_json(folder / store.CONFIG, written)
    (folder / store.CHECKPOINT).unlink(missing_ok=True)
    return folder, written


def _require_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("method", "data", "seed", "budget", "settings"):
        if before.get(name) != now[name]:
            raise RunError(
                f"{folder} was begun with {name} {_brief(before.get(name))}, not {_brief(now[name])}; "
                "resume with the same arguments, or choose another --out"
            )


def _brief(value: Any) -> str:
    return (
        f"{value['name']} ({value['fingerprint'][:8]})"
        if isinstance(value, dict) and "fingerprint" in value
        else str(value)
    )


def _is_first_process() -> bool:
    """False in the other processes of a distributed fit, which leave files and words to the first."""
    import os

    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def _command(key: str, data: str, plan: dict[str, Any], method: Method) -> str:
    """The command that makes this run again, exactly."""
    parts = [f"pathline fit {key} {data} --seed {plan['seed']}"]
    if method.training_record is not None:
        parts.append(f"--steps {method.training_record.planned}")
    settings = dict(plan["settings"])
    if method.training_record is not None:
        looks = method.training_record.recipe["validations"]
        if looks != method.recipe.validations:
            settings["validations"] = looks
    parts += [f"--set {name}={json.dumps(value)}" for name, value in settings.items()]
    parts += [f"--{name.replace('_', '-')} {value}" for name, value in plan["data"]["read"].items()]
    return " ".join(parts)


def load_run(folder: str | Path) -> tuple[Method, dict[str, Any]]:
    """The fitted method of a run folder, and its record."""
    record = store.read_config(folder)
    return Method.load(folder), record


def _open_for(record: dict[str, Any], cls: type[Method], data: str | list[str], read: dict[str, Any]) -> Any:
    """`data` read the way the run's own was, but for what `read` says and, for other data, the graph."""
    from pathline.data import sets

    own = record.get("data", {})
    kept = dict(own.get("read", {}))
    if data != own.get("name"):
        # the method keeps its own graph; other data may not have that time, and have picks and tables of their own
        for name in ("graph", "hold_out", "picks", "nodes", "graphs"):
            kept.pop(name, None)
    if data != own.get("name") and str(data).endswith(".h5ad"):
        kept["like"] = own.get("name")  # genes are reduced as they were for the run
    task = record.get("config", {}).get("task")
    if cls.room in READS_BY_TASK:  # the run's task, whatever such a file would say by itself, and with or without truth
        kept = {**kept, "task": task, "labelled": False}
    if isinstance(data, str) and data in sets.facts():
        cutting = ("history", "horizon", "hold_out", "density", "protocol", "task")
        kept = {name: value for name, value in kept.items() if name in cutting}
    return open_data(data, cls.room, cls.container.__name__, **{**kept, **read})


def predict_run(folder: str | Path, data: str | list[str], *, seed: int = 0, **read: Any) -> "pd.DataFrame":
    """The room's verb on `data` as a table: the next steps of a series, rollouts of states, samples."""
    method, record = load_run(folder)
    return method.predict(_open_for(record, type(method), data, read), seed=seed)


def write_prediction(
    folder: str | Path, data: str | list[str], out: Path, *, seed: int = 0, **read: Any
) -> "pd.DataFrame | None":
    """The room's verb on `data` into the file `out`, in the format of its ending: a table, which is returned too, or
    what the method writes by itself, such as a flow field or a moving picture."""
    method, record = load_run(folder)
    own, written = method.writers(), tables.WRITERS
    if out.suffix not in own and out.suffix not in written:
        raise DataError(f"{out}: results are written as {', '.join([*own, *written])}; choose one of these endings")
    opened = _open_for(record, type(method), data, read)
    with store.replacing(out) as part:
        if out.suffix in own:
            own[out.suffix](opened, part, seed)
            return None
        table = method.predict(opened, seed=seed)
        written[out.suffix](table, part)
    return table


def evaluate_run(folder: str | Path, data: str, *, seed: int = 0, **read: Any) -> dict[str, Any]:
    """Metrics on `data`: on its test part if the run learned from this very data, else on all of it."""
    method, record = load_run(folder)
    opened = _open_for(record, type(method), data, read)
    same = opened.fingerprint() == record.get("data", {}).get("fingerprint")
    part = opened.split().test if same else opened
    return {
        "run": str(folder),
        "method": record["method"],
        "data": data,
        "part": "test" if same else "all",
        "metrics": method.evaluate(part, seed=seed),
    }


def report_run(folder: str | Path) -> Path:
    """Write report.html of a run folder again, from its own data."""
    from pathline.core.report import run_report

    method, record = load_run(folder)
    data = record.get("data", {})
    if "name" not in data:
        raise RunError(f"{folder} does not say what data it learned from; evaluate it on a file instead")
    opened = open_data(data["name"], type(method).room, type(method).container.__name__, **data.get("read", {}))
    test = opened.split().test
    metrics = method.evaluate(test, seed=record.get("seed", 0))
    path = Path(folder) / store.REPORT
    store.write_text(path, run_report(folder, method, test, metrics, record))
    return path
