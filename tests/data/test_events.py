"""Event streams: nothing of their times is lost, parts are cut by time, and batches never part an instant."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from pathline.data import DataError, Events, events_from_temporal_data, events_of, load, read
from pathline.data.affinities import Affinities


def stream(count: int = 200, seed: int = 0, **fields) -> Events:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, 9, (count,), generator=generator)
    facts = {
        "target": (source + torch.randint(1, 9, (count,), generator=generator)) % 9,
        "time": 1_600_000_000 + torch.randint(0, 3, (count,), generator=generator).cumsum(0),
        "nodes": 9,
    }
    return Events(source=source, **{**facts, **fields})


def test_seconds_since_1970_keep_every_digit():
    fine = torch.tensor([1.6e9 + 1e-6 * k for k in range(300)], dtype=torch.float64)
    nanoseconds = torch.tensor([1_600_000_000_123_456_789 + k for k in range(300)])
    for time, step in ((fine, 1e-6), (nanoseconds, 1.0)):
        clock = next(stream(300, time=time).batches(300)).time
        assert clock.dtype == torch.float64
        assert torch.allclose(clock.diff(), torch.full((299,), step, dtype=torch.float64), rtol=0.25)
    assert not (1.6e9 + 1e-6 * torch.arange(300)).float().diff().any()  # what float32 would leave


def test_parts_are_cut_by_time_and_carry_what_went_before():
    data = stream(400)
    split = data.split()
    ends = [len(part.source) for part in (split.train, split.validation, split.test)]
    assert [part.start for part in (split.train, split.validation, split.test)] == [0, ends[0], ends[1]]
    assert ends[2] == 400 and abs(ends[0] - 280) < 12 and abs(ends[1] - 340) < 12
    assert data.time[ends[0] - 1] < data.time[ends[0]] and data.time[ends[1] - 1] < data.time[ends[1]]
    assert torch.equal(split.test.clock, data.clock)
    assert torch.equal(split.validation.source, data.source[: ends[1]])


def test_batches_are_chronological_exact_and_never_part_an_instant():
    data = stream(400).split().test
    batches = list(data.batches(7))
    assert torch.equal(torch.cat([batch.position for batch in batches]), torch.arange(data.start, len(data.source)))
    for earlier, later in pairwise(batches):
        assert earlier.time[-1] < later.time[0]
        assert 1 <= len(earlier) <= 7 + int(torch.unique_consecutive(data.time, return_counts=True)[1].max())
    assert len(batches) == len(data.cuts(7, data.start, len(data.source))) - 1
    history = torch.cat([batch.position for batch in data.history(7)])
    assert torch.equal(history, torch.arange(data.start))


def test_one_instant_is_one_batch_however_many_events_it_has():
    assert len(list(stream(50, time=torch.full((50,), 7)).batches(4))) == 1
    with pytest.raises(DataError, match="too few different times"):
        stream(50, time=torch.full((50,), 7)).split()


def test_temporal_data_goes_in_and_out():
    data = stream(50, features=torch.randn(50, 3), weight=torch.rand(50))
    there = data.to_temporal_data()
    assert there.t.dtype == torch.int64 and there.msg.shape == (50, 4)
    shuffled = there[torch.randperm(50, generator=torch.Generator().manual_seed(1))]
    back = events_from_temporal_data(shuffled)
    assert torch.equal(back.time, data.time) and back.nodes == 9
    assert torch.equal(back.features.sum(0), there.msg[back.time.argsort(stable=True)].sum(0)) or torch.allclose(
        back.features.sum(0), there.msg.sum(0), atol=1e-5
    )
    del there.dst
    with pytest.raises(DataError, match="no dst"):
        events_from_temporal_data(there)


def test_events_in_any_order_are_sorted_and_their_names_numbered():
    data = events_of(["b", "a", "c"], ["a", "c", "b"], torch.tensor([3, 1, 2]), weight=torch.tensor([3.0, 1.0, 2.0]))
    assert data.names == ("a", "b", "c") and data.time.tolist() == [1, 2, 3] and data.weight.tolist() == [1.0, 2.0, 3.0]
    assert data.source.tolist() == [0, 2, 1] and not data.senders
    shop = events_of([10, 9, 10], ["x", "y", "y"], torch.tensor([1, 2, 3]))
    assert shop.names == ("9", "10", "x", "y") and shop.senders == 2 and shop.candidates.tolist() == [2, 3]


def test_the_same_people_keep_their_numbers_in_another_file():
    whole = events_of(["a", "b", "d"], ["b", "c", "a"], torch.tensor([1, 2, 3]))
    later = events_of(["d", "c"], ["c", "b"], torch.tensor([5, 6]))
    again = later.aligned(whole.names)
    assert [whole.names[k] for k in again.source.tolist()] == ["d", "c"] and again.nodes == 4
    with pytest.raises(DataError, match="'e'"):
        events_of(["e", "a"], ["a", "b"], torch.tensor([1, 2])).aligned(whole.names)


def test_hidden_nodes_have_no_event_left():
    data = stream(200).split().train
    hidden = torch.tensor([2, 5])
    shown = data.without(hidden)
    assert not (torch.isin(shown.source, hidden) | torch.isin(shown.target, hidden)).any()
    assert 0 < len(shown) < len(data) and shown.zero == data.zero


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"time": torch.arange(200, 0, -1)}, "is before"),
        ({"time": torch.arange(200.0)}, "loses digits"),
        ({"nodes": 3}, "there are 3 nodes"),
        ({"weight": torch.full((200,), torch.nan)}, "weight"),
        ({"names": ("a", "b")}, "2 names"),
        ({"start": 201}, "begin at 201"),
        ({"senders": 4}, "bipartite"),
        ({"batch": 0}, "batches of 0"),
    ],
)
def test_what_is_wrong_is_named(change, says):
    with pytest.raises(DataError, match=says):
        replace(stream(), **change)


def written(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_with_a_header_is_read_by_its_names(tmp_path):
    text = "when,who,to,from,amount,heat\n2020-01-01 00:00:02,x,b,a,2.5,1\n2020-01-01 00:00:01,x,c,b,1.5,3\n"
    data = read(written(tmp_path, "mail.csv", text.replace("who,", "").replace("x,", "")), "Events", time_column="when")
    assert data.time.tolist() == [1_577_836_801, 1_577_836_802] and data.weight.tolist() == [1.5, 2.5]
    assert data.features.tolist() == [[3.0], [1.0]] and data.names == ("a", "b", "c") and data.directed
    assert [data.names[k] for k in data.source.tolist()] == ["b", "a"]


def test_lists_without_header_are_understood(tmp_path):
    snap = read(written(tmp_path, "snap.txt", "7 2 1082040961\n3 4 1082155839\n5 2 1082414391\n"), "Events")
    assert snap.time.tolist() == [1082040961, 1082155839, 1082414391] and snap.directed
    contacts = read(
        written(tmp_path, "c.csv", "20\t7\t9\tMED\tADM\n40\t9\t8\tADM\tPAT\n40\t7\t8\tMED\tPAT\n"), "Events"
    )
    assert contacts.time.tolist() == [20, 40, 40] and not contacts.directed
    assert contacts.names == ("7", "8", "9") and contacts.node_features.argmax(1).tolist() == [1, 2, 0]
    rated = read(written(tmp_path, "r.csv", "6,2,4,1289241911.5\n6,5,2,1289241941.25\n1,15,1,1289243140.5\n"), "Events")
    assert rated.time.dtype == torch.float64 and rated.weight.tolist() == [4.0, 2.0, 1.0]
    assert rated.time[1].item() == 1289241941.25


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("source,target,time\n", "no event"),
        ("source,target,colour\na,b,1\n", "no column is named time"),
        ("source,target,time\na,b,1\na,c,soon\nb,c,3\n", "row 3, column time: 'soon'"),
        ("source,target,time\na,b,1\n,c,2\nb,c,3\n", "row 3, column source"),
        ("source,target,time\na,b,1\nb,a,2\n", "only 2 nodes"),
        ("1 2\n2 3\n", "needs three"),
        ("source,target,time,weight\na,b,1,1\nb,c,2,heavy\n", "row 3, column weight: 'heavy'"),
    ],
)
def test_a_broken_file_is_named_with_its_place(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read(written(tmp_path, "broken.csv", text), "Events")


def test_a_broken_time_in_a_list_without_header_is_found(tmp_path):
    rows = "".join(f"{k % 7} {k % 5 + 7} {1000 + k}\n" for k in range(300)).replace("1150", "11 50x")
    with pytest.raises(DataError, match=r"columns|row 151"):
        read(written(tmp_path, "list.txt", rows), "Events")


def test_affinities_ask_for_shares_of_the_period_to_come():
    data = Affinities(events=stream(300, directed=False), period=20.0)
    events, clock = data.events, data.events.clock
    questions = list(data.batches(1))
    assert len(questions) == len(data) and torch.equal(questions[3].affinity, data.gather(torch.tensor([3])).affinity)
    seen = 0
    for question in questions:
        now = float(question.time[0])
        assert bool((question.contacts.time < now).all())
        seen += len(question.contacts)
        truth = torch.zeros(9, 9)
        inside = (clock >= now) & (clock < now + 20)
        for u, v in zip(events.source[inside].tolist(), events.target[inside].tolist(), strict=True):
            truth[u, v] += 1
            truth[v, u] += 1
        assert torch.allclose(question.affinity, truth[question.node] / truth[question.node].sum(1, keepdim=True))
        assert (truth.sum(1) > 0).nonzero().flatten().tolist() == question.node.tolist()
    assert seen == int((clock < float(questions[-1].time[0])).sum())  # nobody is forgotten between two moments


def test_parts_of_affinities_hold_no_event_after_their_last_period():
    data = Affinities(events=stream(400), period=15.0)
    split = data.split()
    assert len(split.train) + len(split.validation) + len(split.test) == len(data)
    assert float(split.train.events.clock[-1]) < 15.0 * (int(split.train.moments[-1]) + 1)
    together = [q.affinity for part in (split.train, split.validation, split.test) for q in part.batches(1)]
    for one, other in zip(together, data.batches(1), strict=True):
        assert torch.equal(one, other.affinity)
    with pytest.raises(DataError, match="--period"):
        replace(data, period=300.0).split()
    with pytest.raises(DataError, match="not negative"):
        Affinities(events=replace(stream(), weight=-torch.ones(200)), period=5.0)


@pytest.mark.parametrize(
    ("key", "events", "nodes"),
    [("events-collegemsg", 59_835, 1899), ("events-bitcoin-otc", 35_591, 5881), ("events-hospital", 32_424, 75)],
)
def test_built_in_streams_have_the_published_sizes(key, events, nodes):
    data = load(key)
    assert len(data) == events and data.nodes == nodes
    assert data.time.dtype in (torch.int64, torch.float64) and float(data.time[0]) > 1e9


def test_the_school_has_classes_and_seconds():
    data = load("events-primary-school")
    assert data.nodes == 241 and data.node_features.shape == (241, 11) and not data.directed
    assert bool((data.time % 20 == 0).all())
    listed = torch.stack(
        [data.time, torch.minimum(data.source, data.target), torch.maximum(data.source, data.target)], 1
    )
    assert len(listed.unique(dim=0)) == len(listed)
