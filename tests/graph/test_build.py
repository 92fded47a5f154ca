import pytest
import torch

from pathline.graph import build, complete_graph, disjoint_union, knn_graph, radius_graph, repeat_graph


def pairs(edge_index):
    return {(s, r) for s, r in edge_index.T.tolist()}


@pytest.fixture
def points():
    return torch.rand(30, 3, generator=torch.Generator().manual_seed(0))


CLOUDS = torch.arange(30) % 3  # interleaved: clouds need not be contiguous


def by_hand(points, batch, keep):
    """Edges j -> i that `keep(sorted candidates of i)` selects."""
    edges = set()
    for i in range(len(points)):
        near = sorted(
            (float((points[i] - points[j]).norm()), j) for j in range(len(points)) if j != i and batch[j] == batch[i]
        )
        edges |= {(j, i) for j in keep(near)}
    return edges


def test_complete_graph_has_every_ordered_pair_once():
    edges = complete_graph(4)
    assert edges.shape == (2, 12)
    assert pairs(edges) == {(s, r) for s in range(4) for r in range(4) if s != r}
    assert complete_graph(4, loops=True).shape == (2, 16)
    assert complete_graph(1).shape == (2, 0)


@pytest.mark.parametrize("block", [1 << 22, 64])  # at once, and two receivers at a time
@pytest.mark.parametrize("batch", [None, CLOUDS])
def test_point_graphs_agree_with_a_loop_over_pairs(points, batch, block, monkeypatch):
    monkeypatch.setattr(build, "_BLOCK", block)
    cloud = torch.zeros(30) if batch is None else batch
    assert pairs(knn_graph(points, 4, batch)) == by_hand(points, cloud, lambda near: [j for _, j in near[:4]])
    assert pairs(radius_graph(points, 0.4, batch)) == by_hand(
        points, cloud, lambda near: [j for d, j in near if d <= 0.4]
    )


def test_a_small_cloud_is_joined_completely(points):
    assert pairs(knn_graph(points[:3], 10)) == pairs(complete_graph(3))


def test_a_union_keeps_graphs_apart_and_says_which_node_is_whose():
    edges, batch = disjoint_union([complete_graph(2), complete_graph(3), torch.empty(2, 0).long()], [2, 3, 1])
    assert pairs(edges) == pairs(complete_graph(2)) | {(s + 2, r + 2) for s, r in pairs(complete_graph(3))}
    assert batch.tolist() == [0, 0, 1, 1, 1, 2]


def test_repeating_a_graph_is_its_union_with_itself():
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    assert torch.equal(repeat_graph(edges, 3, 4), disjoint_union([edges] * 4, [3] * 4)[0])
