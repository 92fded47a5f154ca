"""Triangle meshes as graphs: their edges, areas and triangulations, and edges between what touches in space.

Cells are (triangles, 3) int64. Edge lists are (2, E) int64 with the sender in row 0, sorted by receiver, as everywhere.
"""

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1 << 22  # distances held at once


def unique_edges(cells: Tensor) -> Tensor:
    """(2, edges) every edge of the mesh once, the smaller end first; a triangle has three, neighbours share one."""
    pairs = torch.cat([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]]).sort(1).values
    return torch.unique(pairs, dim=0).T.contiguous()


def mesh_edges(cells: Tensor) -> Tensor:
    """(2, 2 * edges) both directions of every edge, without duplicates, sorted by receiver and then sender."""
    once = unique_edges(cells)
    both = torch.cat([once, once.flip(0)], 1)
    count = int(cells.max()) + 1 if cells.numel() else 1
    return both[:, (both[1] * count + both[0]).argsort()]


def boundary_edges(cells: Tensor) -> Tensor:
    """(2, boundary edges) the edges that belong to one triangle only, the smaller end first."""
    pairs = torch.cat([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]]).sort(1).values
    edges, members = torch.unique(pairs, dim=0, return_counts=True)
    return edges[members == 1].T.contiguous()


def signed_areas(points: Tensor, cells: Tensor) -> Tensor:
    """(triangles,) areas in the plane, positive where the corners run counter-clockwise; points: (nodes, 2)."""
    a, b, c = (points[corner] for corner in cells.T)
    (ux, uy), (vx, vy) = (b - a).unbind(1), (c - a).unbind(1)
    return 0.5 * (ux * vy - uy * vx)


def euler_characteristic(cells: Tensor) -> int:
    """Nodes in use - edges + triangles: 1 for a disc, less one for every hole."""
    return len(cells.unique()) - unique_edges(cells).shape[1] + len(cells)


def delaunay(points: Tensor) -> Tensor:
    """(triangles, 3) the Delaunay triangulation of points (nodes, 2) in the plane, every triangle counter-clockwise.

    Triangles without area, which arise along straight boundaries, are left out. Raises ValueError if the points do not
    span the plane.
    """
    from scipy.spatial import Delaunay, QhullError

    try:
        found = Delaunay(points.detach().cpu().double().numpy()).simplices
    except (QhullError, ValueError) as error:
        raise ValueError(f"{len(points)} points cannot be triangulated: {str(error).splitlines()[0]}") from None
    cells = torch.from_numpy(np.ascontiguousarray(found)).long()
    area = signed_areas(points.double(), cells)
    cells = torch.where((area < 0)[:, None], cells.flip(1), cells)
    extent = (points.amax(0) - points.amin(0)).double().prod()
    return cells[area.abs() > 1e-12 * extent]


@torch.no_grad()
def world_edges(positions: Tensor, radius: float, edge_index: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs that are near in space though no edge joins them: contact edges.

    positions: (batch, nodes, dims);  edge_index: (2, E), the pairs that are left out, the same for the whole batch.
    Returns (2, F) over batch * nodes nodes, item b's shifted by b * nodes, sorted by receiver, every ordered pair at a
    distance < radius; and (F,) the item of each edge.
    """
    batch, nodes, _ = positions.shape
    joined = torch.zeros(nodes, nodes, dtype=torch.bool, device=positions.device)
    joined[edge_index[1], edge_index[0]] = True
    joined.fill_diagonal_(True)
    found = []
    for block in torch.arange(batch, device=positions.device).split(max(1, _BLOCK // max(1, nodes * nodes))):
        distance = torch.cdist(positions[block], positions[block], compute_mode="donot_use_mm_for_euclid_dist")
        found.append(((distance < radius) & ~joined).nonzero() + torch.stack([block[0], *[block[0] * 0] * 2]))
    item, receiver, sender = torch.cat(found).unbind(1)
    return torch.stack([sender, receiver]) + item * nodes, item
