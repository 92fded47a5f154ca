import pytest
import torch
from scipy.stats import chisquare

from pathline.graph import node2vec_walks, to_csr, uniform_walks, walks

# A weighted graph on five nodes: a triangle 0-1-2, a tail 2-3-4, and a one-way edge 4 -> 0.
EDGES = torch.tensor([[0, 1, 1, 2, 0, 2, 2, 3, 3, 4, 4], [1, 0, 2, 1, 2, 0, 3, 2, 4, 3, 0]])
WEIGHT = torch.tensor([1.0, 1.0, 2.0, 2.0, 0.5, 0.5, 1.5, 1.5, 3.0, 3.0, 1.0])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_second_order(p, q):
    """P[t, v, x] by the definition, one triple at a time."""
    weight = {(int(s), int(r)): float(w) for s, r, w in zip(*EDGES, WEIGHT, strict=True)}
    law = torch.zeros(5, 5, 5, dtype=torch.float64)
    for t, v in weight:
        for x in range(5):
            if (v, x) in weight:
                law[t, v, x] = weight[v, x] * (1 / p if x == t else 1.0 if (t, x) in weight else 1 / q)
    return law / law.sum(2, keepdim=True).clamp(min=1e-300)


@pytest.mark.parametrize("block", [1 << 22, 3000])
@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 4.0), (4.0, 0.5)])
def test_node2vec_steps_follow_the_second_order_law(p, q, block, monkeypatch):
    monkeypatch.setattr(walks, "_BLOCK", block)
    graph = to_csr(EDGES, 5, WEIGHT)
    path = node2vec_walks(graph, torch.arange(5).repeat(400), 20, generator(), p, q)
    came, here, after = path[:, :-2].flatten(), path[:, 1:-1].flatten(), path[:, 2:].flatten()
    seen = torch.bincount((came * 5 + here) * 5 + after, minlength=125).view(5, 5, 5)
    law = exact_second_order(p, q)
    assert not seen[law == 0].any()
    expected = law * seen.sum(2, keepdim=True)
    for t, v in EDGES.T.tolist():
        possible = law[t, v] > 0
        if possible.sum() > 1:
            assert chisquare(seen[t, v][possible], expected[t, v][possible]).pvalue > 1e-4


def test_the_first_step_follows_the_weights():
    path = node2vec_walks(to_csr(EDGES, 5, WEIGHT), torch.full((20_000,), 2), 2, generator(), 0.5, 2.0)
    seen = torch.bincount(path[:, 1], minlength=5)[[0, 1, 3]]
    assert chisquare(seen, 20_000 * torch.tensor([0.5, 2.0, 1.5]) / 4).pvalue > 1e-4


def test_uniform_walks_use_every_edge_of_a_node_equally():
    path = uniform_walks(to_csr(EDGES, 5), torch.arange(5).repeat(400), 20, generator())
    sender, receiver = path[:, :-1].flatten(), path[:, 1:].flatten()
    seen = torch.bincount(sender * 5 + receiver, minlength=25).view(5, 5)
    adjacency = torch.zeros(5, 5).index_put((EDGES[0], EDGES[1]), torch.tensor(1.0))
    assert not seen[adjacency == 0].any()
    for node in range(5):
        assert chisquare(seen[node][adjacency[node] > 0]).pvalue > 1e-4


def test_walks_end_where_nothing_leaves():
    graph = to_csr(torch.tensor([[0, 1], [1, 2]]), 4)
    expected = [[0, 1, 2, -1], [3, -1, -1, -1]]
    starts = torch.tensor([0, 3])
    assert uniform_walks(graph, starts, 4, generator()).tolist() == expected
    assert node2vec_walks(graph, starts, 4, generator(), 0.5, 2.0).tolist() == expected
    empty = to_csr(torch.empty(2, 0).long(), 4)
    assert node2vec_walks(empty, starts, 3, generator()).tolist() == [[0, -1, -1], [3, -1, -1]]
    assert uniform_walks(empty, starts, 3, generator()).tolist() == [[0, -1, -1], [3, -1, -1]]


def test_bad_edges_are_named():
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        to_csr(EDGES, 4)
    with pytest.raises(ValueError, match="not negative"):
        to_csr(EDGES, 5, -WEIGHT)
