"""Rows of the clock's dictionaries."""

from dataclasses import replace

import torch

from pathline.forecast.calendar import Calendar

DAY = 8  # steps in the tiny series


def test_a_full_week_looks_everything_up_at_its_own_row(series):
    calendar = Calendar(DAY)
    calendar.read(series)
    slot, day = calendar(torch.arange(DAY), torch.arange(7)[:DAY])
    assert slot.tolist() == list(range(DAY)) and day.tolist() == list(range(7))


def test_several_steps_share_a_slot():
    slot, _ = Calendar(DAY, slots=4)(torch.arange(DAY), torch.zeros(DAY, dtype=torch.long))
    assert slot.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert Calendar(DAY, slots=100).slots == DAY


def test_unseen_days_borrow_from_the_nearest_day_of_their_kind(series):
    calendar = Calendar(DAY)
    friday_to_monday = series.slice(4 * DAY, 8 * DAY)
    calendar.read(friday_to_monday)
    assert calendar.day.tolist() == [0, 0, 0, 4, 4, 5, 6]
    calendar.read(series.slice(0, 5 * DAY))  # no weekend: Saturday is nearest Friday, Sunday nearest Monday
    assert calendar.day.tolist() == [0, 1, 2, 3, 4, 4, 0]


def test_unseen_times_borrow_around_the_clock(series):
    calendar = Calendar(DAY)
    calendar.read(series.slice(1, 4))  # steps 1, 2 and 3 of a day
    assert calendar.slot.tolist() == [1, 1, 2, 3, 3, 3, 1, 1]


def test_the_clock_is_the_data_s_local_one(series):
    later = replace(series, start=series.start + 2 * series.interval)
    calendar = Calendar(DAY)
    calendar.read(later.slice(0, 3))
    assert calendar.slot.unique().tolist() == [2, 3, 4]
