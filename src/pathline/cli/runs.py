"""`fit`, `predict`, `evaluate`, `compare`, `report`: from data to models and numbers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pathline.cli.catalogue import Json
from pathline.cli.output import print_json, print_table, say
from pathline.cli.reading import FILE, SHAPE, plain, reads

SHOWN = 20  # rows of an answer that are printed

Data = Annotated[str | None, typer.Argument(help="A built-in data set (`pathline datasets`) or a file of yours.")]
DataOption = Annotated[str | None, typer.Option("--data", help="The same as DATA.")]
Run = Annotated[Path, typer.Argument(help="A run folder.")]
Minutes = Annotated[float | None, typer.Option(help="Train this long.")]
Steps = Annotated[int | None, typer.Option(help="Train this many steps.")]
Epochs = Annotated[float | None, typer.Option(help="Train this many passes over the data.")]
Devices = Annotated[str, typer.Option(help="How many devices, for Lightning Fabric.")]
Strategy = Annotated[str, typer.Option(help="auto, ddp, fsdp, ... for Lightning Fabric.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]


def _budget(minutes: float | None, steps: int | None, epochs: float | None = None) -> Any:
    from pathline.core.budget import Budget

    if minutes is None and steps is None and epochs is None:
        return None
    return Budget(steps=steps, epochs=epochs, minutes=minutes)


def _the_data(argument: str | None, option: str | None) -> str:
    from pathline.core.errors import DataError

    if option is None and argument is None:
        raise DataError("name the data: a built-in set (`pathline datasets`) or a file of yours")
    return option or argument or ""


@reads(FILE, SHAPE)
def fit(
    key: Annotated[str, typer.Argument(help="Key of a method (`pathline methods`).")],
    data: Data = None,
    data_option: DataOption = None,
    minutes: Minutes = None,
    steps: Steps = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="name=value: a setting of the method or of training.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default a new one in runs/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished run in --out.")] = False,
    devices: Devices = "1",
    strategy: Strategy = "auto",
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda, ... for Lightning Fabric.")] = "auto",
    precision: Precision = "auto",
    checkpoint_seconds: Annotated[float, typer.Option(help="Keep a checkpoint this often.")] = 20.0,
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    json: Json = False,
    *,
    read: dict[str, Any],
) -> None:
    """Train one method on one data set and keep the run: model, metrics, report."""
    from pathline.core import catalog
    from pathline.core.errors import RunError
    from pathline.core.run import fit_run, parse_settings

    if resume and out is None:
        raise RunError("--resume needs the run folder: --out DIR")
    room = catalog.entry(key).room
    folder, record = fit_run(
        key,
        _the_data(data, data_option),
        budget=_budget(minutes, steps, epochs),
        seed=seed,
        settings=parse_settings(set_ or []),
        read=plain(read, room),
        folder=out,
        resume=resume,
        devices=int(devices) if devices.lstrip("-").isdigit() else devices,
        strategy=strategy,
        accelerator=accelerator,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        compile=compile,
        progress=True,
    )
    if not record:  # another process of a distributed fit speaks
        return
    if json:
        print_json({"run": str(folder), **record})
        return
    print_table([f"{key}, test part", ""], [[name, f"{value:.5g}"] for name, value in record["metrics"].items()])
    say(f"run: {folder}\nreport: {folder / 'report.html'}")


@reads(FILE)
def predict(
    run: Run,
    data: Annotated[list[str], typer.Argument(help="A built-in data set or a file of yours; two pictures for flow.")],
    out: Annotated[
        Path | None, typer.Option(help="csv, parquet, npz, or what the method writes (h5ad, flo, png, gif).")
    ] = None,
    seed: Annotated[int, typer.Option(help="For methods that draw.")] = 0,
    *,
    read: dict[str, Any],
) -> None:
    """Use a run: forecast the next steps, roll states out, draw samples, push cells, pick arrivals, find flow."""
    import sys

    from pathline.core import store
    from pathline.core.run import predict_run, write_prediction

    reading = plain(read, store.read_config(run).get("room", ""))
    if out is None:
        predict_run(run, data, seed=seed, **reading).to_csv(sys.stdout, index=False)
        return
    table = write_prediction(run, data, out, seed=seed, **reading)
    say(f"{out}" if table is None else f"{len(table)} rows: {out}")


@reads(FILE)
def evaluate(
    run: Run,
    data: Annotated[str, typer.Argument(help="A built-in data set or a file of yours.")],
    seed: Annotated[int, typer.Option(help="For methods that draw.")] = 0,
    json: Json = False,
    *,
    read: dict[str, Any],
) -> None:
    """Measure a run: on the test part of the data it learned from, or on all of other data."""
    from pathline.core import store
    from pathline.core.run import evaluate_run

    room = store.read_config(run).get("room", "")
    reading = plain(read, room)
    result = evaluate_run(run, data, seed=seed, **reading)
    if json:
        print_json(result)
        return
    where = "test part" if result["part"] == "test" else "all of it"
    rows = [[name, f"{value:.5g}"] for name, value in result["metrics"].items()]
    print_table([f"{result['method']} on {data} ({where})", ""], rows)


@reads(FILE, SHAPE)
def compare(
    room: Annotated[str, typer.Argument(help="The room: forecast, generate, simulate, ...")],
    data: Data = None,
    data_option: DataOption = None,
    methods: Annotated[str | None, typer.Option(help="Keys, separated by commas; by default all that fit.")] = None,
    minutes: Annotated[float | None, typer.Option(help="For the whole comparison, shared by the trained arms.")] = None,
    steps: Annotated[int | None, typer.Option(help="For each trained arm.")] = None,
    epochs: Annotated[float | None, typer.Option(help="For each trained arm.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray for parallel arms.")] = "local",
    out: Annotated[Path | None, typer.Option(help="Folder of the results; by default a new one in runs/.")] = None,
    precision: Precision = "auto",
    json: Json = False,
    *,
    read: dict[str, Any],
) -> None:
    """Rank the methods of a room on your data: leaderboard, best model, report."""
    from pathline.core import catalog
    from pathline.core.compare import compare as run_compare
    from pathline.core.compare import save_board
    from pathline.core.errors import RunError
    from pathline.core.report import board_table
    from pathline.core.run import free_folder
    from pathline.core.source import open_data

    catalog.systems(room)  # an unknown room is named before any data is read
    keys = None if methods is None else [key.strip() for key in methods.split(",") if key.strip()]
    for key in keys or []:
        catalog.entry(key)
    name = _the_data(data, data_option)
    if out is not None and out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty; choose another --out")
    reading = plain(read, room)
    opened = open_data(name, room, **reading)
    budget = _budget(minutes, steps, epochs)
    board = run_compare(
        keys, opened, room=room, budget=budget, seeds=seeds, engine=engine, log=True, precision=precision, progress=True
    )
    if board.asked is None:
        board.data = name
    folder = save_board(board, out or free_folder(f"compare-{room}", name), reading if board.asked is None else {})
    if json:
        print_json(board.to_json())
        return
    heads, rows = board_table(board)
    for key, table in board.answers.items():
        print(f"{key} on {name}: {len(table)} row{'s' * (len(table) != 1)}, all in {folder / key}-answers.csv")
        print_table(
            list(table.columns), [[str(value) for value in row] for row in table.head(SHOWN).to_numpy()], left=3
        )
        print()
    if board.asked is not None:
        print(f"{name} has no truth, so the methods learned from {board.data} and are ranked on its test part:")
    styles = {"best": "bold", "baseline": "dim", "": ""}
    texts = [[f"{c.text} ± {c.spread}" if c.spread else c.text for c in cells] for _, cells in rows]
    print_table(heads, texts, styles=[styles[kind] for kind, _ in rows])
    if "split" in board.description:
        print(f"\nsplit: {board.description['split']}")
    print(f"\nbest model: {board.best_folder}\nreport: {folder / 'report.html'}")


def report(run: Run) -> None:
    """Write the HTML report of a run again."""
    from pathline.core.run import report_run

    print(report_run(run))
