"""Positional and structural encodings: numbers that say where in its graph a node lies, and how two nodes lie together.

    laplacian      the k lowest eigenvectors of I - D^-1/2 A D^-1/2 beside the trivial one, and their eigenvalues
    random walk    diag(P^t), t = 1 .. k, the chance to be back after t steps, P = D^-1 A      (RWSE)
    rrwp           [I, P, P^2, .., P^(k-1)]_ij for all pairs of a graph                          (GRIT)
    wl             colour of a node after h rounds of Weisfeiler and Leman's refinement
    resistance     mean effective resistance to the other nodes of its graph, and L^+_ii
Several graphs are given as their disjoint union, with `graph` (nodes,) naming the graph of each node in increasing
order; graphs of equal size are worked on together. All but the raw eigenvectors are equivariant: relabel the nodes and
the rows follow. Eigenvectors are so up to sign, and up to rotation where eigenvalues coincide (see `nn.sign_net`).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pathline.graph.ragged import starts_of
from pathline.graph.sparse import Edges

_BLOCK = 1 << 24


def by_size(graph: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Graphs of equal size together: their numbers (b,), and their nodes (b, size)."""
    count = torch.bincount(graph)
    start = starts_of(count)
    for size in count.unique().tolist():
        if size:
            chosen = (count == size).nonzero()[:, 0]
            yield chosen, start[chosen][:, None] + torch.arange(size)


