"""Implicit maximum likelihood: a generator in one call, trained by drawing its samples to data, never the reverse.

    for every datum y:  z_1..m ~ noise,  j = argmin_i d(G(z_i), y)  without gradient,   minimise d(G(z_j), y)
Every datum calls for a sample nearby, so none is forgotten, as adversaries and plain regression do (the latter answers
with the mean of all). Li, Malik, 2018, "Implicit Maximum Likelihood Estimation", arXiv:1809.09087.

Where a datum is itself a set of K answers, as those of a many-step teacher, d is the Chamfer distance
    d(A, B) = mean_i min_j |A_i - B_j| + mean_j min_i |A_i - B_j|
Fu et al., 2025, "MoFlow", arXiv:2503.09950, which takes means, so that d does not grow with K.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Generate = Callable[[Tensor], Tensor]  # latents (m, batch, ...) -> samples (m, batch, ...)
Distance = Callable[[Tensor, Tensor], Tensor]  # samples (m, batch, ...), data (batch, ...) -> (m, batch)


class Nearest(NamedTuple):
    """loss: a scalar; chosen: (batch,) int64, which of the m latents was nearest; distances: (m, batch)."""

    loss: Tensor
    chosen: Tensor
    distances: Tensor


def imle_loss(generate: Generate, latents: Tensor, data: Tensor, distance: Distance) -> Nearest:
    """Mean distance of each datum to the nearest of its m samples; the gradient is that of the chosen samples only.

    latents: (m, batch, ...); data: (batch, ...)
    """
    with torch.no_grad():
        distances = distance(generate(latents), data)
    chosen = distances.argmin(0)
    kept = latents[chosen, torch.arange(latents.shape[1], device=latents.device)][None]
    return Nearest(distance(generate(kept), data).mean(), chosen, distances)


def path_distances(a: Tensor, b: Tensor) -> Tensor:
    """Sum over the steps of distances, of all pairs: (..., n, steps, dims), (..., m, steps, dims) -> (..., n, m)."""
    return torch.linalg.vector_norm(a[..., :, None, :, :] - b[..., None, :, :, :], dim=-1).sum(-1)


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """The Chamfer distance of sets of paths: (..., n, steps, dims), (..., m, steps, dims) -> (...)."""
    apart = path_distances(a, b)
    return apart.amin(-1).mean(-1) + apart.amin(-2).mean(-1)


def euclidean(samples: Tensor, data: Tensor) -> Tensor:
    """Root mean square difference, for data that are single points: (m, batch, ...), (batch, ...) -> (m, batch)."""
    return (samples - data).flatten(2).square().mean(-1).sqrt()
