"""PhaseNet: when do P and S waves arrive? A U-Net reads three-component seismograms and gives, for every sample, the
probability of noise, of a P arrival and of an S arrival; picks are the peaks.

    q(t) = softmax(network(x))(t)             x: each component minus its mean, over its deviation, in the window
    p_P(t) = exp(-(t - t_P)^2 / (2 sigma^2)), p_S likewise, p_noise = 1 - p_P - p_S, never below 0
    loss   H(p, q) = - mean_t sum_i p_i(t) log q_i(t)
    pick   local maxima of q_P and q_S above 0.3, at least 0.5 s apart

Use it for local earthquakes at around 100 samples a second. It sees 30 seconds at a time, so teleseismic S waves,
minutes after P, are not for it. Its claim learns from about 80 records; where there are far fewer, the classical
pickers `sta-lta` and `ar-aic` have only thresholds to learn.
In training, windows are cut so that arrivals fall anywhere: in records that all begin 30 seconds before P a network
would otherwise learn the place instead of the wave. A second event, noise from before other events, and missing
components are mixed in at random. Long records are read in windows that overlap by half, after a running normalisation.
Zhu, Beroza, 2019, "PhaseNet: A Deep-Neural-Network-Based Seismic Arrival Time Picking Method", arXiv:1803.03211; sigma
is that of the authors' program (6 samples, cut off at 15), the paper says 0.1 s.
Departs: AdamW with a cosine from 3e-3 instead of Adam at 0.01; bumps that reach over an edge of a window are kept;
where bumps of P and S overlap, the higher keeps its value, so that targets sum to 1; horizontal components are turned
about the vertical and signs flipped at random, which the authors do not do; the running normalisation sees what lies
inside a record instead of mirroring it at its ends, and does not make up for missing components by a factor; no bias
before the first batch normalisation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data.waveforms import Waveforms, Windows
from pathline.nn import UNet1d
from pathline.perceive.arrivals import Arrivals
from pathline.perceive.picking import WINDOW, Picker
from pathline.signal import find_peaks, running_normalise, slide

CUT_OFF = 2.5  # deviations at which a label's bump ends
APART = 3.0  # seconds between the arrivals of two superposed events, at least
NOISE_ONLY = 0.05  # share of training windows without arrivals
VERTICAL = 2


def soft_labels(picks: Tensor, samples: int, sigma: float) -> Tensor:
    """Targets (batch, 3, samples) of noise, P and S that sum to 1; picks: (batch, 2, most) in samples, NaN for none.

    Where bumps of P and S overlap, the higher one keeps its value and the lower one gets what is left of 1.
    """
    distance = torch.arange(samples, device=picks.device) - picks[..., None]
    bump = torch.exp(-distance.square() / (2 * sigma**2))
    bump = torch.where(distance.abs() <= CUT_OFF * sigma + 0.5, bump, 0.0).amax(2)  # NaN compares false
    p, s = bump.unbind(1)
    p, s = torch.where(p >= s, p, torch.minimum(p, 1 - s)), torch.where(p >= s, torch.minimum(s, 1 - p), s)
    return torch.stack([1 - p - s, p, s], dim=1)


@dataclass(frozen=True)
class TrainingWindows(Windows):
    """noise: (batch, 3, samples), one stretch without arrivals for each window, zeros where none is known."""

    noise: Tensor


class PhaseNet(Picker):
    """Probabilities of noise, P and S for every sample; peaks are picks.

    filters, depth, kernel, stride, dropout: of the U-Net, see `UNet1d`
    sigma:     deviation of the labels' bumps in samples
    threshold: the least probability of a pick;  distance: seconds between two picks of one phase, at least
    overlap, combine: of the windows slid over long records, and what becomes of their overlapping values (max or mean)
    superpose, mix, drop: how often, in training, a second event is added, noise is added, and the horizontal
        components are missing
    turn:      turn and flip components at random in training
    """

    recipe = Recipe(steps=1000, batch_size=20, lr=3e-3, warmup=20, validations=6)

    def __init__(
        self,
        window: int = WINDOW,
        rate: float = 100.0,
        filters: int = 8,
        depth: int = 5,
        kernel: int = 7,
        stride: int = 4,
        dropout: float = 0.0,
        sigma: float = 6.0,
        threshold: float = 0.3,
        distance: float = 0.5,
        overlap: float = 0.5,
        combine: Literal["max", "mean"] = "max",
        superpose: float = 0.1,
        mix: float = 0.3,
        drop: float = 0.1,
        turn: bool = True,
    ) -> None:
        super().__init__(window, rate)
        if not 0 < threshold < 1 or sigma <= 0 or combine not in ("max", "mean") or not 0 <= overlap < 1:
            raise MethodError(
                f"threshold {threshold} must lie between 0 and 1, sigma {sigma} above 0, overlap {overlap} from 0 to "
                f"below 1, and combine '{combine}' must be max or mean"
            )
        self.sigma, self.threshold, self.overlap, self.combine = sigma, threshold, overlap, combine
        self.distance = round(distance * rate)
        self.superpose, self.mix, self.drop, self.turn = superpose, mix, drop, turn
        self.network = UNet1d(3, 3, filters, depth, kernel, stride, dropout)

    # -- training -----------------------------------------------------------------------------------------------------

    def batches(self, data: Waveforms, size: int, generator: torch.Generator) -> Iterator[TrainingWindows]:
        """One window for every pick, cut so that the pick falls anywhere in it; one of twenty holds noise alone."""
        where, _, sample = data.pick_table
        if not len(where):
            raise DataError(f"{data.name}: there is no arrival to learn from")
        quiet_record, quiet_until = _quiet(data, self.window)
        for index in torch.randperm(len(where), generator=generator).split(size):
            draw = torch.rand(5, len(index), generator=generator)
            record, start = where[index], (sample[index] - draw[0] * self.window).long()
            slack = data.sizes[record] - self.window
            start = torch.where(slack < 0, (draw[0] * slack).long(), torch.minimum(start.clamp(min=0), slack))
            noise = torch.zeros(len(index), 3, self.window)
            if len(quiet_record):
                chosen = (draw[1] * len(quiet_record)).long()
                begin = (draw[2] * (quiet_until[chosen] - self.window + 1)).long()
                noise = data.cut(quiet_record[chosen], begin, self.window).signals
                other = (draw[3] * len(quiet_record)).long()
                alone = draw[4] < NOISE_ONLY
                begin = (draw[2] * (quiet_until[other] - self.window + 1)).long()
                record, start = torch.where(alone, quiet_record[other], record), torch.where(alone, begin, start)
            cut = data.cut(record, start, self.window)
            yield TrainingWindows(cut.signals, cut.picks, record, start, noise)

    def epoch_length(self, data: Waveforms, size: int) -> int:
        return -(-len(data.pick_table[0]) // size)

    def mixed(self, batch: TrainingWindows) -> tuple[Tensor, Tensor]:
        """Normalised signals and picks of a batch, with a second event, noise and missing components at random."""
        signals, picks = running_normalise(batch.signals, self.window), batch.picks
        count = len(signals)
        other = torch.randperm(count, device=signals.device)
        between = (picks.flatten(1)[:, :, None] - picks[other].flatten(1)[:, None]).abs()
        apart = (torch.nan_to_num(between, nan=torch.inf) >= APART * self.rate).flatten(1).all(1)
        both = apart & (torch.rand(count, device=signals.device) < self.superpose)
        strength = 10 ** (-torch.rand(count, 1, 1, device=signals.device))
        signals = signals + torch.where(both[:, None, None], strength * signals[other], 0.0)
        picks = torch.cat([picks, torch.where(both[:, None, None], picks[other], torch.nan)], dim=2)

        noisy = torch.rand(count, device=signals.device) < self.mix
        strength = 10 ** (-1.5 * torch.rand(count, 1, 1, device=signals.device))
        noise = running_normalise(batch.noise, self.window)
        signals = signals + torch.where(noisy[:, None, None], strength * noise, 0.0)

        if self.turn:
            angle = 2 * torch.pi * torch.rand(count, 1, device=signals.device)
            east, north, up = signals.unbind(1)
            east, north = angle.cos() * east - angle.sin() * north, angle.sin() * east + angle.cos() * north
            sign = torch.where(torch.rand(count, 1, device=signals.device) < 0.5, -1.0, 1.0)
            signals = torch.stack([east, north, sign * up], dim=1)

        missing = torch.rand(count, device=signals.device) < self.drop
        kept = torch.where(missing[:, None], torch.arange(3, device=signals.device) == VERTICAL, True)
        return running_normalise(signals * kept[..., None], self.window), picks

    def loss(self, batch: Windows) -> Tensor:
        if self.training and isinstance(batch, TrainingWindows):
            signals, picks = self.mixed(batch)
        else:
            signals, picks = running_normalise(batch.signals, self.window), batch.picks
        target = soft_labels(picks, signals.shape[-1], self.sigma)
        return -(target * self.network(signals).float().log_softmax(1)).sum(1).mean()

    # -- the verb -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def curves(self, signals: Tensor) -> Tensor:
        """Probabilities of P and of S: (batch, 3, samples) in any unit and of any length -> (batch, 2, samples).

        Where windows overlap both may be large, from different windows: then their sum is brought back to 1.
        """
        normal = running_normalise(signals.to(self.device), self.window)
        network = self.network if self.training else self.network.folded()

        def read(windows: Tensor) -> Tensor:
            return network(windows).float().softmax(1)[:, 1:]

        found = slide(read, normal, self.window, self.overlap, self.combine)
        return found if signals.shape[-1] <= self.window else found / found.sum(1, keepdim=True).clamp(min=1)

    def probabilities(self, signals: Tensor) -> Tensor:
        """(batch, 3, samples) in any unit and of any length -> (batch, 3, samples): noise, P, S."""
        found = self.curves(signals)
        return torch.cat([(1 - found.sum(1, keepdim=True)).clamp(min=0), found], dim=1)

    def pick(self, signals: Tensor) -> Arrivals:
        curves = self.curves(signals).cpu()
        curve, index, height = find_peaks(curves.flatten(0, 1), self.threshold, self.distance)
        return Arrivals.joined([Arrivals(curve // 2, curve % 2, index, height)])


def _quiet(data: Waveforms, window: int) -> tuple[Tensor, Tensor]:
    """Records whose labelled part begins with at least a window without arrivals, and how long that is."""
    where, _, sample = data.pick_table
    first = data.sizes.double()
    first = first.scatter_reduce(0, where, sample, "amin")
    kept = torch.nonzero(data.looked_at & (first >= window)).flatten()
    return kept, first[kept].long()
