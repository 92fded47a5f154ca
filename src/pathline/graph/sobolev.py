"""Smoothness of signals that live on a graph and in time, and the signal that is smoothest given some of its entries.

A signal is X (nodes, time). Its changes X D, D the temporal difference operator, are smooth if neighbours change alike:

    S(X) = 1/2 tr((X D)^T (L + eps I)^beta X D) = 1/2 sum_t (x_t - x_{t-1})^T (L + eps I)^beta (x_t - x_{t-1})
    GraphTRSS:  min_X  1/2 |J . X - Y|^2 + strength S(X)  <=>  J . X + strength (L + eps I)^beta X D D^T = Y
with L = degrees - weights and J the mask of what is seen. eps > 0 makes the Hessian better conditioned; eps = 0 with
beta = 1 is the method of Qiu et al., 2017, and the identity in the place of D is Tikhonov's.
Giraldo, Mahmood, Garcia-Garcia, Thanou, Bouwmans, 2022, "Reconstruction of Time-Varying Graph Signals via Sobolev
Smoothness", IEEE Transactions on Signal and Information Processing over Networks 8, arXiv:2207.06439.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.graph.adjacency import dense_adjacency, laplacian
from pathline.graph.build import knn_graph

Apply = Callable[[Tensor], Tensor]


def knn_weights(points: Tensor, neighbours: int) -> Tensor:
    """(nodes, nodes) exp(-d^2 / sigma^2) to the nearest `neighbours` of either end, sigma their mean distance."""
    edges = knn_graph(points, min(neighbours, len(points) - 1))
    distance = (points[edges[0]] - points[edges[1]]).norm(dim=1)
    sigma = distance.mean()
    weight = torch.exp(-((distance / torch.where(sigma > 0, sigma, 1.0)) ** 2))
    directed = dense_adjacency(edges, len(points), weight)
    return torch.maximum(directed, directed.T)


def difference_operator(steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """D, (steps, steps - 1): column t is e_{t+1} - e_t, so that X D = X.diff()."""
    return torch.eye(steps, dtype=dtype).diff(dim=0).T.contiguous()


def second_difference(x: Tensor) -> Tensor:
    """X D D^T, the shape of x (..., time), without a matrix."""
    change = x.diff(dim=-1)
    return F.pad(change, (1, 0)) - F.pad(change, (0, 1))


class Sobolev:
    """(L + eps I)^beta as a map of (..., nodes, time): `beta` products where that is whole, else by eigenvectors.

    adjacency: (nodes, nodes) symmetric weights
    """

    def __init__(self, adjacency: Tensor, eps: float = 0.1, beta: float = 1.0) -> None:
        if eps < 0 or beta <= 0:
            raise ValueError(f"eps ({eps}) must be at least 0 and beta ({beta}) positive")
        eye = torch.eye(len(adjacency), dtype=adjacency.dtype, device=adjacency.device)
        self.matrix, self.products = laplacian(adjacency, normalised=False) + eps * eye, round(beta)
        if beta != self.products:
            values, vectors = torch.linalg.eigh(self.matrix)
            self.matrix, self.products = (vectors * values.clamp(min=0) ** beta) @ vectors.T, 1

    def __call__(self, x: Tensor) -> Tensor:
        for _ in range(self.products):
            x = self.matrix @ x
        return x

    def dense(self) -> Tensor:
        """The (nodes, nodes) matrix."""
        return torch.linalg.matrix_power(self.matrix, self.products)


def smoothness(x: Tensor, sobolev: Apply) -> Tensor:
    """S(X) of the module for x (..., nodes, time), summed over all leading axes."""
    change = x.diff(dim=-1)
    return 0.5 * (change * sobolev(change)).sum()


def smoothest(
    values: Tensor,
    seen: Tensor,
    sobolev: Apply,
    strength: float,
    in_time: bool = True,
    tolerance: float = 1e-6,
    most: int = 2000,
) -> Tensor:
    """The minimiser of the module's problem: (nodes, time) float64.

    values, seen: (nodes, time);  sobolev: a `Sobolev` of float64;  in_time: False takes the identity for D
    """
    mask, right = seen.double(), torch.where(seen, values, 0.0).double()

    def hessian(x: Tensor) -> Tensor:
        return mask * x + strength * sobolev(second_difference(x) if in_time else x)

    return conjugate_gradients(hessian, right, tolerance, most)


def conjugate_gradients(apply: Apply, right: Tensor, tolerance: float = 1e-6, most: int = 2000) -> Tensor:
    """x with apply(x) = right, `apply` symmetric and positive (semi)definite on tensors of any shape; from zero on.

    Ends when the residual is `tolerance` of the right side's norm, or after `most` steps.  Hestenes, Stiefel, 1952.
    """
    x, residual = torch.zeros_like(right), right.clone()
    direction, size = residual, residual.square().sum()
    goal = tolerance**2 * size
    for _ in range(most):
        if bool(size <= goal):
            break
        applied = apply(direction)
        step = size / (direction * applied).sum()
        x = x + step * direction
        residual = residual - step * applied
        before, size = size, residual.square().sum()
        direction = residual + size / before * direction
    return x