def dense_graphs(edge_index: Tensor, graph: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Graphs of equal size together: their nodes (b, size), and adjacency (b, size, size) float64, 1 for an edge from
    row to column; parallel edges count once and edges from a node to itself not at all."""
    count = torch.bincount(graph)
    start = starts_of(count)
    sender, receiver = edge_index[:, edge_index[0] != edge_index[1]]
    home = graph[sender]
    for chosen, nodes in by_size(graph):
        size = nodes.shape[1]
        row = torch.full((len(count),), -1)
        row[chosen] = torch.arange(len(chosen))
        inside = row[home] >= 0
        for part in torch.arange(len(chosen)).split(max(1, _BLOCK // size**2)):
            mine = inside & (row[home] >= part[0]) & (row[home] <= part[-1])
            adjacency = torch.zeros(len(part), size, size, dtype=torch.float64)
            shift = start[home[mine]]
            adjacency[row[home[mine]] - part[0], sender[mine] - shift, receiver[mine] - shift] = 1.0
            yield nodes[part], adjacency


def laplacian_eigenvectors(edge_index: Tensor, graph: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(nodes, k) eigenvectors and (nodes, k) eigenvalues of each node's graph, lowest first, float64.

    The first, trivial one is left out. Graphs with fewer than k + 1 nodes have zeros in the rest of both.
    """
    vectors, values = torch.zeros(2, len(graph), k, dtype=torch.float64).unbind(0)
    for nodes, adjacency in dense_graphs(edge_index, graph):
        adjacency = torch.maximum(adjacency, adjacency.mT)
        degree = adjacency.sum(-1)
        scale = torch.where(degree > 0, degree, 1.0).rsqrt() * (degree > 0)
        matrix = torch.diag_embed((degree > 0).double()) - scale[:, :, None] * adjacency * scale[:, None]
        found, basis = torch.linalg.eigh(matrix)
        kept = min(k, nodes.shape[1] - 1)
        vectors[nodes, :kept] = basis[..., 1 : kept + 1]
        values[nodes, :kept] = found[:, None, 1 : kept + 1].expand(-1, nodes.shape[1], -1)
    return vectors, values


def _walk(adjacency: Tensor) -> Tensor:
    degree = adjacency.sum(-1, keepdim=True)
    return adjacency / torch.where(degree > 0, degree, 1.0)


def random_walk_returns(edge_index: Tensor, graph: Tensor, k: int, dense: int = 512) -> Tensor:
    """(nodes, k) float64 the chance that a walk is back where it began after 1 .. k steps.

    Graphs of up to `dense` nodes are powers of a matrix; larger ones are walked from blocks of nodes.
    """
    found = torch.zeros(len(graph), k, dtype=torch.float64)
    if int(torch.bincount(graph).max()) > dense:
        return _returns_by_blocks(edge_index, len(graph), k)
    for nodes, adjacency in dense_graphs(edge_index, graph):
        step = _walk(adjacency)
        power = step
        for t in range(k):
            found[nodes, t] = power.diagonal(dim1=-2, dim2=-1)
            power = power @ step
    return found


def _returns_by_blocks(edge_index: Tensor, nodes: int, k: int) -> Tensor:
    simple = torch.unique(edge_index[:, edge_index[0] != edge_index[1]], dim=1)
    edges = Edges(simple, nodes)
    chance = 1 / torch.bincount(simple[0], minlength=nodes).double()[simple[0]]
    found = torch.zeros(nodes, k, dtype=torch.float64)
    for block in torch.arange(nodes).split(max(1, _BLOCK // nodes)):
        column = torch.arange(len(block))
        at = torch.zeros(nodes, len(block), dtype=torch.float64)
        at[block, column] = 1.0
        for t in range(k):
            at = edges.propagate(at, chance)
            found[block, t] = at[block, column]
    return found


def relative_random_walks(edge_index: Tensor, graph: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """RRWP. Pairs (2, P) of all nodes of each graph, a node with itself among them, and [I, P, .., P^(k-1)] at those
    pairs (P, k) float64; the values of a row of one power sum to 1 where the node has a neighbour."""
    pairs, values = [], []
    for nodes, adjacency in dense_graphs(edge_index, graph):
        step = _walk(adjacency)
        powers = [torch.eye(nodes.shape[1], dtype=torch.float64).expand_as(step)]
        for _ in range(k - 1):
            powers.append(powers[-1] @ step)
        values.append(torch.stack(powers, -1).flatten(0, 2))
        row = nodes[:, :, None].expand_as(step)
        pairs.append(torch.stack([row.flatten(), row.mT.flatten()]))
    return torch.cat(pairs, 1), torch.cat(values)


def wl_colours(edge_index: Tensor, nodes: int, rounds: int, start: Tensor | None = None) -> Tensor:
    """(nodes,) int64 colours after `rounds`: c(v) <- hash(c(v), {{ c(u) : u -> v }}).

    start: (nodes,) int64 colours to begin with. Equal colours of different graphs mean the same: a colour is a hash of
    64 bits and depends on nothing but what it describes. Shervashidze et al., 2011, JMLR 12.
    """
    colour = _hash(torch.zeros(nodes, dtype=torch.int64) if start is None else start)
    for _ in range(rounds):
        heard = torch.zeros_like(colour).index_add(0, edge_index[1], _hash(colour)[edge_index[0]])
        colour = _hash(colour * 0x2545F4914F6CDD1D + heard)
    return colour


def _hash(x: Tensor) -> Tensor:
    """A fixed scrambling of 64-bit integers (the finaliser of splitmix64, Steele et al., 2014)."""
    x = (x + 0x1E3779B97F4A7C15) ^ ((x >> 30) & 0x3FFFFFFFF)
    x = x * -0x40A7B892E31B1A47
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def resistance_encoding(edge_index: Tensor, graph: Tensor) -> Tensor:
    """(nodes, 2) float64: mean effective resistance to the nodes of its component, and L^+_ii.

    mean_v R_uv = L^+_uu + tr(L^+) / n.
    """
    from pathline.graph.resistance import components, laplacian_pseudoinverse

    found = torch.zeros(len(graph), 2, dtype=torch.float64)
    start = starts_of(torch.bincount(graph))
    order = graph[edge_index[0]].argsort(stable=True)
    sorted_edges = edge_index[:, order]
    borders = torch.searchsorted(graph[sorted_edges[0]].contiguous(), torch.arange(len(start)))
    for g, (begin, end) in enumerate(zip(start[:-1].tolist(), start[1:].tolist(), strict=True)):
        own = sorted_edges[:, borders[g] : borders[g + 1]] - begin
        if end == begin:
            continue
        diagonal = laplacian_pseudoinverse(own, end - begin).diagonal()
        part = components(own, end - begin)
        trace = torch.zeros(end - begin, dtype=torch.float64).index_add(0, part, diagonal)[part]
        found[begin:end] = torch.stack([diagonal + trace / torch.bincount(part)[part], diagonal], 1)
    return found
