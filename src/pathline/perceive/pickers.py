"""Classical pickers of arrivals, tuned on labelled records: what a network must beat.

    sta-lta   P where the ratio of the recursive short- and long-term average of Z rises over a threshold; S where that
              of the horizontal components does, after P                                        (Withers et al., 1998)
    ar-aic    the same triggers, each moved to the onset that Akaike's criterion prefers for two autoregressive models,
              one of what is before and one of what is after                              (Sleeman, van Eck, 1999)

Both are tuned in the same way: band, averages, thresholds, and how long one stays quiet after an arrival are those of a
grid that have the best F1 on windows cut at random out of the training records, first for P, then for S.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import unwrap_split
from pathline.perceive.arrivals import Arrivals, score, true_arrivals
from pathline.perceive.picking import CUTS, TOLERANCES, WINDOW, Picker
from pathline.signal import aic_onset, autoregression, prediction_errors, recursive_sta_lta, running_normalise, triggers

BANDS = ((0.0, 0.0), (1.0, 20.0), (2.0, 30.0))  # Hz, of a Butterworth filter of order 2; 0 for none
SHORT, LONG = (0.2, 0.5, 1.0), (2.0, 5.0, 10.0)  # seconds of the averages
S_SHORT, S_LONG = (0.2, 0.5), (0.5, 1.0, 2.0, 5.0)
THRESHOLDS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
QUIET = (2.0, 10.0, 30.0)  # seconds without another P
GAPS = (0.2, 0.5)  # seconds from P to S, at least
LATEST = 30.0  # and at most
MISSING = 1e-6


class Settings(NamedTuple):
    """Of the detector of one phase: its band in Hz, averages, threshold, and quiet time (for S: gap after P), in
    seconds; before and after: seconds around a trigger among which an onset is sought, 0 for the trigger itself."""

    low: float
    high: float
    short: float
    long: float
    threshold: float
    quiet: float
    before: float = 0.0
    after: float = 0.0


class StaLta(Picker):
    """Recursive STA/LTA with thresholds tuned on labelled records.

    p, s: settings (see `Settings`), which `fit` finds
    """

    trains = False
    around: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    p_settings: Tensor
    s_settings: Tensor

    def __init__(self, window: int = WINDOW, rate: float = 100.0) -> None:
        super().__init__(window, rate)
        self.register_buffer("p_settings", torch.tensor(Settings(1.0, 20.0, 0.5, 5.0, 5.0, 10.0)))
        self.register_buffer("s_settings", torch.tensor(Settings(1.0, 20.0, 0.5, 2.0, 2.0, 0.5)))

    def loss(self, batch: Any) -> Tensor:
        raise MethodError(f"{type(self).__name__} is tuned by fit, not by gradients")

    # -- one trace of each kind ---------------------------------------------------------------------------------------

    def filtered(self, signals: Tensor, low: float, high: float) -> Tensor:
        """Normalised components, gaps filled with 0, in the band: (batch, 3, samples)."""
        from scipy.signal import butter, sosfilt

        normal = running_normalise(signals.cpu(), max(self.window, signals.shape[-1]))
        if not low:
            return normal
        sections = butter(2, (low, min(high, 0.45 * self.rate)), "bandpass", fs=self.rate, output="sos")
        return torch.from_numpy(sosfilt(sections, normal.double().numpy(), axis=-1)).float()

    @staticmethod
    def vertical(components: Tensor) -> Tensor:
        """(batch, samples): Z, or the length of the horizontal motion where Z is missing."""
        z, flat = components[:, 2], components[:, :2].norm(dim=1)
        return torch.where(z.abs().amax(1, keepdim=True) > MISSING, z, flat)

    @staticmethod
    def horizontal(components: Tensor) -> Tensor:
        """(batch, samples): the length of the horizontal motion, or Z where that is missing."""
        z, flat = components[:, 2], components[:, :2].norm(dim=1)
        return torch.where(flat.amax(1, keepdim=True) > MISSING, flat, z)

    def ratio(self, trace: Tensor, short: float, long: float) -> Tensor:
        """STA / LTA of traces (batch, samples); averages in seconds."""
        return recursive_sta_lta(trace, max(1, round(short * self.rate)), max(2, round(long * self.rate)))

    # -- picking ------------------------------------------------------------------------------------------------------

    def pick(self, signals: Tensor) -> Arrivals:
        p, s = (Settings(*buffer.tolist()) for buffer in (self.p_settings, self.s_settings))
        parts = self.filtered(signals, p.low, p.high)
        trace = self.vertical(parts)
        first = self.p_arrivals(trace, self.ratio(trace, p.short, p.long), p)
        parts = parts if (p.low, p.high) == (s.low, s.high) else self.filtered(signals, s.low, s.high)
        trace = self.horizontal(parts)
        return Arrivals.joined([first, self.s_arrivals(trace, self.ratio(trace, s.short, s.long), s, first)])

    def p_arrivals(self, trace: Tensor, ratio: Tensor, p: Settings) -> Arrivals:
        """Triggers of `ratio` (batch, samples), moved to their onsets."""
        item, index = triggers(ratio, p.threshold, round(p.quiet * self.rate))
        sure = ratio[item, index] / (ratio[item, index] + p.threshold)
        onset = self.onsets(trace, item, index, p)
        return Arrivals(item, torch.zeros_like(item), onset.float(), sure)

    def s_arrivals(self, trace: Tensor, ratio: Tensor, s: Settings, first: Arrivals) -> Arrivals:
        """After each P its first trigger of `ratio` that is at least the gap away."""
        item, index = triggers(ratio, s.threshold, 1)
        if not len(item) or not len(first.item):
            return Arrivals.none()
        stride = 2 * ratio.shape[1]
        wanted = first.item * stride + first.sample.long() + round(s.quiet * self.rate)
        place = item * stride + index
        following = torch.searchsorted(place, wanted).clamp(max=len(place) - 1)
        near = (place[following] >= wanted) & (place[following] - wanted <= LATEST * self.rate)
        chosen = torch.unique(following[near])
        item, index = item[chosen], index[chosen]
        sure = ratio[item, index] / (ratio[item, index] + s.threshold)
        onset = self.onsets(trace, item, index, s)
        return Arrivals(item, torch.ones_like(item), onset.float(), sure)

    def onsets(self, trace: Tensor, item: Tensor, index: Tensor, settings: Settings) -> Tensor:
        """Samples of the arrivals that triggered at `index`: the triggers themselves."""
        return index

    def curves(self, signals: Tensor) -> Tensor:
        p, s = (Settings(*buffer.tolist()) for buffer in (self.p_settings, self.s_settings))
        vertical = self.vertical(self.filtered(signals, p.low, p.high))
        horizontal = self.horizontal(self.filtered(signals, s.low, s.high))
        first, second = self.ratio(vertical, p.short, p.long), self.ratio(horizontal, s.short, s.long)
        return torch.stack([first / (first + p.threshold), second / (second + s.threshold)], dim=1)

    # -- tuning -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Take the settings of the grid with the best F1 on windows of the training records."""
        part = self.check(unwrap_split(data)).with_truth()
        windows = part.tiles(self.window, seed, CUTS)
        true = true_arrivals(windows)
        bands = {band: self.filtered(windows.signals, *band) for band in BANDS}

        def of(found: Arrivals, phase: int) -> float:
            return score(found, true, phase, TOLERANCES[0], self.rate).f1

        best, first = -1.0, Arrivals.none()
        for band, short, long in product(BANDS, SHORT, LONG):
            trace = self.vertical(bands[band])
            ratio = self.ratio(trace, short, long)
            for p in self._candidates(band, short, long, QUIET):
                found = self.p_arrivals(trace, ratio, p)
                if (value := of(found, 0)) > best:
                    best, first = value, found
                    self.p_settings.copy_(torch.tensor(p))
        best = -1.0
        for band, short, long in product(BANDS, S_SHORT, S_LONG):
            trace = self.horizontal(bands[band])
            ratio = self.ratio(trace, short, long)
            for s in self._candidates(band, short, long, GAPS):
                if (value := of(self.s_arrivals(trace, ratio, s, first), 1)) > best:
                    best = value
                    self.s_settings.copy_(torch.tensor(s))
        return self.eval()

    def _candidates(self, band: tuple[float, float], short: float, long: float, quiet: Any) -> Iterator[Settings]:
        for threshold, pause, around in product(THRESHOLDS, quiet, self.around):
            if threshold < long / short:  # the largest value that the ratio can have
                yield Settings(*band, short, long, threshold, pause, *around)


class ArAic(StaLta):
    """STA/LTA triggers, moved to the onset that Akaike's criterion prefers among autoregressive models.

    order: of the models
    """

    around = ((1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (3.0, 2.0))

    def __init__(self, window: int = WINDOW, rate: float = 100.0, order: int = 4) -> None:
        super().__init__(window, rate)
        if order < 1:
            raise MethodError(f"the order of an autoregressive model is at least 1, not {order}")
        self.order = order

    def onsets(self, trace: Tensor, item: Tensor, index: Tensor, settings: Settings) -> Tensor:
        """The least of Akaike's criterion around each trigger; models are fitted to the first and the last third."""
        span = min(round((settings.before + settings.after) * self.rate), trace.shape[1])
        if span < 6 * self.order or not len(item):
            return index
        start = (index - round(settings.before * self.rate)).clamp(0, trace.shape[1] - span)
        stretch = trace[item[:, None], start[:, None] + torch.arange(span)]
        third = span // 3
        before, after = (
            prediction_errors(stretch, autoregression(part, self.order))
            for part in (stretch[:, :third], stretch[:, -third:])
        )
        return start + aic_onset(before, after, margin=2 * self.order).argmin(1)
