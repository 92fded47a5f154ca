"""The built-in tracks: pedestrians, recorded rigid bodies, and what our own simulators walk and fly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pathline.data.fetch import fetch
from pathline.data.readers.tracks import joined, read_tracks
from pathline.data.tracks import Tracks

SCENES = {
    "biwi_eth": "eth",
    "biwi_hotel": "hotel",
    "crowds_zara01": "zara1",
    "crowds_zara02": "zara2",
    "crowds_zara03": "zara3",
    "students001": "univ1",
    "students003": "univ3",
    "uni_examples": "examples",
}


def build(key: str) -> Tracks:
    """The set of this key; a `DataError` says where its files can be had."""
    return _BUILDERS[key]()


def _files(key: str) -> list[Path]:
    from pathline.data.sets import facts

    return fetch(key, facts()[key])


def _pedestrians() -> Tracks:
    """Eight scenes under the names that the field gives them; its fold "univ" is hold_out = "univ1,univ3".

    The field reads every file with 0.4 s between rows and so do we, although the camera of "eth" was slower: its people
    seem to run.
    """
    paths = _files("pedestrian-eth-ucy")
    data = joined([read_tracks(path) for path in paths], [SCENES[path.stem] for path in paths], "pedestrian-eth-ucy")
    return replace(data, hold_out="zara1")


def _recorded_motion(key: str) -> Callable[[], Tracks]:
    """Poses at 10 Hz, two seconds of history and one ahead; a few tracks, which are cut by their own time."""

    def build() -> Tracks:
        paths = [path for path in _files(key) if not path.stem.endswith("_times")]
        parts = [read_tracks(path, interval=0.1) for path in paths]
        data = joined(parts, [path.stem for path in paths], key) if len(parts) > 1 else parts[0]
        return replace(data, history=20, horizon=10, neighbours=0)

    return build


def _flights() -> Tracks:
    from pathline.sims.quadrotor import simulate_quadrotor

    return simulate_quadrotor(600).tracks()


def _walks(kind: str) -> Callable[[], Tracks]:
    def build() -> Tracks:
        from pathline.sims.walks import simulate_walks

        return simulate_walks(kind, 2000).tracks()

    return build


_BUILDERS: dict[str, Callable[[], Tracks]] = {
    "pedestrian-eth-ucy": _pedestrians,
    "flight-euroc": _recorded_motion("flight-euroc"),
    "drive-kitti": _recorded_motion("drive-kitti"),
    "handheld-tum": _recorded_motion("handheld-tum"),
    "simulated-quadrotor": _flights,
    "simulated-fork": _walks("fork"),
    "simulated-crossroads": _walks("crossroads"),
}
