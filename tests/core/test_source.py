"""Rooms with several containers: the file, the task or the method says which one is read."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest
import torch

import pathline as pl
from pathline.core.errors import DataError
from pathline.core.run import fit_run, write_prediction
from pathline.core.source import CONTAINERS, TASKS, containers_of, open_data
from pathline.data import formats


def test_a_task_narrows_a_room_to_one_container() -> None:
    for room, tasks in TASKS.items():
        assert set(tasks.values()) <= set(CONTAINERS[room])
        for task, container in tasks.items():
            assert containers_of(room, task) == (container,)
        assert containers_of(room) == CONTAINERS[room]
    with pytest.raises(DataError, match=r"no task 'guess'; its tasks: pick"):
        containers_of("perceive", "guess")
    with pytest.raises(DataError, match="leave --task out"):
        containers_of("transport", "guess")
    with pytest.raises(DataError, match="'weights' does not read data yet"):
        containers_of("weights")


def test_the_ending_chooses_and_the_arrays_of_an_archive_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.TABLES, "Echoes", (".npz", ".echo"))
    monkeypatch.setitem(formats.KEY_ARRAY, "Echoes", "echoes")
    room = ("Rollouts", "Echoes")
    assert formats.container_for(Path("a.echo"), room) == "Echoes"
    assert formats.container_for(Path("a.csv"), room) == "Rollouts"
    for array, container in (("echoes", "Echoes"), ("positions", "Rollouts")):
        path = tmp_path / f"{array}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{array}.npy", b"")
        assert formats.container_for(path, room) == container
    assert formats.container_for([Path("a.png"), Path("b.png")], room) == "Rollouts"  # which then says that it cannot


def test_several_files_are_refused_by_containers_that_are_one(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"read from one file or folder, not from 2: .*a\.csv, .*b\.csv"):
        pl.read([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], room="generate")
    with pytest.raises(DataError, match=r"c\.csv: there is no such file"):
        pl.read([str(tmp_path / "a.csv"), str(tmp_path / "c.csv")], room="generate")


def test_a_built_in_set_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="holds Samples, but room 'forecast' learns from Series"):
        open_data("two-moons", "forecast")


def test_an_option_that_a_format_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "molecule.xyz"
    path.write_text("1\n\nH 0 0 0\n")
    with pytest.raises(DataError, match="not read with --label-column"):
        pl.read(path, room="simulate", label_column="kind")


def test_predictions_go_to_what_the_ending_says(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit_run("gaussian", "two-moons", folder=run)
    table = write_prediction(run, "two-moons", tmp_path / "drawn.csv")
    assert table is not None
    assert torch.allclose(
        torch.tensor(pd.read_csv(tmp_path / "drawn.csv").to_numpy()[:, :2]),
        torch.tensor(table.to_numpy(dtype=float)[:, :2]),
        atol=1e-5,
    )
    with pytest.raises(DataError, match=r"drawn\.flo: results are written as \.csv"):
        write_prediction(run, "two-moons", tmp_path / "drawn.flo")
    assert not (tmp_path / "drawn.flo").exists()
