"""Films, pairs of pictures, gestures and seismograms. Facts are in datasets.toml."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pathline.data.set_facts import facts

if TYPE_CHECKING:
    from pathline.data.clips import Clips
    from pathline.data.pairs import Pairs
    from pathline.data.sequences import Sequences
    from pathline.data.waveforms import Waveforms


def _flowing_digits() -> "Clips":
    from pathline.sims.flowing_digits import flowing_digits

    return flowing_digits(1200, 10, seed=0)


def _simulated_gestures() -> "Sequences":
    from pathline.sims.gestures import simulated_gestures

    return simulated_gestures(5, 12, seed=0)


def _aeon(loader: str, channels: tuple[str, ...], rate: float | None) -> "Callable[[], Sequences]":
    def build() -> "Sequences":
        from pathline.data.readers.aeon import aeon_set

        return aeon_set(loader, channels, rate)

    return build


def _seismograms_phasenet() -> "Waveforms":
    """As many of the records as the mirror or the cache holds, or else the network; the description counts them."""
    from pathline.data.fetch import fetch_some
    from pathline.data.readers.seismic_npz import read_phasenet_files

    about = facts()["seismograms-phasenet"]
    paths = fetch_some("seismograms-phasenet", about)
    remark = f"{len(paths)} of the {about['complete']} upstream records; {about['complete'] - len(paths)} are not here"
    return read_phasenet_files(paths, "seismograms-phasenet", remark=remark)


def _simulated_seismograms() -> "Waveforms":
    from pathline.sims.seismograms import simulated_seismograms

    return simulated_seismograms()


def _flying_crops() -> "Pairs":
    from pathline.sims.flying_crops import flying_crops_in_parts

    return flying_crops_in_parts(3000, 200, 300)


def _stereo_motorcycle() -> "Pairs":
    """Shrunk five times, so that the motion is up to 12 pixels."""
    from pathline.data.photographs import stereo_motorcycle

    return stereo_motorcycle(5)


def _piv_pairs() -> "Pairs":
    """test1 of openpiv: particles in a jet."""
    from pathline.data.photographs import particle_images

    return particle_images()


PERCEPTION_SETS: dict[str, Callable[[], Any]] = {
    "flowing-digits": _flowing_digits,
    "simulated-gestures": _simulated_gestures,
    "imu-basic-motions": _aeon("load_basic_motions", ("acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z"), 10.0),
    "imu-pickup-gestures": _aeon("load_pickup_gesture_wiimoteZ", ("acc_z",), None),
    "flying-crops": _flying_crops,
    "stereo-motorcycle": _stereo_motorcycle,
    "piv-pairs": _piv_pairs,
    "seismograms-phasenet": _seismograms_phasenet,
    "simulated-seismograms": _simulated_seismograms,
}
