"""Interpolation between scattered nodes of the plane: from the nearest one, and from natural neighbours."""

import torch
from torch import Tensor

RASTER = 48  # cells across the longer side of the map
BLOCK = 1 << 22  # distances held at once


def nearest_values(values: Tensor, seen: Tensor, distance: Tensor) -> Tensor:
    """Each unseen entry as the nearest node that is seen at that time; at times without any, as the same node at the
    nearest time that has some (the earlier of two); seen entries as they are.

    values, seen: (nodes, time);  distance: (nodes, nodes), inf where there is no way -> (nodes, time)
    """
    away = torch.where(seen.T[:, None, :], distance, torch.inf)  # (time, node, node that is seen)
    near, source = away.min(-1)
    found = values.T.gather(1, source)
    found = torch.where(near.isfinite(), found, torch.nan).T
    return in_time(torch.where(seen, values, found))


def in_time(values: Tensor) -> Tensor:
    """nan entries of (nodes, time) as the node's nearest time that has a value, the earlier of two; 0 if there is
    none."""
    steps = torch.arange(values.shape[1], device=values.device).expand(values.shape)
    known = values.isfinite()
    before = torch.where(known, steps, -1).cummax(1).values
    after = torch.where(known, steps, 2 * values.shape[1]).flip(1).cummin(1).values.flip(1)
    earlier = (before >= 0) & ((steps - before <= after - steps) | (after >= values.shape[1]))
    source = torch.where(earlier, before, after)
    filled = values.gather(1, source.clamp(0, values.shape[1] - 1))
    return torch.where(known.any(1, keepdim=True), filled, 0.0)


def natural_neighbours(values: Tensor, seen: Tensor, positions: Tensor, raster: int = RASTER) -> Tensor:
    """Sibson's interpolation at each time: an unseen node takes the seen ones' values in proportion to the area that
    its Voronoi cell would take from each of theirs; areas are counted in cells of a raster.

    values, seen: (nodes, time);  positions: (nodes, 2) -> (nodes, time). Nodes that would take none, and times without
    seen nodes, are filled from the nearest.
    Sibson, 1981, "A brief description of natural neighbour interpolation"; on a raster Park et al., 2006,
    doi:10.1109/TVCG.2006.27.
    """
    low, high = positions.amin(0), positions.amax(0)
    cell, margin = float((high - low).max()) / raster, 0.1 * (high - low)
    axes = [torch.arange(a, b, cell) for a, b in zip((low - margin).tolist(), (high + margin).tolist(), strict=True)]
    cells = torch.cartesian_prod(*axes).to(positions)
    far = torch.cdist(cells, positions)  # (cells, nodes)
    result = nearest_values(values, seen, torch.cdist(positions, positions))
    nodes = len(positions)
    for times in seen.any(0).nonzero()[:, 0].split(max(1, BLOCK // far.numel())):
        there, told = seen.T[times], values.T[times]  # (times, nodes)
        reach, owner = torch.where(there[:, None], far, torch.inf).min(-1)  # (times, cells)
        taken = (far < reach[..., None]).to(values.dtype)  # by each node that is not seen
        row = owner + nodes * torch.arange(len(times))[:, None]
        area = taken.new_zeros(len(times) * nodes, nodes).index_add_(0, row.flatten(), taken.flatten(0, 1))
        area = area.view(len(times), nodes, nodes)  # from each seen node to each other one
        total = area.sum(1)
        found = torch.einsum("ts,tsn->tn", told, area) / total.clamp(min=1)
        result[:, times] = torch.where(there | (total == 0), result[:, times].T, found).T
    return result
