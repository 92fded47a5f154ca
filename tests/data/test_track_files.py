"""Files of tracks: what each column means, and the sentence for every way in which a file can be wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import pathline as pl
from pathline.data import DataError, Tracks
from pathline.data.geodesy import to_degrees, to_metres
from pathline.data.resampling import resample


def read(path: Path, **options: object) -> Tracks:
    data = pl.read(path, room="track", **options)
    assert isinstance(data, Tracks)
    return data


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def gpx(path: Path, tracks: dict[str, list[tuple[float, float, float, str]]]) -> Path:
    """Tracks by name: latitude, longitude, elevation, time."""
    body = ""
    for name, points in tracks.items():
        rows = "".join(
            f'<trkpt lat="{lat}" lon="{lon}"><ele>{ele}</ele><time>{when}</time></trkpt>'
            for lat, lon, ele, when in points
        )
        body += f"<trk><name>{name}</name><trkseg>{rows}</trkseg></trk>"
    head = '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1">'
    return write(path, f"{head}{body}</gpx>")


def walk(start: str, seconds: list[int], north: float = 0.0) -> list[tuple[float, float, float, str]]:
    """Eastwards at 1e-5 degrees a second from (47, 8.5)."""
    begin = pd.Timestamp(start)
    return [(47 + north, 8.5 + 1e-5 * s, 400 + s, (begin + pd.Timedelta(seconds=s)).isoformat()) for s in seconds]


def test_pedestrian_files_without_header(tmp_path: Path) -> None:
    seen = [(frame, agent) for frame in range(25) for agent in (1, 2) if frame > 3 * agent]
    rows = [(10 * frame, agent, frame + agent, 2 * frame) for frame, agent in seen]
    path = tmp_path / "scene.txt"
    path.write_text("\n".join("\t".join(f"{value:.1f}" for value in row) for row in rows))
    data = read(path)
    assert data.interval == 0.4 and data.dims == 2 and data.observed.sum() == len(rows)
    assert data.first.tolist() == [4, 7]
    assert data.positions[1, 0].tolist() == [9.0, 14.0]


def test_csv_with_frames_in_any_order_two_scenes_and_three_dimensions(tmp_path: Path) -> None:
    path = write(
        tmp_path / "drones.csv",
        "Frame,Agent,x,y,z,scene\n" + "".join(f"{f},d{a},{f},{a},{f * a},s{a}\n" for f in (3, 1, 2, 5) for a in (1, 2)),
    )
    data = read(path, interval=0.5)
    assert data.dims == 3 and data.scenes == ("s1", "s2") and data.agents == ("d1", "d2") and data.interval == 0.5
    assert data.observed.tolist() == [[True, True, True, False, True]] * 2, "frame 4 is a gap and stays one"
    assert data.positions[1, 2].tolist() == [3, 2, 6]
    assert read(path, interval=0.5, gap=1.0).observed.all(), "unless it is to be filled"


def test_irregular_times_are_interpolated_up_to_the_gap(tmp_path: Path) -> None:
    seconds = [0, 0.9, 2.2, 3.0, 4.1, 11.0, 12.0, 13.1]
    path = write(tmp_path / "log.csv", "time,x,y\n" + "".join(f"{s},{3 * s},{1 - s}\n" for s in seconds))
    data = read(path, interval=1.0, gap=2.0)
    seen = data.observed[0].nonzero()[:, 0]
    assert seen.tolist() == [0, 1, 2, 3, 4, 11, 12, 13]
    assert torch.allclose(data.positions[0, seen, 0], 3.0 * seen, atol=1e-4)
    assert read(path).interval == pytest.approx(1.1)


def test_dates_and_a_time_column_of_another_name(tmp_path: Path) -> None:
    rows = "".join(f"2024-05-01T10:00:{s:02d}Z,car,{5 * s},0\n" for s in range(0, 40, 2))
    path = write(tmp_path / "cars.csv", "seen,who,x,y\n" + rows)
    data = read(path, time_column="seen", group_column="who")
    assert data.interval == 2 and data.agents == ("car",)
    assert data.start == pd.Timestamp("2024-05-01T10:00:00").timestamp()


def test_cubic_interpolation_follows_a_parabola_and_linear_does_not() -> None:
    time = np.array([0, 0.7, 1.5, 2.1, 3.0, 0, 1, 2])
    track = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    positions = (time**2)[:, None]
    who, frame, values = resample(track, time, positions, 0.25, 10.0, "cubic")
    inside = (who == 0) & (frame * 0.25 > 0.7) & (frame * 0.25 < 2.1)
    assert np.allclose(values[inside, 0], (frame[inside] * 0.25) ** 2, atol=1e-9)
    linear = resample(track, time, positions, 0.25, 10.0)[2]
    assert np.abs(linear[inside, 0] - (frame[inside] * 0.25) ** 2).max() > 0.02
    assert frame[who == 1].tolist() == list(range(9))
    each = [resample(track[track == t], time[track == t], positions[track == t], 0.25, 10.0, "cubic") for t in (0, 1)]
    assert np.allclose(values, np.concatenate([one[2] for one in each])), "tracks do not see each other"


def test_gps_tracks_become_metres_and_those_that_met_share_a_scene(tmp_path: Path) -> None:
    path = gpx(
        tmp_path / "walks.gpx",
        {
            "anna": walk("2024-05-01T10:00:00+00:00", list(range(30))),
            "ben": walk("2024-05-01T12:00:10+02:00", list(range(30)), north=1e-5),
            "later": walk("2024-06-01T10:00:00+00:00", list(range(20))),
        },
    )
    data = read(path)
    assert data.interval == 1 and data.geographic and data.scenes == ("anna", "later")
    assert data.agents == ("anna", "ben", "later") and data.scene.tolist() == [0, 0, 1]
    speed = float(data.positions[0].diff(dim=0).norm(dim=1).mean())
    assert speed == pytest.approx(np.radians(1e-5) * 6_378_137 * np.cos(np.radians(47)), rel=0.01)
    apart = data.positions[1, :20] - data.positions[0, 10:]
    assert (data.first[1] - data.first[0]) == 10 and apart[:, 1].mean().item() == pytest.approx(1.11, abs=0.02)
    high = read(path, dims=3)
    assert high.dims == 3 and torch.allclose(high.positions[0, :, 2].diff(), torch.ones(29), atol=1e-3)


def test_gps_and_metres_are_inverse_also_across_the_date_line() -> None:
    origin = np.array([47.0, 179.99, 100.0])
    degrees = np.array([[47.02, -179.99, 130.0], [46.9, 179.9, 90.0]])
    metres = to_metres(degrees, origin)
    assert np.allclose(to_degrees(metres, origin), degrees) and 1500 < metres[0, 0] < 1530 and metres[0, 2] == 30


def test_predictions_on_gps_tracks_are_in_degrees(tmp_path: Path) -> None:
    path = gpx(tmp_path / "walk.gpx", {"anna": walk("2024-05-01T10:00:00+00:00", list(range(120)))})
    data = read(path, history=5, horizon=4)
    table = pl.method("track-velocity").for_data(data).fit(data).predict(data)
    assert list(table.columns[-3:]) == ["time", "latitude", "longitude"]
    assert np.allclose(table.longitude, 8.5 + 1e-5 * np.arange(120, 124), atol=2e-7) and np.allclose(table.latitude, 47)
    assert str(table.time.iloc[0]) == "2024-05-01 10:02:00"


def test_far_coordinates_keep_their_millimetres(tmp_path: Path) -> None:
    easting = 4_500_000.125 + 0.001 * np.arange(30)
    path = write(tmp_path / "utm.csv", "frame,x,y\n" + "".join(f"{f},{e:.3f},5500000\n" for f, e in enumerate(easting)))
    data = read(path)
    assert torch.allclose(data.positions[0].diff(dim=0)[:, 0], torch.full((29,), 0.001), atol=1e-5)
    table = pl.method("track-velocity").for_data(data).predict(data)
    assert table.x.iloc[0] == pytest.approx(4_500_000.155, abs=1e-3)


def test_a_folder_and_a_list_of_files_are_scenes_of_one_interval(tmp_path: Path) -> None:
    for name in ("north", "south"):
        write(tmp_path / f"{name}.csv", "frame,agent,x,y\n" + "".join(f"{f},1,{f},0\n" for f in range(40)))
    data = read(tmp_path)
    assert data.scenes == ("north", "south") and data.scene.tolist() == [0, 1] and len(data.agents) == 2
    both = pl.read([str(tmp_path / "north.csv"), str(tmp_path / "south.csv")], room="track")
    assert both.fingerprint() == data.fingerprint()
    held = pl.read(str(tmp_path), room="track", hold_out="north", history=2, horizon=1, radius=0.7)
    assert held.hold_out == "north" and held.radius == 0.7  # said of all files together
    write(tmp_path / "deep.csv", "frame,agent,x,y,z\n" + "".join(f"{f},1,{f},0,1\n" for f in range(40)))
    with pytest.raises(DataError, match="deep and north differ in dims"):
        read(tmp_path)


def test_archives(tmp_path: Path) -> None:
    positions = np.cumsum(np.ones((3, 25, 2)), axis=1)
    positions[1, 4:6] = np.nan
    np.savez(tmp_path / "tracks.npz", positions=positions, interval=0.5, scene=np.array([0, 0, 1]))
    data = read(tmp_path / "tracks.npz", history=3, horizon=2)
    assert data.interval == 0.5 and not data.observed[1, 4:6].any() and len(data.scenes) == 2 and data.history == 3
    np.savez(tmp_path / "wrong.npz", values=positions)
    with pytest.raises(DataError, match="no array 'positions'"):
        read(tmp_path / "wrong.npz")


def test_a_track_with_a_long_absence_goes_on_in_a_new_row(tmp_path: Path) -> None:
    frames = [*range(20), *range(5000, 5020)]
    path = write(tmp_path / "bird.csv", "frame,agent,x,y\n" + "".join(f"{f},b,{f},0\n" for f in frames))
    data = read(path)
    assert data.agents == ("b", "b/2") and data.positions.shape == (2, 20, 2) and data.first.tolist() == [0, 5000]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("frame,agent,a,b\n1,1,2,3\n", "no columns say where"),
        ("agent,x,y\n1,2,3\n", "no column says when"),
        ("frame,agent,x,y\n1,1,2,3\n1,1,4,5\n", "row 3: '1' is there twice at 1"),
        ("frame,agent,x,y\n1,1,two,3\n", "row 2, column 'x': 'two' is not a number"),
        ("frame,agent,x,y\n1.5,1,2,3\n", "row 2, column 'frame': 1.5 is no whole number"),
        ("time,agent,x,y\nsoon,1,2,3\n", "row 2, column 'time': 'soon' is not a time"),
        ("time,lat,lon\n1,100,3\n2,100,3\n", "latitudes go to 90 degrees"),
        ("time,x,y\n1,,\n2,,\n", "no row has a position"),
        ("time,agent,x,y\n1,a,2,3\n1,b,2,3\n", "nobody is there at two moments"),
        ("1,2,3\n4,5,6\n", "3 numbers a row"),
    ],
)
def test_wrong_tables_are_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        read(write(tmp_path / "wrong.csv", text))


def test_wrong_gpx_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable gpx file"):
        read(write(tmp_path / "a.gpx", "<gpx><trk>"))
    with pytest.raises(DataError, match="there is no track in it"):
        read(write(tmp_path / "b.gpx", "<gpx></gpx>"))
    with pytest.raises(DataError, match="point 2, of 'anna', has no readable time"):
        read(gpx(tmp_path / "c.gpx", {"anna": [(47, 8, 1, "2024-05-01T10:00:00Z"), (47, 8, 1, "")]}))
    good = gpx(tmp_path / "d.gpx", {"anna": walk("2024-05-01T10:00:00+00:00", list(range(60)))})
    with pytest.raises(DataError, match="not read with --label-column"):
        read(good, label_column="x")


def test_options_that_tracks_do_not_have_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "frame,agent,x,y\n" + "".join(f"{f},1,{f},0\n" for f in range(60)))
    with pytest.raises(DataError, match="not read with --label-column"):
        read(path, label_column="x")


def test_a_table_with_frames_and_times_is_asked_which_counts(tmp_path: Path) -> None:
    rows = "".join(f"{frame},{frame / 25},a,{frame},0\n" for frame in range(30))
    path = tmp_path / "both.csv"
    path.write_text("frame,time,agent,x,y\n" + rows)
    with pytest.raises(DataError, match="both 'frame' and 'time' say when"):
        pl.read(str(path), room="track")
    assert pl.read(str(path), room="track", interval=0.04).interval == 0.04
    assert pl.read(str(path), room="track", time_column="time").interval == pytest.approx(0.04)
