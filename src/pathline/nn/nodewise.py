"""A linear layer of its own for every node, without a matrix of its own for every node.

    W_n = sum_k E[n, k] P[k],   b_n = sum_k E[n, k] p[k],   y_n = x_n W_n + b_n
Node embeddings E (nodes, d) mix a pool of d weight matrices: nodes that behave alike share weights, and the number of
weights does not grow with the number of nodes. Bai et al., 2020, "Adaptive Graph Convolutional Recurrent Network",
arXiv:2007.02842, section 3.1.
"""

import torch
from torch import Tensor, nn


def nodewise_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y[..., n, :] = x[..., n, :] weight[n] + bias[n].

    x: (..., nodes, inputs); weight: (nodes, inputs, outputs); bias: (nodes, outputs) -> (..., nodes, outputs)
    """
    rows = x.reshape(-1, *x.shape[-2:]).transpose(0, 1)  # (nodes, batch, inputs): one matrix product per node
    y = torch.baddbmm(bias[:, None], rows, weight)
    return y.transpose(0, 1).reshape(*x.shape[:-1], -1)


class NodewiseLinear(nn.Module):
    """The pools P (d, inputs, outputs) and p (d, outputs); the embeddings come with the call.

    With E ~ N(0, 1) the W_n start with the variance 1 / (3 inputs) of an ordinary linear layer.
    """

    def __init__(self, embedding: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (inputs * embedding) ** -0.5
        self.weight_pool = nn.Parameter(torch.empty(embedding, inputs, outputs).uniform_(-bound, bound))
        self.bias_pool = nn.Parameter(torch.zeros(embedding, outputs))

    def weights(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(nodes, d) -> W (nodes, inputs, outputs) and b (nodes, outputs); worth keeping over many steps in time."""
        weight = (embedding @ self.weight_pool.flatten(1)).unflatten(1, self.weight_pool.shape[1:])
        return weight, embedding @ self.bias_pool

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (..., nodes, inputs); embedding: (nodes, d) -> (..., nodes, outputs)."""
        return nodewise_linear(x, *self.weights(embedding))
