"""Densities on grids and from samples, and how far apart two of them are.

KDE    p(x) = sum_i w_i N(x; x_i, h^2 S),  h = n_eff^(-1 / (dims + 4))  (Scott's rule), S the samples' covariance
EMD    W_1 between the masses of two grids, exact, in metres
"""

import math

import torch
from torch import Tensor

from pathline.flow import wasserstein

NEGLIGIBLE = 5e-4  # of a mass: the cells that hold less than this together are left out of a transport problem


def kernel_log_density(samples: Tensor, places: Tensor, weights: Tensor | None = None) -> Tensor:
    """log p at places (batch, m, horizon, dims) from samples (batch, n, horizon, dims), each step by itself.

    weights: (batch, n) of the samples, positive; equal by default -> (batch, m, horizon)
    """
    samples, places = samples.transpose(1, 2), places.transpose(1, 2)  # (batch, horizon, ..., dims)
    n, dims = samples.shape[2:]
    weights = samples.new_full((len(samples), n), 1 / n) if weights is None else weights / weights.sum(1, keepdim=True)
    w = weights[:, None, :, None]
    apart = samples - (w * samples).sum(2, keepdim=True)
    covariance = (w * apart).mT @ apart
    trace = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp(min=1e-12)
    covariance = covariance + 1e-6 * trace * torch.eye(dims, dtype=samples.dtype, device=samples.device)
    bandwidth = (1 / weights.square().sum(1)) ** (-1 / (dims + 4))
    factor = torch.linalg.cholesky(covariance) * bandwidth[:, None, None, None]
    white = torch.linalg.solve_triangular(factor, samples.mT, upper=False).mT
    there = torch.linalg.solve_triangular(factor, places.mT, upper=False).mT
    square = torch.cdist(there, white).square()
    volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)[..., None] + 0.5 * dims * math.log(2 * math.pi)
    found: Tensor = torch.logsumexp(weights.log()[:, None, None] - 0.5 * square, -1) - volume
    return found.transpose(1, 2)


def grid_centres(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Centres of cells x cells squares on boxes low, high (..., 2): (..., cells^2, 2); the first axis is slowest."""
    share = (torch.arange(cells, dtype=low.dtype) + 0.5) / cells
    unit = torch.cartesian_prod(share, share)
    return low[..., None, :] + unit * (high - low)[..., None, :]


def binned(samples: Tensor, low: Tensor, high: Tensor, cells: int, weights: Tensor | None = None) -> Tensor:
    """Masses (..., cells^2) of samples (..., n, 2) on the grid, summing to 1; those outside go to border cells."""
    place = ((samples - low[..., None, :]) / (high - low)[..., None, :] * cells).floor().clamp(0, cells - 1).long()
    flat = place[..., 0] * cells + place[..., 1]
    mass = torch.full_like(flat, 1 / flat.shape[-1], dtype=samples.dtype) if weights is None else weights
    grid = samples.new_zeros(*flat.shape[:-1], cells * cells)
    return grid.scatter_add(-1, flat, mass.expand_as(flat))


def normalised(log_density: Tensor) -> Tensor:
    """Masses of cells of equal size from the log-density at their centres, (..., cells)."""
    return torch.softmax(log_density, -1)


def earth_mover_distance(one: Tensor, other: Tensor, centres: Tensor) -> Tensor:
    """W_1 in metres between masses (..., cells) on the same centres (..., cells, 2): (...,) float64."""
    shape = one.shape[:-1]
    rows = zip(one.flatten(0, -2), other.flatten(0, -2), centres.flatten(0, -3), strict=True)
    found = []
    for a, b, places in rows:
        near = [_substantial(mass) for mass in (a, b)]
        found.append(wasserstein(places[near[0]], places[near[1]], a[near[0]].double(), b[near[1]].double()))
    return torch.tensor(found, dtype=torch.float64).view(shape)


def _substantial(mass: Tensor) -> Tensor:
    """The cells that hold all of the mass but a negligible share."""
    order = mass.argsort(descending=True)
    held = mass[order].cumsum(0) / mass.sum()
    return order[: int((held < 1 - NEGLIGIBLE).sum()) + 1]
