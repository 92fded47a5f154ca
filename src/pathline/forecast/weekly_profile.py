"""The usual value of this hour of this weekday: what a timetable knows."""

import torch
from torch import Tensor

from pathline.data import Series, Windows
from pathline.forecast.baselines import DailyProfile

DAYS = 7


class WeeklyProfile(DailyProfile):
    """The mean training value of each sensor at this time of day on this day of the week.

    Where that moment of the week was never observed, what `DailyProfile` says.
    """

    week: Tensor

    def __init__(self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.register_buffer("week", torch.zeros(DAYS, steps_per_day, nodes, channels))

    def read(self, data: Series) -> None:
        super().read(data)
        time_of_day, day = data.clock(torch.arange(data.steps))
        cell, flat = day * self.steps_per_day + time_of_day, self.week.flatten(0, 1)
        total = torch.zeros_like(flat, dtype=torch.float64).index_add_(0, cell, data.values.double())
        count = torch.zeros_like(total).index_add_(0, cell, data.observed.double())
        usual = self.profile[(torch.arange(DAYS) >= 5).long()].flatten(0, 1)
        self.week.copy_(torch.where(count > 0, total / count.clamp(min=1), usual).view_as(self.week))

    def forward(self, window: Windows) -> Tensor:
        ahead = slice(self.history, None)
        return self.week[window.day_of_week[:, ahead], window.time_of_day[:, ahead]]
