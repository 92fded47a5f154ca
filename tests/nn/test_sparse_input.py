"""A first layer on sparse features is the plain one, in what it says, in its gradients and in what dropout does."""

import torch
import torch.nn.functional as F
from torch import nn

from pathline.nn.sparse_input import SparseInput


def words(rows=50, columns=300, share=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(rows, columns, generator=generator) < share) * torch.rand(rows, columns, generator=generator)


def test_it_is_a_linear_map_and_its_gradient():
    torch.manual_seed(0)
    linear, read, x = nn.Linear(300, 7), SparseInput(), words()
    x[3] = 0
    found, expected = read(linear, x, 0.5, False), linear(x)
    assert read.edges is not None and len(read.edges.edge_index[0]) == int((x != 0).sum())
    assert torch.allclose(found, expected, atol=1e-6)
    weight = torch.randn(50, 7)
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), linear.parameters()),
        torch.autograd.grad((expected * weight).sum(), linear.parameters()),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_other_features_are_noticed_and_what_does_not_pay_is_plain():
    linear, read = nn.Linear(300, 7), SparseInput()
    for x in (words(seed=1), words(seed=2), words(rows=20, seed=3), words(seed=1).requires_grad_(), words(share=0.6)):
        assert torch.allclose(read(linear, x, 0.0, True), linear(x), atol=1e-6)
    assert read.edges is None
    narrow = nn.Linear(3, 2)
    assert torch.equal(read(narrow, words(5, 3), 0.0, True), narrow(words(5, 3)))


def test_dropout_drops_and_keeps_the_mean():
    torch.manual_seed(0)
    linear, read, x = nn.Linear(300, 7), SparseInput(), words()
    with torch.no_grad():
        many = torch.stack([read(linear, x, 0.5, True) for _ in range(2000)])
        plain = torch.stack([linear(F.dropout(x, 0.5)) for _ in range(2000)])
    assert torch.allclose(many.mean(0), linear(x), atol=0.03)
    assert torch.allclose(many.std(0), plain.std(0), rtol=0.15)
    assert float(many.std(0).min()) > 0
