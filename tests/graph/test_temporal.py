"""Memories of streams against what a loop over events would have left."""

import torch

from pathline.graph.temporal import PairTable, Recent, last_writes, ranks


def test_the_last_writer_wins_in_the_order_of_entries():
    index = torch.tensor([3, 1, 3, 0, 1, 3])
    assert last_writes(index, 5).tolist() == [3, 4, 5]


def test_ranks_count_equal_entries_before_and_after():
    index = torch.randint(0, 6, (50,), generator=torch.Generator().manual_seed(0))
    before, after = ranks(index)
    for place, value in enumerate(index.tolist()):
        assert before[place] == (index[:place] == value).sum() and after[place] == (index[place + 1 :] == value).sum()


def test_a_ring_holds_the_last_entries_of_each_row_however_they_came_in_batches():
    generator = torch.Generator().manual_seed(1)
    row = torch.randint(0, 7, (300,), generator=generator)
    number, time = torch.arange(300), torch.arange(300, dtype=torch.float64) * 0.5
    values = torch.randn(300, 2, generator=generator)
    for size in (1, 13, 300):
        recent = Recent(7, 4, 2)
        for place in torch.arange(300).split(size):
            recent.write(row[place], number[place], time[place], values[place])
        for node in range(7):
            mine = (row == node).nonzero().flatten()[-4:]
            filled = recent.filled(torch.tensor([node]))[0]
            assert sorted(recent.number[node][filled].tolist()) == mine.tolist()
            order = recent.number[node][filled].argsort()
            assert torch.equal(recent.values[node][filled][order], values[mine])
            assert torch.equal(recent.time[node][filled][order], time[mine])


def test_a_pair_table_equals_a_dictionary():
    generator = torch.Generator().manual_seed(2)
    table, truth = PairTable(), {}
    for _ in range(10):
        keys = torch.randint(0, 40, (17,), generator=generator)
        values = torch.rand(17, 1, generator=generator, dtype=torch.float64)
        table.write(keys, values)
        truth |= dict(zip(keys.tolist(), values[:, 0].tolist(), strict=True))
        found, there = table.find(torch.arange(50))
        assert there.nonzero().flatten().tolist() == sorted(truth)
        assert [found[key, 0].item() for key in sorted(truth)] == [truth[key] for key in sorted(truth)]
