"""Holes in a record: what is hidden is gone, what is asked about was hidden, and truth is what happened."""

import pytest
import torch

from pathline.data.events import Events
from pathline.events.completion import IntervalQueries, hide
from pathline.events.contact_rivals import PairRate
from pathline.events.pair_counts import PairCounts

BINS = 6


def stream(events: int = 3000, nodes: int = 12):
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, nodes, (events,), generator=generator)
    target = (source + torch.randint(1, 5, (events,), generator=generator)) % nodes
    time = 1000 + torch.randint(0, 5000, (events,), generator=generator).sort().values
    return Events(source=source, target=target, time=time, nodes=nodes, directed=False, name="tiny")


def test_what_is_hidden_is_not_in_the_record():
    data = stream()
    made = hide(data, seed=0, pairs=0.2, cells=0.3, bins=BINS)
    record, span = made.record, data.span
    assert record.gaps is not None and 0 < len(record) < 0.8 * len(data)
    pairs = torch.stack([torch.minimum(record.source, record.target), torch.maximum(record.source, record.target)], 1)
    for u, v, begin, end in record.gaps.tolist():
        same = (pairs == torch.tensor([u, v]).long()).all(1)
        whole = end - begin > span / BINS * 1.01
        inside = same & (whole | (record.clock >= begin) & (record.clock < end))
        assert not bool(inside.any())
    assert len(torch.unique(record.gaps[record.gaps[:, 3] - record.gaps[:, 2] > span / 2, :2], dim=0)) == round(
        0.2 * 66
    )


def test_every_question_was_hidden_and_its_truth_is_what_happened():
    data = stream()
    half = 0.002
    made = hide(data, seed=1, bins=BINS, half=half)
    masked = {(u, v) for u, v, begin, end in made.record.gaps.tolist() if end - begin > data.span / 2}
    for asked, hidden_whole in ((made.masked, True), (made.seen, False)):
        assert int(asked.truth.sum()) * 2 == len(asked.truth) > 20
        for u, v, begin, end, truth in zip(
            *(part.tolist() for part in (asked.source, asked.target, asked.begin, asked.end, asked.truth)), strict=True
        ):
            assert u < v and ((u, v) in masked) == hidden_whole
            pair = (data.source == u) & (data.target == v) | (data.source == v) & (data.target == u)
            met = pair & (data.clock >= begin - 1e-6) & (data.clock <= end + 1e-6)
            assert bool(met.any()) == truth
            assert end - begin <= 2 * half * data.span + 1e-6


def test_the_hidden_cells_are_not_watched():
    data = stream()
    record = hide(data, seed=0, bins=BINS).record
    counts = PairCounts.of(record, BINS, 0.0, data.span)
    batch = counts.batch(torch.arange(12))
    masked = round(0.1 * 66)
    share = float(1 - batch.watched.mean())
    assert abs(share - (masked / 66 + 0.1 * (1 - masked / 66))) < 0.06
    assert (batch.watched[batch.bin, batch.pair] == 1).all()
    assert int((batch.watched.sum(0) == 0).sum()) == masked
    assert float(batch.count.sum()) == len(record)


def test_counts_are_those_of_each_pair_and_bin():
    data = stream(400)
    counts = PairCounts.of(data, BINS, 0.0, data.span)
    for first, second, bin, count, since, square in list(
        zip(
            *(getattr(counts, name).tolist() for name in ("first", "second", "bin", "count", "since", "square")),
            strict=True,
        )
    )[::7]:
        pair = (data.source == first) & (data.target == second) | (data.source == second) & (data.target == first)
        share = data.clock / data.span
        inside = pair & ((share * BINS).long().clamp(max=BINS - 1) == bin)
        late = share[inside] - bin / BINS
        assert count == int(inside.sum()) > 0
        assert since == pytest.approx(float(late.sum())) and square == pytest.approx(float(late.square().sum()))


def test_the_pair_rate_is_per_watched_time():
    data = stream()
    span = data.span
    rows = torch.tensor([[0.0, 1.0, 0.0, span / 2], [2.0, 3.0, -1.0, span + 1]], dtype=torch.float64)
    pair = (torch.minimum(data.source, data.target) == 0) & (torch.maximum(data.source, data.target) == 1)
    hidden = pair & (data.clock < span / 2)
    from dataclasses import replace

    model = PairRate.for_data(replace(data.keep(~hidden), gaps=rows), bins=BINS)
    late = int((pair & ~hidden).sum())
    assert float(model.frequency[1, 0]) == pytest.approx(late / (BINS / 2))
    zero = torch.zeros(1, dtype=torch.int64)
    ends = torch.tensor([3.0]), torch.tensor([5.0])
    assert float(model.log_expected(zero, zero + 1, *ends).exp()) == pytest.approx(2 * late / (BINS / 2))
    assert float(model.score_pairs(zero, zero[None] + 1, ends[0])) == pytest.approx(late / (BINS / 2))


def test_scores_of_minus_infinity_are_the_least():
    truth = torch.tensor([True, False, True, False])
    zero = torch.zeros(4)
    asked = IntervalQueries(zero.long(), zero.long(), zero, zero + 1, truth)
    assert asked.area_under_curve(torch.tensor([0.0, -torch.inf, -torch.inf, -1.0])) == pytest.approx(0.625)
