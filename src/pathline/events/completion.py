"""Completing a record of contacts with holes: which pairs, and which stretches of which pairs, were not looked at.

A share of all pairs is hidden altogether, and of the other pairs a share of their bins of time. Contacts there leave
the training record, which says by `Events.gaps` that nothing is known there. A question is a pair and a short interval:
    contact:  an interval around a contact that was hidden
    none:     a random hidden pair and bin, a random time in it, and no contact within the interval
as many of each, as in the paper's experiments. Celikkanat et al., 2022, arXiv:2212.12345.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.events import Events


@dataclass(frozen=True)
class IntervalQueries:
    """Did this pair meet in this interval? All (queries,): nodes int64, times on the clock float64, truth bool."""

    source: Tensor
    target: Tensor
    begin: Tensor
    end: Tensor
    truth: Tensor

    def area_under_curve(self, scores: Tensor) -> float:
        """The chance that an interval with a contact scores above one without; -inf is the least score."""
        from sklearn.metrics import roc_auc_score

        scores = scores.double().clamp(min=-1e300)
        return float(roc_auc_score(self.truth.numpy(), scores.numpy()))


@dataclass(frozen=True)
class Completion:
    """record: what may be learned from; masked: questions on pairs that are hidden altogether; seen: on hidden bins of
    other pairs."""

    record: Events
    masked: IntervalQueries
    seen: IntervalQueries


def hide(
    data: Events, seed: int, pairs: float = 0.1, cells: float = 0.1, bins: int = 30, half: float = 0.001
) -> Completion:
    """Hide a share `pairs` of all pairs and a share `cells` of the (pair, bin) cells of the others.

    bins: of the whole stretch of time, with the edges of which hidden stretches agree
    half: half the length of a question's interval, as a share of the whole stretch
    """
    generator = torch.Generator().manual_seed(seed)
    nodes = data.nodes
    i, j = torch.triu_indices(nodes, nodes, offset=1)
    masked = torch.zeros(len(i), dtype=torch.bool)
    masked[torch.randperm(len(i), generator=generator)[: round(pairs * len(i))]] = True
    shut = (torch.rand(len(i), bins, generator=generator) < cells) & ~masked[:, None]
    origin, length = float(data.clock[0]), float(data.clock[-1] - data.clock[0])
    if not length > 0:
        raise DataError(f"{data.name}: all events happen at one time, so no stretch of time can be hidden")
    width = length / bins

    whole = masked.nonzero().flatten()
    cell_pair, cell_bin = shut.nonzero().T
    everything = torch.tensor([origin, origin + length], dtype=torch.float64).expand(len(whole), 2)
    begin = origin + cell_bin.double() * width
    gaps = torch.cat(
        [
            torch.cat([torch.stack([i, j], 1)[whole].double(), everything], 1),
            torch.stack([i[cell_pair].double(), j[cell_pair].double(), begin, begin + width], 1),
        ]
    )

    first, second = torch.minimum(data.source, data.target), torch.maximum(data.source, data.target)
    pair = first * (2 * nodes - first - 1) // 2 + second - first - 1
    share = (data.clock - origin) / length
    bin = (share * bins).long().clamp(0, bins - 1)
    loop = first == second
    pair = torch.where(loop, 0, pair)
    in_masked, in_shut = masked[pair] & ~loop, shut[pair, bin] & ~loop
    known = ~(in_masked | in_shut)
    record = replace(data.keep(known), gaps=gaps, name=f"{data.name}-with-gaps")

    def questions(contact: Tensor, empty_pair: Tensor, empty_bin: Tensor) -> IntervalQueries:
        """contact: (events,) bool; empty_pair, empty_bin: hidden cells that negatives are drawn from."""
        count = int(contact.sum())
        tries = torch.randint(len(empty_pair), (4 * count,), generator=generator)
        moment = (empty_bin[tries] + torch.rand(len(tries), generator=generator, dtype=torch.float64)) / bins
        met = _met(pair[~loop], share[~loop], empty_pair[tries], moment, half)
        kept = (~met).nonzero().flatten()[:count]
        asked = torch.cat([pair[contact], empty_pair[tries][kept]])
        centre = torch.cat([share[contact], moment[kept]])
        return IntervalQueries(
            source=i[asked],
            target=j[asked],
            begin=origin + (centre - half).clamp(0, 1) * length,
            end=origin + (centre + half).clamp(0, 1) * length,
            truth=torch.arange(len(asked)) < count,
        )

    hidden_pair, hidden_bin = masked[:, None].expand(-1, bins).nonzero().T
    return Completion(
        record=record,
        masked=questions(in_masked, hidden_pair, hidden_bin),
        seen=questions(in_shut, cell_pair, cell_bin),
    )


def _met(pair: Tensor, time: Tensor, asked: Tensor, moment: Tensor, half: float) -> Tensor:
    """Whether pair `asked` has an event within `half` of `moment`: bisection in (pair, time), times from 0 to 1."""
    order = (2.0 * pair + time).sort().values  # exact enough: pairs are integers, times in [0, 1]
    low = torch.searchsorted(order, 2.0 * asked + (moment - half).clamp(min=0))
    high = torch.searchsorted(order, 2.0 * asked + (moment + half).clamp(max=1), right=True)
    return high > low
