"""Signals over a graph and time that are made to test their recovery."""

import math

import torch
from scipy.signal import lfilter

from pathline.data.graph_signal import GraphSignal
from pathline.graph.adjacency import laplacian
from pathline.graph.sobolev import knn_weights

WARM_UP = 50  # steps of the courses before the signal begins


def rough_signal(
    nodes: int = 100,
    steps: int = 200,
    seed: int = 0,
    rank: int = 4,
    rough: float = 0.5,
    memory: float = 0.8,
    noise: float = 0.02,
    neighbours: int = 5,
    density: float = 0.5,
) -> GraphSignal:
    """A signal whose changes are not smooth on its graph, although there are few of them in time.

        X = x_0 1^T + C B,      C = sqrt(1 - rough) U_low c + sqrt(rough) U_high c'
    B holds `rank` courses in time, B_t = memory B_{t-1} + noise, and U the eigenvectors of the Laplacian with the
    lowest and the highest tenth of eigenvalues: a share `rough` of every change is of high graph frequency, where
    smoothness is the wrong thing to assume. Entries have a standard deviation near 1, plus `noise`.
    """
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(nodes, 2, generator=generator, dtype=torch.float64)
    adjacency = knn_weights(positions, neighbours)
    _, vectors = torch.linalg.eigh(laplacian(adjacency, normalised=False))
    band = max(rank, nodes // 10)

    def drawn(basis: torch.Tensor) -> torch.Tensor:
        field = basis @ torch.randn(band, rank, generator=generator, dtype=torch.float64)
        return field / field.square().mean(0).sqrt()

    low, high = drawn(vectors[:, :band]), drawn(vectors[:, -band:])
    places = math.sqrt(1 - rough) * low + math.sqrt(rough) * high
    pushes = torch.randn(rank, steps + WARM_UP, generator=generator, dtype=torch.float64)
    courses = torch.from_numpy(lfilter([math.sqrt(1 - memory**2)], [1, -memory], pushes.numpy()))[:, WARM_UP:]
    level = vectors[:, :band] @ torch.randn(band, 1, generator=generator, dtype=torch.float64)
    level = 0.4 * level / level.square().mean().sqrt()
    values = level + places @ courses / math.sqrt(rank)
    values = values + noise * torch.randn(values.shape, generator=generator, dtype=torch.float64)
    return GraphSignal(
        values=values.float(),
        seen=torch.ones(nodes, steps, dtype=torch.bool),
        adjacency=adjacency.float(),
        positions=positions.float(),
        density=density,
        name=f"rough-signal-{seed}",
    )
