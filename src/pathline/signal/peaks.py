"""Peaks of many curves at once: local maxima above a height, the highest first, none too near a higher one."""

from typing import NamedTuple

import torch
from torch import Tensor


class Peaks(NamedTuple):
    """curve, sample: (peaks,) int64, ordered by curve and sample; height: (peaks,)."""

    curve: Tensor
    sample: Tensor
    height: Tensor


def find_peaks(curves: Tensor, height: float, distance: int = 0) -> Peaks:
    """Local maxima of `curves` (count, samples) of at least `height`, at most one within `distance` samples.

    A sample is a local maximum if its curve rises into it and does not rise out of it; the first and the last sample
    are none. Of two that are at most `distance` apart the higher stays, of two equal ones the earlier, as if one took
    the highest of all, struck out its neighbourhood, and went on with the next. Values that are no numbers are no
    peaks.
    """
    if curves.ndim != 2:
        raise ValueError(f"curves have shape {tuple(curves.shape)}; expected (count, samples)")
    inner = curves[:, 1:-1]
    is_peak = (inner > curves[:, :-2]) & (inner >= curves[:, 2:]) & (inner >= height)
    curve, place = torch.nonzero(is_peak, as_tuple=True)
    index = place + 1
    found = curves[curve, index]
    kept = _strike_out(curve * (curves.shape[1] + distance + 1) + index, found, distance)
    return Peaks(curve[kept], index[kept], found[kept])


def _strike_out(place: Tensor, height: Tensor, distance: int) -> Tensor:
    """Which of the candidates at increasing `place` stay: (count,) bool.

    Every candidate that is the highest undecided one of its neighbourhood stays and strikes its neighbours out, all at
    once, until all are decided. What stays is what the one-by-one order gives, for a candidate's fate depends on higher
    neighbours alone.
    """
    count = len(place)
    stays = torch.zeros(count, dtype=torch.bool, device=place.device)
    if not count or distance < 1:
        return ~stays
    order = torch.argsort(height, descending=True, stable=True)  # equal heights: the earlier first
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count, device=place.device)
    reach = int((torch.searchsorted(place, place + distance, right=True) - torch.arange(count)).max()) - 1
    open_ = ~stays
    while bool(open_.any()):
        beaten = torch.zeros_like(open_)
        for step in range(1, reach + 1):  # neighbours in the list, few, since candidates are maxima
            near = (place[step:] - place[:-step] <= distance) & open_[step:] & open_[:-step]
            first_wins = rank[:-step] < rank[step:]
            beaten[step:] |= near & first_wins
            beaten[:-step] |= near & ~first_wins
        winners = open_ & ~beaten
        stays |= winners
        struck = winners.clone()
        for step in range(1, reach + 1):
            near = place[step:] - place[:-step] <= distance
            struck[step:] |= near & winners[:-step]
            struck[:-step] |= near & winners[step:]
        open_ = open_ & ~struck
    return stays
