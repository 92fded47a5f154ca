"""Signals in time: peaks of curves, sliding windows over long records, triggers and onsets."""

from typing import TYPE_CHECKING

from pathline._lazy import attach

if TYPE_CHECKING:
    from pathline.signal.kalman import (
        Filtered,
        LinearGaussian,
        constant_acceleration,
        constant_velocity,
        gaussian_log_density,
        kalman_filter,
    )
    from pathline.signal.onsets import aic_onset, autoregression, prediction_errors, recursive_sta_lta, triggers
    from pathline.signal.peaks import Peaks, find_peaks
    from pathline.signal.sliding import running_normalise, slide, window_starts

__all__ = [
    "Filtered",
    "LinearGaussian",
    "Peaks",
    "aic_onset",
    "autoregression",
    "constant_acceleration",
    "constant_velocity",
    "find_peaks",
    "gaussian_log_density",
    "kalman_filter",
    "prediction_errors",
    "recursive_sta_lta",
    "running_normalise",
    "slide",
    "triggers",
    "window_starts",
]

_HOMES = {
    "kalman": (
        "Filtered",
        "LinearGaussian",
        "constant_acceleration",
        "constant_velocity",
        "gaussian_log_density",
        "kalman_filter",
    ),
    "onsets": ("aic_onset", "autoregression", "prediction_errors", "recursive_sta_lta", "triggers"),
    "peaks": ("Peaks", "find_peaks"),
    "sliding": ("running_normalise", "slide", "window_starts"),
}
__getattr__, __dir__ = attach(
    __name__, {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
)
