"""The room of populations from the command line: a user's cells to a leaderboard, a run and pushed cells."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def pathline(*arguments, cwd):
    command = [sys.executable, "-m", "pathline", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Annotated cells, or without anndata a table: forty cells at each of three days that drift and double."""
    place = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    days = np.repeat([0, 3, 6], [40, 60, 80])
    table = pd.DataFrame(rng.normal(size=(180, 2)) * 0.3 + days[:, None] * [0.5, 0.1], columns=["a", "b"])
    table.assign(when=days).to_csv(place / "cells.csv", index=False)
    return place


def test_fit_predict_evaluate_and_report(folder):
    done = pathline(
        "fit",
        "vgfm",
        "cells.csv",
        "--time-key",
        "when",
        "--hold-out",
        3,
        "--steps",
        20,
        "--out",
        "r",
        "--json",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert list(run["metrics"]) == ["w1_held_out", "w1", "w2", "mass_error"] and run["data"]["read"] == {
        "time_column": "when",
        "hold_out": "3",
    }
    assert {path.name for path in (folder / "r").iterdir()} == {
        "config.json",
        "model.safetensors",
        "metrics.csv",
        "report.html",
    }
    page = (folder / "r" / "report.html").read_text()
    assert "Populations on their way" in page and "image/gif" in page and "held out" in page
    again = json.loads(pathline("evaluate", "r", "cells.csv", "--json", cwd=folder).stdout)
    assert again["metrics"] == run["metrics"] and again["part"] == "test"
    assert pathline("predict", "r", "cells.csv", "--out", "fate.csv", cwd=folder).returncode == 0
    fate = pd.read_csv(folder / "fate.csv")
    assert list(fate) == ["cell", "time", "a", "b", "log_weight"] and len(fate) == 3 * 40
    first = pd.read_csv(folder / "cells.csv").query("when == 0")  # has not the time that was held out
    first.to_csv(folder / "first.csv", index=False)
    assert pathline("predict", "r", "first.csv", "--out", "fate.parquet", cwd=folder).returncode == 0
    refused = pathline("fit", "vgfm", "cells.csv", "--time-key", "when", "--hold-out", 6, cwd=folder)
    assert refused.returncode == 2 and "others before and after" in refused.stderr


def test_annotated_cells_are_compared_and_written(folder):
    anndata = pytest.importorskip("anndata")
    table = pd.read_csv(folder / "cells.csv")
    index = pd.Index(list(map(str, range(len(table)))), dtype=object)
    cells = anndata.AnnData(
        X=np.ones((len(table), 1), np.float32),
        obs=pd.DataFrame({"day": table["when"].to_numpy()}, index=index),
        var=pd.DataFrame(index=pd.Index(["gene"], dtype=object)),
    )
    cells.obsm["X_pca"] = table[["a", "b"]].to_numpy()
    cells.write_h5ad(folder / "cells.h5ad")
    done = pathline(
        "compare", "transport", "cells.h5ad", "--time-key", "day", "--methods", "vgfm", "--steps", 10,
        "--out", "board", "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert {arm["key"] for arm in board["arms"]} == {"vgfm", "identity", "linear-transport"}
    assert board["naive"] == "identity" and board["description"]["held_out_time"] == 3.0
    assert pathline("predict", board["run"], "cells.h5ad", "--out", "fate.h5ad", cwd=folder).returncode == 0
    fate = anndata.read_h5ad(folder / "fate.h5ad")
    assert fate.obsm["X_pathline"].shape == (120, 2) and {"time", "log_weight"} <= set(fate.obs)
