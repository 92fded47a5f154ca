"""Tasks on graphs: what is asked can be computed by hand from the graph."""

import torch

from pathline.graph.hops import distance_matrix
from pathline.sims.graph_tasks import dumbbells, ring_transfer, root_neighbours


def test_the_class_of_a_ring_stands_across_from_the_root_and_nowhere_else():
    data = ring_transfer(20, nodes=12, classes=5, seed=3)
    for k in range(20):
        one = data.take(torch.tensor([k]))
        root = int(one.roots)
        distance = distance_matrix(one.edge_index, 12)
        assert distance.max() == 6 and torch.bincount(one.edge_index[1]).tolist() == [2] * 12
        source = int(distance[root].argmax())
        assert one.features[source].argmax() == one.labels and one.features[source].sum() == 1
        assert one.features[root].sum() == 0
        rest = torch.tensor([i for i in range(12) if i not in (root, source)])
        assert bool((one.features[rest] == 1).all())
    assert torch.bincount(data.labels).tolist() == [4] * 5


def test_the_root_answers_the_mean_of_children_with_six_neighbours():
    for hard in (False, True):
        data = root_neighbours(60, seed=1, hard=hard)
        degree = torch.bincount(data.edge_index[1], minlength=len(data.features))
        seen = set()
        for k in range(60):
            root = int(data.roots[k])
            children = data.edge_index[0, data.edge_index[1] == root]
            hubs = children[degree[children] == 6]
            assert 1 <= len(hubs) <= 2 and 3 <= len(children) <= 6
            assert torch.allclose(data.targets[k], data.features[hubs, :5].mean(0), atol=1e-6)
            seen |= set(degree[children].tolist())
        assert seen <= ({2, 3, 6} if not hard else set(range(2, 13)))
        assert bool((data.features[:, 5] == 1).all()) and float(data.features[:, :5].abs().max()) <= 2
        trees = data.edge_index.shape[1] // 2
        assert trees == len(data.features) - 60  # a tree has a link less than nodes


def test_communities_are_connected_and_their_bridge_is_the_only_way():
    data = dumbbells(8, lobe=6, bridge=2, seed=0)
    for k in range(8):
        one = data.take(torch.tensor([k]))
        distance = distance_matrix(one.edge_index, 14)
        assert bool(torch.isfinite(distance).all())
        source = int(one.features[:, 0].argmax())
        root = int(one.roots)
        assert source < 6 and root >= 8 and one.features[root, 1] == 1
        assert one.features[source, 2:].argmax() == one.labels
        without = one.edge_index[:, (one.edge_index != 6).all(0)]
        assert distance_matrix(without, 14)[source, root] == torch.inf
        assert one.features[:, 2:].sum() == 1
