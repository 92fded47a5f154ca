"""Containers: splits that do not leak, batches that are what was asked for, and data that is refused by name."""

from datetime import datetime

import pytest
import torch

from pathline.data import DataError, Rollouts, Samples, Series


def series(steps=500, nodes=3, **fields):
    values = torch.arange(steps * nodes).float().view(steps, nodes, 1)
    fields = {"start": 0, "interval": 3600, "history": 4, "horizon": 2, "name": "clock"} | fields
    return Series(values=values, observed=torch.ones(values.shape, dtype=torch.bool), **fields)


def rollouts(count=20, **fields):
    positions = torch.randn(count, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([[0, 1], [1, 2]])
    return Rollouts(positions=positions, velocities=positions * 2, edge_index=edges, name="bodies", **fields)


def test_a_series_is_split_in_the_order_of_time_and_no_window_crosses_a_border():
    parts = series().split()
    ends = [
        (part.values[0, 0, 0].item(), part.values[-1, 0, 0].item())
        for part in (parts.train, parts.validation, parts.test)
    ]
    assert ends == [(0, 349 * 3), (350 * 3, 399 * 3), (400 * 3, 499 * 3)]
    assert [part.start // 3600 for part in (parts.train, parts.validation, parts.test)] == [0, 350, 400]
    assert len(parts.test) == 100 - 6 + 1


def test_a_window_holds_consecutive_steps_and_their_clock():
    window = series(start=int(datetime(2024, 1, 1, 22).timestamp()) // 86400 * 86400 + 22 * 3600).gather(
        torch.tensor([0, 7])
    )
    assert window.past[1, :, 0, 0].tolist() == [21, 24, 27, 30]
    assert window.future[1, :, 0, 0].tolist() == [33, 36]
    assert window.time_of_day[0].tolist() == [22, 23, 0, 1, 2, 3]


def test_the_clock_knows_the_day_of_the_week():
    a_monday = 1_704_067_200  # 2024-01-01
    window = series(start=a_monday, interval=86_400).gather(torch.tensor([0]))
    assert window.day_of_week[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert window.time_of_day.unique().tolist() == [0]


def test_values_that_are_not_numbers_become_gaps():
    values = torch.tensor([[[1.0]], [[float("nan")]], [[3.0]]])
    data = Series(values=values, observed=torch.ones(3, 1, 1, dtype=torch.bool), start=0, interval=60)
    assert data.observed[:, 0, 0].tolist() == [True, False, True]
    assert data.values[1, 0, 0] == 0


def test_the_last_window_ends_with_the_data_and_has_no_future():
    window = series().last_window()
    assert window.past[0, -1, 0, 0] == 499 * 3
    assert not window.future_observed.any()
    assert window.time_of_day[0, -1] == (499 + 2) % 24


def test_every_item_is_in_exactly_one_batch_and_the_generator_alone_orders_them():
    data = Samples(values=torch.arange(103.0)[:, None])
    epochs = [
        torch.cat([b.values[:, 0] for b in data.batches(10, torch.Generator().manual_seed(seed))]) for seed in (0, 0, 1)
    ]
    assert torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[0], epochs[2])
    assert epochs[0].sort().values.tolist() == list(range(103))


def test_a_batch_is_shared_out_without_loss_and_keeps_what_is_shared():
    batch = rollouts(start=0).gather(torch.arange(5))
    parts = [batch.part(rank, 2) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 2]
    torch.testing.assert_close(torch.cat([part.position for part in parts]), batch.position[[0, 2, 4, 1, 3]])
    assert all(torch.equal(part.edge_index, batch.edge_index) for part in parts)


@pytest.mark.parametrize("data", [rollouts(), Samples(values=torch.randn(50, 2))])
def test_a_random_split_is_disjoint_whole_and_follows_the_seed(data):
    key = "positions" if isinstance(data, Rollouts) else "values"
    parts = [getattr(data.split(3), name) for name in ("train", "validation", "test")]
    rows = torch.cat([getattr(part, key).flatten(1) for part in parts])
    assert torch.equal(rows.sort(dim=0).values, getattr(data, key).flatten(1).sort(dim=0).values)
    assert torch.equal(getattr(data.split(3).test, key), getattr(parts[2], key))
    assert not torch.equal(getattr(data.split(4).test, key), getattr(parts[2], key))


def test_a_step_joins_the_input_frame_with_the_frame_a_span_later():
    data = rollouts(start=1, span=2, interval=0.5)
    step = data.gather(torch.tensor([7]))
    assert torch.equal(step.position[0], data.positions[7, 1]) and torch.equal(step.target[0], data.positions[7, 3])
    assert step.duration == 1.0
    assert len(rollouts(span=1)) == 20 * 3


def test_a_fingerprint_changes_with_any_number_and_not_with_the_name():
    data = Samples(values=torch.randn(50, 2), name="one")
    other = data.values.clone()
    other[17, 1] += 1e-6
    assert data.fingerprint() == Samples(values=data.values, name="two").fingerprint()
    assert data.fingerprint() != Samples(values=other, name="one").fingerprint()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: series(adjacency=torch.eye(4)), "the graph is 4 x 4 but there are 3 sensors"),
        (lambda: series(interval=0), "interval is 0 seconds"),
        (lambda: series(positions=torch.zeros(2, 2)), "positions have shape"),
        (lambda: series(steps=12).split(), "too few to split by time"),
        (lambda: series(steps=3).last_window(), "fewer than the 4 that a forecast looks back on"),
        (lambda: Samples(values=torch.tensor([[1.0], [float("nan")]])), r"value\[1, 0\] is nan"),
        (lambda: Samples(values=torch.zeros(0, 2)), "expected"),
        (lambda: Samples(values=torch.zeros(2, 2)).split(), "bring at least 3"),
        (lambda: rollouts(span=4), "4 frames do not hold a step of 4 frames"),
        (lambda: rollouts(features=torch.zeros(20, 2, 1)), r"features have shape \(20, 2, 1\)"),
    ],
)
def test_unusable_data_is_refused_with_its_reason(make, words):
    with pytest.raises(DataError, match=words):
        make()
