"""Edge lists from nothing (complete), from points (nearest neighbours, radius), and from other edge lists (unions).

Every edge list is (2, E) int64, row 0 the sender and row 1 the receiver, sorted by receiver. Distances are computed
exactly (by differences, not by a^2 + b^2 - 2ab) in blocks of receivers, so memory stays near 4 M distances however
many points there are.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_BLOCK = 1 << 22  # distances held at once


def complete_graph(nodes: int, loops: bool = False, device: torch.device | str | None = None) -> Tensor:
    """All ordered pairs of `nodes` nodes: (2, nodes * (nodes - 1)), or nodes**2 edges with `loops`."""
    receiver, sender = torch.cartesian_prod(*[torch.arange(nodes, device=device)] * 2).unbind(1)
    edges = torch.stack([sender, receiver])
    return edges if loops else edges[:, sender != receiver]


def _distances(points: Tensor, batch: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks (receivers (b,), distance (b, N)); infinite to itself and to points of another cloud."""
    if points.dim() != 2:
        raise ValueError(f"points has shape {tuple(points.shape)} but must be (nodes, dimensions)")
    if batch is not None and batch.shape != points.shape[:1]:
        raise ValueError(f"batch has shape {tuple(batch.shape)} but must be ({len(points)},): one graph per point")
    for block in torch.arange(len(points), device=points.device).split(max(1, _BLOCK // max(1, len(points)))):
        distance = torch.cdist(points[block], points, compute_mode="donot_use_mm_for_euclid_dist")
        if batch is not None:
            distance.masked_fill_(batch[block, None] != batch, torch.inf)
        distance[torch.arange(len(block)), block] = torch.inf
        yield block, distance


@torch.no_grad()
def knn_graph(points: Tensor, k: int, batch: Tensor | None = None) -> Tensor:
    """Each point receives from its `k` nearest others (from all others when its cloud has fewer than k+1 points).

    points: (N, D);  batch: (N,) int64, the cloud of each point: edges never join two clouds.
    Returns (2, E), every receiver's senders from near to far.
    """
    if k < 1:
        raise ValueError(f"k is {k} but a nearest-neighbour graph needs k >= 1")
    parts = [torch.empty(2, 0, dtype=torch.int64, device=points.device)]
    for block, distance in _distances(points, batch):
        near, sender = distance.topk(min(k, len(points)), dim=1, largest=False)
        edges = torch.stack([sender, block[:, None].expand_as(sender)])
        parts.append(edges[:, near.isfinite()])
    return torch.cat(parts, dim=1)


@torch.no_grad()
def radius_graph(points: Tensor, radius: float, batch: Tensor | None = None) -> Tensor:
    """Every ordered pair at a distance <= radius. Arguments as in `knn_graph`; returns (2, E)."""
    parts = [torch.empty(2, 0, dtype=torch.int64, device=points.device)]
    for block, distance in _distances(points, batch):
        row, sender = (distance <= radius).nonzero(as_tuple=True)
        parts.append(torch.stack([sender, block[row]]))
    return torch.cat(parts, dim=1)


def lattice_graph(height: int, width: int, reach: float = 1.5, periodic: bool = False) -> tuple[Tensor, Tensor]:
    """Pixels of a height x width picture, row by row, joined to all others within `reach` pixels.

    reach: 1 joins 4 neighbours, 1.5 joins 8;  periodic: opposite borders touch, as on a torus
    Returns edge_index (2, E), sorted by receiver, and the distances (E,) in pixels.
    """
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    line = torch.arange(-int(reach), int(reach) + 1)
    shift = torch.cartesian_prod(line, line)
    apart = shift.float().norm(dim=1)
    near = (apart > 0) & (apart <= reach)
    shift, apart = shift[near], apart[near]
    rows = row.flatten()[:, None] + shift[:, 0]
    columns = column.flatten()[:, None] + shift[:, 1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if periodic:
        inside = torch.ones_like(inside)
    receiver, place = inside.nonzero(as_tuple=True)
    sender = rows[receiver, place] % height * width + columns[receiver, place] % width
    return torch.stack([sender, receiver]), apart[place]


def disjoint_union(edge_indices: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Several graphs side by side as one: graph g's nodes are shifted by sizes[0] + .. + sizes[g-1].

    Returns edge_index (2, sum E_g) and batch (sum sizes,) int64, the graph of each node.
    """
    if len(edge_indices) != len(sizes) or not sizes:
        raise ValueError(f"a union needs one size per graph, got {len(edge_indices)} graphs and {len(sizes)} sizes")
    device = edge_indices[0].device
    counts = torch.tensor(sizes, device=device)
    shift = (counts.cumsum(0) - counts).repeat_interleave(
        torch.tensor([edges.shape[1] for edges in edge_indices], device=device)
    )
    return torch.cat(list(edge_indices), dim=1) + shift, torch.arange(len(sizes), device=device).repeat_interleave(
        counts
    )


def repeat_graph(edge_index: Tensor, nodes: int, copies: int) -> Tensor:
    """`copies` disjoint copies of one graph: (2, E) -> (2, copies * E), copy c shifted by c * nodes.

    Matches node tensors (copies, nodes, ...) flattened to (copies * nodes, ...).
    """
    shift = nodes * torch.arange(copies, device=edge_index.device)
    return (edge_index[:, None, :] + shift[None, :, None]).reshape(2, -1)
