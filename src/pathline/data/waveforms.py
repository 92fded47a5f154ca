"""Waveforms: records of ground motion in three components, with the arrivals of waves that people picked on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError

PHASES = ("P", "S")
COMPONENTS = ("E", "N", "Z")
SHARES = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Windows(Batch):
    """Cuts of records.

    signals: (batch, 3, samples) float32, components E, N, Z; NaN in gaps and beyond the ends of a record
    picks:   (batch, 2, most) float32: samples of the P and of the S arrivals after the beginning of the window, also
             before it (negative) and behind it; NaN fills up
    record:  (batch,) int64 and start: (batch,) int64: where each was cut
    """

    signals: Tensor
    picks: Tensor
    record: Tensor
    start: Tensor
    shared: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Waveforms(Container):
    """Records of one sampling rate, each with three components.

    signals:     (records, 3, samples) float32, components E, N, Z in any unit; NaN in gaps and behind the end of
                 records that are shorter than the longest; a component that was not recorded is 0
    lengths:     (records,) int64 samples of each record; by default all are equally long
    rate:        samples a second
    pick_record: (picks,) int64: which record
    pick_phase:  (picks,) int64: 0 for P, 1 for S
    pick_sample: (picks,) float64: when, in samples after the beginning of the record
    labelled:    (records,) bool: whether somebody looked for arrivals; by default, where there is a pick. A record that
                 is labelled and has no pick is known to be noise
    station:     (records) names, or () where unknown
    channels:    (records) codes such as "HHE_HHN_HHZ", or ()
    begins:      (records,) float64 seconds since 1970 (UTC) of the first sample, NaN where unknown
    window:      samples of an item: records are cut into windows of this length
    remark:      a sentence for descriptions
    """

    signals: Tensor
    lengths: Tensor | None = None
    rate: float = 100.0
    pick_record: Tensor | None = None
    pick_phase: Tensor | None = None
    pick_sample: Tensor | None = None
    labelled: Tensor | None = None
    station: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    begins: Tensor | None = None
    window: int = 3000
    remark: str = ""

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.signals.shape)
        if self.signals.ndim != 3 or shape[1] != 3 or 0 in shape:
            raise DataError(
                f"{name}: signals have shape {shape}; expected (records >= 1, 3, samples >= 1), components E, N, Z"
            )
        if self.rate <= 0 or self.window < 1:
            raise DataError(f"{name}: rate {self.rate} and window {self.window} must be above 0")
        records, _, samples = shape
        empty = torch.zeros(0)
        defaults: dict[str, Tensor] = {
            "lengths": torch.full((records,), samples),
            "pick_record": empty.long(),
            "pick_phase": empty.long(),
            "pick_sample": empty.double(),
            "begins": torch.full((records,), torch.nan, dtype=torch.float64),
        }
        for field, default in defaults.items():
            given = getattr(self, field)
            object.__setattr__(self, field, default if given is None else given.to(default.dtype))
        object.__setattr__(self, "signals", self.signals.float())
        if torch.isinf(self.signals).any():
            bad = int(torch.isinf(self.signals).nonzero()[0, 0])
            raise DataError(f"{name}: record {bad} has an infinite value; remove it (NaN is a gap)")
        where, phase, sample = self.pick_table
        if not len(where) == len(phase) == len(sample):
            raise DataError(f"{name}: {len(where)} pick records, {len(phase)} phases and {len(sample)} samples differ")
        require_finite(sample, "pick_sample", name)
        if len(where) and not 0 <= int(where.min()) <= int(where.max()) < records:
            raise DataError(f"{name}: a pick names record {int(where.max())}, but there are {records}")
        if len(phase) and not bool(((phase == 0) | (phase == 1)).all()):
            raise DataError(f"{name}: a pick has phase {int(phase.max())}; 0 is P and 1 is S")
        if self.labelled is None:
            seen = torch.zeros(records, dtype=torch.bool)
            seen[where] = True
            object.__setattr__(self, "labelled", seen)
        for field in ("lengths", "labelled", "begins"):
            if getattr(self, field).shape != (records,):
                raise DataError(f"{name}: {field} has shape {tuple(getattr(self, field).shape)}; expected ({records},)")
        for field in ("station", "channels"):
            if getattr(self, field) and len(getattr(self, field)) != records:
                raise DataError(f"{name}: {len(getattr(self, field))} {field} names for {records} records")
        if int(self.sizes.min()) < 1 or int(self.sizes.max()) > samples:
            raise DataError(f"{name}: lengths run from {int(self.sizes.min())}; expected 1 to {samples}")

    # -- what is in it ------------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> Tensor:
        """(records,) int64: `lengths`, which always is there once the container is made."""
        assert self.lengths is not None
        return self.lengths

    @property
    def looked_at(self) -> Tensor:
        """(records,) bool: `labelled`, which always is there once the container is made."""
        assert self.labelled is not None
        return self.labelled

    @property
    def first_times(self) -> Tensor:
        """(records,) float64: `begins`, which always is there once the container is made."""
        assert self.begins is not None
        return self.begins

    @property
    def pick_table(self) -> tuple[Tensor, Tensor, Tensor]:
        """Record, phase and sample of every known pick: (picks,) each."""
        assert self.pick_record is not None and self.pick_phase is not None and self.pick_sample is not None
        return self.pick_record, self.pick_phase, self.pick_sample

    @property
    def has_truth(self) -> bool:
        """Whether anything is known about arrivals."""
        return bool(self.looked_at.any())

    def with_truth(self) -> "Waveforms":
        """The same container; a `DataError` that tells what to do if nothing is known about arrivals."""
        if not self.has_truth:
            raise DataError(
                f"{self.name}: no arrival is picked on its records, so nothing can be learned from them or measured on "
                "them; give --picks FILE with the columns station, phase and time, or learn from the built-in "
                "seismograms-phasenet and use `pathline predict`"
            )
        return self

    @property
    def vertical_only(self) -> Tensor:
        """(records,) bool: both horizontal components are missing."""
        return (torch.nan_to_num(self.signals[:, :2]) == 0).flatten(1).all(1)

    def station_of(self, record: int) -> str:
        """Name of the station, or of the record where stations are unknown."""
        return self.station[record] if self.station else f"record {record}"

    # -- windows ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many whole windows the records hold, at least one each."""
        return int(self._tiles().sum())

    def _tiles(self) -> Tensor:
        return (self.sizes // self.window).clamp(min=1)

    def gather(self, index: Tensor) -> Windows:
        """Windows of the records laid end to end."""
        ends = self._tiles().cumsum(0)
        record = torch.searchsorted(ends, index, right=True)
        return self.cut(record, (index - ends[record] + self._tiles()[record]) * self.window, self.window)

    def cut(self, record: Tensor, start: Tensor, window: int) -> Windows:
        """Windows of `window` samples that begin at sample `start` of `record`, (count,) each; they may reach over the
        ends of a record."""
        at = start[:, None] + torch.arange(window)
        inside = (at >= 0) & (at < self.sizes[record, None])
        place = at.clamp(0, self.signals.shape[-1] - 1)
        values = self.signals[record[:, None, None], torch.arange(3)[:, None], place[:, None]]
        signals = torch.where(inside[:, None], values, torch.nan)
        return Windows(signals, self._padded_picks()[record] - start[:, None, None].float(), record, start)

    def _padded_picks(self) -> Tensor:
        """(records, 2, most) float32: every record's picks, filled up with NaN."""
        where, phase, sample = self.pick_table
        key = where * 2 + phase
        order = torch.argsort(key, stable=True)
        counts = torch.bincount(key, minlength=2 * len(self.signals))
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(key)) - first[key[order]]
        table = torch.full((2 * len(self.signals), max(1, int(counts.max()))), torch.nan)
        table[key[order], rank] = sample[order].float()
        return table.view(len(self.signals), 2, -1)

    def tiles(self, window: int, seed: int, cuts: int = 1) -> Windows:
        """Labelled records cut `cuts` times into windows at offsets drawn from `seed`, so that arrivals fall anywhere.

        Only windows with a pick are kept, and one of every record that is known to be noise. A window that would reach
        over an end is moved inside; a record shorter than a window lies at a random place in it.
        """
        generator = torch.Generator().manual_seed(seed)
        parts = [self._tiled(window, torch.rand(len(self.signals), generator=generator)) for _ in range(cuts)]
        record, start = (torch.cat(column) for column in zip(*parts, strict=True))
        return self.cut(record, start, window)

    def _tiled(self, window: int, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Record and start of the windows of one cut; draw: (records,) uniform numbers."""
        where, _, sample = self.pick_table
        offset = (draw * window).long()
        tile = torch.div(sample - offset[where], window, rounding_mode="floor").long()
        quiet = self.looked_at.clone()
        quiet[where] = False
        noise = torch.nonzero(quiet).flatten()
        pairs = torch.cat([torch.stack([where, tile]), torch.stack([noise, torch.zeros_like(noise)])], dim=1)
        record, tile = torch.unique(pairs, dim=1)
        slack = self.sizes[record] - window
        start = torch.minimum((offset[record] + tile * window).clamp(min=0), slack)
        return record, torch.where(slack < 0, (draw[record] * slack).long(), start)

    # -- parts --------------------------------------------------------------------------------------------------------

    def take(self, index: Tensor) -> "Waveforms":
        """The records `index` as a container, picks and all."""
        where, phase, sample = self.pick_table
        place = torch.full((len(self.signals),), -1)
        place[index] = torch.arange(len(index))
        kept = place[where] >= 0
        longest = int(self.sizes[index].max()) if len(index) else 1
        return replace(
            self,
            signals=self.signals[index, :, :longest],
            lengths=self.sizes[index],
            pick_record=place[where[kept]],
            pick_phase=phase[kept],
            pick_sample=sample[kept],
            labelled=self.looked_at[index],
            begins=self.first_times[index],
            station=tuple(self.station[i] for i in index.tolist()) if self.station else (),
            channels=tuple(self.channels[i] for i in index.tolist()) if self.channels else (),
        )

    def between(self, begin: Tensor, end: Tensor) -> "Waveforms":
        """Of every record the samples from `begin` to `end`, (records,) each."""
        length = end - begin
        cut = self.cut(torch.arange(len(self.signals)), begin, int(length.max()))
        behind = torch.arange(cut.signals.shape[-1]) >= length[:, None]
        where, phase, sample = self.pick_table
        kept = (sample >= begin[where]) & (sample < end[where])
        return replace(
            self,
            signals=cut.signals.masked_fill(behind[:, None], torch.nan),
            lengths=length,
            pick_record=where[kept],
            pick_phase=phase[kept],
            pick_sample=(sample - begin[where])[kept],
            begins=self.first_times + begin / self.rate,
        )

    def split(self, seed: int = 0, shares: tuple[float, float, float] = SHARES) -> Split["Waveforms"]:
        """Train, validation and test parts in `shares`.

        By station, drawn at random, where at least three are known: no station is in two parts. By record where there
        are at least three. Else by time: the first, the next and the last part of every record.
        """
        stations = sorted(set(self.with_truth().station))
        count = len(self.signals)
        if len(stations) >= 3:
            number = torch.tensor([stations.index(name) for name in self.station])
            parts = _drawn(torch.bincount(number, minlength=len(stations)), shares, seed)
            return Split(*(self.take(torch.nonzero(torch.isin(number, part)).flatten()) for part in parts))
        if count >= 3:
            parts = _drawn(torch.ones(count, dtype=torch.int64), shares, seed)
            return Split(*(self.take(part.sort().values) for part in parts))
        bounds = [(self.sizes * share).long() for share in (0.0, shares[0], shares[0] + shares[1], 1.0)]
        if int((bounds[3] - bounds[2]).min()) < self.window or int((bounds[2] - bounds[1]).min()) < self.window:
            raise DataError(
                f"{self.name}: {count} record{'s' * (count > 1)} of {float(self.sizes.min()) / self.rate:g} s cannot "
                "be split into train, validation and test; bring records of at least 3 stations, 3 records, or one of "
                f"at least {self.window / min(shares[1:]) / self.rate:g} s"
            )
        return Split(*(self.between(bounds[k], bounds[k + 1]) for k in range(3)))

    def describe(self) -> dict[str, Any]:
        _, phase, _ = self.pick_table
        counts = {f"{name}_picks": int((phase == number).sum()) for number, name in enumerate(PHASES)}
        return {
            "container": "Waveforms",
            "records": len(self.signals),
            "stations": len(set(self.station)),
            "seconds": round(float(self.sizes.sum()) / self.rate, 2),
            "longest_record_seconds": round(int(self.sizes.max()) / self.rate, 2),
            "samples_per_second": self.rate,
            "vertical_only": int(self.vertical_only.sum()),
            **counts,
            "note": self.remark,
        }


def _drawn(sizes: Tensor, shares: Sequence[float], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of groups for each part: shuffled groups of `sizes` records, filled into test, validation and train until
    they hold about their share of the records; at least one group each."""
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    reached = sizes[order].cumsum(0)
    total = int(reached[-1])
    held = int(torch.searchsorted(reached, round(shares[2] * total))) + 1
    held = min(max(held, 1), len(order) - 2)
    both = int(torch.searchsorted(reached, round((shares[1] + shares[2]) * total))) + 1 if shares[1] else held
    both = min(max(both, held + 1), len(order) - 1)
    return order[both:], order[held:both], order[:held]


def waveforms_of(
    records: Sequence[Tensor], picks: Sequence[Sequence[Tensor]] | None = None, **fields: Any
) -> Waveforms:
    """A container of records (3, samples) of unequal length; picks: for each its P and its S samples, (count,) each."""
    longest = max(record.shape[-1] for record in records)
    pad = torch.nn.functional.pad
    signals = torch.stack([pad(record.float(), (0, longest - record.shape[-1]), value=torch.nan) for record in records])
    lengths = torch.tensor([record.shape[-1] for record in records])
    if picks is not None:
        rows = [
            (number, phase, float(sample))
            for number, both in enumerate(picks)
            for phase, samples in enumerate(both)
            for sample in torch.as_tensor(samples).flatten().tolist()
        ]
        table = torch.tensor(rows, dtype=torch.float64).view(-1, 3)
        fields |= {"pick_record": table[:, 0].long(), "pick_phase": table[:, 1].long(), "pick_sample": table[:, 2]}
    return Waveforms(signals=signals, lengths=lengths, **fields)
