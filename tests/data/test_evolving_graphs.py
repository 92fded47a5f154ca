"""Snapshots: what lies in which, and no part of a split holds what comes after it."""

from dataclasses import replace

import pytest
import torch

from pathline.data.errors import DataError
from pathline.data.events import Events
from pathline.data.evolving_graphs import EvolvingGraph, evolving_graph_of


def stream(**changes):
    fields = {
        "source": torch.tensor([0, 1, 0, 2, 2, 1, 3]),
        "target": torch.tensor([1, 0, 2, 2, 3, 3, 0]),
        "time": torch.tensor([100, 101, 104, 105, 110, 119, 131]),
        "nodes": 5,
        "directed": False,
    }
    return Events(**(fields | changes))


def graph(steps: int = 30, **changes):
    generator = torch.Generator().manual_seed(0)
    snapshot = torch.arange(steps).repeat_interleave(4)
    source, target = torch.randint(0, 5, (2, len(snapshot)), generator=generator)
    features = torch.randn(steps, 5, 2, generator=generator)
    fields = {"source": source, "target": target, "snapshot": snapshot, "features": features}
    return EvolvingGraph(**(fields | {"nodes": 5, "steps": steps, "window": 3} | changes))


def test_events_fall_into_stretches_of_time():
    made = evolving_graph_of(stream(), 10.0, window=1)
    assert made.steps == 4
    pairs = [{tuple(pair) for pair in torch.stack(made.edges(k)[:2], 1).tolist()} for k in range(4)]
    assert pairs == [{(0, 1), (0, 2)}, {(2, 3), (1, 3)}, set(), {(0, 3)}]  # a pair once, no loop, no direction
    assert made.present.sum(1).tolist() == [3, 3, 0, 2]


def test_direction_is_kept_where_there_is_one():
    made = evolving_graph_of(stream(directed=True), 10.0, window=1)
    assert torch.stack(made.edges(0)[:2], 1).tolist() == [[0, 1], [0, 2], [1, 0]]


def test_what_is_asked_lies_in_the_own_events():
    later = replace(stream(), start=4)  # its own events begin at clock 10
    assert evolving_graph_of(later, 10.0, window=1).questions.tolist() == [1, 2, 3]
    assert evolving_graph_of(replace(later, start=5), 10.0, window=1).questions.tolist() == [2, 3]


def test_no_part_holds_what_comes_after_it():
    whole = graph()
    split = whole.split()
    asked = [part.questions.tolist() for part in (split.train, split.validation, split.test)]
    assert asked[0] + asked[1] + asked[2] == whole.questions.tolist()
    for part in (split.train, split.validation):
        last = part.questions[-1]
        assert part.steps == last + 1 and len(part.features) == last + 1 and int(part.snapshot[-1]) <= last


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match="order of their snapshots"):
        graph(snapshot=torch.arange(30).repeat_interleave(4).flip(0))
    with pytest.raises(DataError, match="cannot be split"):
        graph(steps=4).split()
    with pytest.raises(DataError, match="features have shape"):
        graph(features=torch.zeros(29, 5, 2))
