"""Found against true arrivals: matching, scores, tables."""

import pytest
import torch

from pathline.data import waveforms_of
from pathline.perceive.arrivals import Arrivals, Picks, score, true_arrivals


def arrivals(*rows: tuple[int, int, float]) -> Arrivals:
    item, phase, sample = zip(*rows, strict=True)
    return Arrivals(torch.tensor(item), torch.tensor(phase), torch.tensor(sample), torch.full((len(rows),), 0.5))


def test_precision_recall_and_f1_are_counted():
    true = arrivals((0, 0, 100.0), (1, 0, 50.0), (2, 0, 70.0), (0, 1, 300.0))
    found = arrivals((0, 0, 104.0), (1, 0, 90.0), (3, 0, 70.0), (0, 1, 300.0))
    tight, wide = (score(found, true, 0, seconds, 100.0) for seconds in (0.1, 0.5))
    assert (tight.right, tight.found, tight.true) == (1, 3, 3) and tight.precision == tight.recall == pytest.approx(
        1 / 3
    )
    assert wide.right == 2 and wide.f1 == pytest.approx(2 / 3) and wide.mean == pytest.approx(0.22)
    assert wide.deviation == pytest.approx(0.18) and score(found, true, 1, 0.1, 100.0).f1 == 1.0


def test_the_edge_of_the_tolerance_is_inside():
    true, found = arrivals((0, 0, 100.0)), arrivals((0, 0, 110.0))
    assert score(found, true, 0, 0.1, 100.0).right == 1 and score(found, true, 0, 0.099, 100.0).right == 0


def test_nobody_is_counted_twice():
    """Two found arrivals near one true one are one right and one wrong, and the other way round."""
    one, two = arrivals((0, 0, 100.0)), arrivals((0, 0, 96.0), (0, 0, 103.0))
    first, second = score(two, one, 0, 0.5, 100.0), score(one, two, 0, 0.5, 100.0)
    assert (first.right, first.precision, first.recall) == (1, 0.5, 1.0) and first.residuals.item() == pytest.approx(
        0.03
    )
    assert (second.right, second.precision, second.recall) == (1, 1.0, 0.5)


def test_matching_equals_brute_force():
    draw = torch.Generator().manual_seed(0)
    true = Arrivals(
        torch.randint(5, (60,), generator=draw),
        torch.zeros(60).long(),
        1000 * torch.rand(60, generator=draw),
        torch.ones(60),
    )
    found = Arrivals(
        torch.randint(5, (80,), generator=draw),
        torch.zeros(80).long(),
        1000 * torch.rand(80, generator=draw),
        torch.ones(80),
    )
    right = 0
    for item in range(5):
        mine, theirs = found.sample[found.item == item], true.sample[true.item == item]
        distance = (mine[:, None] - theirs).abs()
        right += sum(
            float(distance[i, j]) <= 10 and i == int(distance[:, j].argmin()) and j == int(distance[i].argmin())
            for i in range(len(mine))
            for j in range(len(theirs))
        )
    assert score(found, true, 0, 0.1, 100.0).right == right > 10


def test_nothing_found_and_nothing_to_find():
    true = arrivals((0, 0, 100.0))
    empty = score(Arrivals.none(), true, 0, 0.5, 100.0)
    assert (empty.f1, empty.precision, empty.recall, empty.mean, empty.deviation) == (0.0, 0.0, 0.0, 0.5, 0.5)
    assert score(Arrivals.none(), true, 1, 0.5, 100.0).f1 == 1.0


def test_true_arrivals_are_those_inside_the_window():
    data = waveforms_of([torch.zeros(3, 1000)], [([100, 400], [450])])
    windows = data.cut(torch.tensor([0, 0]), torch.tensor([90, 350]), 100)
    true = true_arrivals(windows)
    assert [column.tolist() for column in true[:3]] == [[0, 1], [0, 0], [10.0, 50.0]]
    whole = true_arrivals(data.cut(torch.tensor([0]), torch.tensor([0]), 1000))
    assert whole.phase.tolist() == [0, 0, 1] and whole.sample.tolist() == [100.0, 400.0, 450.0]


def test_the_table_has_absolute_times_where_the_record_has_one():
    data = waveforms_of(
        [torch.zeros(3, 2000)] * 2, station=("XX.A", "XX.B"), begins=torch.tensor([1577836800.0, torch.nan])
    )
    table = Picks(arrivals((0, 0, 525.0), (1, 1, 800.0)), data).table()
    assert list(table.columns) == ["record", "station", "phase", "sample", "seconds", "time", "probability"]
    assert table.time.tolist() == ["2020-01-01T00:00:05.250", ""] and table.phase.tolist() == ["P", "S"]
    assert table.station.tolist() == ["XX.A", "XX.B"] and table.seconds.tolist() == [5.25, 8.0]
    assert not len(Picks(Arrivals.none(), data).table())
    every = Picks(arrivals(*((0, 0, float(sample)) for sample in range(0, 2000, 7))), data).table()
    assert every.time.str[-6:].astype(float).sub(every.seconds % 60).abs().max() < 1e-9
