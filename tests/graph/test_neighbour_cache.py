"""N-caches against tables that are written event by event, and the laws of collisions."""

import pytest
import torch

from pathline.graph.joint_neighbourhood import members_of
from pathline.graph.neighbour_cache import NeighbourCache, fates


def entries(count: int, nodes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    node, key = torch.randint(0, nodes, (2, count), generator=generator)
    return node, key + 1, torch.arange(count), torch.arange(count).double(), torch.rand(count, 1, generator=generator)


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("slots", [4, 16, 64])
def test_every_slot_of_a_table_is_used(slots, seed):
    cache = NeighbourCache(1, slots, 1, 1, seed=seed)
    assert len(cache.place(torch.tensor(0), torch.arange(1, 257)).unique()) == slots


def test_without_collisions_the_cache_is_a_dictionary():
    """200 random events, written in batches; 211 is prime and q1 a + q2 a^2 maps the 20 keys apart."""
    cache = NeighbourCache(20, 211, 1, 1, alpha=0.5, seed=2)
    node, key, number, time, event = entries(200, 20)
    assert len({int(cache.place(torch.tensor(0), torch.tensor(k))) for k in range(1, 21)}) == 20
    for place in torch.arange(200).split(23):
        cache.write(node[place], key[place], number[place], time[place], event[place], event[place])
    truth = {}
    for u, k, n, t in zip(node.tolist(), key.tolist(), number.tolist(), time.tolist(), strict=True):
        truth[u, k] = (n, t)
    slots = cache.key.view(20, 211)
    found = {
        (u, int(slots[u, s])): (int(cache.number.view(20, 211)[u, s]), float(cache.time.view(20, 211)[u, s]))
        for u, s in slots.nonzero().tolist()
    }
    assert found == truth


def test_a_batch_leaves_what_its_entries_would_one_by_one():
    """Crowded tables of 5 slots for 40 keys: overwriting, refusing and renewing all happen, in any division."""
    node, key, number, time, event = entries(600, 8, seed=3)
    key = 1 + torch.randint(0, 40, (600,), generator=torch.Generator().manual_seed(4))
    together, alone = NeighbourCache(8, 5, 1, 1, 0.4), NeighbourCache(8, 5, 1, 1, 0.4)
    for place in torch.arange(600).split(50):
        together.write(node[place], key[place], number[place], time[place], event[place], event[place])
    truth: dict[int, tuple[int, int]] = {}
    for k in range(600):
        where = int(alone.place(node[k], key[k]))
        could = bool(fates(number[k : k + 1], torch.tensor([where]), alone.seed) < 0.4)
        if where not in truth or truth[where][0] == int(key[k]) or could:
            truth[where] = (int(key[k]), k)
    for where, (holds, by) in truth.items():
        assert (int(together.key[where]), int(together.number[where])) == (holds, by)
        assert torch.equal(together.vector[where], event[by])
    assert int((together.key > 0).sum()) == len(truth)


def occupied(alpha: float, writes: int, slots: int) -> torch.Tensor:
    """Which of `slots` nodes still hold their first key after `writes` collisions."""
    cache = NeighbourCache(slots, 1, 1, 1, alpha)
    node, nothing = torch.arange(slots), torch.zeros(slots, 1)
    for k in range(writes + 1):
        cache.write(node, torch.full((slots,), k + 1), k * slots + node, nothing[:, 0].double(), nothing, nothing)
    return cache.key == 1


def test_alpha_0_never_replaces_and_alpha_1_always_does():
    assert bool(occupied(0.0, 5, 200).all()) and not occupied(1.0, 1, 200).any()


def test_survival_is_geometric():
    """After k collisions a key is still there with probability (1 - alpha)^k: chi-square over 10,000 slots."""
    for k in (1, 2, 3):
        expected = 10_000 * 0.7**k
        alive = int(occupied(0.3, k, 10_000).sum())
        chi = (alive - expected) ** 2 / expected + (alive - expected) ** 2 / (10_000 - expected)
        assert chi < 10.8  # one degree of freedom, p = 0.001


def test_fates_are_uniform_and_depend_on_every_argument():
    number, place = torch.arange(20_000), torch.arange(20_000) * 7 % 501
    chance = fates(number, place, 3)
    counts = torch.histc(chance, 20, 0, 1)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.8  # 19 degrees of freedom, p = 0.001
    assert abs(float(torch.corrcoef(torch.stack([chance[:-1], chance[1:]]))[0, 1])) < 0.03
    for other in (fates(number + 1, place, 3), fates(number, place + 1, 3), fates(number, place, 4)):
        assert not torch.equal(chance, other)


def test_keys_beyond_two_to_the_24_are_exact():
    cache = NeighbourCache(1, 64, 1, 1, 1.0)
    key = torch.tensor([2**24 + 1, 2**24 + 2, 2**40 + 1])
    zero = torch.zeros(3, 1)
    cache.write(torch.zeros(3, dtype=torch.int64), key, key, zero[:, 0].double(), zero, zero)
    assert set(cache.key[cache.key > 0].tolist()) <= set(key.tolist()) and 2**40 + 1 in cache.key.tolist()


def test_entries_without_key_are_none():
    cache = NeighbourCache(2, 3, 1, 1)
    zero = torch.zeros(2, 1)
    cache.write(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.arange(2), zero[:, 0].double(), zero, zero)
    assert not cache.key.any()


def test_members_are_grouped_by_pair_and_key_and_their_bits_add_up():
    pair, key = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([5, 5, 5, 2, 5])
    bit, features = torch.tensor([1, 2, 16, 4, 32]), torch.arange(10.0).view(5, 2)
    members = members_of(pair, key, bit, features, 6)
    assert list(zip(members.pair.tolist(), members.key.tolist(), members.code.tolist(), strict=True)) == [
        (0, 5, 34),
        (1, 2, 4),
        (1, 5, 17),
    ]
    assert torch.equal(members.features, torch.tensor([[10.0, 12.0], [6.0, 7.0], [4.0, 6.0]]))
