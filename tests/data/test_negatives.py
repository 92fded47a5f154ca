"""Negatives are what their names say, never what happens now, and know nothing of what comes."""

from dataclasses import replace

import pytest
import torch

from pathline.data import DataError, Events
from pathline.data.negatives import ACTIVE, KINDS, Negatives


def stream(directed: bool = False) -> Events:
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, 30, (600,), generator=generator)
    target = (source + torch.randint(1, 12, (600,), generator=generator)) % 30
    return Events(source=source, target=target, time=torch.arange(600), nodes=30, directed=directed)


def drawn(data: Events, kind: str, count: int = 3):
    negatives, generator = Negatives(data), torch.Generator().manual_seed(1)
    return [(batch, negatives.draw(kind, batch, count, generator)) for batch in data.batches(20)]


@pytest.mark.parametrize("directed", [False, True])
def test_each_kind_is_what_it_says(directed):
    """Against brute force over Python sets, event by event."""
    data = stream(directed).split().test
    pairs = list(zip(data.source.tolist(), data.target.tolist(), strict=True))
    turned = [] if directed else [(v, u) for u, v in pairs]
    for kind in KINDS:
        hits = possible = 0
        for batch, targets in drawn(data, kind):
            begin = int(batch.position[0])
            now = {pairs[k] for k in batch.position.tolist()} | {turned[k] for k in batch.position.tolist() if turned}
            past = {*pairs[:begin], *turned[:begin]}
            young = past - {*pairs[: data.start], *turned[: data.start]}
            active = {node for pair in pairs[max(0, begin - ACTIVE) : begin] for node in pair}
            for u, v, row in zip(batch.source.tolist(), batch.target.tolist(), targets.tolist(), strict=True):
                known = {
                    "random": set(range(30)),
                    "historical": {b for a, b in past if a == u},
                    "inductive": {b for a, b in young if a == u},
                    "active": active,
                }[kind]
                open_ = {b for b in known if (u, b) not in now and b != u}
                for b in row:
                    assert b not in (u, v) and (u, b) not in now
                    assert b in open_ or not open_ or len(open_) < len(known)  # where some meet now, tries can run out
                    hits, possible = hits + (b in open_), possible + bool(open_)
        assert possible and hits > 0.85 * possible


def test_historical_negatives_are_past_partners_whenever_there_is_one():
    data = stream().split().test
    for batch, targets in drawn(data, "historical"):
        begin = int(batch.position[0])
        met = torch.zeros(30, 30, dtype=torch.bool)
        met[data.source[:begin], data.target[:begin]] = True
        met |= met.T.clone()
        now = torch.zeros(30, 30, dtype=torch.bool)
        now[batch.source, batch.target] = True
        open_ = met & ~(now | now.T)
        share = open_[batch.source[:, None], targets][open_[batch.source].sum(1) >= 3].float().mean()
        assert share > 0.9  # the rest are those whose tries all fell on partners that they meet right now


def test_random_negatives_are_uniform_over_everybody_else():
    data = Events(source=torch.tensor([3]), target=torch.tensor([7]), time=torch.tensor([0]), nodes=12)
    targets = Negatives(data).draw("random", next(data.batches(1)), 20_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(targets.flatten(), minlength=12)
    assert counts[3] == counts[7] == 0
    others = counts[counts > 0]
    assert len(others) == 10 and float(((others - 2000.0) ** 2 / 2000).sum()) < 27.9  # chi-square, 9 degrees, p = 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_later_changes_no_negative(kind):
    data = stream().split().test
    place = data.start + 40
    other = replace(data, target=torch.where(torch.arange(600)[: len(data.source)] < place, data.target, 0))
    other = replace(other, source=torch.where(torch.arange(len(data.source)) < place, data.source, 5))
    for (batch, one), (_, two) in zip(drawn(data, kind)[:2], drawn(other, kind)[:2], strict=True):
        assert int(batch.position[-1]) < place and torch.equal(one, two)


def test_targets_of_a_bipartite_stream_are_receivers():
    source = torch.arange(40) % 5
    data = Events(source=source, target=5 + torch.arange(40) % 7, time=torch.arange(40), nodes=12, senders=5)
    for kind in KINDS:
        for _, targets in drawn(data, kind):
            assert int(targets.min()) >= 5


def test_too_few_nodes_and_unknown_kinds_are_named():
    data = Events(source=torch.tensor([0]), target=torch.tensor([1]), time=torch.tensor([0]), nodes=2)
    with pytest.raises(DataError, match="no third node"):
        Negatives(data).draw("random", next(data.batches(1)), 1, torch.Generator())
    with pytest.raises(DataError, match="no 'hard' negatives"):
        Negatives(stream()).draw("hard", next(stream().batches(1)), 1, torch.Generator())
