"""NAT: tables against sets, joint neighbourhoods against a loop over pairs, and finite scores of strangers."""

from dataclasses import replace

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_events
from pathline.data import Events
from pathline.events.nat import NAT, AttentionPooling


def model(data: Events, **config) -> NAT:
    torch.manual_seed(0)
    return NAT.for_data(data, **{"near": 211, "far": 223, "alpha": 1.0, "hash_seed": 2, "dropout": 0.0} | config).eval()


def walked(nat: NAT, data: Events, size: int = 1) -> NAT:
    with torch.no_grad():
        for contacts in data.between(size, 0, len(data.source)):
            nat.observe(contacts)
    return nat


def codes_by_hand(data: Events) -> list[dict[int, set[int]]]:
    """For every node, hop -> the nodes found there, event by event."""
    found = [{0: {node}, 1: set(), 2: set()} for node in range(data.nodes)]
    for u, v in zip(data.source.tolist(), data.target.tolist(), strict=True):
        u_knows, v_knows = set(found[u][1]), set(found[v][1])
        found[u][2] |= v_knows
        found[v][2] |= u_knows
        found[u][1].add(v)
        found[v][1].add(u)
    return found


@torch.no_grad()
def test_codes_say_in_which_hops_of_which_side_a_node_was_found():
    data = replace(tiny_events(), time=torch.arange(260)).window(0, 14)
    nat, found = walked(model(data), data), codes_by_hand(data)
    source, target = torch.arange(12).repeat_interleave(12), torch.arange(12).repeat(12)[:, None]
    members = nat.members(source, target, torch.full((144,), 20.0, dtype=torch.float64))
    truth = {
        (pair, node): sum(1 << hop for hop in range(3) if node in found[u][hop])
        + sum(8 << hop for hop in range(3) if node in found[v][hop])
        for pair, (u, v) in enumerate(zip(source.tolist(), target[:, 0].tolist(), strict=True))
        for node in range(12)
    }
    said = dict(zip(zip(members.pair.tolist(), members.key.tolist(), strict=True), members.code.tolist(), strict=True))
    assert said == {place: code for place, code in truth.items() if code}
    assert len(set(said.values())) > 10


@torch.no_grad()
def test_swapping_the_ends_shifts_the_codes_and_changes_nothing_else():
    data = tiny_events()
    nat = walked(model(data, near=16, far=4), data, 20)
    u, v, now = torch.tensor([0, 3, 7]), torch.tensor([[5], [4], [1]]), torch.full((3,), 900.0, dtype=torch.float64)
    there, back = nat.members(u, v, now), nat.members(v[:, 0], u[:, None], now)
    assert torch.equal(there.key, back.key) and torch.equal(there.pair, back.pair)
    assert torch.equal((there.code >> 3) | ((there.code & 7) << 3), back.code)
    assert torch.allclose(there.features, back.features, atol=1e-6)
    assert not torch.equal(there.code, back.code)


@torch.no_grad()
def test_many_pairs_at_once_score_as_each_alone():
    data = tiny_events()
    nat = walked(model(data, near=16, far=4), data, 20)
    source, target = torch.arange(12), (torch.arange(12)[:, None] + torch.arange(1, 5)) % 12
    now = torch.full((12,), 5300.0, dtype=torch.float64)
    together = nat.score_pairs(source, target, now)
    for row in range(12):
        for column in range(4):
            alone = nat.score_pairs(source[row : row + 1], target[row : row + 1, column : column + 1], now[:1])
            assert abs(float(alone) - float(together[row, column])) < 1e-5
    assert float(together.std()) > 1e-3


@torch.no_grad()
def test_pooling_equals_a_loop_over_pairs():
    torch.manual_seed(1)
    pooling = AttentionPooling(5, 3, heads=2, dropout=0.0)
    features, pair = torch.randn(20, 5), torch.randint(0, 4, (20,)).sort().values
    pooled = pooling(features, pair, 5)
    for one in range(4):
        projected = pooling.project(features[pair == one]).view(-1, 2, 3)
        score = torch.nn.functional.leaky_relu((projected * pooling.attend).sum(-1), 0.2)
        truth = (score.softmax(0)[..., None] * projected).sum(0).mean(0) + pooling.bias
        assert torch.allclose(pooled[one], truth, atol=1e-6)
    assert torch.equal(pooled[4], pooling.bias)


@torch.no_grad()
def test_empty_tables_give_a_finite_score():
    data = tiny_events()
    nat = model(data)
    scores = nat.score_pairs(torch.tensor([0, 1]), torch.tensor([[2], [3]]), torch.zeros(2, dtype=torch.float64))
    assert bool(scores.isfinite().all())


@torch.no_grad()
def test_vectors_of_slots_are_carried_along_when_the_key_stays():
    """z of (u, v) after two events: GRU of the first event's slot, read at the second; zeros where the key is new."""
    data = Events(source=torch.tensor([0, 0]), target=torch.tensor([1, 1]), time=torch.tensor([0, 4]), nodes=4)
    nat = model(data, near=5, far=3)
    first, second = data.between(1, 0, 2)
    nat.observe(first)
    near = nat.caches[1]
    where = int(near.place(torch.tensor(0), torch.tensor(2)))
    assert not near.vector[where].any() and int(near.key[where]) == 2
    vector = nat.slots(torch.tensor([0]), second.time / nat.gap, (1,)).vector
    nat.observe(second)
    assert torch.allclose(near.vector[where], vector[0, where % 5], atol=1e-6) and near.vector[where].any()
    assert float(near.time[where]) == pytest.approx(float(second.time / nat.gap))
    itself = nat.caches[0]  # hop 0 holds the node, as of its last event
    assert int(itself.key[0]) == 1 and float(itself.time[0]) == float(near.time[where]) and itself.vector[0].any()


def test_gradients_reach_every_weight():
    data = tiny_events()
    torch.manual_seed(0)
    nat = NAT.for_data(data)
    batches = list(nat.batches(data, 60, torch.Generator().manual_seed(0)))
    for batch in batches[:3]:
        loss = nat.loss(batch)
    nat.zero_grad()
    loss = nat.loss(batches[3])
    loss.backward()
    for name, parameter in nat.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


def test_a_probability_is_a_probability():
    with pytest.raises(MethodError, match=r"alpha is 1\.5"):
        NAT.for_data(tiny_events(), alpha=1.5)
