"""The clock as table rows: which rows of a time-of-day and a day-of-week dictionary a moment looks up.

A dictionary row that no training step has touched holds its random initial numbers. A week of data cannot teach seven
days once a part is held out, so moments that training never saw borrow the row of the nearest one that it did see.
"""

import torch
from torch import Tensor, nn

from pathline.data import Series


class Calendar(nn.Module):
    """Rows 0 .. slots-1 for the time of day (slots <= steps_per_day; several steps may share one) and 0 .. 6 for days.

    Unseen times of day borrow from the nearest seen one around the clock; unseen days from the nearest seen day of
    their kind (working day or weekend), or of the other kind if only that was seen.
    """

    slot: Tensor
    day: Tensor

    def __init__(self, steps_per_day: int, slots: int | None = None) -> None:
        super().__init__()
        self.steps_per_day = steps_per_day
        self.slots = min(slots or steps_per_day, steps_per_day)
        self.register_buffer("slot", self._slot_of(torch.arange(steps_per_day)))
        self.register_buffer("day", torch.arange(7))

    def _slot_of(self, step: Tensor) -> Tensor:
        return step * self.slots // self.steps_per_day

    def read(self, data: Series) -> None:
        """See which moments `data`, the training part, covers."""
        step, day = data.clock(torch.arange(data.steps))
        slots, days = torch.arange(self.slots), torch.arange(7)
        nearest = _nearest(slots, self._slot_of(step).unique(), self.slots)
        self.slot.copy_(nearest[self._slot_of(torch.arange(self.steps_per_day))])
        self.day.copy_(_nearest(days, day.unique(), 7, kind=days >= 5))

    def forward(self, time_of_day: Tensor, day_of_week: Tensor) -> tuple[Tensor, Tensor]:
        """Step within the day and weekday, any shape -> rows of the two dictionaries."""
        return self.slot[time_of_day], self.day[day_of_week]


def clock_waves(time_of_day: Tensor, day_of_week: Tensor, steps_per_day: int, harmonics: int = 1) -> Tensor:
    """The clock as sines and cosines, for networks that take it as an input: (..., 2 + 2 harmonics).

    A wave of one week, then waves of 1, 1/2, 1/3 ... day.
    """
    day = time_of_day / steps_per_day
    cycles = [(day_of_week + day) / 7, *(day * (k + 1) for k in range(harmonics))]
    angle = 2 * torch.pi * torch.stack(cycles, -1)
    return torch.cat([angle.sin(), angle.cos()], -1)


def _nearest(wanted: Tensor, seen: Tensor, period: int, kind: Tensor | None = None) -> Tensor:
    """For each wanted place on a circle the nearest seen one, preferring its own kind."""
    apart = (wanted[:, None] - seen).abs()
    apart = torch.minimum(apart, period - apart)
    if kind is not None:
        apart = apart + period * (kind[wanted][:, None] != kind[seen])
    return seen[apart.argmin(1)]
