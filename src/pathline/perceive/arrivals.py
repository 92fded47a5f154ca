"""Found arrivals, and how well they meet the true ones.

A found arrival is right if a true one of the same phase lies within a tolerance and each is the nearest to the other,
so that nobody is counted twice.

    precision = right / found        recall = right / true        F1 = 2 right / (found + true)
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pathline.data.waveforms import PHASES, Waveforms, Windows

if TYPE_CHECKING:
    import pandas as pd

FAR = 1e7  # samples between the windows laid end to end


class Arrivals(NamedTuple):
    """item: (n,) int64 which record or window; phase: (n,) 0 for P and 1 for S; sample: (n,) since its beginning;
    probability: (n,) between 0 and 1."""

    item: Tensor
    phase: Tensor
    sample: Tensor
    probability: Tensor

    @classmethod
    def none(cls) -> "Arrivals":
        return cls(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0), torch.zeros(0))

    @classmethod
    def joined(cls, parts: "list[Arrivals]") -> "Arrivals":
        """Several, ordered by item and sample."""
        if not parts:
            return cls.none()
        whole = cls(*(torch.cat(column) for column in zip(*parts, strict=True)))
        order = torch.argsort(whole.item.double() * FAR + whole.sample.double(), stable=True)
        return cls(*(column[order] for column in whole))

    def of(self, phase: int) -> "Arrivals":
        """Those of one phase."""
        return Arrivals(*(column[self.phase == phase] for column in self))


@dataclass(frozen=True)
class Picks:
    """Arrivals on the records of `waveforms`; times are absolute (UTC) where the record says when it begins."""

    arrivals: Arrivals
    waveforms: Waveforms

    def __len__(self) -> int:
        return len(self.arrivals.item)

    def seconds(self) -> Tensor:
        """(n,) float64 seconds after the beginning of the record."""
        return self.arrivals.sample.double() / self.waveforms.rate

    def table(self) -> "pd.DataFrame":
        """record, station, phase, sample, seconds (after the beginning of the record), time (UTC, "" where unknown),
        probability."""
        import pandas as pd

        item, phase, sample, probability = self.arrivals
        begins = self.waveforms.first_times[item]
        known = torch.isfinite(begins)
        when = pd.to_datetime(torch.where(known, begins + self.seconds(), 0.0).numpy(), unit="s", utc=True)
        when = when.round("ms")  # and not cut off, as a format would
        text = when.strftime("%Y-%m-%dT%H:%M:%S.%f").str[:-3].where(known.numpy(), "")
        return pd.DataFrame(
            {
                "record": item.numpy(),
                "station": [self.waveforms.station_of(record) for record in item.tolist()],
                "phase": [PHASES[number] for number in phase.tolist()],
                "sample": sample.round().long().numpy(),
                "seconds": self.seconds().numpy().round(3),
                "time": text.astype(str) if len(self) else pd.Series([], dtype=str),
                "probability": probability.double().numpy().round(4),
            }
        )


def true_arrivals(windows: Windows) -> Arrivals:
    """The known picks that lie inside `windows`."""
    inside = (windows.picks >= 0) & (windows.picks < windows.signals.shape[-1])
    item, phase, _ = torch.nonzero(inside, as_tuple=True)
    sample = windows.picks[inside]
    return Arrivals.joined([Arrivals(item, phase, sample, torch.ones(len(item)))])


@dataclass(frozen=True)
class Score:
    """right, found, true: numbers of arrivals; residuals: (right,) seconds, found minus true."""

    right: int
    found: int
    true: int
    residuals: Tensor
    tolerance: float

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.found + self.true) if self.found + self.true else 1.0

    @property
    def mean(self) -> float:
        """Mean residual in seconds; the tolerance where nothing was right."""
        return float(self.residuals.mean()) if self.right else self.tolerance

    @property
    def deviation(self) -> float:
        """Standard deviation of the residuals in seconds; the tolerance where nothing was right."""
        return float(self.residuals.std(correction=0)) if self.right else self.tolerance


def score(found: Arrivals, true: Arrivals, phase: int, tolerance: float, rate: float) -> Score:
    """Match the arrivals of one phase; tolerance in seconds."""
    mine, theirs = found.of(phase), true.of(phase)
    if not len(mine.item) or not len(theirs.item):
        return Score(0, len(mine.item), len(theirs.item), torch.zeros(0), tolerance)
    here, there = (a.item.double() * FAR + a.sample.double() for a in (mine, theirs))
    here, there = here.sort().values, there.sort().values
    nearest = _nearest(there, here)
    residual = here[nearest] - there
    mutual = _nearest(here, there)[nearest] == torch.arange(len(there))
    right = mutual & (residual.abs() <= tolerance * rate + 1e-6)
    return Score(int(right.sum()), len(here), len(there), residual[right] / rate, tolerance)


def _nearest(points: Tensor, among: Tensor) -> Tensor:
    """For each of the sorted `points` the index of the nearest of the sorted `among`."""
    above = torch.searchsorted(among, points).clamp(max=len(among) - 1)
    below = (above - 1).clamp(min=0)
    return torch.where((points - among[below]).abs() <= (among[above] - points).abs(), below, above)
