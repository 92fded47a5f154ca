"""Counting multiply-accumulates."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from pathline.nn.macs import macs


def test_three_layers_counted_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 8, kernel_size=3, padding=1, stride=2, groups=1),  # 8 x 5 x 5 outputs of 27 products
        nn.Flatten(),
        nn.Linear(200, 7),  # 7 outputs of 200
        nn.ReLU(),
        nn.Linear(7, 1),
    )
    assert macs(net, torch.randn(4, 3, 10, 10)) == 4 * (8 * 25 * 27 + 200 * 7 + 7)


def test_grouped_and_transposed_convolutions_counted_by_hand():
    assert macs(nn.Conv1d(8, 8, 3, groups=8, bias=False), torch.randn(2, 8, 12)) == 2 * 8 * 10 * 3
    assert macs(nn.ConvTranspose1d(4, 6, 3, stride=2), torch.randn(2, 4, 5)) == 2 * 4 * 5 * (6 * 3)


def test_attention_counts_scores_and_mean():
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    assert macs(F.scaled_dot_product_attention, q, k, v) == 2 * 3 * (5 * 7 * 8 + 5 * 7 * 8)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_filters_cost_their_stored_entries():
    matrix = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    dense = torch.randn(3, 5)
    assert macs(torch.matmul, matrix, dense) == 9 * 5
    assert macs(torch.sparse.mm, matrix.to_sparse_coo(), dense) == 3 * 5
    assert macs(torch.matmul, matrix.to_sparse_csr(), dense) == 3 * 5


def test_recurrent_layers_counted_by_hand():
    x = torch.randn(4, 6, 5)  # (batch, time, features)
    for layer, gates in ((nn.LSTM(5, 7, batch_first=True), 4), (nn.GRU(5, 7, batch_first=True), 3)):
        assert macs(layer, x) == 4 * 6 * gates * 7 * (5 + 7)


def test_matrix_products_agree_with_the_profiler():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
    x, a = torch.randn(9, 12), torch.randn(5, 9, 4)

    def work() -> torch.Tensor:
        return torch.einsum("bnd,ne->bde", a, net(x))

    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], with_flops=True) as record:
        work()
    matrix_products = ("aten::mm", "aten::addmm", "aten::bmm")
    flops = sum(event.flops for event in record.key_averages() if event.key in matrix_products)
    assert macs(work) == flops // 2 > 0


def test_counting_leaves_no_trace():
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    macs(net, torch.randn(4, 3))
    assert net.training and net[2].training and not net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
