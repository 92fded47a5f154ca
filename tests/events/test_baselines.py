"""Baselines against what one would write with dictionaries, and independent of how events are batched."""

from dataclasses import replace

import pytest
import torch

from pathline.core import catalog
from pathline.core.tiny import tiny_affinities, tiny_events
from pathline.events.affinity_baselines import LabelAverage, LabelPersistence, MessageAverage, MessagePersistence

KEYS = ("last-contact", "edgebank", "edgebank-window", "contact-average", "target-popularity")


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("size", [1, 17, 1000])
@pytest.mark.parametrize("key", KEYS)
def test_scores_equal_a_dictionary(key, size, directed):
    data = replace(tiny_events(), directed=directed)
    method = catalog.method(key).for_data(data).fit(data)
    for contacts in data.between(size, 0, len(data.source)):
        method.observe(contacts)
    clock, now, window = data.clock.tolist(), float(data.clock[-1]) + 5, float(method.window)
    times: dict[tuple[int, int], list[float]] = {}
    popular = [0.0] * 12
    for u, v, t in zip(data.source.tolist(), data.target.tolist(), clock, strict=True):
        times.setdefault((u, v), []).append(t)
        popular[v] += 2 ** (-(now - 5 - t) / window)
        if not directed:
            times.setdefault((v, u), []).append(t)
            popular[u] += 2 ** (-(now - 5 - t) / window)
    target = torch.arange(12).expand(12, -1)
    said = method.score_pairs(torch.arange(12), target, torch.full((12,), now, dtype=torch.float64))
    for u in range(12):
        for v in range(12):
            met = times.get((u, v), [])
            truth = {
                "last-contact": 1 / (1 + now - met[-1]) if met else 0.0,
                "edgebank": float(bool(met)),
                "edgebank-window": float(bool(met) and now - met[-1] <= window),
                "contact-average": sum(2 ** (-(now - t) / window) for t in met),
                "target-popularity": popular[v],
            }[key]
            assert float(said[u, v]) == pytest.approx(truth, rel=1e-9), (u, v)


def test_the_window_is_as_long_as_the_validation_part_will_be():
    data = tiny_events().split().train
    method = catalog.method("edgebank-window").for_data(data)
    late = data.clock[-round(len(data) * 15 / 70) :]
    assert float(method.window) == pytest.approx(float(late[-1] - late[0]))


def test_label_averages_equal_past_answers():
    """At every moment, the mean of a node's own last answers, whatever period they were of."""
    data = tiny_affinities()
    for method, window in ((LabelPersistence.for_data(data), 1), (LabelAverage.for_data(data, window=3), 3)):
        past: dict[int, list[torch.Tensor]] = {}
        earlier = data.sums(data.contacts(0.0, data.period))
        for node, total in zip(earlier[0].tolist(), earlier[1], strict=True):
            past[node] = [total / total.sum()]
        for question in data.batches(1):
            method.observe_all(question.contacts)
            said = method.affinity(question.node, question.time)
            for row, node in enumerate(question.node.tolist()):
                mine = past.get(node, [torch.zeros(12)])[-window:]
                assert torch.allclose(said[row], torch.stack(mine).mean(0), atol=1e-6)
            for node, answer in zip(question.node.tolist(), question.affinity, strict=True):
                past.setdefault(node, []).append(answer)


def test_message_heuristics_equal_lists_of_weights():
    data = tiny_affinities()
    weight = torch.rand(len(data.events.source), generator=torch.Generator().manual_seed(0))
    data = replace(data, events=replace(data.events, weight=weight, directed=True))
    last, mean = MessagePersistence.for_data(data), MessageAverage.for_data(data, window=4)
    contacts = data.contacts(0.0, 1e9)
    for method in (last, mean):
        method.observe_all(contacts)
    said = [method.affinity(torch.arange(12), torch.zeros(12)) for method in (last, mean)]
    for u in range(12):
        for v in range(12):
            mine = weight[(data.events.source == u) & (data.events.target == v)].tolist()
            assert float(said[0][u, v]) == pytest.approx(mine[-1] if mine else 0.0)
            assert float(said[1][u, v]) == pytest.approx(sum(mine[-4:]) / 4, abs=1e-6)
