"""GTE: the rule as written, the closed form and counting walks by hand are one; and what expressiveness tools say."""

import itertools
from dataclasses import replace

import networkx
import pytest
import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.data import Interactions
from pathline.graph import automorphism_orbits, colour_refinement, partition, partition_faults
from pathline.recommend import gte
from pathline.recommend.closeness import closeness, closeness_agreement
from pathline.recommend.gte import GTE
from pathline.recommend.lightgcn import LightGCN


def small(users: int = 7, items: int = 9, count: int = 24, seed: int = 0) -> Interactions:
    place = torch.randperm(users * items, generator=torch.Generator().manual_seed(seed))[:count]
    return Interactions(
        user=place // items,
        item=place % items,
        users=tuple(f"u{n}" for n in range(users)),
        items=tuple(f"i{n}" for n in range(items)),
        name="small",
    )


def walks_by_hand(data: Interactions, hops: int) -> Tensor:
    """Every walk that moves or stays, one after the other."""
    users, items = len(data.users), len(data.items)
    near = [{node} for node in range(users + items)]
    for u, i in zip(data.user.tolist(), data.item.tolist(), strict=True):
        near[u].add(users + i)
        near[users + i].add(u)
    count = torch.zeros(users, items, dtype=torch.float64)

    def walk(start: int, node: int, left: int) -> None:
        if left:
            for other in near[node]:
                walk(start, other, left - 1)
        elif node >= users:
            count[start, node - users] += 1

    for user in range(users):
        walk(user, user, hops)
    return count


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_propagation_closed_form_and_counting_agree_exactly(hops: int, seed: int) -> None:
    """Card 120, proof 1."""
    data = small(seed=seed)
    method = GTE.for_data(data, hops=hops)
    literal, _ = method.propagate()
    assert torch.equal(literal, method.scorer()(torch.arange(7)).double())
    assert torch.equal(literal, closeness(data, hops))
    if hops == 3:
        assert torch.equal(literal, walks_by_hand(data, 3))
        a = torch.zeros(7, 9, dtype=torch.float64).index_put((data.user, data.item), torch.ones(len(data)).double())
        assert torch.equal(literal, a @ a.T @ a + 3 * a)


def test_large_counts_are_exact_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small(60, 60, 3000)
    method = GTE.for_data(data, hops=7)
    literal, _ = method.propagate()
    assert float(literal.max()) > gte.EXACT
    assert torch.equal(literal, method.scorer()(torch.arange(60)).double())
    monkeypatch.setattr(gte, "EXACT", 1e30)  # float32 throughout
    assert not torch.equal(literal, method.scorer()(torch.arange(60)).double())


def test_relabelling_permutes_scores_exactly() -> None:
    """Card 120, proof 2."""
    data, generator = small(), torch.Generator().manual_seed(3)
    p, q = torch.randperm(7, generator=generator), torch.randperm(9, generator=generator)
    moved = replace(data, user=p[data.user], item=q[data.item])
    before, after = (GTE.for_data(part).scorer()(torch.arange(7)) for part in (data, moved))
    assert torch.equal(after[p][:, q], before)


def test_blocks_of_users_score_as_all_do_and_hold_no_more_than_themselves() -> None:
    """Card 120, proof 5: no tensor of items x items or users x users is made."""
    data = small(300, 2000, 3000)
    method = GTE.for_data(data)
    whole = method.scorer()(torch.arange(300))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return out

    with Watch():
        part = method.scorer()(torch.tensor([4, 250]))
    assert torch.equal(part, whole[[4, 250]])
    assert largest <= 2 * 2000 + len(data), "a block of two users, or the interactions themselves"


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="sparse products of two sparse matrices are MKL's")
@pytest.mark.parametrize("hops", [3, 4])
@pytest.mark.parametrize("normalised", [False, True])
def test_following_walks_counts_as_multiplying_does(hops: int, normalised: bool) -> None:
    """Which of the two scores depends on the data alone; users without an item, and asked twice, are scored too."""
    data = small(60, 80, 200)
    data = replace(data, user=data.user + 1, users=("nobody", *data.users))
    matrix = GTE.for_data(data, normalised=normalised).matrix
    weights, users = gte.walk_weights(hops), torch.tensor([0, 5, 60, 5])
    for dtype in (torch.float32, torch.float64):
        found = gte.walks_by_neighbours(matrix, weights, dtype)(users)
        wanted = gte.walks(matrix, users, weights, dtype)
        assert found.dtype == dtype and not bool(found[0].any())
        torch.testing.assert_close(
            found, wanted, rtol=0 if not normalised else 1e-5, atol=0 if not normalised else 1e-6
        )
    assert gte.few_walks(GTE.for_data(small(3000, 3000, 3000)).matrix, weights)
    assert not gte.few_walks(GTE.for_data(small(40, 40, 1200)).matrix, weights)
    assert not gte.few_walks(matrix, gte.walk_weights(5))


