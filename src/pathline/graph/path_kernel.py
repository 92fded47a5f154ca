"""A kernel of paths: nodes are alike if the paths that leave them pass alike features.

    K(u, u') = sum_{p from u} sum_{p' from u'} kappa(x_p, x_p'),      p: simple paths of k edges, x_p their features
    kappa(z, z') = |z| |z'| exp(s^-2 (<z, z'> / |z| |z'| - 1))
    phi(u) = sum_{p from u} kappa(Z, Z)^-1/2 kappa(Z, x_p)            Nystroem: Z (m, .) anchors, <phi(u), phi(u')> ~ K
Anchors are the centres of the directions of paths, by k-means on the sphere. Chen, Jacob, Mairal, 2020, "Convolutional
Kernel Networks for Graph-Structured Data", ICML, arXiv:2003.05189, one layer.
"""

import torch
from torch import Tensor

from pathline.graph.ragged import places_of, starts_of

_BLOCK = 1 << 22


def simple_paths(
    edge_index: Tensor, nodes: int, length: int, start: Tensor | None = None, most: int | None = None
) -> Tensor:
    """(P, length + 1) all paths of `length` edges that visit no node twice, from the nodes `start` (default: all).

    Raises ValueError before there are more than `most`.
    """
    sender, receiver = torch.unique(edge_index[:, edge_index[0] != edge_index[1]], dim=1)
    count = torch.bincount(sender, minlength=nodes)
    first = starts_of(count)[:-1]
    paths = (torch.arange(nodes) if start is None else start)[:, None]
    for _ in range(length):
        ways = count[paths[:, -1]]
        if most is not None and int(ways.sum()) > most:
            raise ValueError(f"there are more than {most} paths of {length} edges among {nodes} nodes")
        onward = receiver[places_of(first[paths[:, -1]], ways)]
        paths = torch.cat([paths.repeat_interleave(ways, 0), onward[:, None]], 1)
        paths = paths[(paths[:, :-1] != paths[:, -1:]).all(1)]
    return paths


def path_counts(edge_index: Tensor, nodes: int, longest: int, start: Tensor | None = None) -> Tensor:
    """(nodes or starts, longest) int64 how many paths of 1 .. `longest` edges leave each node."""
    start = torch.arange(nodes) if start is None else start
    found = [
        torch.bincount(simple_paths(edge_index, nodes, length, start)[:, 0], minlength=nodes)[start]
        for length in range(1, longest + 1)
    ]
    return torch.stack(found, 1)


def _unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    norm = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(norm > 0, norm, 1.0), norm


def spherical_means(rows: Tensor, count: int, rounds: int = 20, seed: int = 0) -> Tensor:
    """(count, width) unit vectors: centres of the directions of `rows` (n, width), begun from rows drawn by `seed`."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.unique(_unit(rows)[0], dim=0)
    chosen = torch.randperm(len(unit), generator=generator)[torch.arange(count) % len(unit)]
    centre = (
        unit[chosen]
        + 0.1
        * torch.randn(count, unit.shape[1], generator=generator, dtype=unit.dtype)
        * (torch.arange(count) >= len(unit)).to(unit.dtype)[:, None]
    )  # where there are fewer directions than centres, the rest lies beside them
    centre = _unit(centre)[0]
    for _ in range(rounds):
        nearest = (unit @ centre.T).argmax(1)
        total = torch.zeros_like(centre).index_add(0, nearest, unit)
        moved = total.norm(dim=1, keepdim=True) > 0
        centre = torch.where(moved, _unit(total)[0], centre)
    return centre


def dot_product_kernel(unit: Tensor, other: Tensor, sigma: float) -> Tensor:
    """exp(s^-2 (<z, z'> - 1)) of unit vectors (n, w) and (m, w): (n, m)."""
    return ((unit @ other.T - 1) / sigma**2).exp()


def path_features(paths: Tensor, x: Tensor, anchors: Tensor, nodes: int, sigma: float = 0.5) -> Tensor:
    """phi (nodes, m) of paths (P, length + 1) through nodes with features x (nodes, width).

    anchors: (m, (length + 1) width) unit vectors.
    """
    values, basis = torch.linalg.eigh(dot_product_kernel(anchors, anchors, sigma))
    root = basis @ torch.diag(values.clamp(min=1e-6).rsqrt()) @ basis.T
    found = x.new_zeros(nodes, len(anchors))
    for part in paths.split(max(1, _BLOCK // anchors.shape[1])):
        unit, norm = _unit(x[part].flatten(1))
        found.index_add_(0, part[:, 0], norm * dot_product_kernel(unit, anchors, sigma))
    return found @ root
