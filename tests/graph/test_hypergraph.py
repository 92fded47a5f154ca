"""Ranks and centralities within hyperedges."""

import os

import pytest
import torch

from pathline.data.sets import load
from pathline.graph.hypergraph import CENTRALITIES, centrality, incidence_orders, ranks_within

needs_mirror = pytest.mark.skipif(not os.environ.get("PATHLINE_DATA"), reason="PATHLINE_DATA names no mirror")


def drawn_incidence(sets, nodes, seed):
    """(2, m) hyperedges of 1 to 5 members."""
    draw = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 6, (sets,), generator=draw)
    members = [torch.randperm(nodes, generator=draw)[:size] for size in sizes.tolist()]
    return torch.stack([torch.cat(members), torch.arange(sets).repeat_interleave(sizes)])


def test_ranks_within_hyperedges_by_hand():
    incidence = torch.tensor([[0, 1, 2, 3, 2, 1], [0, 0, 0, 0, 2, 2]])
    value = torch.tensor([5.0, 1.0, 1.0, 9.0])
    assert ranks_within(value, incidence, 3).tolist() == [0.5, 0.25, 0.25, 0.75, 0.5, 0.5]
    shuffled = torch.tensor([3, 4, 0, 5, 2, 1])
    found = ranks_within(value, incidence[:, shuffled], 3)
    assert torch.equal(found, ranks_within(value, incidence, 3)[shuffled])


def test_centralities_against_dense_matrices_and_peeling_one_by_one():
    nodes, sets = 14, 16
    incidence = drawn_incidence(sets, nodes, seed=3)
    b = torch.zeros(nodes, sets, dtype=torch.float64)
    b[incidence[0], incidence[1]] = 1
    a = b @ b.T
    a.fill_diagonal_(0)
    found = {kind: centrality(kind, incidence, nodes, sets) for kind in CENTRALITIES}
    assert torch.equal(found["degree"], b.sum(1))
    leading = torch.linalg.eigh(a).eigenvectors[:, -1].abs()
    assert torch.allclose(found["eigenvector"], leading, atol=1e-6)
    google = 0.85 * a / a.sum(0) + 0.15 / nodes
    stationary = torch.linalg.matrix_power(google, 200) @ torch.full((nodes,), 1 / nodes, dtype=torch.float64)
    assert torch.allclose(found["pagerank"], stationary, atol=1e-9)
    core, here, stands, k = torch.zeros(nodes), torch.ones(nodes, dtype=torch.bool), torch.ones(sets).bool(), 0.0
    while bool(here.any()):
        degree = (b * stands).sum(1).masked_fill(~here, torch.inf)
        one = int(degree.argmin())
        k = max(k, float(degree[one]))
        core[one], here[one] = k, False
        stands &= b[one] == 0
    assert torch.equal(found["kcore"].float(), core)
    assert len(core.unique()) > 1


@needs_mirror
def test_centralities_are_those_that_were_published():
    data = load("stackoverflow-biology")
    published = dict(zip(("degree", "eigenvector", "kcore", "pagerank"), data.features.T.double(), strict=True))
    nodes = len(data.features)
    for kind in ("degree", "kcore"):
        assert torch.equal(centrality(kind, data.incidence, nodes, data.sets), published[kind])
    rank = centrality("pagerank", data.incidence, nodes, data.sets)
    assert float((rank - published["pagerank"]).abs().sum()) < 0.02  # where the published iteration was stopped


def test_orders_for_no_centralities_are_empty():
    assert incidence_orders([], torch.tensor([[0, 1], [0, 0]]), 2, 1).shape == (2, 0)
