"""Networks of whole graphs given as dense adjacencies, which may use the places of their nodes.

    AdjacencyMLP      MLP of the flattened matrix
    IdentifiedGIN     h_i <- MLP((1 + epsilon) h_i + sum_j A_ij h_j), started from [features, one-hot place], summed
The second is the graph isomorphism network of Xu, Hu, Leskovec, Jegelka, 2019, arXiv:1810.00826. Both depend on the
order of the nodes: they are backbones for `pathline.spaces.frames.symmetrize` with a `PermutationFrame`.
"""

import torch
from torch import Tensor, nn

from pathline.nn.mlp import MLP


class AdjacencyMLP(nn.Module):
    """(batch, nodes, nodes), (batch, nodes, features) -> (batch, outputs); every graph has `nodes` nodes."""

    def __init__(self, nodes: int, features: int = 0, width: int = 64, outputs: int = 1) -> None:
        super().__init__()
        self.mlp = MLP([nodes * (nodes + features), width, width, outputs])

    def forward(self, adjacency: Tensor, features: Tensor | None = None) -> Tensor:
        columns = adjacency if features is None else torch.cat([adjacency, features], -1)
        output: Tensor = self.mlp(columns.flatten(1))
        return output


class IdentifiedGIN(nn.Module):
    """Shapes and arguments as in `AdjacencyMLP`."""

    def __init__(self, nodes: int, features: int = 0, width: int = 64, layers: int = 3, outputs: int = 1) -> None:
        super().__init__()
        widths = [nodes + features] + [width] * layers
        self.updates = nn.ModuleList(MLP([before, width, width]) for before in widths[:-1])
        self.epsilon = nn.Parameter(torch.zeros(layers))
        self.head = MLP([width, width, outputs])

    def forward(self, adjacency: Tensor, features: Tensor | None = None) -> Tensor:
        place = torch.eye(adjacency.shape[-1]).to(adjacency).expand_as(adjacency)
        h = place if features is None else torch.cat([features, place], -1)
        for update, epsilon in zip(self.updates, self.epsilon, strict=True):
            h = update((1 + epsilon) * h + adjacency @ h)
        output: Tensor = self.head(h.sum(-2))
        return output
