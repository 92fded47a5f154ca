"""The room of tracks from the command line: a user's GPS tracks to a leaderboard, pictures, a run and a forecast."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
POINT = '<trkpt lat="{:.7f}" lon="{:.7f}"><ele>{:.1f}</ele><time>{}</time></trkpt>'


def pathline(*arguments, cwd):
    command = [sys.executable, "-m", "pathline", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)


def outing(start, points, generator, rest=None):
    """Points every one or two seconds of somebody who wanders at 1.4 m/s; a rest in the middle leaves a gap."""
    heading = generator.normal(0, 0.08, points).cumsum()
    east, north = (1.4 * wave(heading).cumsum() + generator.normal(0, 0.2, points) for wave in (np.cos, np.sin))
    seconds = generator.choice([1, 1, 1, 2], points).cumsum() + np.where(np.arange(points) > points // 2, rest or 0, 0)
    times = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(seconds, unit="s")
    rows = zip(47.3 + north / 111_200, 8.5 + east / 75_500, 400 + 0.1 * seconds, times, strict=True)
    return "".join(POINT.format(a, b, c, when.isoformat()) for a, b, c, when in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tracks")
    generator = np.random.default_rng(0)
    outings = [outing(f"2024-05-{day:02d}T08:00", 160, generator, rest=300 * (day == 7)) for day in (6, 7, 8, 9)]
    tracks = "".join(f"<trk><name>day {i}</name><trkseg>{one}</trkseg></trk>" for i, one in enumerate(outings))
    head = '<?xml version="1.0"?><gpx version="1.1" creator="me" xmlns="http://www.topografix.com/GPX/1/1">'
    (place / "walks.gpx").write_text(f"{head}{tracks}</gpx>")
    frames = np.arange(120)
    rows = [f"{f},{agent},{f * 0.5 + agent},{np.sin(f / 9 + agent):.3f}" for agent in (1, 2) for f in frames]
    (place / "crowd.csv").write_text("frame,agent,x,y\n" + "\n".join(rows))
    return place


def test_compare_ranks_methods_on_gps_tracks_and_draws_them(folder):
    done = pathline(
        "compare", "track", "walks.gpx", "--methods", "vector", "--steps", 8, "--out", "board", "--json", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    arms = {arm["key"]: arm for arm in board["arms"]}
    assert {"vector", "track-velocity", "kalman-velocity", "track-linear"} <= arms.keys()
    assert not any(arm["failure"] for arm in arms.values())
    for arm in arms.values():
        assert 0 < arm["mean"]["minADE_20"] < arm["mean"]["ADE"] + 1e-9 < 50
        assert {"minFDE_20", "FDE", "collision rate", "NLL", "calibration error"} <= arm["mean"].keys()
    assert board["description"]["tracks"] >= 4 and board["naive"] == "track-velocity"
    report = (folder / "board" / "report.html").read_text()
    assert "Where the target goes" in report and report.count("data:image/png") >= 4
    assert (folder / "board" / "leaderboard.png").exists()


def test_a_run_forecasts_in_degrees_and_names_another_interval(folder):
    done = pathline("fit", "vector", "walks.gpx", "--steps", 5, "--out", "run", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = pathline("predict", "run", "walks.gpx", "--out", "next.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(folder / "next.csv")
    assert {"scene", "agent", "time", "latitude", "longitude"} <= set(table.columns)
    assert set(table.agent) >= {"day 0", "day 3"} and table.latitude.between(46.9, 47.7).all()
    wrong = pathline("predict", "run", "crowd.csv", "--interval", 0.4, cwd=folder)
    assert wrong.returncode == 2 and "--interval 1" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_csv_of_two_agents_with_its_own_windows(folder):
    windows = ["--interval", 0.4, "--history", 6, "--horizon", 5]
    done = pathline("compare", "track", "crowd.csv", *windows, "--methods", "track-velocity", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert board["description"]["history"] == 6 and board["description"]["interval_seconds"] == 0.4
    assert next(arm for arm in board["arms"] if arm["key"] == "track-velocity")["mean"]["ADE"] > 0