def test_normalised_scores_weigh_walks_by_degrees() -> None:
    data = small()
    a = torch.zeros(7, 9).index_put((data.user, data.item), torch.ones(len(data)))
    a = a / (a.sum(1, keepdim=True) * a.sum(0)).sqrt().clamp(min=1e-9)
    torch.testing.assert_close(GTE.for_data(data, normalised=True).scorer()(torch.arange(7)), a @ a.T @ a + 3 * a)


def test_gte_orders_pairs_by_closeness_exactly_and_a_trained_lightgcn_does_not() -> None:
    """Card 120, proof 4."""
    data = small(20, 25, 90)
    assert closeness_agreement(GTE.for_data(data), data) == pytest.approx(1, abs=1e-12)
    trained = LightGCN.seeded(data, 0, width=8).fit(data, None, steps=60, batch_size=64)
    assert closeness_agreement(trained, data) < 0.9


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(MethodError, match="hops is 0"):
        GTE.for_data(small(), hops=0)
    with pytest.raises(MethodError, match="tags is 'all'; choose none, random, unique"):
        GTE.for_data(small()).propagate("all")


# -- expressiveness ---------------------------------------------------------------------------------------------------


def both_ways(graph: networkx.Graph) -> Tensor:
    one = torch.tensor(list(graph.edges)).T
    return torch.cat([one, one.flip(0)], 1)


def orbits_by_brute_force(graph: networkx.Graph, colours: list[int] | None = None) -> list[set[int]]:
    nodes, edges = list(graph), {frozenset(edge) for edge in graph.edges}
    orbits = [{node} for node in nodes]
    for image in itertools.permutations(nodes):
        if colours and any(colours[a] != colours[b] for a, b in enumerate(image)):
            continue
        if {frozenset((image[a], image[b])) for a, b in graph.edges} == edges:
            for node in nodes:
                orbits[node].add(image[node])
    return orbits


GRAPHS = {
    "cycle": networkx.cycle_graph(6),
    "two triangles": networkx.disjoint_union(networkx.cycle_graph(3), networkx.cycle_graph(3)),
    "star": networkx.star_graph(5),
    "bipartite": networkx.bipartite.random_graph(4, 4, 0.5, seed=1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_orbits_equal_those_of_all_permutations(name: str) -> None:
    """Card 120, proof 3."""
    graph = GRAPHS[name]
    found = automorphism_orbits(both_ways(graph), len(graph))
    for node, orbit in enumerate(orbits_by_brute_force(graph)):
        assert {other for other in graph if found[other] == found[node]} == orbit


def test_message_passing_confuses_a_cycle_with_two_triangles_unless_nodes_are_told_apart() -> None:
    """The 1-WL test sees regular graphs as one; random features tell them apart, and split what is alike."""
    cycle, triangles = both_ways(GRAPHS["cycle"]), both_ways(GRAPHS["two triangles"])
    together = torch.cat([cycle, triangles + 6], 1)
    colours = colour_refinement(together, 12)
    assert len(colours.unique()) == 1
    orbits = automorphism_orbits(together, 12)
    assert partition_faults(colours, orbits) == (36, 0), "each node of the cycle with each of the triangles"
    tagged = colour_refinement(together, 12, torch.arange(12))
    assert partition_faults(tagged, orbits) == (0, 30), "pairs within the cycle and within the triangles"


def test_gte_without_tags_on_users_merges_alike_users_and_unique_tags_split_everything() -> None:
    """Card 120, proof 3, for embeddings: items begin with one vector each."""
    data = Interactions(user=torch.tensor([0, 0, 1, 1, 2]), item=torch.tensor([0, 1, 0, 1, 2]), name="twins")
    method = GTE.for_data(data)
    user, item = method.propagate()
    assert partition(user)[0] == partition(user)[1] != partition(user)[2] and len(partition(item).unique()) == 3
    for tags in ("unique", "random"):
        told, items = method.propagate(tags)
        assert len(partition(told).unique()) == 3 and len(partition(items).unique()) == 3
        assert torch.equal(told[:, :3], user), "scores are the first columns and do not change"


def test_a_constant_beginning_merges_exactly_the_colour_classes() -> None:
    """Sums of neighbours and self from ones everywhere, rounds on rounds: the 1-WL partition, no more and no less."""
    edges = both_ways(GRAPHS["bipartite"])
    x, kept = torch.ones(8, 1, dtype=torch.float64), []
    for _ in range(8):
        x = torch.zeros_like(x).index_add_(0, edges[0], x[edges[1]]) + x
        kept.append(x)
    classes, colours = partition(torch.cat(kept, 1)), colour_refinement(edges, 8)
    assert partition_faults(classes, colours) == (0, 0)


def test_linear_aggregation_with_distinct_beginnings_splits_what_is_not_alike() -> None:
    data = small(6, 6, 14)
    method = LightGCN.seeded(data, 0, width=4)
    edges = torch.stack([torch.cat([data.user, data.item + 6]), torch.cat([data.item + 6, data.user])])
    orbits = automorphism_orbits(edges, 12, torch.arange(12) // 6)
    merged, _ = partition_faults(partition(method.factors().detach()), orbits)
    assert merged == 0


def test_larger_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="up to 12 nodes, not 13"):
        automorphism_orbits(torch.zeros(2, 0, dtype=torch.int64), 13)
