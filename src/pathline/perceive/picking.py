"""Arrival times: given seismograms, when do the P and the S waves arrive, and how sure is that?

The verb is `perceive(waveforms)`, which takes a container, an ObsPy Stream or one record as a tensor. What is measured
is measured on windows cut at random offsets out of labelled records: where an arrival lies in its record must not be
something that a method can learn.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data.waveforms import Waveforms, Windows
from pathline.perceive.arrivals import Arrivals, Picks, Score, score, true_arrivals
from pathline.perceive.base import Perceiver

if TYPE_CHECKING:
    import pandas as pd

WINDOW = 3000  # samples, 30 seconds at 100 a second
ROOM_TO_SHIFT = 1.5  # a record should be so many times as long as a window, or arrivals cannot fall anywhere in it
CUTS = 3  # times every record is cut for an evaluation
TOLERANCES = (0.5, 0.1)  # seconds; the first one decides
BLOCK = 2**23  # samples that are looked at together


class Picker(Perceiver):
    """A method that finds the arrivals of P and S waves.

    window: samples of the windows that it is trained and measured on
    rate:   samples a second; `for_data` reads it off the data
    """

    container = Waveforms
    better = "higher"
    may_find_nothing = True

    def __init__(self, window: int = WINDOW, rate: float = 100.0) -> None:
        super().__init__()
        self.window, self.rate = window, rate

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        """The window is 30 seconds at 100 samples a second, or two thirds of the records where those are so short that
        a window could not be moved about in them."""
        part = cls.require(data).with_truth()
        middle = int(part.sizes.median())
        window = WINDOW if middle >= ROOM_TO_SHIFT * WINDOW else max(1, int(middle / ROOM_TO_SHIFT))
        return cls(**{"window": window, "rate": part.rate} | config)

    @classmethod
    def pretrain_data(cls) -> Waveforms:
        """What to learn from for somebody who has records without picks: real records if they can be had, else
        simulated ones."""
        from pathline.data import load

        try:
            real: Waveforms = load("seismograms-phasenet")
            return real
        except DataError:
            simulated: Waveforms = load("simulated-seismograms")
            return simulated

    def check(self, data: Any) -> Waveforms:
        """`data`, or the container of an ObsPy Stream or of one record (3, samples), if it has this method's rate."""
        if isinstance(data, Tensor):
            data = Waveforms(signals=data[None], rate=self.rate, name="record")
        elif hasattr(data, "traces"):
            from pathline.data.readers.miniseed import waveforms_from_stream

            data = waveforms_from_stream(data, rate=self.rate)
        data = self.require(data)
        if abs(data.rate - self.rate) > 1e-6 * self.rate:
            raise DataError(
                f"{data.name} has {data.rate:g} samples a second, but this {type(self).__name__} was made for "
                f"{self.rate:g}; resample it (files are resampled to 100 when they are read)"
            )
        checked: Waveforms = data
        return checked

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        self.require(data).with_truth()
        return super().fit(data, budget, seed, validation, **options)

    # -- the verb -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def curves(self, signals: Tensor) -> Tensor:
        """How much each sample looks like the arrival of P and of S, from 0 to 1: (batch, 2, samples).

        signals: (batch, 3, samples) in any unit, components E, N, Z; gaps are NaN, missing components 0
        """

    @abstractmethod
    def pick(self, signals: Tensor) -> Arrivals:
        """The arrivals in `signals` (batch, 3, samples) of any length."""

    @torch.no_grad()
    def perceive(self, signal: Any) -> Picks:
        """The arrivals on whole records of any length.

        Args:
            signal: `Waveforms`, an ObsPy Stream, or one record as a tensor (3, samples).
        """
        data = self.check(signal)
        parts = []
        for length in torch.unique(data.sizes).tolist():  # records of one length go together, without filling up
            alike = torch.nonzero(data.sizes == length).flatten()
            for some in alike.split(max(1, BLOCK // length)):
                found = self.pick(data.signals[some, :, :length])
                parts.append(found._replace(item=some[found.item]))
        return Picks(Arrivals.joined(parts), data)

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """The picks as a table, one row each; `seed` changes nothing."""
        return self.perceive(data).table()

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluation_windows(self, data: Any, seed: int) -> Windows:
        """What a method is measured on: windows cut at offsets that follow from `seed`."""
        return self.check(data).with_truth().tiles(self.window, seed, CUTS)

    @torch.no_grad()
    def scores(self, data: Any, seed: int = 0) -> dict[tuple[int, float], Score]:
        """Score of phase 0 (P) and 1 (S) at each of `TOLERANCES`."""
        windows = self.evaluation_windows(data, seed)
        return self._scores(self.pick(windows.signals), true_arrivals(windows))

    def _scores(self, found: Arrivals, true: Arrivals) -> dict[tuple[int, float], Score]:
        return {
            (phase, seconds): score(found, true, phase, seconds, self.rate)
            for seconds in TOLERANCES
            for phase in (0, 1)
        }

    @torch.no_grad()
    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """F1 (mean of P and S, P, S) within 0.5 s, then within 0.1 s; mean and deviation of the residuals in seconds;
        F1 of records with three components and of those with the vertical one alone, where there are both."""
        windows = self.evaluation_windows(data, seed)
        found, true = self.pick(windows.signals), true_arrivals(windows)
        result = self._scores(found, true)
        wide, narrow = ([result[phase, seconds] for phase in (0, 1)] for seconds in TOLERANCES)
        metrics = {
            "f1": (wide[0].f1 + wide[1].f1) / 2,
            "f1_p": wide[0].f1,
            "f1_s": wide[1].f1,
            "f1_p_0.1s": narrow[0].f1,
            "f1_s_0.1s": narrow[1].f1,
            "mean_p": wide[0].mean,
            "std_p": wide[0].deviation,
            "mean_s": wide[1].mean,
            "std_s": wide[1].deviation,
        }
        alone = (torch.nan_to_num(windows.signals[:, :2]) == 0).flatten(1).all(1)
        if bool(alone.any()) and not bool(alone.all()):
            for name, group in (("f1_three_component", ~alone), ("f1_vertical_only", alone)):
                some = self._scores(*(Arrivals(*(column[group[a.item]] for column in a)) for a in (found, true)))
                metrics[name] = (some[0, TOLERANCES[0]].f1 + some[1, TOLERANCES[0]].f1) / 2
        return metrics

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.perceive import picking_pictures

        chosen = {name: method for name, method in methods.items() if isinstance(method, Picker)}
        return picking_pictures.figures(chosen, data) if chosen else []
