"""Frames of graphs: brute force over S_5, two triangles against a hexagon, unbiased draws."""

import itertools

import pytest
import torch
from torch import Tensor

from pathline.nn.dense_graph import AdjacencyMLP, IdentifiedGIN
from pathline.spaces.frames import symmetrize
from pathline.spaces.permutation_frames import PermutationFrame, spectral_signature, tied_groups


def ring(nodes: int) -> Tensor:
    step = torch.roll(torch.eye(nodes, dtype=torch.float64), 1, 0)
    return step + step.T


def permuted(adjacency: Tensor, order: Tensor) -> Tensor:
    return adjacency[order][:, order]


TRIANGLES = torch.block_diag(ring(3), ring(3))
IRREGULAR = torch.tensor(
    [[0, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0],
     [0, 0, 1, 0, 1, 1], [0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]]
).double()  # fmt: skip


@pytest.mark.parametrize("adjacency", [ring(5), 1 - torch.eye(5, dtype=torch.float64)], ids=["ring", "complete"])
def test_on_vertex_transitive_graphs_it_is_the_average_over_all_permutations(adjacency: Tensor) -> None:
    torch.manual_seed(0)
    net, frame = AdjacencyMLP(5).double(), PermutationFrame()
    assert frame.size(adjacency) == 120
    orders = torch.tensor(list(itertools.permutations(range(5))))
    with torch.no_grad():
        brute = torch.stack([net(permuted(adjacency, order)[None])[0] for order in orders]).mean(0)
        assert torch.allclose(symmetrize(net, frame, ("pair",), "invariant")(adjacency), brute, atol=1e-12)


@pytest.mark.parametrize("network", [AdjacencyMLP, IdentifiedGIN])
def test_it_tells_two_triangles_from_a_hexagon_and_not_copies_of_either(network: type) -> None:
    torch.manual_seed(0)
    net = symmetrize(network(6).double(), PermutationFrame(), ("pair",), "invariant")
    for weight in net.net.parameters():
        weight.data.mul_(3)  # a network that is far from linear
    with torch.no_grad():
        triangles, hexagon = net(TRIANGLES), net(ring(6))
        assert (triangles - hexagon).abs().max() > 1e-3
        for _ in range(5):
            order = torch.randperm(6)
            assert torch.allclose(net(permuted(TRIANGLES, order)), triangles, atol=1e-6)
            assert torch.allclose(net(permuted(ring(6), order)), hexagon, atol=1e-6)
            bare = net.net(permuted(TRIANGLES, order)[None])
            assert not torch.allclose(bare, net.net(TRIANGLES[None]), atol=1e-4) or torch.equal(
                permuted(TRIANGLES, order), TRIANGLES
            )


def test_a_frame_moves_with_the_graph_as_a_set() -> None:
    """Nodes get other names when the graph is reordered; their places in the sorted graph are the same."""
    torch.manual_seed(0)
    frame = PermutationFrame()
    before = {tuple(row) for row in frame.elements(IRREGULAR).tolist()}
    assert len(before) == frame.size(IRREGULAR) == 4  # both ends of the path are pairs of twins
    for _ in range(100):
        order = torch.randperm(6)
        after = {tuple(order[row].tolist()) for row in frame.elements(permuted(IRREGULAR, order))}
        assert after == before


def test_equivariant_answers_come_back_in_the_order_of_the_nodes() -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 2, dtype=torch.float64)
    weights = torch.randn(6, 6, dtype=torch.float64)

    def net(adjacency: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(adjacency @ y + weights @ y)

    symmetric = symmetrize(net, PermutationFrame(), ("pair", "node"), "node")
    order = torch.randperm(6)
    once = symmetric(ring(6), features)
    again = symmetric(permuted(ring(6), order), features[order])
    assert torch.allclose(again, once[order], atol=1e-10)
    assert not torch.allclose(net(permuted(ring(6), order), features[order]), net(ring(6), features)[order], atol=1e-3)


def test_features_break_ties() -> None:
    frame = PermutationFrame()
    features = torch.arange(6).double()[:, None]
    assert frame.size(ring(6)) == 720 and frame.size(ring(6), features) == 1


def test_the_signature_does_not_depend_on_the_basis_of_an_eigenspace() -> None:
    """On the complete graph, eigenvectors are arbitrary but the projections have diagonals 1/n and 1 - 1/n."""
    signature = spectral_signature(1 - torch.eye(5, dtype=torch.float64))
    assert torch.allclose(signature, torch.tensor([0.2, 0.8], dtype=torch.float64).expand(5, 2))
    assert torch.allclose(spectral_signature(IRREGULAR).sum(1), torch.ones(6, dtype=torch.float64))
    assert [len(group) for group in tied_groups(spectral_signature(torch.zeros(3, 3)))] == [3]


def test_draws_from_a_large_frame_are_unbiased() -> None:
    torch.manual_seed(0)
    net = AdjacencyMLP(6).double()
    exact = symmetrize(net, PermutationFrame(), ("pair",), "invariant")
    drawn = symmetrize(net, PermutationFrame(limit=10, samples=20_000), ("pair",), "invariant")
    with torch.no_grad():
        whole = torch.stack([net(permuted(ring(6), o)[None])[0] for o in PermutationFrame().elements(ring(6))])
        noise = whole.std() / 20_000**0.5
        assert (drawn(ring(6)) - exact(ring(6))).abs().max() < 5 * noise
        assert float(noise) > 1e-5


def test_a_batch_of_graphs_is_refused() -> None:
    with pytest.raises(ValueError, match="one graph's adjacency"):
        PermutationFrame().elements(torch.zeros(2, 5, 5))
