"""Rewiring: a few edges added so that what lies far apart, or beyond a bottleneck, can be heard.

    gtr     greedy total resistance: the pair whose edge lowers the total effective resistance most, n B^2 / (1 + R)
            Black, Wan, Nayyeri, Wang, 2023, arXiv:2302.06835
    fosr    first-order spectral rewiring: the pair with the least x_u x_v / sqrt((1 + d_u)(1 + d_v)), x the second
            eigenvector of D^-1/2 A D^-1/2 by power iteration. Karhadkar, Banerjee, Montúfar, 2022, arXiv:2210.11790
    sdrf    stochastic discrete Ricci flow: around the edge of least balanced Forman curvature, a pair drawn with
            probability softmax(tau x by how much it raises that curvature). Topping et al., 2022, arXiv:2111.14522
    random  a pair at random
All add edges within components only, take the graph as undirected, and return the added links (2, k) in the order in
which they were added; k is smaller than asked for where no pair is left.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pathline.graph.curvature import balanced_forman, forman_of
from pathline.graph.links import both_ways, links_of
from pathline.graph.resistance import Resistances, components

CANDIDATES = 256  # pairs that SDRF weighs at most


def _open_pairs(edge_index: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """(nodes, nodes) bool: pairs u < v of one component without an edge; and the component of each node."""
    component = components(edge_index, nodes)
    open_ = (component[:, None] == component).triu(1)
    open_[tuple(links_of(edge_index))] = False
    return open_, component


def greedy_total_resistance(edge_index: Tensor, nodes: int, count: int) -> Tensor:
    """GTR. Dense: O(nodes^3) once and O(nodes^2) for every added link."""
    open_, component = _open_pairs(edge_index, nodes)
    sizes = torch.bincount(component)[component].double()
    state = Resistances.of(edge_index, nodes)
    added: list[list[int]] = []
    while len(added) < count and bool(open_.any()):
        u, v = divmod(int(state.gains(sizes).masked_fill(~open_, -torch.inf).argmax()), nodes)
        state = state.added(u, v)
        open_[u, v] = False
        added.append([u, v])
    return _links(added, edge_index)


def first_order_spectral(edge_index: Tensor, nodes: int, count: int, iterations: int = 10) -> Tensor:
    """FoSR. `iterations` of the power method at first, one after every added link."""
    open_, _ = _open_pairs(edge_index, nodes)
    links = links_of(edge_index)
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[links[0], links[1]] = adjacency[links[1], links[0]] = 1.0
    x = torch.randn(nodes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    added: list[list[int]] = []
    turns = iterations
    while len(added) < count and bool(open_.any()):
        degree = adjacency.sum(1)
        root = degree.sqrt()
        scale = torch.where(degree > 0, degree, 1.0).rsqrt()
        for _ in range(turns):
            x = x - (x @ root) / degree.sum().clamp(min=1) * root
            x = x + scale * (adjacency @ (scale * x))
            x = x / x.norm().clamp(min=1e-30)
        near = x / (1 + degree).sqrt()
        u, v = divmod(int(torch.outer(near, near).masked_fill(~open_, torch.inf).argmin()), nodes)
        adjacency[u, v] = adjacency[v, u] = 1.0
        open_[u, v] = False
        added.append([u, v])
        turns = 1
    return _links(added, edge_index)


def stochastic_ricci_flow(edge_index: Tensor, nodes: int, count: int, tau: float = 20.0, seed: int = 0) -> Tensor:
    """SDRF, its adding half: edges of large curvature are not removed, so that all rewirings add equally many.

    At most `CANDIDATES` pairs around an edge are weighed, drawn at random where there are more.
    """
    generator = torch.Generator().manual_seed(seed)
    links, stuck = links_of(edge_index), set[int]()
    added: list[list[int]] = []
    while len(added) < count and len(stuck) < links.shape[1]:
        curvature = balanced_forman(links, nodes)
        curvature[list(stuck)] = torch.inf
        worst = int(curvature.argmin())
        found = _best_beside(links, nodes, worst, tau, generator)
        if found is None:
            stuck.add(worst)
            continue
        stuck = set()
        added.append(found)
        links = links_of(torch.cat([links, torch.tensor([found]).T], 1))
    return _links(added, edge_index)


def _best_beside(links: Tensor, nodes: int, worst: int, tau: float, generator: torch.Generator) -> list[int] | None:
    """A pair between the neighbourhoods of the ends of link `worst`, or None if all of them are linked."""
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[links[0], links[1]] = adjacency[links[1], links[0]] = 1.0
    i, j = links[:, worst].tolist()
    around_i = torch.cat([adjacency[i].nonzero()[:, 0], torch.tensor([i])]).unique()
    around_j = torch.cat([adjacency[j].nonzero()[:, 0], torch.tensor([j])]).unique()
    pairs = torch.cartesian_prod(around_i, around_j)
    pairs = (
        pairs[(pairs[:, 0] != pairs[:, 1]) & (adjacency[pairs[:, 0], pairs[:, 1]] == 0)].sort(1).values.unique(dim=0)
    )
    if not len(pairs):
        return None
    pairs = pairs[torch.randperm(len(pairs), generator=generator)[:CANDIDATES]]
    local = torch.cat([around_i, around_j]).unique()  # no other node enters the curvature of i - j
    place = torch.searchsorted(local, pairs)
    inside = adjacency[local][:, local].expand(len(pairs), -1, -1).clone()
    row = torch.arange(len(pairs))
    inside[row, place[:, 0], place[:, 1]] = inside[row, place[:, 1], place[:, 0]] = 1.0
    at = torch.searchsorted(local, torch.tensor([i, j]))
    ends = [at[k].expand(len(pairs)) for k in (0, 1)]
    raised = forman_of(inside[row, ends[0]], inside[row, ends[1]], inside, ends[0], ends[1])
    chance = (tau * raised).softmax(0)
    chosen: list[int] = pairs[int(torch.multinomial(chance, 1, generator=generator))].tolist()
    return chosen


def random_pairs(edge_index: Tensor, nodes: int, count: int, seed: int = 0) -> Tensor:
    """Pairs at random, each at most once."""
    open_ = _open_pairs(edge_index, nodes)[0].nonzero()
    order = torch.randperm(len(open_), generator=torch.Generator().manual_seed(seed))
    return open_[order[:count]].T.contiguous()


REWIRINGS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "gtr": greedy_total_resistance,
    "fosr": first_order_spectral,
    "sdrf": stochastic_ricci_flow,
    "random": random_pairs,
}


def rewire(edge_index: Tensor, nodes: int, count: int, how: str = "gtr") -> tuple[Tensor, Tensor]:
    """The graph with up to `count` links added, and which edges are new: (2, E + 2 k) and (E + 2 k,) int64, 0 or 1.

    The edges of the graph stay first, as they are; how: a key of `REWIRINGS`.
    """
    if how not in REWIRINGS:
        raise ValueError(f"there is no rewiring '{how}'; choose among {', '.join(REWIRINGS)}")
    added = both_ways(REWIRINGS[how](edge_index, nodes, count))
    kinds = torch.arange(2).repeat_interleave(torch.tensor([edge_index.shape[1], added.shape[1]]))
    return torch.cat([edge_index, added], 1), kinds


def _links(added: list[list[int]], like: Tensor) -> Tensor:
    return torch.tensor(added, dtype=like.dtype).T.contiguous() if added else like.new_zeros(2, 0)
