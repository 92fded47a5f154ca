"""Blocks for sets: segments, padding and a plain loop say the same; order does not matter; sets do not mix."""

import pytest
import torch
from torch import nn

from pathline.nn.set_blocks import ISAB, MAB, PMA, SAB, UNP, SetNetwork, Sets

INDEX = torch.tensor([4, 0, 2, 2, 0, 2, 4, 6, 2, 0])  # sets 1, 3 and 5 are empty, 6 has one member
BUILDS = {
    "UNP": lambda norm: UNP(8, norm),
    "SAB": lambda norm: SAB(8, 2, norm),
    "ISAB": lambda norm: ISAB(8, 2, 3, norm),
}


def built(kind, norm=False):
    torch.manual_seed(0)
    return BUILDS[kind](norm).double()


def rows():
    return torch.randn(len(INDEX), 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def attended(block, queries, keys):
    """MAB written out head by head."""
    width, heads = queries.shape[1], block.heads
    q, k, v = block.query(queries), block.key(keys), block.value(keys)
    parts = []
    for head in torch.arange(width).chunk(heads):
        weight = (q[:, head] @ k[:, head].T / width**0.5).softmax(1)
        parts.append(q[:, head] + weight @ v[:, head])
    o = block.before(torch.cat(parts, 1))
    return block.after(o + torch.relu(block.output(o)))


def by_hand(block, x):
    """One set (size, width)."""
    if isinstance(block, UNP):
        mean = block.first(x).mean(0, keepdim=True)
        return block.second(torch.cat([x, mean.expand_as(x)], 1))
    if isinstance(block, SAB):
        return attended(block.attend, x, x)
    return attended(block.attend, x, attended(block.read, block.points, x))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kind", BUILDS)
def test_segments_padding_and_single_sets_say_the_same(kind, norm):
    block, x, sets = built(kind, norm), rows(), Sets(INDEX, 7)
    expected = torch.zeros_like(x)
    for one in INDEX.unique():
        expected[one == INDEX] = by_hand(block, x[one == INDEX])
    assert torch.allclose(block(x, sets), expected, atol=1e-12)
    padded, mask = sets.pad(x)
    assert torch.allclose(sets.unpad(block.padded(padded, mask)), expected, atol=1e-12)


@pytest.mark.parametrize("kind", BUILDS)
def test_gradients_agree_and_stay_inside_a_set(kind):
    block, x, sets = built(kind), rows().requires_grad_(), Sets(INDEX, 7)
    padded, mask = sets.pad(x)
    weight = torch.randn(len(INDEX), 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    over_segments = torch.autograd.grad((block(x, sets) * weight).sum(), [x, *block.parameters()])
    over_padding = torch.autograd.grad(
        (sets.unpad(block.padded(padded, mask)) * weight).sum(), [x, *block.parameters()]
    )
    for one, other in zip(over_segments, over_padding, strict=True):
        assert torch.allclose(one, other, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda y: block(y, sets), x.detach()).abs().sum((1, 3))
    together = INDEX[:, None] == INDEX
    assert bool((jacobian[~together] == 0).all())
    assert bool((jacobian[together] > 0).all())


@pytest.mark.parametrize("kind", BUILDS)
def test_members_may_be_listed_in_any_order_and_sets_numbered_anyhow(kind):
    block, x = built(kind), rows()
    order = torch.randperm(len(INDEX), generator=torch.Generator().manual_seed(3))
    names = torch.randperm(7, generator=torch.Generator().manual_seed(4))
    moved = block(x[order], Sets(names[INDEX[order]], 7))
    assert torch.allclose(moved, block(x, Sets(INDEX, 7))[order], atol=1e-12)
    assert not torch.allclose(block(x, Sets(INDEX[order], 7)), block(x, Sets(INDEX, 7)), atol=1e-3)


def test_pooling_by_attention_reads_each_set_and_only_it():
    torch.manual_seed(0)
    block, x, sets = PMA(8, 2, seeds=2).double(), rows(), Sets(INDEX, 7)
    found = block(x, sets)
    assert found.shape == (7, 2, 8)
    padded, mask = sets.pad(x)
    assert torch.allclose(found[sets.sizes > 0], block.padded(padded, mask), atol=1e-12)
    for one in (0, 2, 4, 6):
        assert torch.allclose(found[one], attended(block.attend, block.seeds, x[one == INDEX]), atol=1e-12)
    order = torch.randperm(len(INDEX), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(block(x[order], Sets(INDEX[order], 7)), found, atol=1e-12)


def test_padding_is_undone_and_empty_sets_have_mean_nought():
    x, sets = rows(), Sets(INDEX, 7)
    padded, mask = sets.pad(x)
    assert padded.shape == (4, 4, 8)
    assert mask.sum(1).tolist() == [3, 4, 2, 1]
    assert torch.equal(sets.unpad(padded), x)
    mean = sets.mean(x)
    assert torch.allclose(mean[2], x[INDEX == 2].mean(0))
    assert float(mean[[1, 3, 5]].abs().sum()) == 0
    assert [rows.shape for rows in sets.buckets] == [(1, 1), (1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize("kind", BUILDS)
def test_a_network_of_blocks_is_one_after_another(kind):
    torch.manual_seed(0)
    network = SetNetwork(kind, 8, depth=3, heads=2, points=3).double()
    x, sets = rows(), Sets(INDEX, 7)
    y = x
    for block in network.blocks:
        y = block(y, sets)
    assert len(network.blocks) == 3
    assert torch.equal(network(x, sets), y)
    assert torch.allclose(network(x, sets, pad=True), y, atol=1e-12)


def test_blocks_that_cannot_be_built_say_why():
    with pytest.raises(ValueError, match="7 is not divisible by 2"):
        MAB(7, 2)
    with pytest.raises(ValueError, match="'pool'; choose one of UNP"):
        SetNetwork("pool", 8)
    assert isinstance(SetNetwork("SAB", 8).blocks[0], nn.Module)
