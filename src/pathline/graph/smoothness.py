"""How smooth a graph network has become: whether nodes still hear different things, and whether they say them.

    T^(k) = A^(k) ... A^(1)                            what node i has heard of node j in k hops: `cumulative_attention`
    S(T) = mean over pairs i != j of | T_i / |T_i|_1 - T_j / |T_j|_1 |_2            `row_spread`: 0 if all hear the same
    E(x) = 1/2 sum_edges | c_i x_i - c_j x_j |^2                                    `dirichlet_energy`
Weights whose rows sum to 1 multiply to a matrix of equal rows: S(T) falls to 0 hop by hop, whatever is learned. With
c = 1, E vanishes on what is constant; with c_i = d_i^-1/2 on what D^-1/2 A D^-1/2 leaves alone, d^1/2.
S(T) after Lee, Bu, Yoo, Shin, 2023, arXiv:2306.02376; E as in Cai, Wang, 2020, arXiv:2006.13318.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pathline.graph.sparse import Edges


def cumulative_attention(weights: Iterable[Tensor], edges: Edges) -> Iterator[Tensor]:
    """T^(1), T^(2), ... (nodes, nodes), receiver and source, of the weights (E,) of one hop after another."""
    product: Tensor | None = None
    for weight in weights:
        if product is None:
            product = torch.eye(edges.receivers, dtype=weight.dtype, device=weight.device)
        product = edges.propagate(product, weight)
        yield product


def row_spread(product: Tensor) -> float:
    """S(T) of T (nodes, nodes), between 0 and sqrt(2) where no entry is negative; rows of zeros are left out."""
    product = product.detach().double()
    size = product.abs().sum(1, keepdim=True)
    rows = product[size[:, 0] > 0] / size[size[:, 0] > 0]
    count = len(rows)
    if count < 2:
        return 0.0
    apart = torch.cdist(
        rows, rows, compute_mode="donot_use_mm_for_euclid_dist" if count <= 512 else "use_mm_for_euclid_dist"
    )
    return float(apart.sum() / (count * (count - 1)))


def dirichlet_energy(x: Tensor, edges: Edges, scale: Tensor | None = None) -> float:
    """E(x) of x (nodes, width), each edge of the list counted once; scale: c (nodes,), 1 by default."""
    x = x.detach() if scale is None else x.detach() * scale.to(x.dtype)[:, None]
    sender, receiver = edges.edge_index
    return 0.5 * float((x.index_select(0, sender) - x.index_select(0, receiver)).double().square().sum())
