"""The protocol of the room: predict, then observe; nothing of the future in any earlier prediction."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from pathline.core import catalog
from pathline.core.budget import steps
from pathline.core.tiny import tiny_affinities, tiny_events
from pathline.data import DataError, Events
from pathline.events.affinity import ndcg
from pathline.events.base import EventModel, Replay
from pathline.events.link_rivals import LinkTGN, OnlineJoint

IN_ROOM = [entry for entry in catalog.methods(built=True) if entry.room == "events"]
LINKS = [entry.load() for entry in IN_ROOM if issubclass(entry.load(), EventModel)]
AFFINITIES = [entry.load() for entry in IN_ROOM if not issubclass(entry.load(), EventModel)]


def fitted(cls, data):
    method = cls.seeded(data, 0)
    return method.fit(data, steps(3) if cls.trains else None, seed=0)


def other_future(data: Events, place: int, how: str) -> Events:
    """The stream with everything from `place` on changed, or put in another order."""
    later = torch.arange(len(data.source)) >= place
    if how == "perturbed":
        return replace(
            data,
            source=torch.where(later, (data.source + 3) % data.nodes, data.source),
            target=torch.where(later, (data.target + 4) % data.nodes, data.target),
            weight=torch.where(later, 7.0, data.weight),
            time=torch.where(later, data.time + 999, data.time),
        )
    order = torch.arange(len(data.source))
    order[place:] = order[place:].flip(0)
    return replace(data, source=data.source[order], target=data.target[order], weight=data.weight[order])


@pytest.mark.parametrize("how", ["perturbed", "permuted"])
@pytest.mark.parametrize("cls", [*LINKS, LinkTGN, OnlineJoint], ids=lambda cls: cls.__name__)
def test_the_future_changes_no_earlier_prediction(cls, how):
    split = replace(tiny_events(), batch=8).split()
    method = fitted(cls, split.train)
    whole = split.test.window(split.train.start, len(split.test.source))
    test = replace(whole, start=len(split.train.source))
    cuts = test.cuts(8, test.start, len(test.source)).tolist()
    place = cuts[len(cuts) // 2]
    one, two = method.replay(test, 5), method.replay(other_future(test, place, how), 5)
    before = place - test.start
    assert torch.equal(one.happened[:before], two.happened[:before])
    for kind in one.against:
        assert torch.equal(one.negative[kind][:before], two.negative[kind][:before])
        assert torch.equal(one.against[kind][:before], two.against[kind][:before])
    assert not torch.equal(one.negative["random"][before:], two.negative["random"][before:])


@pytest.mark.parametrize("cls", AFFINITIES, ids=lambda cls: cls.__name__)
def test_the_future_changes_no_earlier_affinity(cls):
    split = tiny_affinities().split()
    method = fitted(cls, split.train)
    moment = split.test.moments[len(split.test) // 2]
    clock = split.test.events.clock
    place = int(torch.searchsorted(clock, float(moment) * split.test.period))
    changed = replace(split.test, events=other_future(split.test.events, place, "permuted"))
    count = sum(len(question) for question in split.test.batches(1) if float(question.time[0]) < moment * 300)
    said, other = method.answers(split.test)[0], method.answers(changed)[0]
    assert count and torch.equal(said[:count], other[:count])


@pytest.mark.parametrize("cls", [*LINKS, LinkTGN, OnlineJoint], ids=lambda cls: cls.__name__)
def test_walking_twice_and_in_between_leaves_no_trace(cls):
    """Evaluating is repeatable, and a model that is in the middle of an epoch goes on as if nobody had looked."""
    split = tiny_events().split()
    method = fitted(cls, split.train)
    for contacts in split.train.batches(50):
        method.observe(contacts)
    buffers = {name: buffer.clone() for name, buffer in method.named_buffers()}
    first, again = method.replay(split.test, 1), method.replay(split.test, 1)
    assert torch.equal(first.happened, again.happened)
    for name, buffer in method.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


@pytest.mark.parametrize("cls", AFFINITIES, ids=lambda cls: cls.__name__)
def test_asking_twice_for_affinities_leaves_no_trace(cls):
    split = tiny_affinities().split()
    method = fitted(cls, split.train)
    for contacts in split.train.events.batches(50):
        method.observe(contacts)
    buffers = {name: buffer.clone() for name, buffer in method.named_buffers()}
    assert torch.equal(method.answers(split.test)[0], method.answers(split.test)[0])
    for name, buffer in method.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


class Knows(EventModel):
    """Scores 1 for what it observed, to see what was observed when."""

    def reset(self):
        self.seen_pairs = set()

    def observe(self, contacts):
        self.seen_pairs |= set(zip(contacts.source.tolist(), contacts.target.tolist(), strict=True))

    def score_pairs(self, source, target, time):
        rows = zip(source.tolist(), target.tolist(), strict=True)
        return torch.tensor([[float((u, v) in self.seen_pairs) for v in row] for u, row in rows])


def test_a_batch_is_scored_before_and_known_after():
    data = replace(tiny_events(), batch=10).split().test
    replay = Knows.for_data(data).replay(data, 0, {"random": 2})
    pairs = list(zip(data.source.tolist(), data.target.tolist(), strict=True))
    cuts = data.cuts(10, data.start, len(pairs)).tolist()
    truth = [float(pairs[k] in pairs[:first]) for first, last in pairwise(cuts) for k in range(first, last)]
    assert replay.happened.tolist() == truth and 0 < sum(truth) < len(truth)


def test_metrics_have_their_closed_forms():
    replay = Replay(
        happened=torch.tensor([3.0, 1.0, 2.0]),
        against={"random": torch.tensor([[0.0, 1.0], [2.0, 1.0], [2.0, 2.0]])},
        negative={},
        new=torch.tensor([False, True, False]),
    )
    assert replay.reciprocal_rank() == pytest.approx((1 + 1 / 2.5 + 1 / 2) / 3)
    assert replay.area_under_curve() == pytest.approx((3 + 1 + 0 + 2 * 0.5 + 1) / 9)
    assert replay.average_precision() == pytest.approx((1 / 1 + 2 / 4 + 3 / 5) / 3)
    assert replay.average_precision(where=replay.new) == pytest.approx(0.5)


def test_ndcg_counts_places_and_shares_ties():
    gain = torch.tensor([[3.0, 0.0, 1.0, 0.0]])
    log = torch.log2(torch.arange(2.0, 6.0))
    best = 3 / log[0] + 1 / log[1]
    assert float(ndcg(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), gain)) == pytest.approx(
        float((3 / log[0] + 1 / log[2]) / best)
    )
    tied = float(ndcg(torch.zeros(1, 4), gain, 3))
    assert tied == pytest.approx(float((1 / log[:3]).sum() / best))
    from sklearn.metrics import ndcg_score

    generator = torch.Generator().manual_seed(0)
    score, gain = torch.randint(0, 4, (30, 12), generator=generator).double(), torch.rand(30, 12, generator=generator)
    assert float(ndcg(score, gain, 5).mean()) == pytest.approx(ndcg_score(gain.numpy(), score.numpy(), k=5), abs=1e-6)


def test_new_nodes_are_measured_apart():
    split = tiny_events().split()
    shown = split.train.without(torch.tensor([3]))
    metrics = fitted(catalog.method("last-contact"), shown).evaluate(split.test)
    assert "AP, random negatives, new nodes" in metrics
    assert "AP, random negatives, new nodes" not in fitted(catalog.method("last-contact"), split.train).evaluate(
        split.test
    )


def test_likely_contacts_are_named_and_ranked():
    data = tiny_events()
    table = fitted(catalog.method("contact-average"), data).predict(data)
    assert list(table.columns) == ["source", "target", "rank", "score"]
    assert (table["source"] != table["target"]).all() and set(table["rank"]) == {1, 2, 3}
    for _, rows in table.groupby("source"):
        assert rows["score"].is_monotonic_decreasing


def test_strangers_are_refused_by_name():
    data = tiny_events()
    method = fitted(catalog.method("edgebank"), data)
    strangers = replace(data, names=tuple("abcdefghijkl"), name="strangers")
    with pytest.raises(DataError, match=r"strangers.*'a'"):
        method.evaluate(strangers)
    with pytest.raises(DataError, match="directed"):
        method.evaluate(replace(data, directed=True, name="arrows"))
