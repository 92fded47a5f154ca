"""Links: what a fair split of them is, which pairs are none, and what two nodes' neighbourhoods say about a pair.

A link is an unordered pair of different nodes. Everything that a test link could give away leaves the graph with it,
in both directions and in all its copies.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


def links_of(edge_index: Tensor) -> Tensor:
    """(2, L) every link once, the smaller end first, in increasing order; edges from a node to itself are none."""
    ends = edge_index.sort(0).values
    return torch.unique(ends[:, ends[0] != ends[1]], dim=1)


def both_ways(links: Tensor) -> Tensor:
    """(2, 2 L) every link as two edges."""
    return torch.cat([links, links.flip(0)], 1)


def keys_of(pairs: Tensor, nodes: int) -> Tensor:
    """One number for each unordered pair: smaller end x nodes + larger end."""
    low, high = pairs.sort(0).values
    return low * nodes + high


def sample_non_links(taken: Tensor, nodes: int, count: int, generator: torch.Generator) -> Tensor:
    """(2, count) pairs drawn uniformly from those that are no link, without repetition where there are enough.

    taken: sorted keys of the pairs that must not be drawn (`keys_of`).
    """
    free = nodes * (nodes - 1) // 2 - len(taken)
    if free < 1:
        raise ValueError(f"all {nodes * (nodes - 1) // 2} pairs are links; there is no negative to draw")
    if free <= 4 * count:  # too few for rejection: list them all
        every = keys_of(torch.triu_indices(nodes, nodes, 1), nodes)
        rest = every[~torch.isin(every, taken)]
        order = torch.randperm(len(rest), generator=generator)
        chosen = rest[order[torch.arange(count) % len(rest)]]
        return torch.stack([chosen // nodes, chosen % nodes])
    kept = taken.new_zeros(0)
    while len(kept) < count:
        pairs = torch.randint(nodes, (2, 2 * count + 16), generator=generator)
        keys = keys_of(pairs[:, pairs[0] != pairs[1]], nodes)
        if len(taken):
            place = torch.searchsorted(taken, keys).clamp(max=len(taken) - 1)
            keys = keys[taken[place] != keys]
        kept = torch.cat([kept, keys])
        first = torch.zeros(len(kept), dtype=torch.bool)  # the first of equal draws, in the order of drawing
        ordered, order = kept.sort(stable=True)
        first[order[torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered.diff() != 0])[: len(ordered)]]] = True
        kept = kept[first]
    kept = kept[:count]
    return torch.stack([kept // nodes, kept % nodes])


class LinkSplit(NamedTuple):
    """train, validation, test: links (2, .);  validation_negative, test_negative: as many pairs that are no link."""

    train: Tensor
    validation: Tensor
    test: Tensor
    validation_negative: Tensor
    test_negative: Tensor


def split_links(edge_index: Tensor, nodes: int, seed: int, validation: float = 0.05, test: float = 0.1) -> LinkSplit:
    """Links at random into three parts, and for two of them as many negatives, drawn uniformly without repetition from
    the pairs that no part of the graph links."""
    links = links_of(edge_index)
    count = links.shape[1]
    if count < 10:
        raise ValueError(f"{count} links are too few to hold some out; bring at least 10")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)
    held, asked = max(1, round(validation * count)), max(1, round(test * count))
    negative = sample_non_links(keys_of(links, nodes).sort().values, nodes, held + asked, generator)
    return LinkSplit(
        links[:, order[held + asked :]],
        links[:, order[:held]],
        links[:, order[held : held + asked]],
        negative[:, :held],
        negative[:, held:],
    )


def _matrix(edge_index: Tensor, nodes: int) -> sparse.csr_matrix:
    """Adjacency of ones, symmetric, without a diagonal."""
    one, other = both_ways(links_of(edge_index)).cpu().numpy()
    return sparse.csr_matrix((np.ones(len(one)), (one, other)), (nodes, nodes))


def weighted_common_neighbours(edge_index: Tensor, nodes: int, pairs: Tensor, weight: Tensor) -> Tensor:
    """(pairs,) float64: the sum of weight (nodes,) over the common neighbours of each pair (2, pairs)."""
    matrix = _matrix(edge_index, nodes)
    scaled = matrix.multiply(weight.double().numpy()[None, :]).tocsr()
    parts = [
        np.asarray(matrix[one].multiply(scaled[other]).sum(1))[:, 0]
        for one, other in (block.numpy() for block in pairs.cpu().split(1 << 16, 1))
    ]
    return torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(0, dtype=torch.float64)


def degrees(edge_index: Tensor, nodes: int) -> Tensor:
    """(nodes,) float64 number of different neighbours."""
    return torch.bincount(links_of(edge_index).flatten(), minlength=nodes).double()


def common_neighbours(edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
    """|N(i) and N(j)| of each pair."""
    return weighted_common_neighbours(edge_index, nodes, pairs, torch.ones(nodes))


def adamic_adar(edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
    """sum over common neighbours u of 1 / log degree(u). Adamic and Adar, 2003, Social Networks 25."""
    degree = degrees(edge_index, nodes)
    return weighted_common_neighbours(
        edge_index, nodes, pairs, torch.where(degree > 1, 1 / degree.clamp(min=2).log(), 0.0)
    )


def resource_allocation(edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
    """sum over common neighbours u of 1 / degree(u). Zhou, Lü, Zhang, 2009, European Physical Journal B 71."""
    return weighted_common_neighbours(edge_index, nodes, pairs, 1 / degrees(edge_index, nodes).clamp(min=1))


def katz(edge_index: Tensor, nodes: int, pairs: Tensor, beta: float = 0.005, longest: int = 5) -> Tensor:
    """sum_{l = 1..longest} beta^l (number of walks of length l between i and j). Katz, 1953, Psychometrika 18.

    Walks are counted from the different first ends of the pairs only, in blocks of them.
    """
    matrix = _matrix(edge_index, nodes)
    ends, place = np.unique(pairs[0].cpu().numpy(), return_inverse=True)
    scores = np.zeros(pairs.shape[1])
    block = max(1, (1 << 24) // max(1, nodes))
    for begin in range(0, len(ends), block):
        inside = (place >= begin) & (place < begin + block)
        row, column = place[inside] - begin, pairs[1].cpu().numpy()[inside]
        walks = np.zeros((nodes, min(block, len(ends) - begin)))
        walks[ends[begin : begin + block], np.arange(walks.shape[1])] = 1
        total = np.zeros(inside.sum())
        for length in range(1, longest + 1):
            walks = matrix @ walks
            total += beta**length * walks[column, row]
        scores[inside] = total
    return torch.from_numpy(scores)
